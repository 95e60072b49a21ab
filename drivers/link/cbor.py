"""A small CBOR (RFC 8949): integers of up to 64 bits, bytes, text, arrays, maps, booleans and null.

Encodes in the preferred (shortest) form, map keys in the order given. No floats, tags or indefinite lengths: `decode`
refuses them, and anything malformed, nested deeper than 8 or followed by more bytes, with FrameError("bad_cbor").
"""

from drivers.constant import const
from drivers.link.frame import FrameError

_MAX_DEPTH = const(8)
_UINT = const(0)
_NEGATIVE = const(1)
_BYTES = const(2)
_TEXT = const(3)
_ARRAY = const(4)
_MAP = const(5)
_TAG = const(6)
_SIMPLE = const(7)
_FALSE = const(20)
_TRUE = const(21)
_NULL = const(22)


def encode(value):
    """Return the bytes of `value`. Raises FrameError("bad_cbor") for a type or size that is not in the subset."""
    out = bytearray()
    _put(out, value)
    return bytes(out)


def _put(out, value):
    if value is None:
        out.append(_SIMPLE << 5 | _NULL)
    elif isinstance(value, bool):
        out.append(_SIMPLE << 5 | (_TRUE if value else _FALSE))
    elif isinstance(value, int):
        if value < 0:
            _put_head(out, _NEGATIVE, -1 - value)
        else:
            _put_head(out, _UINT, value)
    elif isinstance(value, (bytes, bytearray)):
        _put_head(out, _BYTES, len(value))
        out.extend(value)
    elif isinstance(value, str):
        text = value.encode()
        _put_head(out, _TEXT, len(text))
        out.extend(text)
    elif isinstance(value, (list, tuple)):
        _put_head(out, _ARRAY, len(value))
        for item in value:
            _put(out, item)
    elif isinstance(value, dict):
        _put_head(out, _MAP, len(value))
        for key, item in value.items():
            _put(out, key)
            _put(out, item)
    else:
        raise FrameError("bad_cbor")


def _put_head(out, major, argument):
    if argument < 24:
        out.append(major << 5 | argument)
        return
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            out.append(major << 5 | code)
            out.extend(argument.to_bytes(size, "big"))
            return
    raise FrameError("bad_cbor")


def decode(data):
    """Return the one value that `data` holds."""
    value, end = take(data, 0, _MAX_DEPTH)
    if end != len(data):
        raise FrameError("bad_cbor")
    return value


def take(data, at, depth):
    """(item, end) of what begins at `at`, nested at most so deep; what follows is the caller's. Raises FrameError."""
    if depth == 0:
        raise FrameError("bad_cbor")
    major, argument, at = _get_head(data, at)
    if major == _UINT:
        return argument, at
    if major == _NEGATIVE:
        return -1 - argument, at
    if major in (_BYTES, _TEXT):
        return _get_string(data, at, argument, major)
    if major == _ARRAY:
        items = []
        for _ in range(_bounded(argument, data, at)):
            item, at = take(data, at, depth - 1)
            items.append(item)
        return items, at
    if major == _MAP:
        return _get_map(data, at, argument, depth)
    if major == _SIMPLE and _FALSE <= argument <= _NULL:
        return (False, True, None)[argument - _FALSE], at
    raise FrameError("bad_cbor")


def _get_head(data, at):
    """Return (major type, argument, next position)."""
    if at >= len(data):
        raise FrameError("bad_cbor")
    major = data[at] >> 5
    argument = data[at] & 0x1F
    at += 1
    if argument < 24:
        return major, argument, at
    if argument > 27 or major == _SIMPLE:  # indefinite length; floats and long simple values
        raise FrameError("bad_cbor")
    end = at + (1 << (argument - 24))
    if end > len(data):
        raise FrameError("bad_cbor")
    return major, int.from_bytes(data[at:end], "big"), end


def _bounded(count, data, at):
    """Return `count`, or refuse it: every item takes at least one byte."""
    if count > len(data) - at:
        raise FrameError("bad_cbor")
    return count


def _get_string(data, at, size, major):
    end = at + _bounded(size, data, at)
    raw = bytes(data[at:end])
    if major == _BYTES:
        return raw, end
    try:
        return raw.decode(), end
    except UnicodeError:
        raise FrameError("bad_cbor")


def _get_map(data, at, count, depth):
    result = {}
    for _ in range(_bounded(count, data, at)):
        key, at = take(data, at, depth - 1)
        if isinstance(key, (list, dict)) or key in result:
            raise FrameError("bad_cbor")
        result[key], at = take(data, at, depth - 1)
    return result, at
