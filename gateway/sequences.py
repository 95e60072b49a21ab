"""Which reports of a node are on disk: exact for any order of arrival, any holes and any floor.

`Sequence` is the arithmetic, without a database; `Sequences` keeps one per node and epoch there. A sequence is a u32
and counts up by one per report of its epoch; below `base` all are stored or declared lost (docs/protocol.md, "Two
number spaces"). A declared loss that comes after all is stored.
"""

from __future__ import annotations

import struct
from bisect import bisect_right

from gateway.tables import Tables

_PAIR = struct.Struct(">II")
_MAX_RUNS = 16_384  # a journal of 16,000 reports has no more holes; a node that claims more is refused
_MAX_DECLARED = 1_024  # spans of declared losses remembered per epoch; older ones are final
_DIGESTS_KEPT = 1024

Span = tuple[int, int]  # first, end (one past the last)


class Sequence:
    """Base, the runs of stored sequences above it, and below it what was declared lost; ascending and apart."""

    __slots__ = ("_ends", "_firsts", "base", "declared", "is_new")

    def __init__(
        self, base: int = 0, runs: tuple[Span, ...] = (), *, declared: tuple[Span, ...] = (), is_new: bool = False
    ) -> None:
        self.base = base
        self.declared = declared
        self.is_new = is_new  # nothing was known of this epoch
        self._firsts = [first for first, _ in runs]
        self._ends = [end for _, end in runs]

    @property
    def highest(self) -> int:
        """The highest sequence known, -1 before any."""
        return self._ends[-1] - 1 if self._ends else self.base - 1

    @property
    def runs(self) -> tuple[Span, ...]:
        return tuple(zip(self._firsts, self._ends, strict=True))

    def __contains__(self, seq: object) -> bool:
        if not isinstance(seq, int):
            return False
        if seq < self.base:
            return not any(first <= seq < end for first, end in self.declared)
        at = bisect_right(self._firsts, seq) - 1
        return at >= 0 and seq < self._ends[at]

    def has_room(self, reports: int) -> bool:
        """False if the node would leave more holes than any journal can have."""
        return len(self._firsts) + reports <= _MAX_RUNS

    def add(self, seq: int) -> bool:
        """Note that `seq` is stored; False if it was known already."""
        if seq in self:
            return False
        if seq < self.base:
            self._find_again(seq)
            return True
        if seq == self.base:
            self.base += 1
            self._absorb()
            return True
        at = bisect_right(self._firsts, seq)
        joins_left = at > 0 and self._ends[at - 1] == seq
        joins_right = at < len(self._firsts) and self._firsts[at] == seq + 1
        if joins_left and joins_right:
            self._ends[at - 1] = self._ends.pop(at)
            self._firsts.pop(at)
        elif joins_left:
            self._ends[at - 1] = seq + 1
        elif joins_right:
            self._firsts[at] = seq
        else:
            self._firsts.insert(at, seq)
            self._ends.insert(at, seq + 1)
        return True

    def raise_floor(self, floor: int) -> list[Span]:
        """Give up what is missing below `floor`. Returns those spans; the base is at or above `floor` then."""
        missing = []
        at = self.base
        for first, end in self.runs:
            if first >= floor:
                break
            missing.append((at, first))
            at = end
        if at < floor:
            missing.append((at, floor))
        self.base = max(self.base, floor)
        self._absorb()
        self.declared = (*self.declared, *missing)[-_MAX_DECLARED:]
        return missing

    def _find_again(self, seq: int) -> None:
        """What was declared lost has come after all, from a flash image that was put back: it is stored."""
        parts = [
            part
            for first, end in self.declared
            for part in (((first, seq), (seq + 1, end)) if first <= seq < end else ((first, end),))
        ]
        self.declared = tuple((first, end) for first, end in parts if first < end)[-_MAX_DECLARED:]

    def _absorb(self) -> None:
        """Runs that the base has reached are below it now."""
        reached = 0
        while reached < len(self._firsts) and self._firsts[reached] <= self.base:
            self.base = max(self.base, self._ends[reached])
            reached += 1
        del self._firsts[:reached], self._ends[:reached]

    def to_row(self) -> tuple[int, bytes, bytes]:
        """(base, above, declared) as they are stored."""
        return self.base, _pack(self.runs), _pack(self.declared)

    @classmethod
    def from_row(cls, base: int, above: bytes, declared: bytes) -> Sequence:
        return cls(base, _unpack(above), declared=_unpack(declared))


def _pack(spans: tuple[Span, ...]) -> bytes:
    return b"".join(_PAIR.pack(first, end) for first, end in spans)


def _unpack(packed: bytes) -> tuple[Span, ...]:
    return tuple((first, end) for first, end in _PAIR.iter_unpack(packed))


class Sequences:
    """The sequences of all nodes: a cache over the table, written down with the records that it speaks of."""

    def __init__(self, *, cached: int = 4096) -> None:
        self._cached = cached
        self._known: dict[tuple[str, int], Sequence] = {}
        self._changed: set[tuple[str, int]] = set()

    def of(self, tx: Tables, node: str, epoch: int) -> Sequence:
        """The sequence of a node's epoch; a new one if nothing is known. Call `changed` after changing it."""
        key = (node, epoch)
        found = self._known.get(key)
        if found is None:
            row = tx.execute("SELECT base, above, declared FROM sequences WHERE node = ? AND epoch = ?", key).fetchone()
            found = Sequence.from_row(*row) if row else Sequence(is_new=True)
            self._known[key] = found
        return found

    def knows(self, tx: Tables, node: str, epoch: int) -> bool:
        return not self.of(tx, node, epoch).is_new

    def changed(self, node: str, epoch: int) -> None:
        """The sequence of this node and epoch has moved: write it down with the next commit."""
        self._known[node, epoch].is_new = False
        self._changed.add((node, epoch))

    def has_content(self, tx: Tables, node: str, epoch: int, seq: int, digest: int) -> bool:
        """True unless `seq` was stored with another content. Only the newest 1024 of an epoch are remembered."""
        row = tx.execute(
            "SELECT digest FROM digests WHERE node = ? AND epoch = ? AND seq = ?", (node, epoch, seq)
        ).fetchone()
        return row is None or row[0] == digest

    def note_content(self, tx: Tables, node: str, epoch: int, seq: int, digest: int) -> None:
        tx.execute(
            "INSERT OR REPLACE INTO digests (node, epoch, seq, digest) VALUES (?, ?, ?, ?)", (node, epoch, seq, digest)
        )

    def flush(self, tx: Tables) -> None:
        for node, epoch in self._changed:
            sequence = self._known[node, epoch]
            tx.execute(
                "INSERT OR REPLACE INTO sequences (node, epoch, base, above, declared) VALUES (?, ?, ?, ?, ?)",
                (node, epoch, *sequence.to_row()),
            )
            oldest = sequence.highest - _DIGESTS_KEPT
            tx.execute("DELETE FROM digests WHERE node = ? AND epoch = ? AND seq < ?", (node, epoch, oldest))
        self._changed.clear()
        if len(self._known) > self._cached:
            self._known.clear()

    def forget(self) -> None:
        self._known.clear()
        self._changed.clear()
