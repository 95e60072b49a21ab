"""The load: 200 devices that publish 60-byte SenML readings at QoS 1, each on a connection of its own.

Raw sockets and MQTT 3.1.1 by plain formatting, many PUBLISHes per write. What is not acknowledged when a connection
breaks is published again, as a device with a journal does.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

from gateway.mqtt.wire import write_varint
from tools.measure.device import Device
from tools.measure.tally import DEVICES, FIRST, SPAWN, Span, Tally

READING = b'[{"n":"energy_sum","u":"J","v":%d,"t":%d.%03d}]'
_RETRY_S = 0.05
_CHUNK = 50  # PUBLISHes per write


@dataclass(frozen=True, kw_only=True)
class Order:
    """One stretch of load.

    topic       where each device publishes, "%03d" is its number
    reading     format of the payload: serial, seconds, milliseconds; always of one length
    rate        readings per second of all devices, None: as fast as they are acknowledged
    count       most readings, None: no end but `seconds`
    first       serial of the first reading
    under_way   most readings sent and not yet at the city (with rate None)
    in_flight   most per device sent and not acknowledged
    patience_s  how long to wait for acknowledgements after the last reading
    """

    port: int
    first: int
    seconds: float
    topic: str = "up/d%03d/senml"
    reading: bytes = READING
    rate: float | None = None
    count: int | None = None
    under_way: int = 20_000
    in_flight: int = 100
    patience_s: float = 30.0


class Load:
    """The process. A context manager; `start` and `finish`, or `run` for both."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._next = FIRST
        self._pipe, far = SPAWN.Pipe()
        self._stop = SPAWN.Event()
        self._process = SPAWN.Process(target=_serve, args=(far, tally, self._stop), daemon=True)

    def __enter__(self) -> Load:
        self._process.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def pid(self) -> int:
        """Of the process, to see what the load itself costs."""
        assert self._process.pid is not None, "not entered"
        return self._process.pid

    def start(self, port: int, *, seconds: float, **options: Any) -> None:
        """Begin, and return at once."""
        self._stop.clear()
        self._pipe.send(Order(port=port, first=self._next, seconds=seconds, **options))

    def finish(self, *, within_s: float = 300.0) -> Span:
        """Wait for the end; returns which readings there were."""
        if not self._pipe.poll(within_s):
            raise TimeoutError(f"the load has not ended in {within_s:.0f} s")
        span: Span = self._pipe.recv()
        self._next = span.end
        return span

    def stop(self) -> None:
        """Let no new reading follow; what is not acknowledged is still waited for."""
        self._stop.set()

    def run(self, port: int, *, seconds: float, **options: Any) -> Span:
        self.start(port, seconds=seconds, **options)
        return self.finish()


def _serve(pipe: Connection, tally: Tally, stop: Event) -> None:
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_Run(pipe.recv(), tally, stop).go())


class _Run:
    """One order being carried out."""

    def __init__(self, order: Order, tally: Tally, stop: Event) -> None:
        self._order = order
        self._stop = stop
        self._tally = tally
        self._serial = order.first
        self._poll = select.epoll()
        self._by_fd: dict[int, Device] = {}
        self._devices = [Device(number, _head(order, number)) for number in range(DEVICES)]
        self._ready = deque(self._devices)
        self._arrived_before = tally.arrived.value

    def go(self) -> Span:
        order = self._order
        for device in self._devices:
            with contextlib.suppress(OSError):  # tried again below
                self._connect(device, within_s=10.0)
        self._began_s = time.monotonic()
        end_s = self._began_s + order.seconds
        last = order.first + order.count if order.count else FIRST + len(self._tally.sent_s)
        while time.monotonic() < end_s and self._serial < last and not self._stop.is_set():
            self._send_due(last)
            self._hear(0.001 if order.rate is None else min(0.001, 0.5 / order.rate))
        give_up_s = time.monotonic() + order.patience_s
        while any(device.waiting for device in self._devices) and time.monotonic() < give_up_s:
            self._hear(0.01)
        for device in self._devices:
            self._drop(device)
        self._poll.close()
        return Span(order.first, self._serial)

    def _send_due(self, last: int) -> None:
        """Publish what the rate, or the room on the way, allows now."""
        order = self._order
        sent = self._serial - order.first
        if order.rate is None:
            due = order.under_way - sent + self._tally.arrived.value - self._arrived_before
        else:
            due = int((time.monotonic() - self._began_s) * order.rate) + 1 - sent
        due = min(due, last - self._serial)
        share = max(1, min(_CHUNK, due // DEVICES + 1))
        for _ in range(DEVICES):
            if due <= 0:
                return
            device = self._ready[0]
            self._ready.rotate(-1)
            room = order.in_flight - len(device.waiting)
            if device.sock is not None and room > 0:
                number = min(share, due, room)
                self._publish(device, number)
                due -= number

    def _publish(self, device: Device, number: int) -> None:
        now_s = time.monotonic()
        device.time_ms = max(device.time_ms + 1, int(time.time() * 1000))
        burst = []
        for _ in range(number):
            device.packet_id = device.packet_id % 65_535 + 1
            reading = self._order.reading % (self._serial, device.time_ms // 1000, device.time_ms % 1000)
            packet = device.head + device.packet_id.to_bytes(2, "big") + reading
            device.waiting[device.packet_id] = (self._serial, packet)
            self._tally.sent_s[self._serial - FIRST] = now_s
            burst.append(packet)
            device.time_ms += 1
            self._serial += 1
        if not device.write(b"".join(burst)):
            self._lose(device)

    def _hear(self, timeout_s: float) -> None:
        """Take in what was acknowledged; connect again what is due."""
        for fd, _events in self._poll.poll(timeout_s):
            device = self._by_fd[fd]
            assert device.sock is not None
            try:
                data = device.sock.recv(65_536)
            except OSError:
                data = b""
            if data:
                self._take_acks(device, data)
            else:
                self._lose(device)
        if len(self._by_fd) < DEVICES:
            self._connect_again()

    def _take_acks(self, device: Device, data: bytes) -> None:
        now_s = time.monotonic()
        for serial in device.acknowledged(data):
            self._tally.acked_s[serial - FIRST] = now_s

    def _connect_again(self) -> None:
        now_s = time.monotonic()
        for device in self._devices:
            if device.sock is None and now_s >= device.retry_at_s:
                device.retry_at_s = now_s + _RETRY_S
                with contextlib.suppress(OSError):
                    self._connect(device)
                if device.sock is None:
                    return  # nobody listens: the others need not try

    def _connect(self, device: Device, *, within_s: float = 1.0) -> None:
        """Connect, and publish again what was not acknowledged. Raises OSError."""
        fd = device.connect(self._order.port, within_s=within_s)
        self._by_fd[fd] = device
        self._poll.register(fd, select.EPOLLIN)
        if not device.write_again():
            self._lose(device)

    def _lose(self, device: Device) -> None:
        self._drop(device)
        device.retry_at_s = time.monotonic() + _RETRY_S

    def _drop(self, device: Device) -> None:
        if device.sock is not None:
            self._poll.unregister(device.sock.fileno())
            del self._by_fd[device.sock.fileno()]
            device.close()


def _head(order: Order, number: int) -> bytes:
    """The bytes of a device's PUBLISH of QoS 1 before the packet id; the length of what follows never changes."""
    name = (order.topic % number).encode()
    length = 2 + len(name) + 2 + len(order.reading % (FIRST, 1_700_000_000, 0))
    return b"\x32" + write_varint(length) + len(name).to_bytes(2, "big") + name
