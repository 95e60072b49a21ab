"""Codec, client session and listener, against the real other side."""
