"""A real broker without installing one: iotcore (rumqttd in a wheel), in a child process that ends with this one.

rumqttd has one port per MQTT version, and one router behind both: what is published on one arrives on the other.
"""

import socket
import tempfile
from pathlib import Path
from types import TracebackType

import iotcore

from gateway.errors import GatewayError

_ATTEMPTS = 3  # another process may take a port between our looking and the broker's binding

_CONFIG = """\
id = 0

[router]
id = 0
max_connections = {max_connections}
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v4.1]
name = "v311"
listen = "127.0.0.1:{port_v311}"
next_connection_delay_ms = 1
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = {max_payload}
    max_inflight_count = 500
    dynamic_filters = true

[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = {max_payload}
    max_inflight_count = 500
    dynamic_filters = true
"""


class BrokerError(GatewayError):
    """The embedded broker did not come up."""


class Broker:
    """An MQTT broker on free loopback ports. A context manager: listening inside the block, gone after it.

    max_payload  largest message, in bytes
    start_s      how long it may take to come up
    """

    def __init__(self, *, max_payload: int = 262_144, max_connections: int = 1_000, start_s: float = 10.0) -> None:
        self._max_payload = max_payload
        self._max_connections = max_connections
        self._start_s = start_s
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._broker: iotcore.Broker | None = None
        self.port = self.port_v311 = 0

    @property
    def url(self) -> str:
        """Where MQTT 5 is spoken."""
        return f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self) -> "Broker":
        self._folder = tempfile.TemporaryDirectory(prefix="lamppost-broker-")
        for attempt in range(_ATTEMPTS):
            try:
                self._start(Path(self._folder.name) / "rumqttd.toml")
            except (OSError, RuntimeError) as error:
                if attempt == _ATTEMPTS - 1:
                    self._folder.cleanup()
                    raise BrokerError(f"the embedded broker did not start: {error}; try again, or name one") from None
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._broker is not None:
            self._broker.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def _start(self, config: Path) -> None:
        self.port, self.port_v311 = free_ports(2)
        config.write_text(
            _CONFIG.format(
                port=self.port,
                port_v311=self.port_v311,
                max_payload=self._max_payload,
                max_connections=self._max_connections,
            )
        )
        self._broker = iotcore.Broker(config_path=str(config))
        self._broker.start(timeout=self._start_s)


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
