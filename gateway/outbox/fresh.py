"""What was just stored, kept in memory for who takes it next: most live records are never read from the disk.

Holds the newest records of the shortest form, of commits that are on disk, and no more of them than so many. The commit
thread adds; a reader finds what it wants here or, if it is late, on the pages.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter
from threading import Lock

from gateway.outbox.frame import SINGLE_BYTES
from gateway.outbox.ranges import Run
from gateway.outbox.stored import Stored, count_of
from gateway.reading import STREAMS, Assurance
from gateway.row import Row

_MOST = 16_384  # records; a few megabytes
_ORDINAL = attrgetter("ordinal")


class Fresh:
    """`most`: records of one stream that it holds."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._counts = [0] * len(STREAMS)
        self._lock = Lock()
        self._rows: list[list[Stored]] = [[] for _ in STREAMS]
        self._pending: list[tuple[int, list[Stored]]] = []

    def add(self, stream: int, first: int, rows: Sequence[Row], assurance: Assurance, stored_at_s: float) -> None:
        """Note records of the commit in the making; the first has that ordinal."""
        made = []
        for row in rows:
            made.append(Stored.in_row(stream, first, row, assurance, stored_at_s))
            first += len(row.values)
        self._pending.append((stream, made))

    def keep(self) -> None:
        """The commit holds."""
        with self._lock:
            for stream, made in self._pending:
                self._rows[stream] += made
                self._counts[stream] += count_of(made)
                self._drop(stream)
        self._pending.clear()

    def _drop(self, stream: int) -> None:
        """The oldest that are too many."""
        rows, over, at = self._rows[stream], self._counts[stream] - self._most, 0
        while over > 0:
            over -= rows[at].span
            at += 1
        self._counts[stream] = self._most + over if at else self._counts[stream]
        del rows[:at]

    def forget(self) -> None:
        """The commit failed."""
        self._pending.clear()

    def read(self, stream: int, runs: Sequence[Run], *, most: int, most_bytes: int | None = None) -> list[Stored]:
        """The first records of these runs, as far as they are here; those of a row as one."""
        if most_bytes is not None:
            most = min(most, -(-most_bytes // SINGLE_BYTES))
        found: list[Stored] = []
        with self._lock:
            for first, end in runs if most > 0 else ():
                part = _of(self._rows[stream], first, min(end, first + most))
                found += part
                most -= count_of(part)
                if most <= 0 or not part or part[-1].run[1] < end:
                    break
        return found


def _of(rows: Sequence[Stored], first: int, end: int) -> list[Stored]:
    """The first of the records [first, end), up to one that is not here."""
    at = max(bisect_right(rows, first, key=_ORDINAL) - 1, 0)
    found = list(rows[at : bisect_right(rows, end - 1, key=_ORDINAL)])
    if not found or not found[0].ordinal <= first < found[0].run[1]:
        return []
    if found[-1].run[1] - found[0].ordinal != count_of(found):  # others lie between them, which are on pages
        found = list(_gapless(found))
    if found[-1].run[1] > end:
        found[-1] = found[-1].part(0, end - found[-1].ordinal)
    if found[0].ordinal < first:
        found[0] = found[0].part(first - found[0].ordinal, found[0].span)
    return found


def _gapless(rows: Sequence[Stored]) -> Iterator[Stored]:
    """The first of them that follow each other."""
    at = rows[0].ordinal
    for one in rows:
        if one.ordinal != at:
            return
        yield one
        at += one.span
