"""The systems that `make bench` measures beside each other: ours, and what else people put between devices and a city.

Each is a System: configured as its documents say for losing nothing, on free loopback ports, in a folder of its own.
"""
