"""How old stored records are at the least: now and then the end of each stream is noted with the time of this boot.

What lies below a mark is as old as the mark, by the number of the boot and the seconds since it began, so that no wrong
wall clock lets anything expire (docs/decisions/0008). What is younger than the last mark counts as new. Streams
without a time to live have no marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.boot_table import BootTable
from gateway.tables import Tables

_TABLE = (
    "CREATE TABLE IF NOT EXISTS ages (stream INTEGER, ordinal INTEGER, boot INTEGER NOT NULL, up_s REAL NOT NULL,"
    " PRIMARY KEY (stream, ordinal)) WITHOUT ROWID"
)
_STEPS = 64  # marks per time to live
_LONGEST_STEP_S = 3600.0
_SHORTEST_STEP_S = 0.25
_LOOKS_PER_STEP = 4


class Mark(NamedTuple):
    """All records of a stream below `ordinal` were stored before this moment of that boot."""

    ordinal: int
    boot: int
    up_s: float


def begin_ages(tx: Tables) -> None:
    """Make the table if it is not there."""
    tx.execute(_TABLE)


class Ages:
    """Of the commit thread. `ttl_s`: seconds to live by stream."""

    def __init__(self, ttl_s: Mapping[int, float], boot_table: BootTable) -> None:
        self._ttl_s = {stream: float(ttl) for stream, ttl in ttl_s.items() if ttl}
        self._boot_table = boot_table
        self._marks: dict[int, list[Mark]] | None = None
        self._look_at: dict[int, tuple[int, float]] = {}  # not before this moment: boot, seconds since it began

    def note(self, tx: Tables, ends: list[int], bases: list[int]) -> None:
        """Mark the end of each stream that has grown since the last mark, once per step.

        ends   the next ordinal of each stream
        bases  below these nobody waits for anything
        """
        boot, up_s = self._boot_table.stamp()
        for stream, ttl_s in self._ttl_s.items():
            marks = self._of(tx, stream)
            last = marks[-1] if marks else None
            if ends[stream] <= (last.ordinal if last else bases[stream]):
                continue
            if last is not None and self._age_s(tx, last) < _step_s(ttl_s):
                continue
            marks.append(Mark(ends[stream], boot, up_s))
            tx.execute("INSERT INTO ages VALUES (?, ?, ?, ?)", (stream, *marks[-1]))
            if marks[0].ordinal <= bases[stream]:
                marks[:] = [mark for mark in marks if mark.ordinal > bases[stream]]
                tx.execute("DELETE FROM ages WHERE stream = ? AND ordinal <= ?", (stream, bases[stream]))

    def expired(self, tx: Tables) -> dict[int, int]:
        """Below which ordinal all of a stream has outlived its time; streams that are worth a look again only."""
        boot, up_s = self._boot_table.stamp()
        found = {}
        for stream, ttl_s in self._ttl_s.items():
            due_boot, due_s = self._look_at.get(stream, (boot, 0.0))
            if due_boot == boot and up_s < due_s:
                continue
            ordinal = self._ordinal_older_than(tx, stream, ttl_s)
            if ordinal:
                found[stream] = ordinal
            self._look_at[stream] = (boot, up_s + _step_s(ttl_s) / _LOOKS_PER_STEP)
        return found

    def look_again(self, stream: int) -> None:
        """Not all that has expired could be taken at once."""
        self._look_at.pop(stream, None)

    def _ordinal_older_than(self, tx: Tables, stream: int, ttl_s: float) -> int:
        """Marks are in the order of time: the last one that is old enough."""
        marks = self._of(tx, stream)
        low, high = 0, len(marks)
        while low < high:
            middle = (low + high) // 2
            if self._age_s(tx, marks[middle]) >= ttl_s:
                low = middle + 1
            else:
                high = middle
        return marks[low - 1].ordinal if low else 0

    def _age_s(self, tx: Tables, mark: Mark) -> float:
        boot, up_s = self._boot_table.stamp()
        if mark.boot == boot:  # without reading the table of boots
            return up_s - mark.up_s
        return self._boot_table.age_at_least_s(tx, (mark.boot, mark.up_s))

    def _of(self, tx: Tables, stream: int) -> list[Mark]:
        if self._marks is None:
            self._marks = {one: [] for one in self._ttl_s}
            for number, *mark in tx.execute("SELECT stream, ordinal, boot, up_s FROM ages ORDER BY stream, ordinal"):
                if number in self._marks:
                    self._marks[number].append(Mark(*mark))
        return self._marks[stream]

    def forget(self) -> None:
        """The commit failed: the table says which marks there are."""
        self._marks = None


def _step_s(ttl_s: float) -> float:
    return min(_LONGEST_STEP_S, max(_SHORTEST_STEP_S, ttl_s / _STEPS))
