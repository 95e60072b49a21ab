"""Who has what: the counters of promise 1, and which records of each stream every platform is done with.

All of it follows from the entries of the log: `came`, `settle`, `give_up` and `set_cities` are called when a commit is
made and again when it is replayed, and do the same. So a counter moves in the commit of what it counts. Ordinals count
the records of a stream from 0 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gateway.outbox.ranges import Ranges, Run
from gateway.reading import STREAMS

Outcome = Literal["delivered", "unheard", "refused"]
COLUMNS = ("accepted", "produced", "delivered", "unheard", "evicted", "expired", "thinned", "damaged", "refused")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One platform. `unheard` is part of `delivered`; `stored` is counted in what is not settled."""

    city: str
    accepted: int
    produced: int
    delivered: int
    unheard: int
    evicted: int
    expired: int
    thinned: int
    damaged: int
    refused: int
    stored: int

    @property
    def holds(self) -> bool:
        gone = self.delivered + self.evicted + self.expired + self.thinned + self.damaged + self.refused
        return self.accepted + self.produced == gone + self.stored

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "holds": self.holds}


class Ledger:
    """The state of the outbox beside the records themselves. Small, in memory, saved with a checkpoint."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self.settled: dict[tuple[str, int], Ranges] = {}
        self.gone = [Ranges() for _ in STREAMS]  # nobody waits for these
        self.ends = [0] * len(STREAMS)  # one past the last record of each stream
        self.sizes = [0] * len(STREAMS)  # bytes of what is stored; by average when part of it goes
        self.came_in = 0  # records from outside, since somebody began to count

    @property
    def cities(self) -> tuple[str, ...]:
        return tuple(self.counts)

    # What entries do

    def came(self, stream: int, count: int, size: int, *, produced: int) -> None:
        """So many records more, of which so many are of the gateway's own making."""
        self.ends[stream] += count
        self.sizes[stream] += size
        self.came_in += count - produced
        for counts in self.counts.values():
            counts["accepted"] += count - produced
            counts["produced"] += produced

    def settle(self, city: str, stream: int, outcome: Outcome, runs: Iterable[Run]) -> int:
        """`city` is done with these. What was settled or evicted before stays counted as that. Returns the new ones."""
        counts = self.counts.get(city)
        if counts is None:
            return 0
        settled = self.settled[city, stream]
        moved = sum(settled.add(first, end) for first, end in runs)
        counts["refused" if outcome == "refused" else "delivered"] += moved
        counts["unheard"] += moved if outcome == "unheard" else 0
        self._let_go(stream)
        return moved

    def give_up(self, stream: int, column: str, runs: Sequence[Run]) -> list[str]:
        """Nobody will get these. Returns the platforms that waited for some of them."""
        losers = []
        for city, counts in self.counts.items():
            moved = sum(self.settled[city, stream].add(first, end) for first, end in runs)
            counts[column] += moved
            if moved:
                losers.append(city)
        before = self.records(stream)
        for first, end in runs:
            self.gone[stream].add(first, end)
        self._shrink(stream, before)
        return losers

    def set_cities(self, names: Sequence[str]) -> list[str]:
        """Take in new platforms, which get what is stored; let go of old ones. Returns what to tell an operator."""
        said = [self._remove(name) for name in sorted(set(self.counts) - set(names))]
        said += [self._add(name) for name in names if name not in self.counts]
        for stream in range(len(STREAMS)):
            self._let_go(stream)
        return said

    def _add(self, name: str) -> str:
        stored = sum(self.records(stream) for stream in range(len(STREAMS)))
        self.counts[name] = dict.fromkeys(COLUMNS, 0) | {"accepted": stored}
        for stream in range(len(STREAMS)):
            self.settled[name, stream] = self.gone[stream].copy()
        return f"platform {name!r} is new and gets what is stored: {stored} records"

    def _remove(self, name: str) -> str:
        del self.counts[name]
        for stream in range(len(STREAMS)):
            del self.settled[name, stream]
        return f"platform {name!r} is not configured any more; what waited for it alone is dropped"

    def _let_go(self, stream: int) -> None:
        """What every platform is done with is gone."""
        waiting = [self.settled[city, stream] for city in self.counts]
        if not waiting:
            return
        before = self.records(stream)
        common = waiting[0]
        for other in waiting[1:]:
            common = common.common(other)
        self.gone[stream] = common.copy()
        self._shrink(stream, before)

    def _shrink(self, stream: int, before: int) -> None:
        left = self.records(stream)
        if before > left:
            self.sizes[stream] -= self.sizes[stream] * (before - left) // before

    def recount(self, stream: int) -> None:
        """After the platforms' cursors were set as a whole: what is gone, and what is left."""
        self._let_go(stream)

    # What is known

    def records(self, stream: int) -> int:
        """How many records of a stream are stored."""
        return self.ends[stream] - self.gone[stream].count(0, self.ends[stream])

    def waiting(self, city: str, stream: int) -> int:
        """How many records of a stream wait for `city`, by what it is done with."""
        return self.ends[stream] - self.settled[city, stream].count(0, self.ends[stream])

    def balance(self, city: str) -> int:
        """How many records wait for `city`, by its counters."""
        counts = self.counts.get(city)
        if counts is None:
            return 0
        gone = ("delivered", "evicted", "expired", "thinned", "damaged", "refused")
        return counts["accepted"] + counts["produced"] - sum(counts[name] for name in gone)

    def audit(self) -> list[AuditRow]:
        """One row per platform, `stored` counted in what is not settled."""
        return [
            AuditRow(city=city, stored=sum(self.waiting(city, s) for s in range(len(STREAMS))), **self.counts[city])
            for city in sorted(self.counts)
        ]

    # Keeping and undoing

    def copy(self) -> Ledger:
        made = Ledger()
        made.counts = {city: dict(counts) for city, counts in self.counts.items()}
        made.settled = {place: ranges.copy() for place, ranges in self.settled.items()}
        made.gone = [ranges.copy() for ranges in self.gone]
        made.ends, made.sizes, made.came_in = self.ends[:], self.sizes[:], self.came_in
        return made

    def restore(self, kept: Ledger) -> None:
        """Be what `kept` is."""
        self.counts, self.settled, self.gone = kept.counts, kept.settled, kept.gone
        self.ends, self.sizes, self.came_in = kept.ends, kept.sizes, kept.came_in

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": self.counts,
            "settled": [[city, stream, list(ranges)] for (city, stream), ranges in self.settled.items()],
            "gone": [list(ranges) for ranges in self.gone],
            "ends": self.ends,
            "sizes": self.sizes,
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Ledger:
        made = cls()
        made.counts = {city: dict(counts) for city, counts in table["counts"].items()}
        made.settled = {(city, stream): Ranges(runs) for city, stream, runs in table["settled"]}
        made.gone = [Ranges(runs) for runs in table["gone"]]
        made.ends, made.sizes = list(table["ends"]), list(table["sizes"])
        return made
