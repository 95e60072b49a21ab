"""The time every virtual part goes by: microseconds that only count up, and the UTC second that belongs to them.

Chips and the air keep no timers: whenever they are touched they work out from the clock what must have happened since.
So the same models run in real time (WallClock) and under a test that turns the hands itself (ManualClock).
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now_us(self) -> int:
        """Virtual microseconds since the clock was made; never goes back."""
        ...

    def utc_s(self) -> float:
        """Virtual UTC in seconds since 1970 at this very moment."""
        ...


class WallClock:
    """Real time, or real time made `speed` times faster."""

    def __init__(self, *, speed: float = 1.0) -> None:
        self._speed = speed
        self._started_ns = time.monotonic_ns()
        self._started_utc_s = time.time()

    def now_us(self) -> int:
        return int((time.monotonic_ns() - self._started_ns) * self._speed) // 1000

    def utc_s(self) -> float:
        return self._started_utc_s + self.now_us() / 1e6


class ManualClock:
    """Stands still until a test advances it."""

    def __init__(self, *, utc_s: float = 1_800_000_000.0) -> None:
        self._now_us = 0
        self._started_utc_s = utc_s

    def now_us(self) -> int:
        return self._now_us

    def utc_s(self) -> float:
        return self._started_utc_s + self._now_us / 1e6

    def advance_us(self, step_us: int) -> None:
        if step_us < 0:
            raise ValueError(f"step_us = {step_us}: a clock never goes back")
        self._now_us += step_us
