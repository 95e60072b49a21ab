"""A set of whole numbers as ascending runs that lie apart: which records of a stream are settled."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

Run = tuple[int, int]  # first, end (one past the last)


class Ranges:
    """Runs of numbers from 0 on. Adding in order costs next to nothing however many there are."""

    __slots__ = ("ends", "firsts")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        pairs = list(runs)
        self.firsts = array("Q", [first for first, _ in pairs])  # a city that answers out of order leaves thousands
        self.ends = array("Q", [end for _, end in pairs])

    def copy(self) -> Ranges:
        made = Ranges()
        made.firsts, made.ends = self.firsts[:], self.ends[:]
        return made

    def __iter__(self) -> Iterator[Run]:
        return iter(zip(self.firsts, self.ends, strict=True))

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self.firsts, number) - 1
        return at >= 0 and number < self.ends[at]

    @property
    def base(self) -> int:
        """The first number from 0 on that is not in the set."""
        return self.ends[0] if self.firsts and self.firsts[0] == 0 else 0

    def add(self, first: int, end: int) -> int:
        """Take in [first, end). Returns how many of them are new."""
        low = bisect_left(self.ends, first)
        high = bisect_right(self.firsts, end)
        known = 0
        new_first, new_end = first, end
        for at in range(low, high):
            known += max(0, min(end, self.ends[at]) - max(first, self.firsts[at]))
            new_first, new_end = min(new_first, self.firsts[at]), max(new_end, self.ends[at])
        self.firsts[low:high] = array("Q", (new_first,))
        self.ends[low:high] = array("Q", (new_end,))
        return end - first - known

    def missing(self, first: int, end: int) -> Iterator[Run]:
        """The runs of [first, end) that are not in the set."""
        at = bisect_right(self.ends, first)
        while first < end:
            if at >= len(self.firsts) or self.firsts[at] >= end:
                yield first, end
                return
            if self.firsts[at] > first:
                yield first, self.firsts[at]
            first = self.ends[at]
            at += 1

    def touches(self, first: int, end: int) -> bool:
        """Whether any number of [first, end) is in the set."""
        at = bisect_right(self.ends, first)
        return at < len(self.firsts) and self.firsts[at] < end

    def count(self, first: int, end: int) -> int:
        """How many of [first, end) are in the set."""
        return end - first - sum(b - a for a, b in self.missing(first, end))

    def common(self, other: Ranges) -> Ranges:
        """What is in both."""
        mine, theirs, at, to = list(self), list(other), 0, 0
        found = Ranges()
        while at < len(mine) and to < len(theirs):
            first, end = max(mine[at][0], theirs[to][0]), min(mine[at][1], theirs[to][1])
            if first < end:
                found.firsts.append(first)
                found.ends.append(end)
            if mine[at][1] < theirs[to][1]:
                at += 1
            else:
                to += 1
        return found


def joined_runs(runs: Iterable[Run]) -> list[Run]:
    """The same numbers as ascending runs that lie apart."""
    ordered = sorted(runs)
    firsts, ends = tuple(zip(*ordered, strict=True)) or ((), ())
    if ordered and firsts[1:] == ends[:-1]:
        return [(firsts[0], ends[-1])]
    joined: list[Run] = []
    first = end = -1
    for start, stop in ordered:
        if start <= end:
            end = max(end, stop)
            continue
        if first >= 0:
            joined.append((first, end))
        first, end = start, stop
    return [*joined, (first, end)] if first >= 0 else []


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """The runs that these numbers form."""
    ordered = sorted(set(numbers))
    if ordered and ordered[-1] - ordered[0] < len(ordered):
        return [(ordered[0], ordered[-1] + 1)]
    ends = [before + 1 for before, after in pairwise(ordered) if after - before > 1]
    firsts = [after for before, after in pairwise(ordered) if after - before > 1]
    return list(zip(ordered[:1] + firsts, [*ends, ordered[-1] + 1] if ordered else [], strict=True))
