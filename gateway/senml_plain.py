"""The plainest SenML, which is what most messages are: one record of n, v, t and perhaps u, in JSON.

A short way for these alone: what is read here, senml_decode reads too, and to the same values. Everything else is None,
be it SenML or not, and goes there. Messages that came together are read as one JSON text where nothing in them can
reach across its end. Source: RFC 8428 section 4; docs/decisions/0016.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from operator import itemgetter
from typing import Any

from gateway.senml_decode import EARLIEST_S, LARGEST, LATEST_S, MAX_BYTES, MAX_NAME, NAME
from gateway.senml_units import PRIMARY

Plain = tuple[str, str | None, float | int, float]  # name, primary unit, value, time
_parse = json.JSONDecoder().raw_decode
_FEW = 8  # messages: not worth another try together
_FIELDS = {3: itemgetter("n", "v", "t"), 4: itemgetter("n", "v", "t", "u")}
_OBJECTS, _TEXTS, _NUMBERS = frozenset((dict,)), frozenset((str,)), frozenset((int, float))
_MOST_WHOLE = 1 << 63
_QUOTES, _QUOTES_OF_UNIT = 8, 4  # around the labels n, v, t and the name; around u and the unit


def decode_plain(payload: bytes) -> Plain | None:
    """The one record of a pack in its plainest form."""
    try:
        text = payload.decode("ascii")
        pack, end = _parse(text)
    except (ValueError, RecursionError):
        return None
    return _plain(pack, payload) if end == len(text) and "\\" not in text else None


def decode_plains(payloads: Sequence[bytes]) -> Sequence[Plain | None]:
    """The same of each. Where not all can be read together, those that can be are."""
    joined = b",\n".join(payloads)
    packs = _parsed_together(joined, len(payloads))
    if packs is None:
        if len(payloads) <= _FEW:
            return [decode_plain(payload) for payload in payloads]
        middle = len(payloads) // 2
        return [*decode_plains(payloads[:middle]), *decode_plains(payloads[middle:])]
    if max(map(len, payloads)) <= MAX_BYTES:
        alike = _plains_alike(packs, joined.count(b'"'))
        if alike is not None:
            return alike
    return [_plain(pack, payload) for pack, payload in zip(packs, payloads, strict=True)]


def _parsed_together(joined: bytes, count: int) -> list[Any] | None:
    """What payloads joined by a comma and a line break are as JSON; None if they have to be looked at one by one.

    With no line break in a payload no text reaches across the one between two, for JSON has none in a text. With one
    bracket of each kind per payload, at its ends, each is an array of its own.
    """
    if not (
        joined.count(b"\n") == joined.count(b"],\n[") == count - 1
        and joined.count(b"[") == joined.count(b"]") == count
        and joined[:1] == b"["
        and joined[-1:] == b"]"
        and b"\\" not in joined
    ):
        return None
    try:
        packs, end = _parse(f"[{joined.decode('ascii')}]")
    except (ValueError, RecursionError):
        return None
    return packs if len(packs) == count and end == len(joined) + 2 else None


def _plains_alike(packs: list[Any], quotes: int) -> Sequence[Plain] | None:
    """All of them, if all are plain and have the same labels: what `_plain` asks of each, asked of whole columns.

    quotes  how many there are in all
    """
    try:
        records = [record for (record,) in packs]
        (labels,) = set(map(len, records))
        names, values, times, *more = zip(*map(_FIELDS[labels], records), strict=True)
        if set(map(type, records)) != _OBJECTS or not _are_plain(names, values, times):
            return None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not more:
        units: Sequence[str | None] = (None,) * len(packs)
    elif set(map(type, more[0])) == _TEXTS and PRIMARY.issuperset(more[0]):
        units = more[0]
    else:
        return None
    if quotes != len(packs) * (_QUOTES + _QUOTES_OF_UNIT * len(more)):
        return None
    return list(zip(names, units, values, map(float, times), strict=True))


def _are_plain(names: Sequence[Any], values: Sequence[Any], times: Sequence[Any]) -> bool:
    """Raises TypeError or OverflowError if not."""
    return (
        set(map(type, names)) == _TEXTS
        and all(map(_is_name, set(names)))
        and set(map(type, values)) <= _NUMBERS
        and set(map(type, times)) <= _NUMBERS
        and all(map(isfinite, values))
        and all(map(isfinite, times))
        and min(values) > -_MOST_WHOLE
        and max(values) < _MOST_WHOLE
        and min(times) >= EARLIEST_S
        and max(times) <= LATEST_S
    )


def _plain(pack: Any, payload: bytes) -> Plain | None:
    """What is said, if it is said so: whatever else is there, and a label that comes twice, shows in a count."""
    if type(pack) is not list or len(pack) != 1 or type(pack[0]) is not dict:
        return None
    record = pack[0]
    try:
        name, value, time_s = record["n"], record["v"], record["t"]
    except KeyError:
        return None
    unit = record.get("u")
    has_unit = unit is not None
    if len(record) != 3 + has_unit or payload.count(b'"') != _QUOTES + _QUOTES_OF_UNIT * has_unit:
        return None
    if has_unit and (type(unit) is not str or unit not in PRIMARY):
        return None
    if type(name) is not str or not _is_name(name) or len(payload) > MAX_BYTES:
        return None
    if type(value) not in _NUMBERS or type(time_s) not in _NUMBERS or not EARLIEST_S <= time_s <= LATEST_S:
        return None
    most = LARGEST if type(value) is float else _MOST_WHOLE - 1
    return (name, unit, value, float(time_s)) if -most <= value <= most else None


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and NAME.fullmatch(name) is not None
