"""Records out of the log again, by stream and ordinal, as a forwarder wants them. Changes nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.outbox import body
from gateway.outbox.entries import Moved
from gateway.outbox.log import Leaf, Log
from gateway.outbox.page import AS_TEXT, ENTRY_BYTES, MOVED, PRODUCED, RECORD
from gateway.outbox.ranges import Run
from gateway.reading import Report, from_bytes

_PLACE = struct.Struct("<Qd")
_TEXT_HEAD_BYTES = 6


class Found(NamedTuple):
    """One record. `stored_at_s`: UTC."""

    ordinal: int
    stored_at_s: float
    size: int
    report: Report
    is_produced: bool


class Reader:
    """Reads from any thread; released segments are passed over, for nobody waits for what they held."""

    def __init__(self, log: Log, moved: Moved) -> None:
        self._log = log
        self._moved = moved

    def read(
        self, stream: int, runs: Sequence[Run], *, most: int, most_bytes: int | None = None
    ) -> tuple[list[Found], list[Run]]:
        """The records of these runs in order, and the runs among them that cannot be read."""
        found: list[Found] = []
        unreadable: list[Run] = []
        size = 0
        for first, end in runs:
            at = first
            while at < end:
                if len(found) >= most or (most_bytes is not None and size >= most_bytes):
                    return found, unreadable
                records, after = self._from_page(stream, at, min(end, at + most - len(found)))
                for record in records:
                    _note(unreadable, at, record.ordinal)
                    at = record.ordinal + 1
                    found.append(record)
                    size += record.size
                _note(unreadable, at, after)
                at = max(at, after)
        return found, unreadable

    def _from_page(self, stream: int, first: int, end: int) -> tuple[list[Found], int]:
        """The records of [first, end) that are in the page of `first`, and where the next page goes on."""
        moved = self._moved.places[stream].get(first)
        if moved is not None:
            return self._one_moved(stream, first, moved), first + 1
        place = self._log.find(stream, first)
        if place is None:
            return [], first + 1
        segment, number = place
        leaf = self._log.page(segment, number)
        if leaf is None:
            return [], first + 1
        header = leaf.header
        records = list(_records(leaf, stream, first, end))
        after = header.firsts[stream] + header.counts[stream]
        if after <= first:  # a damaged page that should have held it: what the next one begins with is not here
            after = records[-1].ordinal + 1 if records else first + 1
        return records, min(end, after)

    def _one_moved(self, stream: int, ordinal: int, place: tuple[int, int]) -> list[Found]:
        for segment in list(self._log.segments):
            if segment.number == place[0]:
                leaf = self._log.page(segment, place[1])
                return list(_moved_record(leaf, stream, ordinal)) if leaf else []
        return []


def _note(runs: list[Run], first: int, end: int) -> None:
    if first < end:
        if runs and runs[-1][1] == first:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))


def _records(leaf: Leaf, stream: int, first: int, end: int) -> Iterator[Found]:
    base = leaf.header.firsts[stream]
    for kind, slot, data, start, stop in leaf.entries:
        if kind & RECORD and kind & 3 == stream and not kind & MOVED and first <= base + slot < end:
            report = read_report(kind, data, start, stop, leaf.names)
            if report is not None:
                stored_at_s = leaf.header.base_s + body.stored_ms(data, start) / 1000
                yield Found(base + slot, stored_at_s, ENTRY_BYTES + stop - start, report, bool(kind & PRODUCED))


def _moved_record(leaf: Leaf, stream: int, ordinal: int) -> Iterator[Found]:
    for kind, _, data, start, stop in leaf.entries:
        if kind & MOVED and kind & 3 == stream:
            found, stored_at_s = _PLACE.unpack_from(data, start)
            report = read_report(kind, data, start + _PLACE.size, stop, leaf.names) if found == ordinal else None
            if report is not None:
                yield Found(ordinal, stored_at_s, ENTRY_BYTES + stop - start, report, bool(kind & PRODUCED))


def read_report(kind: int, data: bytes, start: int, stop: int, names: list[str]) -> Report | None:
    """The report of one entry; None if its bytes make no sense."""
    try:
        if kind & AS_TEXT:
            return from_bytes(data[start + _TEXT_HEAD_BYTES : stop])
        return body.decode(data, names, start)
    except (ValueError, IndexError, struct.error):
        return None
