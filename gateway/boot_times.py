"""Times of reports before and after the clock is trusted: seconds of a boot of the gateway, and their UTC.

`dated` gives a report its time, or has it wait for one; `resolved` gives it UTC later, a pure function of the stored
report and the table of boots (gateway/boot_table.py keeps it). A boot is settled once and never again: with the start
that was learnt in it, or, when a later boot learns the time first, with the interval that its start lies in. So a
record resolves to the same bytes however often it is sent. Source: docs/decisions/0008.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from gateway.clock import DRIFT, GOOD_WITHIN_S, RELATIVE_BELOW_S, RELEASED_AT_S, ClockTrust, Learnt
from gateway.reading import Pending, Reading, Report, TimeQuality, exact_time_s, stream_of

_ROUNDING_S = 1 / 16  # of exact_time_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Boot:
    """One boot of the gateway, in seconds; those ending in up_s since it began, the rest UTC.

    after_s   it began later than this: what was known to have passed then
    seen_up_s it lasted at least this long
    passed_s  the latest that was known to have passed in it, None if the time was never known
    learnt    what the clock goes on with after a restart in the same boot
    start_s   settled: when it began, or the middle of the interval; error_s half its width, as at known_up_s
    quality   settled: "good" or "bounded"; None while it is not
    released  by stream: records measured up to here go out untrusted
    """

    number: int
    boot_id: str
    after_s: float
    seen_up_s: float = 0.0
    passed_s: float | None = None
    learnt: Learnt | None = None
    start_s: float | None = None
    error_s: float = 0.0
    known_up_s: float = 0.0
    quality: TimeQuality | None = None
    released: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, body: str) -> Boot:
        fields = json.loads(body)
        if fields["learnt"]:
            fields["learnt"] = Learnt(**fields["learnt"])
        return cls(**fields)


class Dating(NamedTuple):
    """The fields of a Report that say when it was."""

    measured_at_s: float
    time_quality: TimeQuality
    time_error_s: float | None
    pending: Pending | None


def dating(clock: ClockTrust, stamp_s: float, *, quality: TimeQuality = "good", error_s: float = 0.0) -> Dating:
    """When something was, from a stamp of this boot (ClockTrust.stamp_s).

    quality  what its time is called, now or once it is known
    error_s  of the stamp itself
    """
    at_s, boot = clock.place(stamp_s)
    if boot is not None:
        return Dating(exact_time_s(at_s), "untrusted", error_s or None, Pending(boot, quality))
    clock_error_s = clock.error_s
    if clock_error_s is None:
        return Dating(exact_time_s(at_s), "untrusted", None, None)
    told: TimeQuality = quality if clock_error_s <= GOOD_WITHIN_S else "bounded"
    return Dating(exact_time_s(at_s), told, round(error_s + _ROUNDING_S + clock_error_s, 3), None)


def dated(report: Report, clock: ClockTrust, stamp_s: float, *, error_s: float = 0.0) -> Report:
    """The report with its time from a stamp of this boot; error_s is that of the stamp."""
    return replace(report, **dating(clock, stamp_s, error_s=error_s)._asdict())


def resolved(report: Report, boots: Mapping[int, Boot]) -> Report | None:
    """The report with times in UTC, always the same for one content of `boots`; None if it has to wait.

    An untrusted time is one that the report is not older than. So is that of a boot that the table has no more.
    """
    pending = report.pending
    if pending is None:
        return report
    boot = boots.get(pending.boot)
    if boot is None:
        return _not_before(report, pending, RELEASED_AT_S)
    if report.measured_at_s <= boot.released.get(stream_of(report.kind), float("-inf")):
        return _not_before(report, pending, boot.after_s)
    if boot.start_s is None:
        return None
    drifted_s = DRIFT * abs(report.measured_at_s - boot.known_up_s)
    error_s = boot.error_s + drifted_s + (report.time_error_s or 0.0) + _ROUNDING_S
    if pending.not_before_s is not None:
        return _between(report, pending.not_before_s, boot.start_s + report.measured_at_s + error_s)
    quality: TimeQuality = pending.quality if boot.quality == "good" else "bounded"
    return _shifted(report, boot.start_s, quality=quality, error_s=error_s)


def _not_before(report: Report, pending: Pending, after_s: float) -> Report:
    """A report that goes out before its time is known; its boot began after `after_s`."""
    if pending.not_before_s is not None:
        after_s = pending.not_before_s - report.measured_at_s
    return _shifted(report, after_s, quality="untrusted", error_s=None)


def _shifted(report: Report, start_s: float, *, quality: TimeQuality, error_s: float | None) -> Report:
    return replace(
        report,
        measured_at_s=exact_time_s(start_s + report.measured_at_s),
        readings=tuple(_reading(reading, start_s) for reading in report.readings),
        time_quality=quality,
        time_error_s=None if error_s is None else round(error_s, 3),
        pending=None,
    )


def _between(report: Report, earliest_s: float, latest_s: float) -> Report:
    """A report whose time is an interval: its latest moment was known in seconds of our boot only."""
    earliest_s = min(earliest_s, latest_s)
    middle_s = (earliest_s + latest_s) / 2
    moved = _shifted(report, middle_s - report.measured_at_s, quality="bounded", error_s=(latest_s - earliest_s) / 2)
    return replace(moved, time_error_s=max(1.0, round((latest_s - earliest_s) / 2, 3)))


def _reading(reading: Reading, start_s: float) -> Reading:
    if reading.at_s is None or reading.at_s >= RELATIVE_BELOW_S:  # its own clock's time
        return reading
    return replace(reading, at_s=exact_time_s(start_s + reading.at_s))


def age_at_least_s(boots: Mapping[int, Boot], now: tuple[int, float], stored: tuple[int, float]) -> float:
    """How long ago something was certainly stored; for a TTL, which must not expire by mistake.

    now, stored  (number of the boot, seconds since it began)
    """
    (boot_now, up_s), (boot_then, then_up_s) = now, stored
    if boot_now == boot_then:
        return max(0.0, up_s - then_up_s)
    first, last = boots.get(boot_then), boots.get(boot_now)
    lived_s = _lived_s(boots, now, stored)
    if first is None or last is None or first.start_s is None or last.start_s is None:
        return max(0.0, lived_s)
    known_s = last.start_s + up_s - first.start_s - then_up_s - first.error_s - last.error_s
    return max(0.0, lived_s, known_s)


def _lived_s(boots: Mapping[int, Boot], now: tuple[int, float], stored: tuple[int, float]) -> float:
    """The same by what the boots from then to now were seen to last.

    Several rows may be of one boot, after restarts of the gateway: their seconds count from the same moment.
    """
    (boot_now, up_s), (boot_then, then_up_s) = now, stored
    first, last = boots.get(boot_then), boots.get(boot_now)
    if first is not None and last is not None and first.boot_id == last.boot_id:
        return up_s - then_up_s
    lasted: dict[str, float] = {last.boot_id if last is not None else "": up_s}
    for number, one in boots.items():
        if boot_then <= number < boot_now:
            lasted[one.boot_id] = max(one.seen_up_s, lasted.get(one.boot_id, 0.0))
    return sum(lasted.values()) - then_up_s


def settled(boot: Boot, learnt: Learnt) -> Boot:
    """The boot in which the time was learnt."""
    quality: TimeQuality = "good" if learnt.error_s <= GOOD_WITHIN_S else "bounded"
    known = replace(boot, start_s=learnt.start_s, error_s=learnt.error_s, known_up_s=learnt.at_up_s)
    return replace(known, quality=quality)


def bounded(unsettled: Sequence[Boot], before_s: float) -> list[Boot]:
    """Settle boots that never learnt the time, oldest first, knowing that the next one began at `before_s`.

    Each began after what was known to have passed and after the one before it had lasted as long as it was seen; and
    had lasted that long itself before the one after it began.
    """
    earliest = [one.after_s for one in unsettled]
    for at, (before, _) in enumerate(pairwise(unsettled), start=1):
        earliest[at] = max(earliest[at], earliest[at - 1] + before.seen_up_s)
    drifted_s = DRIFT * sum(one.seen_up_s for one in unsettled)
    found = []
    for one, after_s in zip(reversed(unsettled), reversed(earliest), strict=True):
        before_s = before_s - one.seen_up_s
        low_s = after_s if after_s <= before_s else RELEASED_AT_S  # what was held for passed had not
        found.append(
            replace(
                one,
                start_s=(low_s + before_s) / 2,
                error_s=max(1.0, (before_s - low_s) / 2) + drifted_s,
                quality="bounded",
            )
        )
    return found[::-1]
