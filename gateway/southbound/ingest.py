"""What listener and broker subscription share: one message or a burst of them in, the PUBACKs' codes out.

All that arrives in one turn of the event loop is handed to the intake together, and the codes are known when it is on
disk. Who a device is, is the topic level; whether it may be used, the peer's.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, cast

from gateway.intake import Burst, Intake, Message, Verdict
from gateway.mqtt import codes
from gateway.mqtt.access import Peer
from gateway.mqtt.packet import Publish, Publishes
from gateway.mqtt.properties import Properties
from gateway.senml import JSON_TYPE
from gateway.southbound.rhythm import Rhythm
from gateway.store import StoreError
from gateway.trust import REFUSALS
from gateway.uplinks import Uplink

_FRAME_TOPIC = re.compile(r"n/[0-9a-f]{4}/up")
_SENML_TOPIC = re.compile(r"up/([^/]{1,128})/senml")
_LONGEST_FRAME = 255
_BUCKETS_KEPT = 4_096
_TOPICS_KEPT = 16_384
_AS_IN_A_BURST = frozenset(("content_type", "payload_format"))

# Refusals that are about who is speaking; every other is about what was said.
_NOT_AUTHORISED = frozenset(
    (
        "unknown_node",
        "no_session",
        "bad_tag",
        "replayed",
        "stale_epoch",
        "senml_device_name",
        "senml_claims_node",
        "senml_claims_other",
        "senml_too_many_devices",
        "senml_retained",
        *REFUSALS,
        *(f"senml_{reason}" for reason in REFUSALS),
    )
)

_AT_ONCE_S = 0.005  # for who waits: long enough for what is in the same socket buffer


class Ingest:
    """One message in, one reason code out. What listener and broker subscription share.

    count       called with the name of each counter that moves
    downlink    sends a node's answer: topic, payload
    """

    def __init__(
        self,
        intake: Intake,
        *,
        count: Callable[[str], None],
        downlink: Callable[[str, bytes], object],
        max_frames_per_s: float,
        now_s: Callable[[], float],
    ) -> None:
        self._intake = intake
        self._count = count
        self._downlink = downlink
        self._rate = FrameRate(max_frames_per_s)
        self._now_s = now_s
        self._rhythm = Rhythm()
        self._devices: dict[str, str | None] = {}  # by topic; None: it is no topic for SenML
        self._together: list[_Part] = []
        self._is_awaited = False  # one of these does nothing until it is answered
        self._submitting: set[asyncio.Task[None]] = set()

    def take(self, packet: Publish, peer: Peer) -> Awaitable[int | None]:
        """Hand one message to the intake; its PUBACK's code once it is stored, None if the sender must keep it."""
        device = self._device_of(packet.topic)
        if device is None:
            return self._take_other(packet, peer)
        done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        if not peer.is_private:
            done.set_result(self._refuse("mqtt_refused_plaintext", codes.NOT_AUTHORISED))
        elif not peer.may_speak_for(device):
            done.set_result(self._refuse("mqtt_refused_device", codes.NOT_AUTHORISED))
        else:
            speakers = {device: 1}
            if self._rhythm.is_any_waiting(speakers):
                self._is_awaited = True
            self._add(_Single(self._said(packet, peer, device), speakers, done))
        return done

    def take_burst(self, burst: Publishes, peer: Peer) -> "asyncio.Future[list[int | None]]":
        """The same of messages that came together: the code of each."""
        devices = self._devices_of(burst.topics)
        if devices is None or not peer.is_private:
            return asyncio.ensure_future(self._take_each(burst, peer))
        speakers = Counter(devices) if devices.count(devices[0]) < len(devices) else {devices[0]: len(devices)}
        if not all(map(peer.may_speak_for, speakers)):
            return asyncio.ensure_future(self._take_each(burst, peer))
        done: asyncio.Future[list[int | None]] = asyncio.get_running_loop().create_future()
        if self._rhythm.is_any_waiting(speakers):
            self._is_awaited = True
        self._add(_Many(self._burst(devices, burst.payloads, peer), speakers, done))
        return done

    async def _take_each(self, burst: Publishes, peer: Peer) -> list[int | None]:
        messages = zip(burst.topics, burst.payloads, burst.packet_ids, strict=True)
        packets = [Publish(topic, data, 1, packet_id=int.from_bytes(one, "big")) for topic, data, one in messages]
        return list(await asyncio.gather(*[self.take(packet, peer) for packet in packets]))

    def _devices_of(self, topics: Sequence[str]) -> list[str] | None:
        """The device of each topic; None if one of them carries something else."""
        first = self._device_of(topics[0])
        if topics.count(topics[0]) == len(topics):
            return None if first is None else [first] * len(topics)
        found = [self._device_of(topic) for topic in topics]
        return None if None in found else cast(list[str], found)

    def _device_of(self, topic: str) -> str | None:
        """Whose SenML a topic carries; None if it is no such topic."""
        if topic in self._devices:
            return self._devices[topic]
        if len(self._devices) >= _TOPICS_KEPT:
            self._devices.clear()
        senml = _SENML_TOPIC.fullmatch(topic)
        found = self._devices[topic] = senml[1] if senml else None
        return found

    async def _take_other(self, packet: Publish, peer: Peer) -> int | None:
        if _FRAME_TOPIC.fullmatch(packet.topic):
            return await self._take_frame(packet, peer)
        return self._refuse("mqtt_refused_topic", codes.NOT_AUTHORISED)

    def _add(self, part: "_Part") -> None:
        """All that arrives in one turn of the loop is submitted as one."""
        if not self._together:
            part.done.get_loop().call_soon(self._submit_together)
        self._together.append(part)

    def _submit_together(self) -> None:
        together, self._together = self._together, []
        within_s, self._is_awaited = (_AT_ONCE_S if self._is_awaited else None), False
        task = asyncio.get_running_loop().create_task(self._submit(together, within_s), name="southbound.mqtt.submit")
        self._submitting.add(task)
        task.add_done_callback(self._submitting.discard)

    async def _submit(self, together: "list[_Part]", within_s: float | None) -> None:
        """Every message gets its answer here, also when the intake fails: the connection tells its owner."""
        try:
            refused = await self._intake.submit_bursts([part.said for part in together], within_s=within_s)
        except StoreError:  # counted and logged where it happened; the sender keeps what it said
            refused = None
        except BaseException as error:
            for part in together:
                if not part.done.done():
                    part.done.set_exception(error) if isinstance(error, Exception) else part.done.cancel()
            if not isinstance(error, Exception):
                raise
            return
        finally:
            for part in together:
                self._rhythm.answered(part.speakers)
        for at, part in enumerate(together):
            if not part.done.done():
                part.answer(None if refused is None else refused[at])

    async def _take_frame(self, packet: Publish, peer: Peer) -> int | None:
        if packet.retain:
            return self._refuse("mqtt_retained_ignored", codes.NOT_AUTHORISED)
        if not 0 < len(packet.payload) <= _LONGEST_FRAME:
            return self._refuse("mqtt_refused_frame_size", codes.PAYLOAD_FORMAT_INVALID)
        if not self._rate.admits(peer.client_id):
            return self._refuse("mqtt_rate_limited", codes.QUOTA_EXCEEDED)
        verdict = await self._intake.submit(Uplink(frame=packet.payload, bearer="mqtt", received_at_s=self._now_s()))
        if verdict.downlink is not None and verdict.address is not None:
            self._downlink(f"n/{verdict.address:04x}/down", verdict.downlink)
        return _code_of(verdict)

    def _said(self, packet: Publish, peer: Peer, device: str) -> Burst | Message:
        """A message as the intake takes it: as a burst of one, unless something is said beside its payload."""
        told = packet.properties or Properties()
        is_plain = not (packet.retain or packet.dup) and told.keys() <= _AS_IN_A_BURST
        if is_plain and ("content_type" not in told or _is_json_as_told(told["content_type"], packet.payload)):
            return self._burst([device], [packet.payload], peer)
        record_ids = [value for name, value in told.get("user_properties", ()) if name == "record-id"]
        return Message(
            device=device,
            payload=packet.payload,
            content_type=told.get("content_type"),
            record_id=record_ids[0] if record_ids else None,
            received_at_s=self._now_s(),
            assurance=peer.assurance,
            retained=packet.retain,
            repeated=packet.dup,
        )

    def _burst(self, devices: Sequence[str], payloads: Sequence[bytes], peer: Peer) -> Burst:
        return Burst(devices=devices, payloads=payloads, received_at_s=self._now_s(), assurance=peer.assurance)

    def _refuse(self, counter: str, code: int) -> int:
        self._count(counter)
        return code


