"""One page of the record log as it can be read: the entries that are whole, and what its header must have said.

A page that is damaged keeps what of it verifies; which records it held follows from the pages beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.outbox import page as pages
from gateway.outbox.files import Files
from gateway.outbox.page import CHUNK, LARGE, MOVED, PAGE, RECORD, STREAM_COUNT, Header
from gateway.outbox.segment import FIRST, Segment

_CUT = CHUNK | LARGE
_NO_COUNTS = (0,) * STREAM_COUNT


class Leaf(NamedTuple):
    """One page as read: entries as (kind, slot, buffer, start, end of the payload)."""

    header: Header
    names: list[str]
    entries: list[tuple[int, int, bytes, int, int]]
    is_damaged: bool


def read_leaf(files: Files, segment: Segment, number: int) -> Leaf:
    """Page `number` of `segment`. Raises OSError."""
    raw = files.read(segment.fd, PAGE, number * PAGE)
    page = pages.verified(raw, segment.seed)
    if page is not None:
        rows = list(pages.entries_of(page))
        if any(kind & _CUT for kind, _, _, _ in rows):
            entries = list(_entries(files, segment, number, page, iter(rows)))
        else:
            entries = [(kind, slot, page, start, end) for kind, slot, start, end in rows]
        return Leaf(pages.header_of(page), pages.names_of(page, segment.seed) or [], entries, is_damaged=False)
    rows = list(pages.salvage(raw, segment.seed))
    names = pages.names_of(raw, segment.seed)
    if names is None and rows:
        names = pages.names_of(raw, segment.seed, rows[-1][3])
    entries = list(_entries(files, segment, number, raw, iter(rows)))
    header = pages.header_alone(raw, segment.seed)
    if header is None:
        header = _inferred(files, segment, number)
        if number > FIRST and _known(files, segment, number - 1) is None:  # which ordinals these have is not known
            entries = [entry for entry in entries if entry[0] & MOVED or not entry[0] & RECORD]
    return Leaf(header, names or [], entries, is_damaged=True)


def header_at(files: Files, segment: Segment, number: int) -> Header:
    """What the header of that page says, or must have said. Raises OSError."""
    return _known(files, segment, number) or _inferred(files, segment, number)


def _known(files: Files, segment: Segment, number: int) -> Header | None:
    raw = files.read(segment.fd, PAGE, number * PAGE)
    page = pages.verified(raw, segment.seed)
    return pages.header_of(page) if page is not None else pages.header_alone(raw, segment.seed)


def _inferred(files: Files, segment: Segment, number: int) -> Header:
    """What the header of a damaged page must have said: it went on where the page before it ended.

    If that is not known either, nobody knows which records are on it; then it ends where the next known one begins.
    """
    if number == FIRST:
        return _unknown(segment, segment.firsts)
    before = _known(files, segment, number - 1)
    if before is not None:
        firsts = tuple(first + count for first, count in zip(before.firsts, before.counts, strict=True))
        return before._replace(firsts=firsts, counts=_NO_COUNTS)
    after = (_known(files, segment, at) for at in range(number + 1, segment.end))
    known = next((header for header in after if header is not None), None)
    return _unknown(segment, known.firsts if known is not None else segment.ends)


def _unknown(segment: Segment, firsts: Sequence[int]) -> Header:
    return Header(0, segment.last_commit, 0, 1, 0.0, tuple(firsts), _NO_COUNTS, has_moved=False)


def _entries(
    files: Files, segment: Segment, number: int, page: bytes, rows: Iterator[tuple[int, int, int, int]]
) -> Iterator[tuple[int, int, bytes, int, int]]:
    for kind, slot, start, end in rows:
        if kind == CHUNK:
            continue
        if kind & LARGE:
            whole = _whole(files, segment, number, page[start:end])
            if whole is not None:
                yield kind & ~LARGE, slot, whole, 0, len(whole)
        else:
            yield kind, slot, page, start, end


def _whole(files: Files, segment: Segment, number: int, last: bytes) -> bytes | None:
    """A large entry from its pieces; None if one is damaged."""
    pieces = []
    for at in range(number - int.from_bytes(last[:2], "little"), number):
        page = pages.verified(files.read(segment.fd, PAGE, at * PAGE), segment.seed)
        rows = list(pages.entries_of(page)) if page is not None else []
        if page is None or len(rows) != 1 or rows[0][0] != CHUNK:
            return None
        pieces.append(page[rows[0][2] : rows[0][3]])
    return b"".join(pieces) + last[2:]
