"""Control packets to bytes, both versions. Raises PacketError where MQTT has no room for what was asked."""

from collections.abc import Callable, Sequence
from typing import Any

from gateway.mqtt.codes import RETURN_CODES_V311
from gateway.mqtt.errors import PacketError
from gateway.mqtt.packet import (
    V5,
    V311,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import Properties, write_properties
from gateway.mqtt.wire import write_binary, write_text, write_topic_name, write_varint

_ACK_HEADERS = {Puback: 0x40, Pubrec: 0x50, Pubrel: 0x62, Pubcomp: 0x70}


def encode(packet: Packet, version: int) -> bytes:
    """The bytes of one packet. `version` is that of the connection; a CONNECT carries its own."""
    return _ENCODERS[type(packet)](packet, version)


def encode_puback(packet_id: int, reason_code: int, version: int) -> bytes:
    """A PUBACK without properties: what a listener sends most."""
    if reason_code and version == V5:
        return bytes((0x40, 3, packet_id >> 8, packet_id & 0xFF, reason_code))
    return bytes((0x40, 2, packet_id >> 8, packet_id & 0xFF))


def encode_pubacks(packet_ids: Sequence[bytes]) -> bytes:
    """PUBACKs of success for messages whose packet ids are these pairs of bytes; both versions write them alike."""
    return b"\x40\x02" + b"\x40\x02".join(packet_ids) if packet_ids else b""


def encode_publish(packet: Publish, version: int) -> bytes:
    """A PUBLISH; the topic must hold no wildcard, and a packet id belongs to QoS 1 and 2."""
    if bool(packet.qos) is not bool(packet.packet_id):
        raise PacketError(f"QoS {packet.qos} with packet id {packet.packet_id}")
    header = 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain
    parts = [write_topic_name(packet.topic)]
    if packet.qos:
        parts.append(_packet_id(packet.packet_id))
    if version == V5:
        parts.append(write_properties(packet.properties))
    parts.append(packet.payload)
    return _frame(header, b"".join(parts))


def _frame(header: int, body: bytes) -> bytes:
    return bytes((header,)) + write_varint(len(body)) + body


def _packet_id(packet_id: int) -> bytes:
    if not 1 <= packet_id <= 0xFFFF:
        raise PacketError(f"packet id {packet_id} does not lie in 1 to 65535")
    return packet_id.to_bytes(2, "big")


def _properties(properties: Properties | None, version: int) -> bytes:
    return write_properties(properties) if version == V5 else b""


def _connect(packet: Connect, _version: int) -> bytes:
    version = packet.version
    if packet.password is not None and packet.username is None and version == V311:
        raise PacketError("MQTT 3.1.1 has no password without a user name")
    will = packet.will
    flags = (packet.username is not None) << 7 | (packet.password is not None) << 6 | packet.clean_start << 1
    if will is not None:
        flags |= will.retain << 5 | will.qos << 3 | 4
    parts = [write_text("MQTT"), bytes((version, flags)), packet.keep_alive_s.to_bytes(2, "big")]
    parts += [_properties(packet.properties, version), write_text(packet.client_id)]
    if will is not None:
        parts.append(_will(will, version))
    if packet.username is not None:
        parts.append(write_text(packet.username))
    if packet.password is not None:
        parts.append(write_binary(packet.password))
    return _frame(0x10, b"".join(parts))


def _will(will: Will, version: int) -> bytes:
    return _properties(will.properties, version) + write_topic_name(will.topic) + write_binary(will.payload)


def _connack(packet: Connack, version: int) -> bytes:
    code = packet.reason_code
    if version == V311 and code > 5:
        code = RETURN_CODES_V311.get(code, 3)
    return _frame(0x20, bytes((packet.session_present, code)) + _properties(packet.properties, version))


def _ack(packet: Ack, version: int) -> bytes:
    body = _packet_id(packet.packet_id)
    if version == V5 and (packet.reason_code or packet.properties):
        body += bytes((packet.reason_code,))
        if packet.properties:
            body += write_properties(packet.properties)
    return _frame(_ACK_HEADERS[type(packet)], body)


def _subscribe(packet: Subscribe, version: int) -> bytes:
    parts = [_packet_id(packet.packet_id), _properties(packet.properties, version)]
    for one in packet.subscriptions:
        options = one.retain_handling << 4 | one.retain_as_published << 3 | one.no_local << 2 | one.qos
        parts += [write_text(one.topic_filter), bytes((options if version == V5 else one.qos,))]
    return _frame(0x82, b"".join(parts))


def _suback(packet: Suback, version: int) -> bytes:
    codes = packet.reason_codes
    if version == V311:
        codes = [code if code < 0x80 else 0x80 for code in codes]
    return _frame(0x90, _packet_id(packet.packet_id) + _properties(packet.properties, version) + bytes(codes))


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    head = _packet_id(packet.packet_id) + _properties(packet.properties, version)
    return _frame(0xA2, head + b"".join(write_text(one) for one in packet.topic_filters))


def _unsuback(packet: Unsuback, version: int) -> bytes:
    body = _packet_id(packet.packet_id)
    if version == V5:
        body += write_properties(packet.properties) + bytes(packet.reason_codes)
    return _frame(0xB0, body)


def _disconnect(packet: Disconnect, version: int) -> bytes:
    return _ending(0xE0, packet, version)


def _auth(packet: Auth, version: int) -> bytes:
    return _ending(0xF0, packet, version)


def _ending(header: int, packet: Disconnect | Auth, version: int) -> bytes:
    if version == V311 or not (packet.reason_code or packet.properties):
        return bytes((header, 0))
    body = bytes((packet.reason_code,))
    if packet.properties:
        body += write_properties(packet.properties)
    return _frame(header, body)


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    Publish: encode_publish,
    Connect: _connect,
    Connack: _connack,
    Puback: _ack,
    Pubrec: _ack,
    Pubrel: _ack,
    Pubcomp: _ack,
    Subscribe: _subscribe,
    Suback: _suback,
    Unsubscribe: _unsubscribe,
    Unsuback: _unsuback,
    Pingreq: lambda _packet, _version: Pingreq.BYTES,
    Pingresp: lambda _packet, _version: Pingresp.BYTES,
    Disconnect: _disconnect,
    Auth: _auth,
}
