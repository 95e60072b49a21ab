"""Socket buffers to packets: takes whatever a read returned, yields every whole packet in it, keeps the rest.

A short PUBLISH is decoded in place, because it is nearly all that a busy gateway sees, and many of them together if
their taker can do with that; everything else goes to decode.
"""

import struct
from collections.abc import Generator, Sequence
from functools import lru_cache

from gateway.mqtt.codes import PACKET_TOO_LARGE, PROTOCOL_ERROR
from gateway.mqtt.decode import decode
from gateway.mqtt.errors import ProtocolError
from gateway.mqtt.packet import V5, V311, Connect, Packet, Puback, Publish, Publishes

_STRANGER_BYTES = 16_384  # of the CONNECT of somebody we do not know yet
TOPICS_KEPT = 64  # checked topics remembered per connection
MOST_IN_BURST = 1_024  # bytes of a packet that comes with others
_PUBACK = 0x40
_NO_ID = b"\0\0"  # which none may have
_AT_ONCE = 16  # packets looked at for being alike; what is not is looked at again
_PUBLISH = 0x32  # of QoS 1, for the first time, not retained


def _alike(
    data: bytes, at: int, head: bytes, length: int, above_id: int, most: int
) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Packet ids and payloads of the PUBLISHes from `at` on that have this length and begin with `head`.

    above_id  from the packet id to the payload: its 2 bytes, and in MQTT 5 the length of the properties, which is 0
    """
    if most == 1 or not data.startswith(head, at + length):  # the next is from another: mostly so behind a broker
        after = at + len(head)
        id_ = data[after : after + 2]
        is_usual = id_ != _NO_ID and not (above_id == 3 and data[after + 2])
        return ((id_,), (data[after + above_id : at + length],)) if is_usual else ((), ())
    packets = _packets(len(head), above_id - 2, length - len(head) - above_id)
    ids: list[bytes] = []
    bodies: list[bytes] = []
    while len(ids) < most:
        count = min(most - len(ids), _AT_ONCE)
        heads, some_ids, properties, some_bodies = zip(
            *packets.iter_unpack(data[at : at + count * length]), strict=True
        )
        at += count * length
        if heads.count(head) == count and not any(map(any, properties)) and _NO_ID not in some_ids:
            ids += some_ids
            bodies += some_bodies
            continue
        rows = zip(heads, properties, some_ids, strict=True)
        usual = next(place for place, (one, told, id_) in enumerate(rows) if one != head or any(told) or id_ == _NO_ID)
        return ids + list(some_ids[:usual]), bodies + list(some_bodies[:usual])
    return ids, bodies


@lru_cache(maxsize=1024)
def _packets(head: int, properties: int, body: int) -> struct.Struct:
    return struct.Struct(f"{head}s2s{properties}s{body}s")


class PacketReader:
    """One direction of one connection.

    version          V311, V5, or None for a server that has yet to see CONNECT
    max_packet_size  whole packets above it, header included, are refused before they are collected; a CONNECT that a
                     server waits for is held to 16 KiB
    topics_kept      how many topics it remembers
    together         most messages that may come as one `Publishes`; may change between two packets
    """

    def __init__(self, *, version: int | None, max_packet_size: int, topics_kept: int = TOPICS_KEPT) -> None:
        self.version = version
        self.together = 1
        self._topics_kept = topics_kept
        self._max_packet_size = max_packet_size
        self._rest = bytearray()
        self._wanted = 0  # bytes of the packet that `_rest` begins, once known; spares parsing at every crumb
        self._topics: dict[bytes, str] = {}

    @property
    def bytes_waiting(self) -> int:
        """Bytes of packets not yet taken out."""
        return len(self._rest)

    def keep(self, data: bytes) -> None:
        """Put `data` behind what waits, without looking at it."""
        self._rest += data

    def feed(self, data: bytes) -> Generator[Packet | Publishes, None, None]:
        """Yield the packets that are complete now; close the generator early and the others wait for the next call.

        Raises  ProtocolError at the first wrong packet, after those before it were yielded. Nothing can follow it.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
        size = len(data)
        at = self._wanted = 0
        try:
            while size - at >= 2:
                header = data[at]
                if header == _PUBLISH and self.together > 1:
                    burst = self._burst(data, at)
                    if burst is not None:
                        at += burst.size
                        yield burst
                        continue
                length = data[at + 1]
                start = at + 2
                if length > 127:
                    found = self._long_length(data, at)
                    if found is None:
                        return
                    length, start = found
                end = start + length
                most = self._max_packet_size if self.version else min(self._max_packet_size, _STRANGER_BYTES)
                if end - at > most:
                    detail = f"{end - at} bytes, at most {most}"
                    raise ProtocolError("packet_too_large", detail, code=PACKET_TOO_LARGE)
                if end > size:
                    self._check_early(header)
                    self._wanted = end - at
                    return
                at = end
                packet: Packet | None = None
                if header == _PUBACK and length == 2 and self.version is not None and (data[start] or data[start + 1]):
                    packet = Puback(data[start] << 8 | data[start + 1])
                elif header & 0xF4 == 0x30 and self.version is not None:  # PUBLISH of QoS 0 or 1
                    packet = self._publish(header, data, start, end)
                yield self._decode(header, data[start:end]) if packet is None else packet
        finally:
            self._rest = bytearray(data[at:])

    def begin(self, data: bytes) -> Publishes | None:
        """The messages that `data` begins with, if they may come together; `feed` what is behind them.

        Spares setting up `feed` where it would yield this alone, as it mostly would.
        """
        if self._rest or self.version is None or self.together < 2 or not data or data[0] != _PUBLISH:
            return None
        return self._burst(data, 0)

    def _burst(self, data: bytes, began: int) -> Publishes | None:
        """The short PUBLISHes from `began` on that have nothing unusual."""
        topics: list[str] = []
        payloads: list[bytes] = []
        packet_ids: list[bytes] = []
        size, most, at = len(data), self.together, began
        above_id = 3 if self.version == V5 else 2  # MQTT 5 has the length of its properties here, which must be 0
        while len(payloads) < most:
            found = self._head(data, at)
            if found is None:
                break
            head, topic, length = found
            alike, bodies = _alike(data, at, head, length, above_id, min(most - len(payloads), (size - at) // length))
            if not alike:
                break
            topics += [topic] * len(alike)
            packet_ids += alike
            payloads += bodies
            at += length * len(alike)
        return Publishes(topics, payloads, packet_ids, at - began) if payloads else None

    def _head(self, data: bytes, at: int) -> tuple[bytes, str, int] | None:
        """A PUBLISH from its first byte to the end of its topic, the topic, the length of the packet; None if it is
        not whole, not short, not of this kind, or its topic is not known."""
        start = at + 2
        if len(data) < at + 6 or data[at] != _PUBLISH:
            return None
        length = data[at + 1]
        if length > 127:
            if data[start] > 127:
                return None
            length, start = length & 0x7F | data[start] << 7, start + 1
        after = start + 2 + (data[start] << 8 | data[start + 1])
        topic = self._topics.get(data[start + 2 : after])
        whole = start - at + length
        least = after - at + (3 if self.version == V5 else 2)
        if topic is None or not least <= whole <= min(MOST_IN_BURST, self._max_packet_size, len(data) - at):
            return None
        return data[at:after], topic, whole

    def _publish(self, header: int, data: bytes, start: int, end: int) -> Publish | None:
        """The common case without a call per field. Returns None for anything unusual: decode knows what is wrong."""
        body = start + 2
        after = body + (data[start] << 8 | data[start + 1]) if body <= end else end + 1
        topic = self._topics.get(data[body:after])
        at = after + 2 if header & 2 else after
        if topic is None or at > end:
            return None
        packet_id = 0
        if header & 2:
            packet_id = data[after] << 8 | data[after + 1]
            if not packet_id:
                return None
        elif header & 8:
            return None
        if self.version == V5:
            if at >= end or data[at]:
                return None
            at += 1
        return Publish(topic, data[at:end], header >> 1 & 1, header & 1 == 1, header & 8 == 8, packet_id)

    def _decode(self, header: int, body: bytes) -> Packet:
        if self.version is None:
            if header >> 4 != 1:
                raise ProtocolError("connect_expected", f"packet type {header >> 4} came first", code=PROTOCOL_ERROR)
            packet = decode(header, body, V311)
            assert isinstance(packet, Connect)
            self.version = packet.version
            return packet
        packet = decode(header, body, self.version)
        if isinstance(packet, Publish) and packet.topic:
            self._remember(packet.topic)
        return packet

    def _remember(self, topic: str) -> None:
        if len(self._topics) >= self._topics_kept:
            self._topics.clear()
        self._topics[topic.encode()] = topic

    def _check_early(self, header: int) -> None:
        """Refuse a stranger who is no MQTT client before its packet is complete."""
        if self.version is None and header != 0x10:
            raise ProtocolError("connect_expected", f"first byte 0x{header:02x}", code=PROTOCOL_ERROR)

    @staticmethod
    def _long_length(data: bytes, at: int) -> tuple[int, int] | None:
        """(remaining length, start of the body) for a length of 2 to 4 bytes; None while bytes are missing."""
        value = shift = 0
        for position in range(at + 1, at + 5):
            if position >= len(data):
                return None
            byte = data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if not byte:
                    raise ProtocolError("bad_varint", "a remaining length not in its shortest form")
                return value, position + 1
            shift += 7
        raise ProtocolError("bad_varint", "a remaining length of more than four bytes")
