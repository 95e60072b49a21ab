"""Which answer goes to which node when: one at a time, alarms first, inside the receive window and the duty cycle.

Does no I/O and reads no clock. What cannot go is counted and forgotten: the node reports again, and is answered then.
Times are microseconds of one monotonic clock.
"""

from collections.abc import Callable
from dataclasses import dataclass

WINDOW_US = 2_000_000  # a node listens this long after the end of its frame: docs/protocol.md, "LoRa bearer"
_GUARD_US = 30_000  # to get from one transmission to the next
_MOST_WAITING = 256


@dataclass(frozen=True, kw_only=True)
class Downlink:
    """One sealed frame and the moment it must begin."""

    frame: bytes
    due_us: int
    airtime_us: int
    is_urgent: bool = False
    is_join: bool = False
    is_beacon: bool = False

    @property
    def rank(self) -> int:
        """Acks of alarms before other acks, those before beacons, and these before joins, which anybody may ask for."""
        return 3 if self.is_urgent else 0 if self.is_join else 1 if self.is_beacon else 2

    @property
    def name(self) -> str:
        """As counters call it."""
        return "beacons" if self.is_beacon else "acks"

    @property
    def end_us(self) -> int:
        return self.due_us + self.airtime_us


class Schedule:
    """Downlinks that wait for their moment.

    lead_us    how long before its moment a frame must be taken
    latest_us  how long after its moment it may still begin
    count      called with a counter's name for each frame that is not sent
    """

    def __init__(self, *, lead_us: int, latest_us: int = 0, count: Callable[[str], None]) -> None:
        self._lead_us = lead_us
        self._latest_us = latest_us
        self._count = count
        self._waiting: list[Downlink] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, new: Downlink, *, now_us: int) -> bool:
        """Keep `new` until its moment; whether it has a place. One of a higher rank takes the place of others."""
        if now_us > self._latest_take_us(new):
            return self._skip(new, "late")
        rivals = [one for one in self._waiting if _overlap(one, new)]
        if any(one.rank >= new.rank for one in rivals) or len(self._waiting) >= _MOST_WAITING:
            return self._skip(new, "conflict")
        for one in rivals:
            self._waiting.remove(one)
            self._skip(one, "conflict")
        self._waiting.append(new)
        self._waiting.sort(key=lambda one: one.due_us)
        return True

    def next_us(self) -> int | None:
        """When `take` has something; None while nothing waits."""
        return self._waiting[0].due_us - self._lead_us if self._waiting else None

    def take(self, *, now_us: int) -> Downlink | None:
        """The frame to prepare now, if any. Those whose moment has passed are counted as late."""
        while self._waiting and self._waiting[0].due_us - self._lead_us <= now_us:
            one = self._waiting.pop(0)
            if now_us <= self._latest_take_us(one):
                return one
            self._skip(one, "late")
        return None

    def _latest_take_us(self, one: Downlink) -> int:
        return one.due_us - self._lead_us + self._latest_us

    def _skip(self, one: Downlink, why: str) -> bool:
        self._count(f"lora_{one.name}_skipped_{why}")
        return False


def _overlap(one: Downlink, other: Downlink) -> bool:
    return one.due_us < other.end_us + _GUARD_US and other.due_us < one.end_us + _GUARD_US
