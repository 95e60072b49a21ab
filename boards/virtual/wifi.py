"""The Wi-Fi of one board: joins the host's network model, and reaches servers through relays that the host can silence.

A board resolves every name to a relay on 127.0.0.1, so that its traffic passes here. While the Wi-Fi is down nothing
passes and nothing is closed: no FIN, no RST, as when an access point goes away. A board that loses power leaves its
servers with such a silent connection too.
"""

import errno
import socket
import struct
from collections.abc import Mapping

from boards.virtual import rpc
from boards.virtual.clock import Clock
from boards.virtual.loop import Loop

IDLE = 1000
CONNECTING = 1001
GOT_IP = 1010
NO_AP_FOUND = 201
WRONG_PASSWORD = 202

_JOIN_US = 300_000
_RSSI_DBM = -61
_CHUNK_LEN = 16_384
_ABORT = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 s: close() sends RST


class Wifi:
    def __init__(self, loop: Loop, clock: Clock, networks: Mapping[str, str] | None) -> None:
        """networks   password by SSID; None: every network exists, with any password"""
        self._loop, self._clock, self._networks = loop, clock, networks
        self._is_up = True
        self._is_active = False
        self._wanted: tuple[str, str] | None = None
        self._joined_at_us = 0
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self.relays: set[Relay] = set()

    def handlers(self) -> dict[int, rpc.Handler]:
        def connect(question: bytes) -> None:
            ssid, password = rpc.counted(question)
            self.join(ssid, password.decode())

        def active(question: bytes) -> bytes:
            was_active = self._is_active
            if question:
                self.activate(bool(question[0]))
            return bytes([was_active])

        def route(question: bytes) -> bytes:
            port = int.from_bytes(question[:2], "big")
            return struct.pack(">H", self.route(question[2:].decode(), port))

        return {
            rpc.WIFI_ACTIVE: active,
            rpc.WIFI_CONNECT: connect,
            rpc.WIFI_DISCONNECT: lambda _: self.leave(),
            rpc.WIFI_STATUS: lambda _: struct.pack(">Hb", *self.status()),
            rpc.WIFI_ROUTE: route,
        }

    @property
    def is_up(self) -> bool:
        return self._is_up

    def set_up(self, is_up: bool) -> None:
        """Let the access point go away or come back."""
        if is_up and not self._is_up:
            self._joined_at_us = self._clock.now_us() + _JOIN_US
        self._is_up = is_up
        for relay in list(self.relays):
            relay.update()

    def activate(self, is_active: bool) -> None:
        self._is_active = is_active
        if not is_active:
            self._wanted = None

    def join(self, ssid: str, password: str) -> None:
        self._wanted = (ssid, password)
        self._joined_at_us = self._clock.now_us() + _JOIN_US

    def leave(self) -> None:
        self._wanted = None

    def status(self) -> tuple[int, int]:
        """(status as network.STAT_*, RSSI in dBm)"""
        if not self._is_active or self._wanted is None:
            return IDLE, 0
        ssid, password = self._wanted
        if not self._is_up or (self._networks is not None and ssid not in self._networks):
            return NO_AP_FOUND, 0
        if self._networks is not None and self._networks[ssid] != password:
            return WRONG_PASSWORD, 0
        return (GOT_IP if self._clock.now_us() >= self._joined_at_us else CONNECTING), _RSSI_DBM

    def route(self, host: str, port: int) -> int:
        """The local port that leads to `host`. Raises OSError ENETUNREACH while not joined."""
        if self.status()[0] != GOT_IP:
            raise OSError(errno.ENETUNREACH, "the board has no Wi-Fi")
        listener = self._listeners.get((host, port))
        if listener is None:
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setblocking(False)
            self._listeners[host, port] = listener
            self._loop.watch(listener.fileno(), lambda: self._accept(listener, host, port))
        return int(listener.getsockname()[1])

    def power_off(self) -> None:
        """The board is gone without a word: servers keep connections on which nothing comes any more."""
        self._is_active = False
        self._wanted = None
        for relay in list(self.relays):
            relay.abandon()

    def close(self) -> None:
        for relay in list(self.relays):
            relay.close()
        for listener in self._listeners.values():
            self._loop.unwatch(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket, host: str, port: int) -> None:
        near, _ = listener.accept()
        Relay(self, self._loop, near, host, port)


