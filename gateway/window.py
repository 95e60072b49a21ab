"""How long a change waits for company: long enough that a page is worth its write, short enough for whoever waits.

A commit writes whole pages, so a half-empty one costs flash. At a high rate a page fills before anybody has waited; at
a low one no wait would fill it, so the wait is bounded. Measured: docs/decisions/0005.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from gateway.outbox.frame import Frame
from gateway.outbox.page import ROOM

_SHORT_S = 0.2  # until it is on disk, so that the slowest of a hundred is at the city within a quarter of a second
_MOST_LATE_S = 0.06  # taken off a wait because a busy machine or a slow disk adds it again
_HALF_PAGE = ROOM // 2
_MEMORY_S = 5.0  # over which the rate is averaged; a change is believed when it is seen the second time
_LOOK_S = 0.1  # no rate is measured over less: two alarms in a row are none
_FULL = 0.97
_FIRST_GUESS = 60.0  # bytes per change


class Window:
    """Measures arrivals and says how long to wait. `longest_s`: whatever the rate."""

    def __init__(self, longest_s: float, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._longest_s = longest_s
        self._clock_s = clock_s
        self._noted_s = clock_s()
        self._noted_bytes = 0.0  # since then
        self._seen_per_s = 0.0  # the time before
        self._bytes_per_s = 2.0 * _HALF_PAGE  # until it is known
        self._late_s = 0.0
        self._bytes_per_change = _FIRST_GUESS
        self.changes_per_page = int(ROOM / _FIRST_GUESS)

    def wait_s(self, within_s: float | None) -> float:
        """How long the next change may wait; `within_s` if its sender says so."""
        if within_s is not None:
            return min(within_s, 2 * self._longest_s)
        due_s = max(_SHORT_S, _HALF_PAGE / max(self._bytes_per_s, 1.0))
        return min(self._longest_s, due_s - min(self._late_s, _MOST_LATE_S))

    def is_enough(self, frame: Frame, left: int) -> bool:
        """Whether the page is full, and what is left would not fill another."""
        return frame.fill >= _FULL and left * self._bytes_per_change < ROOM

    def note(self, frame: Frame, changes: int) -> None:
        """A commit was made of so many changes."""
        size = ROOM * (frame.page_count - 1 + frame.fill) if frame.page_count else 0.0
        if changes:
            self._bytes_per_change += 0.1 * (size / changes - self._bytes_per_change)
            self.changes_per_page = max(1, int(ROOM / max(self._bytes_per_change, 8.0)))
        self._noted_bytes += size
        now_s = self._clock_s()
        passed_s = now_s - self._noted_s
        if passed_s >= _LOOK_S:
            self._learn(self._noted_bytes / passed_s, passed_s)
            self._noted_s, self._noted_bytes = now_s, 0.0

    def note_late(self, late_s: float) -> None:
        """A commit was on disk so long after it was due."""
        self._late_s += 0.1 * (late_s - self._late_s)

    def _learn(self, seen_per_s: float, passed_s: float) -> None:
        """One commit may be a burst, or a pause; two of them that agree are a rate."""
        averaged = self._bytes_per_s + min(1.0, passed_s / _MEMORY_S) * (seen_per_s - self._bytes_per_s)
        self._bytes_per_s = median((averaged, seen_per_s, self._seen_per_s))
        self._seen_per_s = seen_per_s
