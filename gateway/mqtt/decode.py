"""The body of one control packet to its object, both versions. Strict: only ProtocolError comes out.

Sources: OASIS MQTT 3.1.1 and 5.0, sections 3.1 to 3.15. What a packet may say in which direction is the session's
business.
"""

from collections.abc import Callable

from gateway.mqtt.codes import PROTOCOL_ERROR, UNSUPPORTED_VERSION
from gateway.mqtt.errors import ProtocolError
from gateway.mqtt.packet import (
    V5,
    V311,
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
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import Place, Properties, read_properties
from gateway.mqtt.wire import (
    check_topic_filter,
    read_binary,
    read_byte,
    read_text,
    read_u16,
    topic_name_of,
)

_FLAGS = {6: 2, 8: 2, 10: 2}  # PUBREL, SUBSCRIBE, UNSUBSCRIBE; PUBLISH has its own; 0 elsewhere


def decode(header: int, body: bytes, version: int) -> Packet:
    """Decode what follows the fixed header.

    header   the first byte of the packet
    body     exactly the bytes that the remaining length announced
    version  V311 or V5; ignored for CONNECT, which carries its own
    """
    kind = header >> 4
    if kind == 3:
        return decode_publish(header & 0x0F, body, version)
    if kind not in _DECODERS or (kind == 15 and version == V311):
        raise ProtocolError("bad_type", f"packet type {kind}")
    if header & 0x0F != _FLAGS.get(kind, 0):
        raise ProtocolError("bad_flags", f"flags {header & 0x0F} in packet type {kind}")
    return _DECODERS[kind](body, version)


def decode_publish(flags: int, body: bytes, version: int) -> Publish:
    qos = flags >> 1 & 3
    if qos == 3 or flags & 0x0E == 0x08:
        raise ProtocolError("bad_flags", "a PUBLISH of QoS 3, or a repeated one of QoS 0")
    raw, at = read_binary(body, 0)
    topic = topic_name_of(raw)
    packet_id, at = _read_packet_id(body, at) if qos else (0, at)
    properties: Properties | None = None
    if version == V5:
        properties, at = read_properties(body, at, "publish")
    if not topic and not (properties and "topic_alias" in properties):
        raise ProtocolError("empty_topic", "a PUBLISH without a topic", code=PROTOCOL_ERROR)
    return Publish(topic, body[at:], qos, bool(flags & 1), bool(flags & 8), packet_id, properties or None)


def _read_packet_id(body: bytes, at: int) -> tuple[int, int]:
    packet_id, at = read_u16(body, at)
    if not packet_id:
        raise ProtocolError("packet_id_zero", "0 is no packet id", code=PROTOCOL_ERROR)
    return packet_id, at


def _read_properties(body: bytes, at: int, place: Place, version: int) -> tuple[Properties, int]:
    return read_properties(body, at, place) if version == V5 else (Properties(), at)


def _require_end(body: bytes, at: int) -> None:
    if at != len(body):
        raise ProtocolError("trailing_bytes", f"{len(body) - at} bytes behind the end of a packet")


def _connect(body: bytes, _version: int) -> Connect:
    name, at = read_text(body, 0)
    version, at = read_byte(body, at)
    if name != "MQTT" or version not in (V311, V5):
        raise ProtocolError("unsupported_version", f"protocol level {version}", code=UNSUPPORTED_VERSION)
    flags, at = read_byte(body, at)
    has_will = flags & 4
    if flags & 1 or flags & 0x18 == 0x18 or (not has_will and flags & 0x38):
        raise ProtocolError("bad_connect_flags", f"flags 0x{flags:02x}")
    if version == V311 and flags & 0xC0 == 0x40:
        raise ProtocolError("bad_connect_flags", "a password without a user name")
    keep_alive_s, at = read_u16(body, at)
    properties, at = _read_properties(body, at, "connect", version)
    client_id, at = read_text(body, at)
    will, at = _read_will(flags, body, at, version) if has_will else (None, at)
    username, at = read_text(body, at) if flags & 0x80 else (None, at)
    password, at = read_binary(body, at) if flags & 0x40 else (None, at)
    _require_end(body, at)
    return Connect(
        client_id=client_id,
        version=version,
        clean_start=bool(flags & 2),
        keep_alive_s=keep_alive_s,
        username=username,
        password=password,
        will=will,
        properties=properties,
    )


def _read_will(flags: int, body: bytes, at: int, version: int) -> tuple[Will, int]:
    properties, at = _read_properties(body, at, "will", version)
    raw, at = read_binary(body, at)
    payload, at = read_binary(body, at)
    topic = topic_name_of(raw)
    if not topic:
        raise ProtocolError("empty_topic", "a will without a topic", code=PROTOCOL_ERROR)
    will = Will(topic=topic, payload=payload, qos=flags >> 3 & 3, retain=bool(flags & 0x20), properties=properties)
    return will, at


def _connack(body: bytes, version: int) -> Connack:
    flags, at = read_byte(body, 0)
    code, at = read_byte(body, at)
    if flags & 0xFE:
        raise ProtocolError("bad_flags", "reserved flags of a CONNACK are set")
    if version == V5 and at == len(body):
        raise ProtocolError("connack_of_v311", f"the server answers in MQTT 3.1.1, return code {code}")
    properties, at = _read_properties(body, at, "connack", version)
    _require_end(body, at)
    return Connack(bool(flags), code, properties)


def _read_ack(body: bytes, version: int, place: Place) -> tuple[int, int, Properties | None]:
    packet_id, at = _read_packet_id(body, 0)
    if at == len(body):
        return packet_id, 0, None
    if version == V311:
        raise ProtocolError("trailing_bytes", "an acknowledgement of 3.1.1 holds a packet id and nothing else")
    code, at = read_byte(body, at)
    properties: Properties | None = None
    if at < len(body):
        properties, at = read_properties(body, at, place)
    _require_end(body, at)
    return packet_id, code, properties


def _puback(body: bytes, version: int) -> Puback:
    return Puback(*_read_ack(body, version, "puback"))


def _pubrec(body: bytes, version: int) -> Pubrec:
    return Pubrec(*_read_ack(body, version, "pubrec"))


def _pubrel(body: bytes, version: int) -> Pubrel:
    return Pubrel(*_read_ack(body, version, "pubrel"))


def _pubcomp(body: bytes, version: int) -> Pubcomp:
    return Pubcomp(*_read_ack(body, version, "pubcomp"))


def _subscribe(body: bytes, version: int) -> Subscribe:
    packet_id, at = _read_packet_id(body, 0)
    properties, at = _read_properties(body, at, "subscribe", version)
    found = []
    while at < len(body):
        topic_filter, at = read_text(body, at)
        options, at = read_byte(body, at)
        check_topic_filter(topic_filter)
        found.append(_subscription(topic_filter, options, version))
    if not found:
        raise ProtocolError("empty_subscribe", "a SUBSCRIBE without a filter", code=PROTOCOL_ERROR)
    return Subscribe(packet_id, found, properties)


def _subscription(topic_filter: str, options: int, version: int) -> Subscription:
    qos, retain_handling = options & 3, options >> 4 & 3
    reserved = options & (0xC0 if version == V5 else 0xFC)
    if qos == 3 or reserved or retain_handling == 3:
        raise ProtocolError("bad_subscription_options", f"options 0x{options:02x}", code=PROTOCOL_ERROR)
    if options & 4 and topic_filter.startswith("$share/"):
        raise ProtocolError("bad_subscription_options", "no local on a shared subscription", code=PROTOCOL_ERROR)
    return Subscription(topic_filter, qos, bool(options & 4), bool(options & 8), retain_handling)


def _suback(body: bytes, version: int) -> Suback:
    packet_id, at = _read_packet_id(body, 0)
    properties, at = _read_properties(body, at, "suback", version)
    if at == len(body):
        raise ProtocolError("truncated", "a SUBACK without a reason code")
    return Suback(packet_id, list(body[at:]), properties)


def _unsubscribe(body: bytes, version: int) -> Unsubscribe:
    packet_id, at = _read_packet_id(body, 0)
    properties, at = _read_properties(body, at, "unsubscribe", version)
    found = []
    while at < len(body):
        topic_filter, at = read_text(body, at)
        check_topic_filter(topic_filter)
        found.append(topic_filter)
    if not found:
        raise ProtocolError("empty_subscribe", "an UNSUBSCRIBE without a filter", code=PROTOCOL_ERROR)
    return Unsubscribe(packet_id, found, properties)


def _unsuback(body: bytes, version: int) -> Unsuback:
    packet_id, at = _read_packet_id(body, 0)
    if version == V311:
        _require_end(body, at)
        return Unsuback(packet_id)
    properties, at = read_properties(body, at, "unsuback")
    if at == len(body):
        raise ProtocolError("truncated", "an UNSUBACK without a reason code")
    return Unsuback(packet_id, list(body[at:]), properties)


def _pingreq(body: bytes, _version: int) -> Pingreq:
    _require_end(body, 0)
    return Pingreq()


def _pingresp(body: bytes, _version: int) -> Pingresp:
    _require_end(body, 0)
    return Pingresp()


def _disconnect(body: bytes, version: int) -> Disconnect:
    if version == V311:
        _require_end(body, 0)
    return Disconnect(*_read_ending(body, "disconnect"))


def _auth(body: bytes, _version: int) -> Auth:
    return Auth(*_read_ending(body, "auth"))


def _read_ending(body: bytes, place: Place) -> tuple[int, Properties]:
    if not body:
        return 0, Properties()
    if len(body) == 1:
        return body[0], Properties()
    properties, at = read_properties(body, 1, place)
    _require_end(body, at)
    return body[0], properties


_DECODERS: dict[int, Callable[[bytes, int], Packet]] = {
    1: _connect,
    2: _connack,
    4: _puback,
    5: _pubrec,
    6: _pubrel,
    7: _pubcomp,
    8: _subscribe,
    9: _suback,
    10: _unsubscribe,
    11: _unsuback,
    12: _pingreq,
    13: _pingresp,
    14: _disconnect,
    15: _auth,
}
