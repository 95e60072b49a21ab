"""The record of one window: what is told of it, and what such a record says when it is read again after a crash.

Readings: `window` (seconds; of a session from its first to its last reading), then `window/name`, `window/kind` where
declared, `revision` if it was told before, `partial` if it does not hold everything, `withdrawn` if it is empty now;
then `<quantity>/<statistic>`, with quantiles as `<quantity>/p50`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.edge.panes import Column, Pane
from gateway.edge.tally import FullTally, Tally
from gateway.reading import Reading, Report


@dataclass(frozen=True, kw_only=True)
class Told:
    """Which window a record speaks of."""

    name: str
    subject: str
    start_s: float
    length_s: float
    is_session: bool
    revision: int
    is_partial: bool


def as_report(window: Pane, panes: Sequence[Pane], *, now_s: float, is_retired: bool) -> Report:
    """The record of a window that is over, or whose definition is gone."""
    is_partial = window.is_partial or (is_retired and window.window_end_s > now_s)
    readings = [*_head(window, is_partial=is_partial), *_values(window, panes)]
    return Report(
        node="",
        record_id="",
        measured_at_s=window.start_s,
        readings=tuple(readings),
        kind="window",
        subject=window.subject,
    )


def parse(record: Report) -> Told:
    """What as_report was given."""
    values = {reading.quantity: reading.value for reading in record.readings}
    length_s, revision = values.get("window", 0), values.get("revision", 0)
    return Told(
        name=str(values.get("window/name", "")),
        subject=record.subject or "",
        start_s=record.measured_at_s,
        length_s=float(length_s) if isinstance(length_s, (int, float)) else 0,
        is_session=values.get("window/kind") == "session",
        revision=int(revision) if isinstance(revision, (int, float)) else 0,
        is_partial=bool(values.get("partial", False)),
    )


def _head(window: Pane, *, is_partial: bool) -> Iterator[Reading]:
    one = window.definition
    is_session = one.gap_s is not None
    length_s = window.last_s - window.start_s if is_session else one.length_s
    yield Reading(quantity="window", value=length_s, unit="s")
    if one.name:
        yield Reading(quantity="window/name", value=one.name)
    if one.config.kind != "tumbling":
        yield Reading(quantity="window/kind", value=one.config.kind)
    if window.revision:
        yield Reading(quantity="revision", value=window.revision)
    if is_partial:
        yield Reading(quantity="partial", value=True)
    if is_session and not window.tallies:
        yield Reading(quantity="withdrawn", value=True)


def _values(window: Pane, panes: Sequence[Pane]) -> Iterator[Reading]:
    one = window.definition
    end_s = window.last_s if one.gap_s is not None else window.window_end_s
    columns = {column for pane in panes for column in pane.tallies}
    for quantity, unit in sorted(columns, key=str):
        tally = _merged(window, (pane.tallies.get((quantity, unit)) for pane in panes))
        for stat, value, stat_unit in tally.results(one.config.stats, unit, end_s):
            yield Reading(quantity=f"{quantity}/{stat}", value=value, unit=stat_unit)
        if isinstance(tally, FullTally):
            for q in one.config.quantiles:
                value_at = tally.quantile(q)
                if value_at is not None:
                    yield Reading(quantity=f"{quantity}/p{_percent(q)}", value=value_at, unit=unit)


def _merged(window: Pane, tallies: Iterable[Tally | None]) -> Tally:
    found = [tally for tally in tallies if tally is not None]
    if len(found) == 1:
        return found[0]
    whole: Tally = window.definition.tally()
    for tally in found:
        whole.merge(tally)
    return whole


def _percent(q: float) -> str:
    """0.5 as "50", 0.999 as "99.9"."""
    return f"{q * 100:.10g}"


__all__ = ["Column", "Told", "as_report", "parse"]
