"""Records out of the log again, by stream and ordinal, as a forwarder wants them. Changes nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from operator import attrgetter
from sys import intern

from gateway.outbox import body
from gateway.outbox.entries import Moved
from gateway.outbox.leaf import Leaf
from gateway.outbox.log import Log
from gateway.outbox.page import AS_TEXT, ENTRY_BYTES, MOVED, PAGE, PRODUCED, RECORD
from gateway.outbox.places import Sheet
from gateway.outbox.ranges import Run
from gateway.outbox.segment import Segment
from gateway.outbox.stored import Stored
from gateway.reading import STREAMS, Report, from_bytes

_PLACE = struct.Struct("<Qd")
_TEXT_HEAD_BYTES = 6
_STREAMS = len(STREAMS)
_WHICH = RECORD | MOVED | 3
_SIZE = attrgetter("size")
_PLACES = tuple(range(PAGE))  # one object each, however many records begin there


class Reader:
    """Reads from any thread; released segments are passed over, for nobody waits for what they held."""

    def __init__(self, log: Log, moved: Moved) -> None:
        self._log = log
        self._moved = moved

    def read(
        self, stream: int, runs: Sequence[Run], *, most: int, most_bytes: int | None = None
    ) -> tuple[list[Stored], list[Run]]:
        """The records of these runs in order, and the runs among them that cannot be read."""
        found: list[Stored] = []
        unreadable: list[Run] = []
        size = 0
        for first, end in runs:
            at = first
            last: tuple[Segment, int] | None = None
            while at < end:
                if len(found) >= most or (most_bytes is not None and size >= most_bytes):
                    return found, unreadable
                records, after, last = self._from_page(stream, at, min(end, at + most - len(found)), last)
                page_size = sum(map(_SIZE, records))
                if _is_run(records, at) and (most_bytes is None or size + page_size <= most_bytes):
                    found += records
                    at, size = at + len(records), size + page_size
                    records = []
                for record in records:
                    if most_bytes is not None and size >= most_bytes:
                        return found, unreadable
                    if record.ordinal > at:
                        _note(unreadable, at, record.ordinal)
                    at = record.ordinal + 1
                    size += record.size
                    found.append(record)
                _note(unreadable, at, after)
                at = max(at, after)
        return found, unreadable

    def _from_page(
        self, stream: int, first: int, end: int, last: tuple[Segment, int] | None
    ) -> tuple[list[Stored], int, tuple[Segment, int] | None]:
        """The records of [first, end) that are in the page of `first`, where the next page goes on, and this page.

        last  the page that ended just before `first`
        """
        places = self._moved.places[stream]
        moved = places.get(first) if places else None
        if moved is not None:
            return self._one_moved(stream, first, moved), first + 1, None
        place = self._log.find(stream, first, after=last)
        leaf = self._log.page(*place) if place is not None else None
        if leaf is None:
            return [], first + 1, None
        header = leaf.header
        records = _records(leaf, stream, first, end)
        after = header.firsts[stream] + header.counts[stream]
        if after <= first:  # a damaged page that should have held it: what the next one begins with is not here
            return records, records[-1].ordinal + 1 if records else first + 1, None
        return records, min(end, after), place if after <= end and not leaf.is_damaged else None

    def _one_moved(self, stream: int, ordinal: int, place: tuple[int, int]) -> list[Stored]:
        for segment in list(self._log.segments):
            if segment.number == place[0]:
                leaf = self._log.page(segment, place[1])
                return list(_moved_record(leaf, stream, ordinal)) if leaf else []
        return []


def _is_run(records: Sequence[Stored], first: int) -> bool:
    """Whether these are the record `first` and those after it, without a gap."""
    return bool(records) and records[-1].ordinal + 1 - first == len(records)


def _note(runs: list[Run], first: int, end: int) -> None:
    if first < end:
        if runs and runs[-1][1] == first:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))


def _records(leaf: Leaf, stream: int, first: int, end: int) -> list[Stored]:
    base, base_s = leaf.header.firsts[stream], leaf.header.base_s
    names = [intern(name) for name in leaf.names]  # every page names the same nodes, and tens of thousands wait
    wanted = RECORD | stream
    sheet = Sheet(b"", names)
    found = []
    for kind, slot, data, start, stop in leaf.entries:
        ordinal = base + slot
        if kind & _WHICH == wanted and first <= ordinal < end:
            id_, size = ordinal * _STREAMS + stream, ENTRY_BYTES + stop - start
            if start and not (leaf.is_damaged or kind & AS_TEXT):
                if sheet.page is not data:
                    sheet = Sheet(data, names)
                found.append(Stored.on_page(id_, sheet, _PLACES[start], size))
                continue
            report = read_report(kind, data, start, stop, names)
            if report is not None:
                stored_at_s = base_s + body.stored_ms(data, start) / 1000
                is_produced = kind & PRODUCED > 0
                found.append(Stored.of(id_, report, size=size, stored_at_s=stored_at_s, is_produced=is_produced))
    return found


def _moved_record(leaf: Leaf, stream: int, ordinal: int) -> Iterator[Stored]:
    for kind, _, data, start, stop in leaf.entries:
        if kind & MOVED and kind & 3 == stream:
            found, stored_at_s = _PLACE.unpack_from(data, start)
            report = read_report(kind, data, start + _PLACE.size, stop, leaf.names) if found == ordinal else None
            if report is not None:
                size = ENTRY_BYTES + stop - start
                yield Stored.of(
                    ordinal * _STREAMS + stream,
                    report,
                    size=size,
                    stored_at_s=stored_at_s,
                    is_produced=bool(kind & PRODUCED),
                )


def read_report(kind: int, data: bytes, start: int, stop: int, names: list[str]) -> Report | None:
    """The report of one entry; None if its bytes make no sense."""
    try:
        if kind & AS_TEXT:
            return from_bytes(data[start + _TEXT_HEAD_BYTES : stop])
        return body.decode(data, names, start)
    except (ValueError, IndexError, struct.error):
        return None
