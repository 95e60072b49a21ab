"""Seconds since this boot: the node's only clock for reports. It never steps, is never set, and knows no date.

Ticks wrap after 12 days on an ESP32, so they are added up whenever the time is asked for (at least once in six days,
which the node's loop does many times a second). The first second starts at a random phase: nodes that got their power
at the same moment must not measure and transmit in step.
"""

import os


class Uptime:
    """One boot's clock. A boot goes on through deep sleep: `start_s` is then what it was plus the time slept."""

    def __init__(self, clock, *, start_s=0, phase_ms=None):
        """`clock` has ticks_ms, ticks_diff and sleep_ms (drivers/clock); phase_ms 0 to 999, random unless given."""
        self._clock = clock
        self._ticks = clock.ticks_ms()
        self._s = start_s
        self._ms = os.urandom(2)[0] * 1000 // 256 if phase_ms is None else phase_ms

    def seconds(self):
        """Whole seconds since the boot began, rounded down."""
        self._advance()
        return self._s

    def split(self):
        """(whole seconds, milliseconds above them)."""
        self._advance()
        return self._s, self._ms

    def nearest_s(self):
        """Seconds since the boot began, rounded to the nearest: for a moment that cannot be put on a whole second."""
        self._advance()
        return self._s + (1 if self._ms >= 500 else 0)

    def ms_until(self, second):
        """Milliseconds until `second` begins, 0 if it has."""
        self._advance()
        return max((second - self._s) * 1000 - self._ms, 0)

    async def wait_for_second(self, early_ms=0):
        """Sleep until the next whole second begins, or so long before one, and return that second."""
        next_s = self.seconds() + 1
        if self.ms_until(next_s) < early_ms:
            next_s += 1
        while self.ms_until(next_s) > early_ms:
            await self._clock.sleep_ms(self.ms_until(next_s) - early_ms)
        return next_s

    def _advance(self):
        now = self._clock.ticks_ms()
        elapsed_ms = self._ms + self._clock.ticks_diff(now, self._ticks)
        self._ticks = now
        self._s += elapsed_ms // 1000
        self._ms = elapsed_ms % 1000
