"""What time is it, and may we believe it: a wall clock that is distrusted below what is known to have passed.

A Pi without a battery starts in 1970 or where it was switched off. A time below the floor is certainly wrong; the floor
rises with every trusted time and is kept in the database. TTL, retry and certificate logic use the monotonic clock.
"""

import time
from collections.abc import Callable

RELEASED_AT_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z: no gateway with this code ran before


class ClockTrust:
    """UTC with a verdict. `floor_s`: a time that is known to have passed."""

    def __init__(
        self,
        *,
        floor_s: float = RELEASED_AT_S,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._floor_s = max(floor_s, RELEASED_AT_S)
        self._wall = wall
        self.monotonic_s = monotonic

    def now_s(self) -> float:
        """Seconds since 1970; look at is_trusted before showing them to anybody."""
        return self._wall()

    @property
    def is_trusted(self) -> bool:
        return self._wall() >= self._floor_s

    @property
    def floor_s(self) -> float:
        return self._floor_s

    def raise_floor(self, passed_s: float) -> None:
        """Note that `passed_s` has passed; a lower one changes nothing."""
        self._floor_s = max(self._floor_s, passed_s)
