"""Fixtures of the link's tests."""

from tests.peers.wasm32 import wasm32

__all__ = ["wasm32"]
