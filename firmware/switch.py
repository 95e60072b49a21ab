"""A float switch or any other contact to ground: 1 while it is on. May wake the node from deep sleep.

EXT0 is used, not EXT1: it keeps the pull-up of the pin alive while the chip sleeps (ESP-IDF, "Sleep Modes").
"""

import esp32
import machine

from drivers import clock
from drivers.constant import const

_READS = const(3)  # the majority: a contact bounces for some milliseconds
_SPACING_MS = const(5)


class Switch:
    """One contact between a pin and ground, open or closed while it is on."""

    def __init__(self, pin, *, on_level, wakes):
        """pin  a GPIO number; `on_level` 0: closed means on."""
        self._pin = machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)
        self._on_level = on_level
        self._wakes = wakes
        self._level = 1 - on_level  # as it was told last

    async def measure(self):
        """1 if it is on, else 0."""
        high = 0
        for at in range(_READS):
            if at:
                await clock.sleep_ms(_SPACING_MS)
            high += self._pin.value()
        self._level = 1 if 2 * high > _READS else 0
        return 1 if self._level == self._on_level else 0

    def arm(self):
        """Let the next change end a deep sleep; a change since it was measured does so at once."""
        if self._wakes:
            esp32.wake_on_ext0(self._pin, not self._level)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
