"""The plainest SenML, which is what most messages are: one record of n, v, t and perhaps u, in JSON.

A short way for these alone: what is read here, senml_decode reads too, and to the same values. Everything else is None,
be it SenML or not, and goes there. Messages that came together are read as one JSON text, and into columns.
Source: RFC 8428 section 4; docs/decisions/0021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import msgspec

from gateway.numerals import reprs
from gateway.senml_decode import EARLIEST_S, LARGEST, LATEST_S, MAX_BYTES, MAX_NAME, NAME
from gateway.senml_units import PRIMARY

_MOST_WHOLE = 1 << 63
_NO_MARKS = bytes(set(range(256)).difference(b'[]{}"\\\n'))
_MARKS = b'[{""""""""}]'  # around the labels n, v, t and the name
_MARKS_WITH_UNIT = b'[{""""""""""""}]'
_MARKS_OF: dict[str | None, bytes] = {None: _MARKS, **dict.fromkeys(PRIMARY, _MARKS_WITH_UNIT)}
_OPENS, _CLOSES = b"[]"
_first, _last = itemgetter(0), itemgetter(-1)


class Plains(NamedTuple):
    """The records of messages of one record each: names, primary units, values, their types, UTC seconds; and repr of
    values and times."""

    names: list[str]
    units: list[str | None]
    values: list[float | int]
    kinds: list[type]
    times: list[float]
    value_texts: list[bytes]
    time_texts: list[bytes]


class _Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Its labels, as RFC 8428 has them."""

    n: str
    v: int | float
    t: float
    u: str | None = None


_packs = msgspec.json.Decoder(list[tuple[_Record]]).decode


def read_plain(payloads: Sequence[bytes]) -> Plains | None:
    """What messages of one record each say, if all of them are plain."""
    records = _records(payloads) if payloads else None
    if records is None:
        return None
    names, units = [one.n for one in records], [one.u for one in records]
    values, times = [one.v for one in records], [one.t for one in records]
    if (
        not all(map(_is_name, set(names)))
        or not _are_values(values)
        or min(times) < EARLIEST_S
        or max(times) > LATEST_S
    ):
        return None
    return Plains(names, units, values, list(map(type, values)), times, reprs(values), reprs(times))


def _records(payloads: Sequence[bytes]) -> Sequence[_Record] | None:
    """They are read as one text, a line for each: brackets, quotes and line breaks must be those of such messages.

    So nothing reaches across the end of a message, and no label comes twice.
    """
    joined = b",\n".join(payloads)
    if not all(payloads):
        return None
    is_each_an_array = set(map(_first, payloads)) == {_OPENS} and set(map(_last, payloads)) == {_CLOSES}
    if not is_each_an_array or max(map(len, payloads)) > MAX_BYTES or not joined.isascii():
        return None
    try:
        records = list(chain.from_iterable(_packs(b"[%b]" % joined)))
        marks = b"\n".join([_MARKS_OF[one.u] for one in records])
    except (msgspec.DecodeError, RecursionError, KeyError):
        return None
    return records if joined.translate(None, _NO_MARKS) == marks else None


def _are_values(values: Sequence[float | int]) -> bool:
    """Whether none is too large: whole ones for 64 bits, others for sums."""
    if min(values) > -_MOST_WHOLE and max(values) < _MOST_WHOLE:
        return True
    return all(-LARGEST <= one <= LARGEST if type(one) is float else -_MOST_WHOLE < one < _MOST_WHOLE for one in values)


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and NAME.fullmatch(name) is not None
