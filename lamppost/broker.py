"""The broker that stands for the city in the demo: rumqttd (from the iotcore wheel) on a free loopback port, MQTT 5."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10

[v5.1]
name = "city"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = 262144
max_inflight_count = 100
dynamic_filters = true
"""


@contextlib.contextmanager
def embedded_broker() -> Iterator[int]:
    """Run a broker in a child process; yields its port. It keeps nothing on disk and is gone on return."""
    from iotcore import Broker

    port = free_port()
    with tempfile.TemporaryDirectory(prefix="lamppost-broker-") as folder:
        config = Path(folder) / "rumqttd.toml"
        config.write_text(_CONFIG.format(port=port))
        with Broker(config_path=str(config)):
            yield port


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
