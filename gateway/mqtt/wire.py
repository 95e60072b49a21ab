"""The data types of MQTT packets: integers, UTF-8 strings, binary data (MQTT 5 section 1.5). Strict; no I/O.

Readers take the bytes and a position and return the value and the next position. Only ProtocolError comes out.
"""

from functools import lru_cache

from gateway.mqtt.codes import TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID
from gateway.mqtt.errors import PacketError, ProtocolError

MAX_REMAINING_LENGTH = 268_435_455
MAX_TEXT_BYTES = 65_535


def read_byte(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise ProtocolError("truncated", "a byte is missing")
    return data[at], at + 1


def read_u16(data: bytes, at: int) -> tuple[int, int]:
    end = at + 2
    if end > len(data):
        raise ProtocolError("truncated", "a two-byte integer is cut short")
    return data[at] << 8 | data[at + 1], end


def read_u32(data: bytes, at: int) -> tuple[int, int]:
    end = at + 4
    if end > len(data):
        raise ProtocolError("truncated", "a four-byte integer is cut short")
    return int.from_bytes(data[at:end], "big"), end


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer, at most 4 bytes, in its shortest form."""
    value = shift = 0
    for position in range(at, at + 4):
        if position >= len(data):
            raise ProtocolError("truncated", "a variable byte integer is cut short")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and position > at:
                raise ProtocolError("bad_varint", "not in its shortest form")
            return value, position + 1
        shift += 7
    raise ProtocolError("bad_varint", "longer than four bytes")


def read_binary(data: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    if start > len(data):
        raise ProtocolError("truncated", "the length of a field is cut short")
    end = start + (data[at] << 8 | data[at + 1])
    if end > len(data):
        raise ProtocolError("truncated", "a field is cut short")
    return data[start:end], end


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """A UTF-8 string without NUL and without surrogates."""
    raw, end = read_binary(data, at)
    return text_of(raw), end


def text_of(raw: bytes) -> str:
    """Decode the bytes of a UTF-8 string. MQTT 5 section 1.5.4: no surrogates, no U+0000."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("bad_utf8", "a string is not UTF-8") from None
    if "\0" in text:
        raise ProtocolError("nul_in_text", "a string holds U+0000")
    return text


def topic_name_of(raw: bytes) -> str:
    """Decode and check a topic that is published to: not empty, no wildcards (MQTT 5 section 4.7)."""
    topic = text_of(raw)
    if "+" in topic or "#" in topic:
        raise ProtocolError("wildcard_in_topic", "a PUBLISH topic holds + or #", code=TOPIC_NAME_INVALID)
    return topic


def check_topic_filter(topic_filter: str) -> None:
    """Check a filter that is subscribed to (MQTT 5 section 4.7.1): + fills a level, # is the last one."""
    levels = topic_filter.split("/")
    is_wrong = not topic_filter or any(
        (len(level) > 1 and ("+" in level or "#" in level)) or (level == "#" and at + 1 < len(levels))
        for at, level in enumerate(levels)
    )
    if is_wrong:
        raise ProtocolError(
            "bad_topic_filter", "a filter is empty or has a misplaced wildcard", code=TOPIC_FILTER_INVALID
        )


def write_varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value > MAX_REMAINING_LENGTH:
        raise PacketError(f"{value} bytes do not fit in an MQTT packet; the limit is {MAX_REMAINING_LENGTH}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_binary(data: bytes) -> bytes:
    if len(data) > MAX_TEXT_BYTES:
        raise PacketError(f"a field of {len(data)} bytes does not fit in an MQTT packet; the limit is {MAX_TEXT_BYTES}")
    return len(data).to_bytes(2, "big") + data


def write_text(text: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise PacketError("a text with surrogates cannot be sent as UTF-8") from None
    if b"\0" in raw:
        raise PacketError("a text with U+0000 cannot be sent over MQTT")
    return write_binary(raw)


@lru_cache(maxsize=4096)
def write_topic_name(topic: str) -> bytes:
    if "+" in topic or "#" in topic:
        raise PacketError(f"topic {topic!r} holds a wildcard; only filters may")
    return write_text(topic)
