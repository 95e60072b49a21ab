"""Properties of MQTT 5 packets: bytes to a typed dictionary and back (MQTT 5 section 2.2.2, table 2-4).

A property that occurs twice, or in a packet where it has no business, is refused; user properties may repeat.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypedDict, cast, get_args

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
    """What a packet says beside its fields. A key that is not there was not sent.

    written  properties that are bytes already, as `write_rows` or `write_once` made them; only for writing
    """

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
    written: bytes
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

# identifier: (name, kind, places). "u16+" and "u32+" must not be 0; "topic" must hold no wildcard.
_TABLE: dict[int, tuple[str, str, tuple[str, ...]]] = {
    0x01: ("payload_format", "bit", ("publish", "will")),
    0x02: ("message_expiry_s", "u32", ("publish", "will")),
    0x03: ("content_type", "text", ("publish", "will")),
    0x08: ("response_topic", "topic", ("publish", "will")),
    0x09: ("correlation_data", "binary", ("publish", "will")),
    0x0B: ("subscription_ids", "varint+", ("publish", "subscribe")),
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
    0x21: ("receive_maximum", "u16+", ("connect", "connack")),
    0x22: ("topic_alias_maximum", "u16", ("connect", "connack")),
    0x23: ("topic_alias", "u16+", ("publish",)),
    0x24: ("maximum_qos", "bit", ("connack",)),
    0x25: ("retain_available", "bit", ("connack",)),
    0x26: ("user_properties", "pair", ("connect", "will", "publish", "subscribe", "unsubscribe", *_ACKS)),
    0x27: ("maximum_packet_size", "u32+", ("connect", "connack")),
    0x28: ("wildcards_available", "bit", ("connack",)),
    0x29: ("subscription_ids_available", "bit", ("connack",)),
    0x2A: ("shared_available", "bit", ("connack",)),
}
_IDENTIFIERS = {name: (identifier, kind) for identifier, (name, kind, _) in _TABLE.items()}


def _read_bit(data: bytes, at: int) -> tuple[int, int]:
    value, at = read_byte(data, at)
    if value > 1:
        raise ProtocolError("bad_property", "a property that is 0 or 1 has another value", code=PROTOCOL_ERROR)
    return value, at


def _not_zero(read: Callable[[bytes, int], tuple[int, int]]) -> Callable[[bytes, int], tuple[int, int]]:
    def checked(data: bytes, at: int) -> tuple[int, int]:
        value, at = read(data, at)
        if not value:
            raise ProtocolError("bad_property", "a property that must not be 0 is 0", code=PROTOCOL_ERROR)
        return value, at

    return checked


def _read_topic(data: bytes, at: int) -> tuple[str, int]:
    topic, at = read_text(data, at)
    if "+" in topic or "#" in topic:
        raise ProtocolError("bad_property", "a response topic holds a wildcard", code=PROTOCOL_ERROR)
    return topic, at


def _read_pair(data: bytes, at: int) -> tuple[tuple[str, str], int]:
    name, at = read_text(data, at)
    value, at = read_text(data, at)
    return (name, value), at


def write_rows(*columns: tuple[str, Sequence[str]]) -> bytes:
    """User properties that come in rows: one of each column, named by it, then the next of each.

    A pack for the city has a row per record. Raises PacketError on a wrong value.
    """
    mark = bytes((_IDENTIFIERS["user_properties"][0],))
    heads = [mark.decode("latin-1") + _head(name) for name, _ in columns]
    if not all(_are_plain(values) for _, values in columns):
        rows = zip(*(values for _, values in columns), strict=True)
        names = [name for name, _ in columns]
        return _write_pairs(mark, [pair for row in rows for pair in zip(names, row, strict=True)])
    (_, values), *others = columns
    if len(set(map(len, values))) == 1 and all(texts.count(texts[0]) == len(texts) for _, texts in others):
        head = heads[0] + chr(len(values[0]))
        tail = "".join([f"{begun}{chr(len(texts[0]))}{texts[0]}" for begun, (_, texts) in zip(heads[1:], others)])  # noqa: B905
        return f"{head}{f'{tail}{head}'.join(values)}{tail}".encode("latin-1")
    written = [[f"{head}{chr(len(one))}{one}" for one in values] for head, (_, values) in zip(heads, columns)]  # noqa: B905
    return "".join(map("".join, zip(*written, strict=True))).encode("latin-1")


def _are_plain(values: Sequence[str]) -> bool:
    """Whether each is as short and plain as nearly all are."""
    text = "".join(values)
    return text.isascii() and "\0" not in text and max(map(len, values), default=0) <= 255


def _write_pairs(mark: bytes, pairs: Sequence[tuple[str, str]]) -> bytes:
    """User properties. A pack for the city has two per record, so that plain ones are put together as text at once."""
    values = "".join([value for _, value in pairs])
    if not values.isascii() or "\0" in values or max([len(value) for _, value in pairs]) > 255:
        return b"".join([mark + write_text(name) + write_text(value) for name, value in pairs])
    text = mark.decode("latin-1")
    heads = {name: text + _head(name) for name in {name for name, _ in pairs}}
    # Latin-1 has a character for each byte, so that a length can stand in the text.
    return "".join([f"{heads[name]}{chr(len(value))}{value}" for name, value in pairs]).encode("latin-1")


@lru_cache(maxsize=64)
def _head(name: str) -> str:
    """A property's name, and the upper byte of its value's length, which is 0."""
    return (write_text(name) + b"\0").decode("latin-1")


_READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "bit": _read_bit,
    "u16": read_u16,
    "u16+": _not_zero(read_u16),
    "u32": read_u32,
    "u32+": _not_zero(read_u32),
    "varint+": _not_zero(read_varint),
    "text": read_text,
    "topic": _read_topic,
    "binary": read_binary,
    "pair": _read_pair,
}
_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "bit": lambda value: value.to_bytes(1, "big"),
    "u16": lambda value: value.to_bytes(2, "big"),
    "u16+": lambda value: value.to_bytes(2, "big"),
    "u32": lambda value: value.to_bytes(4, "big"),
    "u32+": lambda value: value.to_bytes(4, "big"),
    "varint+": write_varint,
    "text": write_text,
    "topic": write_text,
    "binary": write_binary,
    "pair": lambda pair: write_text(pair[0]) + write_text(pair[1]),
}
# place: {identifier: (name, reader, whether it may occur more than once)}
_KNOWN = {
    place: {
        identifier: (name, _READERS[kind], kind == "pair" or (kind == "varint+" and place == "publish"))
        for identifier, (name, kind, places) in _TABLE.items()
        if place in places
    }
    for place in get_args(Place)
}


def read_properties(data: bytes, at: int, place: Place) -> tuple[Properties, int]:
    """Read the property length and the properties at `at`. Returns them and the position behind."""
    length, at = read_varint(data, at)
    end = at + length
    if end > len(data):
        raise ProtocolError("truncated", "the properties are cut short")
    found: dict[str, Any] = {}
    data = data[:end] if length else data
    known = _KNOWN[place]
    while at < end:
        identifier = data[at]
        if identifier not in known:
            raise _unknown(identifier, place)
        name, read, is_repeatable = known[identifier]
        value, at = read(data, at + 1)
        if is_repeatable:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise ProtocolError("duplicate_property", f"{name} occurs twice", code=PROTOCOL_ERROR)
        else:
            found[name] = [value] if name == "subscription_ids" else value
    return cast(Properties, found), end


def _unknown(identifier: int, place: Place) -> ProtocolError:
    if identifier in _TABLE:
        return ProtocolError("misplaced_property", f"{_TABLE[identifier][0]} in {place}", code=PROTOCOL_ERROR)
    return ProtocolError("unknown_property", f"identifier 0x{identifier:02x}")


def write_once(properties: Properties) -> bytes:
    """Properties as they go into `written`, for those that are the same in many messages."""
    written = write_properties(properties)
    return written[read_varint(written, 0)[1] :]


def write_properties(properties: Properties | None) -> bytes:
    """The property length and the properties, in the order of the dictionary. Raises PacketError on a wrong value."""
    if not properties:
        return b"\0"
    body = bytearray()
    for name, value in cast(Mapping[str, Any], properties).items():
        if name == "written":
            body += value
            continue
        identifier, kind = _IDENTIFIERS[name]
        write = _WRITERS[kind]
        try:
            mark = bytes((identifier,))
            if kind == "pair":
                body += _write_pairs(mark, value) if value else b""
            elif kind == "varint+":
                body += b"".join([mark + write(one) for one in value])
            else:
                body.append(identifier)
                body += write(value)
        except (OverflowError, AttributeError, TypeError):
            raise PacketError(f"property {name} = {value!r} does not fit its type {kind}") from None
    return write_varint(len(body)) + bytes(body)
