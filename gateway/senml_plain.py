"""The plainest SenML, which is what most messages are: one record of n, v, t and perhaps u, in JSON.

A short way for these alone: what is read here, senml_decode reads too, and to the same values. Everything else is None,
be it SenML or not, and goes there. Messages that came together are read as one JSON text where nothing in them can
reach across its end. Source: RFC 8428 section 4; docs/decisions/0021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from gateway.numerals import reprs
from gateway.senml_decode import EARLIEST_S, LARGEST, LATEST_S, MAX_BYTES, MAX_NAME, NAME
from gateway.senml_units import PRIMARY

Plain = tuple[str, str | None, float | int, float, bytes, bytes]  # name, primary unit, value, time, repr of these two
_FEW = 8  # messages: not worth another try together
_MOST_WHOLE = 1 << 63
_QUOTES, _QUOTES_OF_UNIT = 8, 4  # around the labels n, v, t and the name; around u and the unit


class _Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Its labels, as RFC 8428 has them."""

    n: str
    v: int | float
    t: float
    u: str | None = None


_packs = msgspec.json.Decoder(list[tuple[_Record]]).decode


def decode_plains(payloads: Sequence[bytes]) -> Sequence[Plain | None]:
    """The one record of each pack in its plainest form. Where not all can be read together, those that can be are."""
    found = _together(payloads) if payloads else []
    if found is not None:
        return found
    step = 1 if len(payloads) <= _FEW else len(payloads) // 2
    if len(payloads) == 1:
        return [None]
    return [one for at in range(0, len(payloads), step) for one in decode_plains(payloads[at : at + step])]


def _together(payloads: Sequence[bytes]) -> list[Plain | None] | None:
    """All of them, if all are plain. What else is there, and a label that comes twice, shows in the count of quotes."""
    joined = b",\n".join(payloads)
    records = _records(joined, len(payloads))
    if records is None or max(map(len, payloads)) > MAX_BYTES:
        return None
    names, units = [one.n for one in records], [one.u for one in records]
    values, times = [one.v for one in records], [one.t for one in records]
    quotes = len(records) * (_QUOTES + _QUOTES_OF_UNIT) - _QUOTES_OF_UNIT * units.count(None)
    if (
        joined.count(b'"') != quotes
        or not _KNOWN_UNITS.issuperset(units)
        or not all(map(_is_name, set(names)))
        or not _are_values(values)
        or min(times) < EARLIEST_S
        or max(times) > LATEST_S
    ):
        return None
    return list(zip(names, units, values, times, reprs(values), reprs(times), strict=True))


def _records(joined: bytes, count: int) -> list[_Record] | None:
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
        and joined.isascii()
    ):
        return None
    try:
        records = [record for (record,) in _packs(b"[%b]" % joined)]
    except (msgspec.DecodeError, RecursionError):
        return None
    return records if len(records) == count else None


def _are_values(values: Sequence[float | int]) -> bool:
    """Whether none is too large: whole ones for 64 bits, others for sums."""
    if min(values) > -_MOST_WHOLE and max(values) < _MOST_WHOLE:
        return True
    return all(-LARGEST <= one <= LARGEST if type(one) is float else -_MOST_WHOLE < one < _MOST_WHOLE for one in values)


_KNOWN_UNITS = frozenset((*PRIMARY, None))


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and NAME.fullmatch(name) is not None