class Relay:
    """One connection of the board (near) and the one that stands for it (far)."""

    def __init__(self, wifi: Wifi, loop: Loop, near: socket.socket, host: str, port: int) -> None:
        self._wifi, self._loop = wifi, loop
        self._near: socket.socket | None = near
        near.setblocking(False)
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._far = socket.socket(family, kind, protocol)
        self._far.setblocking(False)
        self._far.connect_ex(address)  # what comes of it shows at the first send or receive
        for end in (near, self._far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._to_far, self._to_near = bytearray(), bytearray()
        self._is_connected = False
        self._ended: set[socket.socket] = set()  # said FIN, and that was passed on
        wifi.relays.add(self)
        self.update()

    def update(self) -> None:
        """Wait for what can happen next."""
        if self._near is None:
            self._loop.watch(self._far.fileno(), self._on_far)
            return
        passes = self._wifi.is_up
        self._loop.watch(
            self._near.fileno(),
            self._on_near,
            read=passes and self._is_connected and not self._to_far and self._near not in self._ended,
            write=passes and bool(self._to_near),
        )
        self._loop.watch(
            self._far.fileno(),
            self._on_far,
            read=passes and self._is_connected and not self._to_near and self._far not in self._ended,
            write=passes and (bool(self._to_far) or not self._is_connected),
        )

    def abandon(self) -> None:
        """The near end is no more, and the far end is not told."""
        if self._near is not None:
            self._loop.unwatch(self._near.fileno())
            self._near.close()
            self._near = None
            self.update()

    def close(self) -> None:
        for end in (self._near, self._far):
            if end is not None:
                self._loop.unwatch(end.fileno())
                end.close()
        self._wifi.relays.discard(self)

    def _on_near(self) -> None:
        if self._near is not None:
            self._pass_on(self._near, self._far, self._to_far, self._to_near)

    def _on_far(self) -> None:
        if self._near is not None and not self._is_connected:
            self._finish_connecting(self._near)
        elif self._near is not None:
            self._pass_on(self._far, self._near, self._to_near, self._to_far)
        else:
            self._drop_unheard()

    def _finish_connecting(self, near: socket.socket) -> None:
        if self._far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self.close()
            return
        self._is_connected = True
        self.update()

    def _pass_on(self, source: socket.socket, sink: socket.socket, to_sink: bytearray, to_source: bytearray) -> None:
        """`source` is ready: send it what waits for it, then take what it says to the other end."""
        try:
            _send(source, to_source)
            if not to_sink and source not in self._ended:
                data = _receive(source)
                if data == b"":
                    self._ended.add(source)
                    sink.shutdown(socket.SHUT_WR)
                to_sink += data or b""
                _send(sink, to_sink)
        except OSError:
            self.close()
            return
        if len(self._ended) == 2:
            self.close()
        else:
            self.update()

    def _drop_unheard(self) -> None:
        """What the far end says to a board that is off is lost; when it gives up, so do we."""
        try:
            if _receive(self._far) == b"":
                self.close()
        except OSError:
            self.close()


def _send(sink: socket.socket, waiting: bytearray) -> None:
    """Send what goes without waiting."""
    if waiting:
        try:
            del waiting[: sink.send(waiting)]
        except BlockingIOError:
            return


def _receive(source: socket.socket) -> bytes | None:
    """What is there; b"" at the end, None if nothing is."""
    try:
        return source.recv(_CHUNK_LEN)
    except BlockingIOError:
        return None
