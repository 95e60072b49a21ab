"""Properties of MQTT 5 packets: bytes to a typed dictionary and back (MQTT 5 section 2.2.2, table 2-4).

A property that occurs twice, or in a packet where it has no business, is refused; user properties may repeat.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, cast

from gateway.mqtt.codes import PROTOCOL_ERROR
from gateway.mqtt.errors import PacketError, ProtocolError
from gateway.mqtt.wire import (
    read_binary,
    read_byte,
    read_text,
    read_u16,
    read_u32,
    read_varint,
    write_binary,
    write_text,
    write_varint,
)


class Properties(TypedDict, total=False):
    """What a packet says beside its fields. A key that is not there was not sent."""

    payload_format: int
    message_expiry_s: int
    content_type: str
    response_topic: str
    correlation_data: bytes
    subscription_ids: list[int]
    session_expiry_s: int
    assigned_client_id: str
    server_keep_alive_s: int
    authentication_method: str
    authentication_data: bytes
    request_problem_information: int
    will_delay_s: int
    request_response_information: int
    response_information: str
    server_reference: str
    reason_string: str
    receive_maximum: int
    topic_alias_maximum: int
    topic_alias: int
    maximum_qos: int
    retain_available: int
    user_properties: list[tuple[str, str]]
    maximum_packet_size: int
    wildcards_available: int
    subscription_ids_available: int
    shared_available: int


# The packets a property may be in. "will" stands for the will's own properties inside CONNECT.
Place = Literal[
    "connect", "will", "connack", "publish", "puback", "pubrec", "pubrel", "pubcomp", "subscribe", "suback",
    "unsubscribe", "unsuback", "disconnect", "auth",
]  # fmt: skip
_ACKS = ("connack", "puback", "pubrec", "pubrel", "pubcomp", "suback", "unsuback", "disconnect", "auth")

# identifier: (name, kind, places)
_TABLE: dict[int, tuple[str, str, tuple[str, ...]]] = {
    0x01: ("payload_format", "bit", ("publish", "will")),
    0x02: ("message_expiry_s", "u32", ("publish", "will")),
    0x03: ("content_type", "text", ("publish", "will")),
    0x08: ("response_topic", "text", ("publish", "will")),
    0x09: ("correlation_data", "binary", ("publish", "will")),
    0x0B: ("subscription_ids", "varint", ("publish", "subscribe")),
    0x11: ("session_expiry_s", "u32", ("connect", "connack", "disconnect")),
    0x12: ("assigned_client_id", "text", ("connack",)),
    0x13: ("server_keep_alive_s", "u16", ("connack",)),
    0x15: ("authentication_method", "text", ("connect", "connack", "auth")),
    0x16: ("authentication_data", "binary", ("connect", "connack", "auth")),
    0x17: ("request_problem_information", "bit", ("connect",)),
    0x18: ("will_delay_s", "u32", ("will",)),
    0x19: ("request_response_information", "bit", ("connect",)),
    0x1A: ("response_information", "text", ("connack",)),
    0x1C: ("server_reference", "text", ("connack", "disconnect")),
    0x1F: ("reason_string", "text", _ACKS),
    0x21: ("receive_maximum", "u16", ("connect", "connack")),
    0x22: ("topic_alias_maximum", "u16", ("connect", "connack")),
    0x23: ("topic_alias", "u16", ("publish",)),
    0x24: ("maximum_qos", "bit", ("connack",)),
    0x25: ("retain_available", "bit", ("connack",)),
    0x26: ("user_properties", "pair", ("connect", "will", "publish", "subscribe", "unsubscribe", *_ACKS)),
    0x27: ("maximum_packet_size", "u32", ("connect", "connack")),
    0x28: ("wildcards_available", "bit", ("connack",)),
    0x29: ("subscription_ids_available", "bit", ("connack",)),
    0x2A: ("shared_available", "bit", ("connack",)),
}
_IDENTIFIERS = {name: (identifier, kind) for identifier, (name, kind, _) in _TABLE.items()}
_NOT_ZERO = {"receive_maximum", "maximum_packet_size", "subscription_ids", "topic_alias"}


def _read_pair(data: bytes, at: int) -> tuple[tuple[str, str], int]:
    name, at = read_text(data, at)
    value, at = read_text(data, at)
    return (name, value), at


_READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "bit": read_byte,
    "u16": read_u16,
    "u32": read_u32,
    "varint": read_varint,
    "text": read_text,
    "binary": read_binary,
    "pair": _read_pair,
}
_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "bit": lambda value: value.to_bytes(1, "big"),
    "u16": lambda value: value.to_bytes(2, "big"),
    "u32": lambda value: value.to_bytes(4, "big"),
    "varint": write_varint,
    "text": write_text,
    "binary": write_binary,
    "pair": lambda pair: write_text(pair[0]) + write_text(pair[1]),
}


def read_properties(data: bytes, at: int, place: Place) -> tuple[Properties, int]:
    """Read the property length and the properties at `at`. Returns them and the position behind."""
    length, at = read_varint(data, at)
    end = at + length
    if end > len(data):
        raise ProtocolError("truncated", "the properties are cut short")
    found: dict[str, Any] = {}
    data = data[:end] if length else data
    while at < end:
        identifier, at = read_varint(data, at)
        if identifier not in _TABLE:
            raise ProtocolError("unknown_property", f"identifier 0x{identifier:02x}")
        name, kind, places = _TABLE[identifier]
        if place not in places:
            raise ProtocolError("misplaced_property", f"{name} in {place}", code=PROTOCOL_ERROR)
        value, at = _READERS[kind](data, at)
        _check(name, kind, value)
        if kind == "pair" or (kind == "varint" and place == "publish"):
            found.setdefault(name, []).append(value)
        elif name in found:
            raise ProtocolError("duplicate_property", f"{name} occurs twice", code=PROTOCOL_ERROR)
        else:
            found[name] = [value] if kind == "varint" else value
    return cast(Properties, found), end


def write_properties(properties: Properties | None) -> bytes:
    """The property length and the properties, in the order of the dictionary. Raises PacketError on a wrong value."""
    if not properties:
        return b"\0"
    body = bytearray()
    for name, value in cast(Mapping[str, Any], properties).items():
        identifier, kind = _IDENTIFIERS[name]
        write = _WRITERS[kind]
        try:
            for one in value if kind in ("pair", "varint") else (value,):
                body.append(identifier)
                body += write(one)
        except (OverflowError, AttributeError, TypeError):
            raise PacketError(f"property {name} = {value!r} does not fit its type {kind}") from None
    return write_varint(len(body)) + bytes(body)


def _check(name: str, kind: str, value: object) -> None:
    if kind == "bit" and value not in (0, 1):
        raise ProtocolError("bad_property", f"{name} must be 0 or 1", code=PROTOCOL_ERROR)
    if value == 0 and name in _NOT_ZERO:
        code = PROTOCOL_ERROR if name != "topic_alias" else 0x94
        raise ProtocolError("bad_property", f"{name} must not be 0", code=code)
    if name == "response_topic" and isinstance(value, str) and ("+" in value or "#" in value):
        raise ProtocolError("bad_property", "response_topic holds a wildcard", code=PROTOCOL_ERROR)
