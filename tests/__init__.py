"""Tests mirror the packages; tests/peers starts the real other side."""
