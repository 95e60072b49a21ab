"""When a boot of a node began, as it was told: by this, two gateways give one report the same time.

A gateway tells the node the time, the node tells every gateway in which second its boot began, and each takes that and
the node's own seconds, as long as its own clock agrees. So a report that was stored by a gateway which then died, and
that the node sends to another one, is the same record at the city. Source: docs/decisions/0020.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TELLS_WITHIN_S = 2.0  # of a clock that is further off no node is told: its error would be another gateway's
_AGREES_S = 5.0  # what the node tells is taken only so near to our own reckoning
_ANEW_S = 1.5  # further off the node is told again: clocks drift
_LATE_PART = 4  # of a difference is followed at once where a frame may be late: it came over a network
_PART = 2  # and where it tells no uptime: those come by radio, which is never late
ERROR_S = 4.0  # of what was told: the other gateway's clock, rounding, and what is not told anew


@dataclass(frozen=True, slots=True)
class Began:
    """Of one boot.

    told_s      UTC, in whole seconds, as the node tells
    lag_s       how much later it began by our clock
    is_checked  a frame has told its uptime since, while our own time was known
    """

    told_s: int
    lag_s: float
    is_checked: bool = True

    def agrees(self) -> bool:
        return abs(self.lag_s) <= _AGREES_S

    def time_s(self, own_s: float, uptime_s: int | None) -> float | None:
        """The time of a report that was made at `own_s` by our reckoning; None if the two do not agree.

        uptime_s  of the node at that moment, if the frame tells
        """
        if uptime_s is None:
            uptime_s = self._uptime_at(own_s)
        time_s = float(self.told_s + uptime_s)
        return time_s if abs(time_s - own_s) <= _AGREES_S else None

    def heard(self, sent_at_s: float, uptime_s: int) -> Began:
        """After a frame that tells its uptime. It may have come late, never early."""
        off_s = sent_at_s - uptime_s - self.told_s - self.lag_s
        return Began(self.told_s, self.lag_s + (off_s if off_s < 0 else off_s / _LATE_PART))

    def followed(self, sent_at_s: float) -> Began:
        """After a frame that does not: what is off by less than half a second has drifted."""
        off_s = sent_at_s - self._uptime_at(sent_at_s) - self.told_s - self.lag_s
        return replace(self, lag_s=self.lag_s + off_s / _PART)

    def is_to_be_told(self) -> bool:
        """Whether the node's clock has drifted so far from ours that it should hear the time again."""
        return abs(self.lag_s) > _ANEW_S

    def tells(self, sent_at_s: float, uptime_s: int | None) -> int:
        """What to tell the node of the time at the start of its transmission: the same beginning, unless it drifted."""
        if uptime_s is None:
            uptime_s = self._uptime_at(sent_at_s)
        return self.told_s + uptime_s + (round(self.lag_s) if self.is_to_be_told() else 0)

    def _uptime_at(self, own_s: float) -> int:
        return round(own_s - self.told_s - self.lag_s)


def told_now(told_s: int, known: Began | None, sent_at_s: float, uptime_s: int) -> Began:
    """What a frame tells of the boot that sends it, after what was known of it."""
    if known is not None and known.told_s == told_s and known.is_checked:
        return known.heard(sent_at_s, uptime_s)
    return Began(told_s, sent_at_s - uptime_s - told_s)
