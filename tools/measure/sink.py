"""A platform that costs nothing: takes every PUBLISH, notes its readings, acknowledges it. What a null relay measures.

It shows what the load can send, and what a gateway can deliver, with no broker in the way.
"""

from __future__ import annotations

import select
import socket
from multiprocessing.sharedctypes import Synchronized

from tools.measure.city import packets, take
from tools.measure.tally import SPAWN, Tally

_READ = 1 << 18


class Sink:
    """The process. A context manager; listening at `port` inside the block. Speaks MQTT 3.1.1 and 5."""

    def __init__(self, tally: Tally) -> None:
        self._port: Synchronized[int] = SPAWN.Value("i", 0)
        self._is_bound = SPAWN.Event()
        self._process = SPAWN.Process(target=_serve, args=(tally, self._port, self._is_bound), daemon=True)

    def __enter__(self) -> Sink:
        self._process.start()
        if not self._is_bound.wait(20):
            raise ConnectionError("the sink did not start")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def port(self) -> int:
        return self._port.value


def _serve(tally: Tally, port: Synchronized[int], is_bound: object) -> None:
    server = socket.create_server(("127.0.0.1", 0), backlog=512)
    port.value = server.getsockname()[1]
    is_bound.set()  # type: ignore[attr-defined]
    poll = select.epoll()
    poll.register(server.fileno(), select.EPOLLIN)
    clients: dict[int, tuple[socket.socket, bytes]] = {}
    while True:
        for fd, _events in poll.poll():
            if fd == server.fileno():
                client = server.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[client.fileno()] = (client, b"")
                poll.register(client.fileno(), select.EPOLLIN)
                continue
            client, rest = clients[fd]
            try:
                data = client.recv(_READ)
                if not data:
                    raise ConnectionError
                clients[fd] = (client, _answer(client, rest + data, tally))
            except OSError:
                poll.unregister(fd)
                client.close()
                del clients[fd]


def _answer(client: socket.socket, data: bytes, tally: Tally) -> bytes:
    """CONNECT and PINGREQ come alone or first; everything else is PUBLISH."""
    while data and data[0] & 0xF0 != 0x30:
        found = next(packets(data), None)
        if found is None:
            return data
        if data[0] == 0x10:
            is_v5 = data[data.index(b"MQTT") + 4] == 5
            client.sendall(b"\x20\x03\x00\x00\x00" if is_v5 else b"\x20\x02\x00\x00")
        elif data[0] == 0xC0:
            client.sendall(b"\xd0\x00")
        data = data[found[1] :]
    return take(client, data, tally)
