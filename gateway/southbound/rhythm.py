"""Who waits for an answer before going on: a script, a modem with one message in flight, a client whose window is full.

A commit waits for company to spare the flash, up to 1.5 s where little comes. Whoever goes on only when answered would
get that as its whole rate, and what it says next is no company: so it is answered at once. Told by its rhythm: what it
says comes right after our answers, again and again, and nothing comes until the next one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_PROMPT_S = 0.1  # after an answer; by chance, a device that speaks once a second does that one time in ten
_IN_A_ROW = 2
_MOST = 64  # unanswered messages: more of them fill pages, and need no help
_PROBE = 100  # every so many answers one is not hurried: who then goes on without it speaks by the clock
_KEPT = 10_000


@dataclass(slots=True)
class _Heard:
    """What a device said and got answered."""

    answered_s: float = -math.inf
    began_s: float = 0.0  # the first of its unanswered messages
    unanswered: int = 0
    prompt: int = 0  # how often in a row it went on right after an answer, and not without one
    has_spoken: bool = False  # since the last answer


class Rhythm:
    """The rhythm of every device, by name; bounded, and forgotten as a whole when there are too many."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._heard: dict[str, _Heard] = {}

    def is_any_waiting(self, counts: Mapping[str, int]) -> bool:
        """Messages came, so many of each device: whether one of these goes on only when it is answered."""
        now_s, is_any = self._clock_s(), False
        for device, count in counts.items():
            is_any |= self._is_waiting(device, count, now_s)
        return is_any

    def _is_waiting(self, device: str, count: int, now_s: float) -> bool:
        heard = self._heard.get(device) or self._add(device)
        if not heard.unanswered:
            heard.began_s = now_s
        heard.unanswered += count
        if not heard.has_spoken:
            heard.has_spoken = True
            heard.prompt = heard.prompt + 1 if now_s - heard.answered_s <= _PROMPT_S else 0
        elif now_s - max(heard.answered_s, heard.began_s) > _PROMPT_S:
            heard.prompt = 0  # it goes on without an answer
        if heard.unanswered > _MOST:
            heard.prompt = 0
        return heard.prompt >= _IN_A_ROW and heard.prompt % _PROBE != 0

    def _add(self, device: str) -> _Heard:
        if len(self._heard) >= _KEPT:
            self._heard.clear()
        heard = self._heard[device] = _Heard()
        return heard

    def answered(self, counts: Mapping[str, int]) -> None:
        """So many messages of each device were answered."""
        now_s = self._clock_s()
        for device, count in counts.items():
            heard = self._heard.get(device)
            if heard is not None:  # else it was forgotten meanwhile
                heard.unanswered = max(0, heard.unanswered - count)
                heard.answered_s, heard.has_spoken = now_s, False
