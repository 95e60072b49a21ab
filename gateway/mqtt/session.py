"""Our side of one connection to a broker, MQTT 5, QoS 1: publish and see the reason code, receive and acknowledge late.

A session ends with its connection; connecting again is the owner's job. Nothing is kept for sending again: a publish
that was not acknowledged raises, and the caller still has what it wanted to send.
"""

import asyncio
import collections
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.mqtt.codes import DISCONNECT_REASONS_BUSY, TOPIC_ALIAS_INVALID, name_of
from gateway.mqtt.connection import Connection, Limits
from gateway.mqtt.encode import encode, encode_publish
from gateway.mqtt.errors import PacketError, ProtocolError, SessionError
from gateway.mqtt.packet import (
    V5,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Publishes,
    Suback,
    Subscribe,
    Subscription,
)
from gateway.mqtt.properties import Properties

OnMessage = Callable[[Publish], Awaitable[int | None]]
OnBurst = Callable[[Publishes], asyncio.Future[list[int | None]]]
_TOPICS_KEPT = 4_096  # all devices of a broker come over one connection
_HIGHEST_PACKET_ID = 65_535
_GOODBYE_S = 1.0
_WRITE_BYTES = 131_072  # collected for one write
_DEFAULT_RECEIVE_MAXIMUM = 65_535  # MQTT 5 section 3.2.2.3.3, if the broker names none


@dataclass(slots=True)
class _Sent:
    """A packet that the broker owes an answer."""

    answer: asyncio.Future[Any]  # the code of a PUBACK, or the codes of a SUBACK
    sent_at_s: float
    holds_slot: bool


