"""What a person does with a store: audit, inspect, fsck, export. All of it only reads, beside a running gateway or not.

place says where the store is, view (one folder up) opens it.
"""
