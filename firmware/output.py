"""An output that a gateway may switch for a stated time: a siren, a valve, a lamp. Else it is in its safe state.

Safe from the start of each boot on, and again when the time is over; a reset by the watchdog ends it as well. Loaded
only where the configuration has an output.
"""

import machine


class Output:
    """One pin of the board."""

    def __init__(self, pin, *, on_level, safe, longest_s):
        """pin  a GPIO number; on_level: its level when on; safe: 0 off, 1 on; longest_s: most seconds of one order."""
        self.longest_s = longest_s
        self._on_level = on_level
        self._safe = safe
        self._until_s = None  # by the clock of this boot
        self._pin = machine.Pin(pin, machine.Pin.OUT, value=self._level(safe))

    def switch(self, state, for_s, now_s):
        """Be off (0) or on (1) for so many seconds; with 0 seconds safe at once."""
        self._until_s = now_s + for_s if for_s else None
        self._pin.value(self._level(state if for_s else self._safe))

    def check(self, now_s):
        """Back to the safe state when the time is over."""
        if self._until_s is not None and now_s >= self._until_s:
            self.switch(self._safe, 0, now_s)

    def _level(self, state):
        return self._on_level if state else 1 - self._on_level
