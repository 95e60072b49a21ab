"""Where a platform's forwarder is in each stream: the live lane begins at the tail, the backlog lane at what is owed.

Two positions per stream, in memory alone: what was settled is in the ledger, and after a start or a reconnect all that
is not settled is owed as backlog. What is given back goes out again before what comes later in its lane.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.outbox.batch import Batch, Lane
from gateway.outbox.ledger import Ledger
from gateway.outbox.ranges import Run
from gateway.outbox.stored import Stored, each_of
from gateway.reading import STREAMS

_SOON_TAKEN = 1_000


class Lanes:
    """The positions of one platform."""

    def __init__(self, city: str) -> None:
        self.city = city
        self.connection = 0
        self.is_connected = False  # what was taken may be on its way
        self._tails = [0] * len(STREAMS)  # the live lane began here
        self._next: dict[tuple[Lane, int], int] = {}
        self._returned: dict[tuple[Lane, int], dict[int, Stored]] = {}

    def reconnect(self, ledger: Ledger) -> None:
        """Live is what comes from now on; everything before it that is not settled is owed."""
        self.connection += 1
        self._tails = ledger.ends[:]
        self._returned.clear()
        for stream, tail in enumerate(self._tails):
            self._next["live", stream] = tail
            settled = ledger.settled.get((self.city, stream))
            self._next["backlog", stream] = settled.base if settled is not None else 0

    def returned(self, lane: Lane, stream: int, most: int) -> tuple[Stored, ...]:
        """The earliest of what was given back, at most so many; it goes out first."""
        waiting = self._returned.get((lane, stream))
        if not waiting:
            return ()
        return tuple(waiting.pop(place) for place in sorted(waiting)[:most])

    def give_back(self, batch: Batch) -> None:
        """Take it again before later ones. One from before a reconnect is owed as backlog already."""
        if batch.connection == self.connection:
            waiting = self._returned.setdefault((batch.lane, batch.stream), {})
            waiting.update((stored.id, stored) for stored in each_of(batch.records))

    def runs(self, lane: Lane, stream: int, ledger: Ledger, most: int) -> list[Run]:
        """The next records of a lane that are not settled, at most so many."""
        settled = ledger.settled.get((self.city, stream))
        if settled is None:
            return []
        end = ledger.ends[stream] if lane == "live" else min(self._tails[stream], ledger.ends[stream])
        runs: list[Run] = []
        for first, stop in settled.missing(self._next[lane, stream], end):
            runs.append((first, min(stop, first + most)))
            most -= runs[-1][1] - first
            if most <= 0:
                break
        return runs

    def under_way(self, stream: int, ledger: Ledger) -> list[Run]:
        """What was taken and is not settled, or will be taken within a moment: it may be at the platform already."""
        settled = ledger.settled.get((self.city, stream))
        if settled is None or not self.is_connected:
            return []
        tail, end = self._tails[stream], ledger.ends[stream]
        backlog = settled.missing(0, min(self._next["backlog", stream] + _SOON_TAKEN, tail, end))
        live = settled.missing(tail, min(max(tail, self._next["live", stream] + _SOON_TAKEN), end))
        return [*backlog, *live]

    def passed(self, lane: Lane, stream: int, ordinal: int) -> None:
        """Everything before `ordinal` has been taken."""
        self._next[lane, stream] = max(self._next[lane, stream], ordinal)

    def pending(self, lane: Lane, streams: Sequence[int], ledger: Ledger) -> bool:
        """Whether a lane has something to take."""
        return any(self._returned.get((lane, s)) or self.runs(lane, s, ledger, 1) for s in streams)
