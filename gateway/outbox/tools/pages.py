"""Looks for damage in the files of a record log: every page, every entry, every record. Changes and prints nothing.

Goes in: a log as `look` found it. Comes out: one Damage per place, with the ordinals of what is lost there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway.outbox import page as pages
from gateway.outbox.entries import Moved
from gateway.outbox.leaf import Leaf
from gateway.outbox.log import Log
from gateway.outbox.page import ENTRY_BYTES, HEAD_BYTES, MOVED, PAGE, RECORD, STREAM_COUNT, Header
from gateway.outbox.reader import Reader, read_report
from gateway.outbox.segment import FIRST, Segment

_MENDED = "one flipped bit; it is put right whenever it is read, nothing is lost"


@dataclass(kw_only=True)
class Damage:
    """One damaged place.

    page    in the segment; None: the file as a whole
    offset  of the first wrong byte in the file
    lost    ordinals of lost records by stream, whether anybody waits for them or not
    """

    file: str
    page: int | None
    offset: int
    what: str
    segment: int = 0
    lost: list[set[int]] = field(default_factory=lambda: [set() for _ in range(STREAM_COUNT)])


def damage_of(log: Log) -> Iterator[Damage]:
    """All damage, in the order of the log. Segments that a running gateway has given back meanwhile are passed over."""
    for at, segment in enumerate(list(log.segments)):
        after = log.segments[at + 1] if at + 1 < len(log.segments) else None
        found = list(_segment_damage(log, segment, after))
        if found and segment.path.name in log.files.names(log.folder):
            yield from found


def _segment_damage(log: Log, segment: Segment, after: Segment | None) -> Iterator[Damage]:
    yield from _cover_damage(log, segment, 0, "the header; what it said is taken from the segments beside it")
    ends = after.firsts if after and after.previous == segment.number else segment.ends
    yield from _Walk(log, segment).damage(ends)
    raw = log.files.read(segment.fd, PAGE, (segment.pages - 1) * PAGE)
    if segment.is_sealed or (after is not None and raw.strip(b"\0")):
        yield from _cover_damage(log, segment, segment.pages - 1, "the index; a start reads the whole file instead")


def _cover_damage(log: Log, segment: Segment, number: int, what: str) -> Iterator[Damage]:
    """Of header or footer."""
    raw = log.files.read(segment.fd, PAGE, number * PAGE)
    mended = pages.put_right(raw, segment.seed)
    if mended is None:
        yield _damage(segment, number, 0, f"{what}; no record is lost by this")
    elif mended is not raw:
        yield _damage(segment, number, _first_difference(raw, mended), _MENDED)


def _damage(segment: Segment, number: int, offset: int, what: str) -> Damage:
    return Damage(file=segment.path.name, page=number, offset=number * PAGE + offset, what=what, segment=segment.number)


def _first_difference(one: bytes, other: bytes) -> int:
    return next(at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)


class _Walk:
    """From page to page of one segment, knowing which ordinals must come next."""

    def __init__(self, log: Log, segment: Segment) -> None:
        self._log = log
        self._segment = segment
        self._reader = Reader(log, Moved())
        self._next = list(segment.firsts)
        self._headless: list[Damage] = []  # pages of which nobody knows yet how much they held

    def damage(self, ends: Sequence[int]) -> Iterator[Damage]:
        """`ends`: where the next segment begins, or this one ends."""
        for number in range(FIRST, self._segment.end):
            yield from self._page(number)
        yield from self._settle_headless(ends)

    def _page(self, number: int) -> Iterator[Damage]:
        raw = self._log.files.read(self._segment.fd, PAGE, number * PAGE)
        verified = pages.verified(raw, self._segment.seed)
        leaf = self._log.page(self._segment, number)
        if leaf is None:
            return
        header = leaf.header if verified is not None else pages.header_alone(raw, self._segment.seed)
        if header is None:
            self._headless.append(_damage(self._segment, number, 0, "the whole page"))
            return
        yield from self._settle_headless(header.firsts)
        if verified is None:
            found = _damage(self._segment, number, _first_gap(leaf, header), "part of the page")
            self._add_lost(found, header.firsts, header.counts)
            yield found
        else:
            if verified is not raw:
                yield _damage(self._segment, number, _first_difference(raw, verified), _MENDED)
            yield from self._unreadable(number, leaf, header)
        self._next = [first + count for first, count in zip(header.firsts, header.counts, strict=True)]

    def _unreadable(self, number: int, leaf: Leaf, header: Header) -> Iterator[Damage]:
        """Records of a whole page that make no sense, or whose beginning was on a damaged page."""
        found = _damage(
            self._segment, number, HEAD_BYTES, "records whose parts are on a damaged page, or make no sense"
        )
        records = 0
        for kind, slot, data, start, end in leaf.entries:
            if kind & RECORD and not kind & MOVED:
                records += 1
                if read_report(kind, data, start, end, leaf.names) is None:
                    found.lost[kind & 3].add(header.firsts[kind & 3] + slot)
        if records < sum(header.counts):
            self._add_lost(found, header.firsts, header.counts)
        if any(found.lost):
            yield found

    def _settle_headless(self, firsts: Sequence[int]) -> Iterator[Damage]:
        """What lies between the last page that could be read and this one was on the pages between them."""
        if not self._headless:
            return
        counts = [max(0, first - own) for first, own in zip(firsts, self._next, strict=True)]
        *earlier, last = self._headless
        for found in earlier:
            found.what += "; what was on it is counted at the next damaged page"
        self._add_lost(last, self._next, counts)
        yield from self._headless
        self._headless.clear()

    def _add_lost(self, found: Damage, firsts: Sequence[int], counts: Sequence[int]) -> None:
        """Ask the gateway's own reader, which finds what can be read on a page without a header too."""
        for stream, (first, count) in enumerate(zip(firsts, counts, strict=True)):
            _, unreadable = self._reader.read(stream, [(first, first + count)], most=count + 1)
            found.lost[stream].update(ordinal for a, b in unreadable for ordinal in range(a, b))


def _first_gap(leaf: Leaf, header: Header) -> int:
    """Where in a damaged page the entries that verify leave a hole; its end if it is behind them."""
    at = HEAD_BYTES
    for _, _, _, start, end in sorted(leaf.entries, key=lambda entry: entry[3]):
        if start - ENTRY_BYTES > at:
            break
        at = end
    return min(at, header.end or PAGE)
