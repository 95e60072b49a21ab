"""Who waits for each answer before saying the next thing: a script, a modem with one message in flight.

A commit waits for company to spare the flash, up to 1.5 s where little comes. Whoever speaks only when answered would
get that as its whole rate, and its next message is no company: so it is answered at once. Told by its rhythm: its
messages come right after our answers, again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

_PROMPT_S = 0.1  # after an answer; by chance, a device that speaks once a second does that one time in ten
_IN_A_ROW = 2
_KEPT = 10_000


class Rhythm:
    """The rhythm of every device, by name; bounded, and forgotten as a whole when there are too many."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._answered: dict[str, tuple[float, int]] = {}  # when it was answered last, how often it was prompt

    def is_waiting(self, device: str) -> bool:
        """A message came: whether this device says one thing at a time."""
        known = self._answered.get(device)
        if known is None:
            return False
        answered_s, prompt = known
        prompt = prompt + 1 if self._clock_s() - answered_s <= _PROMPT_S else 0
        self._answered[device] = (float("-inf"), prompt)
        return prompt >= _IN_A_ROW

    def is_any_waiting(self, counts: Mapping[str, int]) -> bool:
        """The same of messages that came together, so many of each device: who has several waits for nothing."""
        is_any = False
        for device, count in counts.items():
            if count > 1:
                self._is_talking(device)
            elif self.is_waiting(device):
                is_any = True
        return is_any

    def _is_talking(self, device: str) -> None:
        """It says more than one thing at a time."""
        if device in self._answered:
            self._answered[device] = (float("-inf"), 0)

    def answered(self, device: str) -> None:
        """Its message was answered."""
        if len(self._answered) >= _KEPT:
            self._answered.clear()
        self._answered[device] = (self._clock_s(), self._answered.get(device, (0.0, 0))[1])
