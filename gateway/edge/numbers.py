"""Which readings of a report windows and rules can work with: numbers that belong to a point in time."""

from __future__ import annotations

from collections.abc import Callable

from gateway.reading import Reading, Report

AHEAD_S = 3600.0  # a device whose clock is further ahead does not know the time
_KINDS = ("telemetry", "alarm")


def is_measured(report: Report) -> bool:
    """Whether it holds what was measured; other records are about something."""
    return report.kind in _KINDS


def has_point_in_time(report: Report) -> bool:
    """Whether it is known when its readings were taken."""
    return report.time_quality not in ("bounded", "untrusted")


def numbers_of(report: Report, *, now_s: float, count: Callable[[str], None]) -> list[tuple[Reading, float, float]]:
    """(reading, its time, its value) of each number that was not taken in the future; `count` is told of those."""
    numbers = []
    for reading in report.readings:
        value = reading.value
        if value.__class__ is not float and value.__class__ is not int:
            continue
        at_s = report.measured_at_s if reading.at_s is None else reading.at_s
        if at_s > now_s + AHEAD_S:
            count("edge_in_the_future")
            continue
        numbers.append((reading, at_s, value))
    return numbers