class _Single(NamedTuple):
    """One message on its way into a commit."""

    said: Burst | Message
    speakers: Mapping[str, int]
    done: "asyncio.Future[int | None]"

    def answer(self, refused: Sequence[str | None] | None) -> None:
        """Why it is refused; None: it is not stored."""
        self.done.set_result(None if refused is None else _code_for(refused[0]))


class _Many(NamedTuple):
    """Messages of one connection that came together, on their way into a commit."""

    said: Burst
    speakers: Mapping[str, int]
    done: "asyncio.Future[list[int | None]]"

    def answer(self, refused: Sequence[str | None] | None) -> None:
        """Why each is refused; None: none is stored."""
        if refused is None:
            self.done.set_result([None] * len(self.said.payloads))
        else:
            self.done.set_result([_code_for(one) for one in refused] if any(refused) else [0] * len(refused))


_Part = _Single | _Many


def _is_json_as_told(content_type: str, payload: bytes) -> bool:
    """Whether the payload would be read as JSON also if nobody said so."""
    return content_type == JSON_TYPE and payload[:1] == b"["


def _code_of(verdict: Verdict) -> int | None:
    return None if verdict.retry else _code_for(None if verdict.accepted else verdict.reason)


def _code_for(refused: str | None) -> int:
    if refused is None:
        return codes.SUCCESS
    return codes.NOT_AUTHORISED if refused in _NOT_AUTHORISED else codes.PAYLOAD_FORMAT_INVALID


class FrameRate:
    """How many sealed frames a sender may send: a bucket per client id, filled again by `per_s` frames a second."""

    def __init__(self, per_s: float, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock_s = clock_s
        self._buckets: dict[str, tuple[float, float]] = {}

    def admits(self, client_id: str) -> bool:
        now_s = self._clock_s()
        left, at_s = self._buckets.get(client_id, (self._per_s, now_s))
        left = min(self._per_s, left + (now_s - at_s) * self._per_s)
        if client_id not in self._buckets and len(self._buckets) >= _BUCKETS_KEPT:
            self._buckets.clear()
        self._buckets[client_id] = (left - 1 if left >= 1 else left, now_s)
        return left >= 1