class Session(Connection):
    """One connection. Made by client.open_session, which also ends it."""

    def __init__(
        self,
        *,
        on_message: OnMessage | None,
        on_burst: OnBurst | None,
        limits: Limits,
        keep_alive_s: float,
        ack_timeout_s: float,
    ) -> None:
        super().__init__(version=V5, limits=limits, takes_bursts=on_burst is not None, topics_kept=_TOPICS_KEPT)
        self._on_message = on_message
        self._on_burst = on_burst
        self._keep_alive_s = keep_alive_s
        self._ack_timeout_s = ack_timeout_s
        self.connack: asyncio.Future[Connack] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._sent: dict[int, _Sent] = {}
        self._last_packet_id = 0
        self._slots_taken = 0
        self._slot_waiters: collections.deque[asyncio.Future[None]] = collections.deque()
        self._pinged_at_s: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self.on_room: Callable[[], None] | None = None  # called when the socket takes more again
        self.session_present = False
        self.receive_maximum = _DEFAULT_RECEIVE_MAXIMUM
        self.maximum_packet_size: int | None = None

    async def publish(self, topic: str, payload: bytes, properties: Properties | None = None) -> int:
        """Publish at QoS 1 and return the reason code of the PUBACK; 0x80 and above is a refusal.

        Waits while the broker's Receive Maximum is used up; calls are sent in the order they were made.
        Raises  SessionError if the connection ended first (whether the broker has the message is then unknown);
                PacketError if the message is larger than the broker takes, or its topic is not one
        """
        await self._take_slot()
        return await self._publish(topic, payload, properties)

    def publish_soon(self, topic: str, payload: bytes, properties: Properties | None = None) -> asyncio.Future[int]:
        """The same without waiting for room: for callers who looked at `room` first. The future is the reason code.

        All that is published in one turn of the event loop is one write. Raises as `publish` does.
        """
        self._require_open()
        self._slots_taken += 1
        return self._publish(topic, payload, properties)

    def _publish(self, topic: str, payload: bytes, properties: Properties | None) -> asyncio.Future[int]:
        """With a slot taken, which is given back if the message cannot be sent."""
        try:
            self._require_open()
            packet_id = self._new_packet_id()
            data = encode_publish(Publish(topic, payload, 1, packet_id=packet_id, properties=properties), V5)
            if self.maximum_packet_size and len(data) > self.maximum_packet_size:
                raise PacketError(f"{len(data)} bytes; the broker takes at most {self.maximum_packet_size}")
        except BaseException:
            self._free_slot()
            raise
        answer: asyncio.Future[int] = self._loop.create_future()
        self._sent[packet_id] = _Sent(answer, self._loop.time(), True)
        if not self._outgoing:
            self._loop.call_soon(self._write_out)
        self._outgoing.append(data)
        self._outgoing_bytes += len(data)
        return answer

    @property
    def room(self) -> int:
        """Messages that may be published at this moment: what Receive Maximum and the socket leave."""
        return self.receive_maximum - self._slots_taken if self._has_slot() and not self._closed.done() else 0

    @property
    def oldest_sent_at_s(self) -> float | None:
        """When the oldest packet without an answer was sent, by the loop's clock."""
        oldest = next(iter(self._sent.values()), None)
        return oldest.sent_at_s if oldest else None

    def _write_out(self) -> None:
        data, self._outgoing, self._outgoing_bytes = b"".join(self._outgoing), [], 0
        self.send(data)
        self._make_room_known()

    def publish_unacknowledged(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0: written, and no more is known. Raises SessionError if the connection has ended."""
        self._require_open()
        self.send(encode_publish(Publish(topic, payload), V5))

    async def subscribe(self, topic_filters: Sequence[str], *, qos: int = 1) -> list[int]:
        """Subscribe; return the broker's code per filter: the QoS granted, or 0x80 and above. Raises SessionError."""
        self._require_open()
        packet_id = self._new_packet_id()
        packet = Subscribe(packet_id, [Subscription(one, qos) for one in topic_filters])
        return await self._ask(packet_id, encode(packet, V5))

    async def wait_closed(self) -> None:
        """Return never, or raise the SessionError that ended the connection."""
        await asyncio.shield(self._closed)

    @property
    def in_flight(self) -> int:
        """Messages published and not yet acknowledged."""
        return self._slots_taken

    async def start(self, connect: Connect) -> Connack:
        """Send CONNECT, wait for the answer, keep what it says. Raises SessionError if the connection ends instead."""
        self.send(encode(connect, V5))
        answer = await asyncio.shield(self.connack)
        told = answer.properties
        self.session_present = answer.session_present
        self.receive_maximum = told.get("receive_maximum", _DEFAULT_RECEIVE_MAXIMUM)
        self.maximum_packet_size = told.get("maximum_packet_size")
        self._keep_alive_s = told.get("server_keep_alive_s", self._keep_alive_s)
        if not answer.reason_code:
            self._watch_link()
        return answer

    async def stop(self) -> None:
        """Send DISCONNECT if the connection stands, and return when no task of ours runs any more."""
        self.settle()  # what is done is acknowledged before we go
        last_words = encode(Disconnect(), V5) if self.connack.done() else b""
        self._fail(SessionError("closed", "we closed the connection"), last_words=last_words)
        waiting = self.cancel_waiting()
        await asyncio.gather(*waiting, return_exceptions=True)
        if self._transport is not None:
            try:
                await asyncio.wait((self._gone,), timeout=_GOODBYE_S)
            finally:
                self._transport.abort()

    # Sending

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # What waits, waits with us, where an alarm can still go first; not behind megabytes in the kernel.
            with contextlib.suppress(AttributeError, OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _WRITE_BYTES)

    async def _take_slot(self) -> None:
        self._require_open()
        if self._has_slot() and not self._slot_waiters:
            self._slots_taken += 1
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._slot_waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._free_slot()
            raise

    def _has_slot(self) -> bool:
        is_full = self.is_writing_paused or self._outgoing_bytes >= _WRITE_BYTES
        return self._slots_taken < self.receive_maximum and not is_full

    def _free_slot(self) -> None:
        self._slots_taken -= 1
        self._hand_out_slots()

    def _make_room_known(self) -> None:
        if self.is_writing_paused:
            return
        self._hand_out_slots()
        if self.on_room is not None:
            self.on_room()

    def _hand_out_slots(self) -> None:
        while self._slot_waiters and self._has_slot():
            waiter = self._slot_waiters.popleft()
            if not waiter.done():
                self._slots_taken += 1
                waiter.set_result(None)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._make_room_known()

    def _new_packet_id(self) -> int:
        packet_id = self._last_packet_id
        while True:
            packet_id = packet_id % _HIGHEST_PACKET_ID + 1
            if packet_id not in self._sent:
                self._last_packet_id = packet_id
                return packet_id

    async def _ask(self, packet_id: int, data: bytes) -> list[int]:
        """Send and wait for the answer. Cancelled while waiting, the packet id stays taken until the answer comes."""
        self._require_open()
        answer: asyncio.Future[list[int]] = self._loop.create_future()
        self._sent[packet_id] = _Sent(answer, self._loop.time(), False)
        self.send(data)
        return await answer

    def _require_open(self) -> None:
        if self._closed.done():
            error = self._closed.exception()
            assert error is not None
            raise error

    # Receiving

    def on_packet(self, packet: Packet | Publishes) -> None:
        match packet:
            case Publishes() if self._on_burst is not None:
                self.take_burst(packet, self._on_burst(packet))
            case Publish():
                self._on_publish(packet)
            case Puback():
                self._on_answer(packet.packet_id, [packet.reason_code])
            case Suback():
                self._on_answer(packet.packet_id, packet.reason_codes)
            case Pingresp():
                pass
            case Connack() if not self.connack.done():
                self.connack.set_result(packet)
            case Disconnect():
                state = "busy" if packet.reason_code in DISCONNECT_REASONS_BUSY else "closed"
                reason = packet.properties.get("reason_string", "")
                self._fail(SessionError(state, f"the broker disconnected us: {name_of(packet.reason_code)} {reason}"))
            case _:
                raise ProtocolError("unexpected_packet", type(packet).__name__)

    def _on_publish(self, packet: Publish) -> None:
        if packet.properties and "topic_alias" in packet.properties:
            raise ProtocolError("topic_alias", "we announced none", code=TOPIC_ALIAS_INVALID)
        if packet.qos == 2 or self._on_message is None:
            raise ProtocolError("unexpected_packet", f"a PUBLISH of QoS {packet.qos}, which we did not subscribe to")
        # MQTT 5 would have us disconnect above our Receive Maximum. mosquitto 2.0 exceeds it as soon as it has a queue,
        # so it would come back with the same for ever; it is slowed down instead (Connection stops reading).
        self.take(packet, self._on_message(packet))

    def _on_answer(self, packet_id: int, codes: list[int]) -> None:
        sent = self._sent.pop(packet_id, None)
        if sent is None:
            raise ProtocolError("unknown_packet_id", f"an answer to packet {packet_id}, which we did not send")
        if not sent.answer.done():
            sent.answer.set_result(codes[0] if sent.holds_slot else codes)
        if sent.holds_slot:
            self._free_slot()

    # Ending

    def on_error(self, error: ProtocolError) -> None:
        if error.reason == "connack_of_v311" and not self.connack.done():
            failure = SessionError("downgraded", "the broker speaks MQTT 3.1.1 only; it must speak MQTT 5")
        else:
            failure = SessionError("protocol_error", f"the broker sent what MQTT 5 forbids: {error}")
        self._fail(failure, last_words=encode(Disconnect(error.code), V5))

    def on_unstored(self) -> None:
        self._fail(SessionError("unstored", "a message could not be kept, so it is left with the broker"))

    def on_failure(self, error: BaseException) -> None:
        self._fail(error)

    def on_lost(self, error: Exception | None) -> None:
        if error:
            detail = f"the connection ended: {error}"
        elif self.connack.done():
            detail = "the broker closed the connection"
        else:
            detail = "the broker closed the connection instead of answering CONNECT; does it speak MQTT 5 on that port?"
        self._fail(SessionError("closed", detail))
        self._gone.set_result(None)

    def _fail(self, error: BaseException, *, last_words: bytes = b"") -> None:
        if self._closed.done():
            return
        if self._watch is not None:
            self._watch.cancel()
        owed: list[asyncio.Future[Any]] = [sent.answer for sent in self._sent.values()]
        owed += [self._closed, self.connack, *self._slot_waiters]
        for future in owed:
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits still gets it; nobody waiting is no news
        self.end(last_words)

    # Watching the link

    def _watch_link(self) -> None:
        """Look twice per keep-alive time: a dead link is found within one, a missing acknowledgement in its own."""
        now_s = self._loop.time()
        step_s = min(self._keep_alive_s or self._ack_timeout_s, self._ack_timeout_s) / 2
        oldest = next(iter(self._sent.values()), None)
        if self._is_reading_paused:  # we do not listen, so silence says nothing
            self.heard_at_s = now_s
        if self._pinged_at_s is not None and self.heard_at_s <= self._pinged_at_s:
            waited_s = now_s - self._pinged_at_s
            self._fail(
                SessionError("silent", f"nothing from the broker for {waited_s:.1f} s, not even the answer to a ping")
            )
        elif oldest is not None and now_s - oldest.sent_at_s > self._ack_timeout_s:
            detail = f"the broker lives but has acknowledged nothing for {self._ack_timeout_s:.0f} s"
            self._fail(SessionError("unacknowledged", detail))
        else:
            self._pinged_at_s = None
            if self._keep_alive_s and now_s - min(self.heard_at_s, self.sent_at_s) >= step_s * 0.9:
                self.send(Pingreq.BYTES)
                self._pinged_at_s = now_s
            self._watch = self._loop.call_later(step_s, self._watch_link)
