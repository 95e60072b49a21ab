"""When each reading was sent, acknowledged and seen at the city: three arrays that load, city and judge share.

A reading is its serial number, which is its value, so that any platform's format shows it. Times are CLOCK_MONOTONIC,
which all processes of a machine share; 0 means not yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

FIRST = 10_000_000  # serials have eight digits, so that every reading has the same length
DEVICES = 200
SPAWN = get_context("spawn")
CAPACITY = 4_000_000  # readings per tally; memory is touched only as far as it is used


class Tally:
    """Made once and handed to both processes. Each array and counter has one writer."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.sent_s: Any = SPAWN.RawArray("d", capacity)
        self.acked_s: Any = SPAWN.RawArray("d", capacity)
        self.arrived_s: Any = SPAWN.RawArray("d", capacity)
        self.arrived: Any = SPAWN.RawValue("q", 0)
        self.repeats: Any = SPAWN.RawValue("q", 0)
        self.last_arrival_s: Any = SPAWN.RawValue("d", 0.0)

    def note_arrival(self, serial: int, now_s: float) -> None:
        """The city has this one. Numbers that are no serial of ours are not looked at."""
        at = serial - FIRST
        if not 0 <= at < len(self.arrived_s):
            return
        if self.arrived_s[at]:
            self.repeats.value += 1
        else:
            self.arrived_s[at] = now_s
            self.arrived.value += 1
            self.last_arrival_s.value = now_s

    def missing(self, span: Span) -> int:
        """Acknowledged to the device and not at the city."""
        part = slice(span.first - FIRST, span.end - FIRST)
        return sum(
            bool(acked) and not arrived for acked, arrived in zip(self.acked_s[part], self.arrived_s[part], strict=True)
        )

    def acknowledged(self, span: Span) -> int:
        """How many of these the device needs to keep no longer."""
        return sum(map(bool, self.acked_s[span.first - FIRST : span.end - FIRST]))

    def latencies_s(self, span: Span) -> list[float]:
        """From write() at the device to read() at the city, sorted, of those that arrived."""
        part = slice(span.first - FIRST, span.end - FIRST)
        pairs = zip(self.sent_s[part], self.arrived_s[part], strict=True)
        return sorted(arrived - sent for sent, arrived in pairs if arrived)

    def rate_per_s(self, span: Span) -> float:
        """Readings per second end to end: from the first sending until 99 of 100 had arrived, stragglers left out."""
        part = slice(span.first - FIRST, span.end - FIRST)
        arrived = sorted(moment for moment in self.arrived_s[part] if moment)
        if not arrived:
            return 0.0
        most = max(1, len(arrived) * 99 // 100)
        return most / (arrived[most - 1] - self.sent_s[span.first - FIRST])


@dataclass(frozen=True)
class Span:
    """Serials from `first` up to but not with `end`."""

    first: int
    end: int


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` of an ordered list lies; nan of an empty one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
