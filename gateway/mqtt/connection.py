"""One MQTT connection as an asyncio protocol: packets in, bytes out, acknowledgements in order of arrival.

What client and listener share. Each message received, or a burst of them, is handed to a handler; its PUBACK is
written when that has answered and every earlier one has been answered (MQTT 5 section 4.6). Messages being handled are
bounded in number and bytes: beyond the bound the socket is not read, so that TCP slows the sender down.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gateway.mqtt.encode import encode_puback, encode_pubacks
from gateway.mqtt.errors import ProtocolError
from gateway.mqtt.packet import V5, Packet, Publish, Publishes
from gateway.mqtt.stream import MOST_IN_BURST, TOPICS_KEPT, PacketReader

_BUFFER_BYTES = 131_072
_KNOWN_LENGTH = 64  # counted per message beside its payload: a flood of empty messages costs memory too


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one connection may cost.

    max_packet_size    bytes of one packet, header included
    max_waiting        messages being handled at one time; announced as Receive Maximum
    max_waiting_bytes  their bytes
    """

    max_packet_size: int = 262_144
    max_waiting: int = 1_000
    max_waiting_bytes: int = 4_194_304


def new_buffer() -> bytearray:
    """What one read of a socket may return at most."""
    return bytearray(_BUFFER_BYTES)


class Budget:
    """Bytes of messages being handled that several connections may hold together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0


@dataclass(slots=True)
class _Handled:
    """Messages being handled together. `answer`: the code of one, or the codes of all."""

    packet_ids: Sequence[bytes]  # of those of QoS 1
    count: int
    size: int
    answer: "asyncio.Future[Any]"

    def codes(self) -> Sequence[int | None]:
        """The PUBACKs' codes, None where the message stays with the peer."""
        told = self.answer.result()
        return told if isinstance(told, list) else (told,)


