"""One device of the load: a connection, and what it has published that nobody has acknowledged yet."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.mqtt.encode import encode
from gateway.mqtt.packet import V311, Connect

_SEND_S = 30.0  # a write that takes so long: the other side has stopped reading for good


@dataclass
class Device:
    """MQTT 3.1.1 on a blocking socket. `waiting` holds (serial, packet) by packet id until the PUBACK."""

    number: int
    head: bytes
    sock: socket.socket | None = None
    retry_at_s: float = 0.0
    packet_id: int = 0
    time_ms: int = 0
    waiting: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    _rest: bytes = b""

    def connect(self, port: int, *, within_s: float) -> int:
        """Returns the socket's descriptor. Raises OSError, also where the CONNECT is refused."""
        sock = socket.create_connection(("127.0.0.1", port), timeout=within_s)
        try:
            sock.sendall(encode(Connect(client_id=f"d{self.number:03d}", version=V311, keep_alive_s=0), V311))
            answer = sock.recv(4)
            if answer[:2] != b"\x20\x02" or answer[3:] != b"\x00":
                raise ConnectionError(f"device {self.number} was answered {answer.hex()}")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        sock.settimeout(_SEND_S)
        self.sock, self._rest = sock, b""
        return sock.fileno()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def write(self, data: bytes) -> bool:
        """Whether the connection still stands."""
        try:
            if self.sock is not None:
                self.sock.sendall(data)
        except OSError:
            return False
        return True

    def write_again(self) -> bool:
        """Publish what was not acknowledged, oldest first."""
        return self.write(b"".join(packet for _, packet in self.waiting.values()))

    def acknowledged(self, data: bytes) -> Iterator[int]:
        """Yield the serials whose PUBACKs are in what was read. Raises ValueError for any other packet."""
        data = self._rest + data
        whole = len(data) & ~3
        for at in range(0, whole, 4):
            if data[at] != 0x40 or data[at + 1] != 2:
                raise ValueError(f"not a PUBACK: {data[at : at + 4].hex()}")
            known = self.waiting.pop(data[at + 2] << 8 | data[at + 3], None)
            if known:
                yield known[0]
        self._rest = data[whole:]
