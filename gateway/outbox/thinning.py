"""Many records become one: for a node and a span of time the count, mean, min and max of each quantity.

What a thinned record stands for is in it: how many records, of which epoch and sequences, over how long, and for whom
they were given up. Only plain telemetry is thinned, and only where it is worth it. A value that is no number is
counted. Does no I/O and stores nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway import gaps
from gateway.reading import Pending, Reading, Report, TimeQuality, Value, exact_time_s

_LEAST = 6  # records; fewer take less room than what stands for them
_MOST_SPANS = 64  # told exactly; of more only first, last and count
_WORSE: tuple[TimeQuality, ...] = ("good", "received", "bounded", "untrusted")
Platforms = tuple[str, ...]
Key = tuple[str, int | None, Pending | None, int, Platforms]


class Thinned(NamedTuple):
    """One record and the ordinals that it stands for."""

    ordinals: list[int]
    report: Report


@dataclass(slots=True)
class _Sum:
    """Of one quantity and unit. `values`: those that are numbers."""

    count: int = 0
    values: list[float] = field(default_factory=list)

    def readings(self, quantity: str, unit: str | None) -> Iterable[Reading]:
        yield Reading(quantity=f"{quantity}/count", value=self.count, unit="count")
        if self.values:
            mean = math.fsum(self.values) / len(self.values)
            yield Reading(quantity=f"{quantity}/mean", value=mean, unit=unit)
            yield Reading(quantity=f"{quantity}/min", value=min(self.values), unit=unit)
            yield Reading(quantity=f"{quantity}/max", value=max(self.values), unit=unit)


def thinned(records: Iterable[tuple[int, Report, Platforms]], span_s: float) -> list[Thinned]:
    """Ordinals, reports and who waits for them, oldest first, to what stands for them.

    span_s   one record per node and this many seconds of the time of measuring
    Returns  only what is worth it; the rest is left as it is
    """
    groups: dict[Key, list[tuple[int, Report]]] = {}
    for ordinal, report, platforms in records:
        if _can_be_thinned(report):
            key = (report.node, report.epoch, report.pending, int(report.measured_at_s // span_s), platforms)
            groups.setdefault(key, []).append((ordinal, report))
    return [
        Thinned([ordinal for ordinal, _ in group], _joined([report for _, report in group], key[-1]))
        for key, group in groups.items()
        if len(group) >= _LEAST
    ]


def _can_be_thinned(report: Report) -> bool:
    """A sum, as of an energy meter, is worth nothing but in its last state; that is not for us to judge."""
    return (
        report.kind == "telemetry"
        and all(reading.total is None for reading in report.readings)
        and any(_is_number(reading.value) for reading in report.readings)
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _joined(reports: Sequence[Report], platforms: Platforms) -> Report:
    first = reports[0]
    start_s = min(report.measured_at_s for report in reports)
    length_s = max(report.measured_at_s for report in reports) - start_s
    errors = [report.time_error_s for report in reports]
    return Report(
        node="",
        record_id="",
        measured_at_s=exact_time_s(start_s),
        readings=(*_about(reports, length_s, platforms), *_values(reports)),
        time_quality=max((report.time_quality for report in reports), key=_WORSE.index),
        time_error_s=None if None in errors else max(error for error in errors if error is not None),
        kind="thinned",
        subject=first.node,
        pending=first.pending,
    )


def _about(reports: Sequence[Report], length_s: float, platforms: Platforms) -> Iterable[Reading]:
    yield Reading(quantity="thinned/count", value=len(reports), unit="count")
    seqs = [report.seq for report in reports if report.seq is not None]
    if reports[0].epoch is not None and len(seqs) == len(reports):
        spans = gaps.spans_of(seqs)
        yield Reading(quantity="thinned/epoch", value=reports[0].epoch)
        yield Reading(quantity="thinned/from", value=spans[0][0])
        yield Reading(quantity="thinned/to", value=spans[-1][1] - 1)
        if 1 < len(spans) <= _MOST_SPANS:
            told = " ".join(f"{start}-{end - 1}" for start, end in spans)
            yield Reading(quantity="thinned/spans", value=told)
    if platforms:
        yield Reading(quantity="thinned/platforms", value=" ".join(platforms))
    yield Reading(quantity="window", value=length_s, unit="s")


def _values(reports: Sequence[Report]) -> Iterable[Reading]:
    sums: dict[tuple[str, str | None], _Sum] = {}
    for report in reports:
        for reading in report.readings:
            found = sums.setdefault((reading.quantity, reading.unit), _Sum())
            found.count += 1
            if _is_number(reading.value):
                found.values.append(reading.value)  # type: ignore[arg-type]
    for (quantity, unit), found in sums.items():
        yield from found.readings(quantity, unit)


def originals(report: Report) -> gaps.Gap:
    """The gap that is left of what a thinned record stood for when it is given up itself."""
    values = {reading.quantity: reading.value for reading in report.readings}
    return gaps.Gap(
        node=report.subject or "",
        reason=gaps.THINNED,
        count=_whole(values.get("thinned/count")),
        epoch=_whole(values.get("thinned/epoch")),
        first=_whole(values.get("thinned/from")),
        last=_whole(values.get("thinned/to")),
        platforms=tuple(str(values.get("thinned/platforms", "")).split()),
    )


def _whole(value: Value) -> int | None:
    return value if isinstance(value, int) else None