class Connection(asyncio.BufferedProtocol):
    """Subclasses say what a packet means (`on_packet`), what follows an error, and what follows the end.

    buffer        for what a read of the socket returns; taken out at once, so that connections of a loop share one
    takes_bursts  `on_packet` knows Publishes
    topics_kept   how many topics of its peer it remembers
    """

    def __init__(
        self,
        *,
        version: int | None,
        limits: Limits,
        budget: Budget | None = None,
        buffer: bytearray | None = None,
        takes_bursts: bool = False,
        topics_kept: int = TOPICS_KEPT,
    ) -> None:
        self._budget = budget or Budget(limits.max_waiting_bytes)
        self._loop = asyncio.get_running_loop()
        self._reader = PacketReader(version=version, max_packet_size=limits.max_packet_size, topics_kept=topics_kept)
        self._takes_bursts = takes_bursts
        self._buffer = memoryview(new_buffer() if buffer is None else buffer)
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Handled] = deque()
        self._waiting_count = 0
        self._waiting_bytes = 0
        self.unacknowledged = 0  # messages of QoS 1 whose PUBACK has not been written
        self._is_settling = False
        self._is_held = False  # a subclass wants no packet for now
        self._is_reading_paused = False
        self.is_writing_paused = False
        self.heard_at_s = self.sent_at_s = self._loop.time()

    # What a subclass adds.

    def on_packet(self, packet: Packet | Publishes) -> None:
        raise NotImplementedError

    def on_error(self, error: ProtocolError) -> None:
        """The peer broke the protocol; answer if there is an answer, and end the connection."""
        raise NotImplementedError

    def on_unstored(self) -> None:
        """A handler returned None: its message must not be acknowledged, so the connection has to end."""
        raise NotImplementedError

    def on_failure(self, error: BaseException) -> None:
        """A handler raised what it should not: tell whoever owns this connection."""
        raise NotImplementedError

    def on_lost(self, error: Exception | None) -> None:
        raise NotImplementedError

    # What a subclass uses.

    @property
    def version(self) -> int:
        return self._reader.version or V5

    @property
    def bytes_waiting(self) -> int:
        """Bytes that were read and belong to packets not yet complete, or not yet taken."""
        return self._reader.bytes_waiting

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.sent_at_s = self._loop.time()
            self._transport.write(data)

    def end(self, last_words: bytes = b"") -> None:
        """Close: after what was written if the peer takes it now, at once if the peer has stopped reading."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()
            return
        if last_words:
            self._transport.write(last_words)
        if self._transport.get_write_buffer_size() and self._transport.get_extra_info("ssl_object") is None:
            self._transport.abort()
        else:
            self._transport.close()

    def take(self, publish: Publish, work: Awaitable[int | None]) -> None:
        """Handle one message. `work` gives the PUBACK's reason code, or None to leave the message with the peer."""
        packet_ids = (publish.packet_id.to_bytes(2, "big"),) if publish.qos else ()
        size = len(publish.payload) + _KNOWN_LENGTH
        self._wait_for(_Handled(packet_ids, 1, size, asyncio.ensure_future(work)))

    def take_burst(self, burst: Publishes, work: "asyncio.Future[list[int | None]]") -> None:
        """Handle messages that came together; `work` gives the code of each."""
        count = len(burst.payloads)
        self._wait_for(_Handled(burst.packet_ids, count, burst.size + _KNOWN_LENGTH * count, work))

    def _wait_for(self, handled: _Handled) -> None:
        self._waiting.append(handled)
        self._waiting_count += handled.count
        self._waiting_bytes += handled.size
        self._budget.used += handled.size
        self.unacknowledged += len(handled.packet_ids)
        handled.answer.add_done_callback(self._handled)

    def hold(self) -> None:
        """Take no more packets until `release`; what has arrived is kept."""
        self._is_held = True

    def release(self) -> None:
        self._is_held = False
        self._loop.call_soon(self.read_on)

    def cancel_waiting(self) -> list[asyncio.Future[Any]]:
        """Cancel what is being handled; returns the futures, to be awaited."""
        futures = [handled.answer for handled in self._waiting]
        for future in futures:
            future.cancel()
        return futures

    # asyncio.BufferedProtocol: a Protocol would have 256 KiB allocated for every read, which costs more than the read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_at_s = self._loop.time()
        self._read(bytes(self._buffer[:nbytes]))

    def pause_writing(self) -> None:
        self.is_writing_paused = True

    def resume_writing(self) -> None:
        self.is_writing_paused = False
        self.read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost(exc)

    # Reading

    def _read(self, data: bytes) -> None:
        if self._must_wait():
            self._reader.keep(data)
            self._pause_reading()
            return
        try:
            self._take_packets(data)
        except ProtocolError as error:
            self.on_error(error)
        if self._must_wait():
            self._pause_reading()

    def _take_packets(self, data: bytes) -> None:
        """Those that are whole, as long as there is room."""
        self._reader.together = self._room()
        burst = self._reader.begin(data)
        if burst is not None:
            self.on_packet(burst)
            data = data[burst.size :]
            if not data:
                return
            if self._must_wait():
                self._reader.keep(data)
                return
            self._reader.together = self._room()
        packets = self._reader.feed(data)
        try:
            for packet in packets:
                self.on_packet(packet)
                if self._must_wait():
                    break
                self._reader.together = self._room()
        finally:
            packets.close()

    def _room(self) -> int:
        """How many messages more may be handled at this time, if none is larger than those of a burst."""
        if not self._takes_bursts:
            return 1
        left = min(self._limits.max_waiting_bytes - self._waiting_bytes, self._budget.most - self._budget.used)
        return min(self._limits.max_waiting - self._waiting_count, left // (MOST_IN_BURST + _KNOWN_LENGTH)) + 1

    def _must_wait(self) -> bool:
        limits = self._limits
        return (
            self._waiting_count > limits.max_waiting
            or self._waiting_bytes > limits.max_waiting_bytes
            or self._is_held
            or self.is_writing_paused
            or (self._budget.used > self._budget.most and bool(self._waiting))
            or self._transport is None
            or self._transport.is_closing()
        )

    def _pause_reading(self) -> None:
        if not self._is_reading_paused and self.is_open and self._transport is not None:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def read_on(self) -> None:
        """Take packets again once there is room: first those that had arrived, then the socket's."""
        if not self._is_reading_paused or self._must_wait() or self._transport is None:
            return
        self._read(b"")
        if not self._must_wait():
            self._is_reading_paused = False
            self._transport.resume_reading()

    # Acknowledging

    def _handled(self, _future: "asyncio.Future[Any]") -> None:
        if not self._is_settling:  # all that one commit finished are answered in one write
            self._is_settling = True
            self._loop.call_soon(self.settle)

    def settle(self) -> None:
        """Acknowledge, in order, what has been handled; of what follows a message that was not kept, nothing."""
        self._is_settling = False
        acks: list[bytes] = []
        is_unstored = False
        while self._waiting and self._waiting[0].answer.done():
            handled = self._waiting.popleft()
            self._waiting_count -= handled.count
            self._waiting_bytes -= handled.size
            self._budget.used -= handled.size
            self.unacknowledged -= len(handled.packet_ids)
            if handled.answer.cancelled():
                continue
            error = handled.answer.exception()
            if error is not None:
                self.on_failure(error)
            elif not is_unstored:
                is_unstored = self._acknowledge(handled, acks)
        if acks:
            self.send(b"".join(acks))
        if is_unstored and self.is_open:
            self.on_unstored()
        self.read_on()

    def _acknowledge(self, handled: _Handled, acks: list[bytes]) -> bool:
        """Add the PUBACKs. True if a message was not kept: nothing may follow it. QoS 0 is not left with anybody."""
        codes = handled.codes()
        if codes.count(0) == len(codes):
            acks.append(encode_pubacks(handled.packet_ids))
            return False
        for packet_id, code in zip(handled.packet_ids, codes, strict=False):
            if code is None:
                return True
            acks.append(encode_puback(int.from_bytes(packet_id, "big"), code, self.version))
        return False
