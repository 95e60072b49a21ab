"""What was just stored, kept in memory for who takes it next: most live records are never read from the disk.

Holds the newest records of the shortest form, of commits that are on disk, and no more of them than so many. The commit
thread adds; a reader finds what it wants here or, if it is late, on the pages.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

from gateway.outbox.batch import Stored, just_stored
from gateway.outbox.frame import SINGLE_BYTES
from gateway.outbox.ranges import Run
from gateway.reading import STREAMS, Assurance, Single

_MOST = 16_384  # records; a few megabytes


class _Block(NamedTuple):
    """Records that follow each other in their stream."""

    first: int
    singles: Sequence[Single]
    assurance: Assurance
    stored_at_s: float


class Fresh:
    """`most`: records of one stream that it holds."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._counts = [0] * len(STREAMS)
        self._lock = Lock()
        self._blocks: list[list[_Block]] = [[] for _ in STREAMS]
        self._pending: list[tuple[int, _Block]] = []

    def add(self, stream: int, first: int, singles: Sequence[Single], assurance: Assurance, stored_at_s: float) -> None:
        """Note records of the commit in the making; the first has that ordinal."""
        self._pending.append((stream, _Block(first, tuple(singles), assurance, stored_at_s)))

    def keep(self) -> None:
        """The commit holds."""
        with self._lock:
            for stream, block in self._pending:
                self._blocks[stream].append(block)
                self._counts[stream] += len(block.singles)
                while self._counts[stream] > self._most:
                    self._counts[stream] -= len(self._blocks[stream].pop(0).singles)
        self._pending.clear()

    def forget(self) -> None:
        """The commit failed."""
        self._pending.clear()

    def read(self, stream: int, runs: Sequence[Run], *, most: int, most_bytes: int | None = None) -> list[Stored]:
        """The first records of these runs, as far as they are here."""
        if most_bytes is not None:
            most = min(most, -(-most_bytes // SINGLE_BYTES))
        found: list[Stored] = []
        with self._lock:
            blocks = self._blocks[stream]
            at = bisect_right(blocks, runs[0][0], key=_first) - 1 if runs else -1
            for first, end in runs:
                while first < end and len(found) < most:
                    while 0 <= at < len(blocks) and blocks[at].first + len(blocks[at].singles) <= first:
                        at += 1
                    if not 0 <= at < len(blocks) or blocks[at].first > first:
                        return found
                    part = _part(blocks[at], stream, first, min(end, first + most - len(found)))
                    found += part
                    first += len(part)
        return found


def _first(block: _Block) -> int:
    return block.first


def _part(block: _Block, stream: int, first: int, end: int) -> list[Stored]:
    """Its records of [first, end)."""
    singles = block.singles[first - block.first : end - block.first]
    return just_stored(stream, first, singles, block.assurance, block.stored_at_s)
