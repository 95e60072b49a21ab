"""Records of one number each to SenML JSON, many at a time: what is the same is written once, the rest by columns.

The same text as gateway/senml.py writes of each alone. Does no I/O. Source: RFC 8428; docs/decisions/0021.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from gateway.numerals import number_text, shortest
from gateway.reading import DIGEST_BYTES, record_id_head
from gateway.row import Columns

_MOST_MS_S = 1e9
quoted = json.encoder.encode_basestring_ascii


class Written(NamedTuple):
    """Records as text, their ids, the base time that their times count from, what they take in a message, and whether
    others had no room."""

    texts: list[str]
    record_ids: list[str]
    base_s: float
    size: int
    is_cut: bool


def write_columns(node: str, columns: Columns, base_s: float | None, *, more_bytes: int, room: int) -> Written | None:
    """The first of these records of a node that can be written; None if the very first cannot.

    base_s      what their times count from; None: the first begins the pack, says name and time, and fits anyway
    more_bytes  what each takes in the message beside its text and its id
    room        bytes for all of them
    """
    quantities, units, values, times, digests = columns
    base = _base_of(times) if base_s is None else base_s
    try:
        offsets = _offsets(times, base)
        texts = _texts(quantities, units, shortest(values), shortest(offsets))
    except (ValueError, OverflowError):
        return None
    if base_s is None:
        texts[0] = f'{{"bn":{quoted(node + "_")},"bt":{number_text(base)},{texts[0][1:]}'
    head = record_id_head(node)
    more_bytes += len(head) + 2 * DIGEST_BYTES
    writable = len(texts)
    count = _fitting(texts, more_bytes, room, least=base_s is None)
    texts = texts[:count]
    ids = b"".join(digests)[: count * DIGEST_BYTES].hex(" ", DIGEST_BYTES).split(" ") if count else []
    size = sum(map(len, texts)) + count * more_bytes
    return Written(texts, [head + one for one in ids], base, size, count < writable) if count else None


def _base_of(times: Sequence[float]) -> float:
    """Of several the whole second of the first: to that any milliseconds add up, to others in three cases of four."""
    return times[0] if len(times) == 1 else float(int(times[0]))


def offset_of(at_s: float, base_s: float) -> float:
    """What to add to the base: in whole milliseconds if that adds up to the very same float, as it is shorter."""
    offset = at_s - base_s
    if -_MOST_MS_S < offset < _MOST_MS_S:
        in_ms_s = int(offset * 1000 + 0.5) / 1000
        if base_s + in_ms_s == at_s:
            return in_ms_s
    return offset


@lru_cache(maxsize=1024)
def json_head(quantity: str, unit: str | None) -> str:
    """What a record says of quantity and unit."""
    return f'"n":{quoted(quantity)}' + ("" if unit is None else f',"u":{quoted(unit)}')


def _offsets(times: Sequence[float], base_s: float) -> list[float]:
    """`offset_of` each, up to the first that does not add up: one record id must never show two times."""
    if max(times) - base_s < _MOST_MS_S and base_s - min(times) < _MOST_MS_S:
        in_ms_s = [int((at_s - base_s) * 1000 + 0.5) / 1000 for at_s in times]
        if [base_s + offset for offset in in_ms_s] == times:
            return in_ms_s
    offsets = [offset_of(at_s, base_s) for at_s in times]
    wrong = (at for at, (offset, at_s) in enumerate(zip(offsets, times, strict=True)) if base_s + offset != at_s)
    return offsets[: next(wrong, len(offsets))]


def _texts(
    quantities: Sequence[str], units: Sequence[str | None], numbers: Sequence[str], offsets: Sequence[str]
) -> list[str]:
    """As many as there are offsets."""
    if quantities.count(quantities[0]) == len(quantities) and units.count(units[0]) == len(units):
        begun = f'{{{json_head(quantities[0], units[0])},"v":'
        rows = zip(numbers, offsets)  # noqa: B905
        return [f'{begun}{number},"t":{offset}}}' if offset != "0" else f"{begun}{number}}}" for number, offset in rows]
    heads = map(json_head, quantities, units)
    return [
        f'{{{head},"v":{number},"t":{offset}}}' if offset != "0" else f'{{{head},"v":{number}}}'
        for head, number, offset in zip(heads, numbers, offsets)  # noqa: B905
    ]


def _fitting(texts: Sequence[str], more_bytes: int, room: int, *, least: bool) -> int:
    """How many of the first fit, `least`: one at least."""
    if sum(map(len, texts)) + len(texts) * more_bytes <= room:
        return len(texts)
    sizes = accumulate(len(text) + more_bytes for text in texts)
    return max(int(least), next((at for at, size in enumerate(sizes) if size > room), 0))
