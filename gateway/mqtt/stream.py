"""Socket buffers to packets: takes whatever a read returned, yields every whole packet in it, keeps the rest.

A short PUBLISH is decoded in place, because it is nearly all that a busy gateway sees; everything else goes to decode.
"""

from collections.abc import Generator

from gateway.mqtt.codes import PACKET_TOO_LARGE, PROTOCOL_ERROR
from gateway.mqtt.decode import decode
from gateway.mqtt.errors import ProtocolError
from gateway.mqtt.packet import V5, V311, Connect, Packet, Publish

_STRANGER_BYTES = 16_384  # of the CONNECT of somebody we do not know yet
_TOPICS_KEPT = 64  # checked topics remembered per connection


class PacketReader:
    """One direction of one connection.

    version          V311, V5, or None for a server that has yet to see CONNECT
    max_packet_size  whole packets above it, header included, are refused before they are collected; a CONNECT that a
                     server waits for is held to 16 KiB
    """

    def __init__(self, *, version: int | None, max_packet_size: int) -> None:
        self.version = version
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

    def feed(self, data: bytes) -> Generator[Packet, None, None]:
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
                if header & 0xF4 == 0x30 and self.version is not None:  # PUBLISH of QoS 0 or 1
                    packet = self._publish(header, data, start, end)
                yield self._decode(header, data[start:end]) if packet is None else packet
        finally:
            self._rest = bytearray(data[at:])

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
        if len(self._topics) >= _TOPICS_KEPT:
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
