"""Fixtures every test may use; each real peer is a plugin of its own."""

import importlib.util

_PEERS = ("tests.peers.mosquitto", "tests.peers.street")
pytest_plugins = [name for name in _PEERS if importlib.util.find_spec(name)]
