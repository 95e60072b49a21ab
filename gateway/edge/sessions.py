"""Session windows: readings no further apart than the gap make one; a late reading can lengthen or join them.

The record of a session is known by its start. One that was told and then joined to an earlier one is told again, empty
and `withdrawn`.
"""

from __future__ import annotations

from gateway.edge.panes import Pane, Series
from gateway.edge.rows import Rows, Tables


def place_in_session(tx: Tables, panes: Rows[Pane], series: Series, at_s: float) -> Pane:
    """The session that a reading at `at_s` belongs to, after joining what it connects."""
    gap_s = series.definition.gap_s or 0
    if series.sessions is None:
        series.sessions = panes.of_subject(tx, *series.key[:2])
    touching = [one for one in series.sessions if one.tallies and one.start_s - gap_s <= at_s <= one.last_s + gap_s]
    start_s = min([at_s, *(one.start_s for one in touching)])
    target = next((one for one in series.sessions if one.start_s == start_s), None)
    if target is None:
        target = Pane(series.definition, series.subject, start_s)
        panes.keep(target)
        series.sessions.append(target)
        series.sessions.sort(key=lambda one: one.start_s)
    for other in touching:
        if other is not target:
            _join(panes, series, target, other)
    target.last_s = max(target.last_s, at_s)
    panes.note(target)
    _trim(series)
    return target


def _join(panes: Rows[Pane], series: Series, target: Pane, other: Pane) -> None:
    """Move all of `other` into `target`, which begins before it."""
    for column, tally in other.tallies.items():
        kept = target.tallies.setdefault(column, series.definition.tally())
        kept.merge(tally)
    target.last_s = max(target.last_s, other.last_s)
    target.is_partial |= other.is_partial
    target.touched_s = max(target.touched_s, other.touched_s)
    other.tallies = {}
    other.last_s = other.start_s
    if other.revision:
        other.is_open = True  # its record is taken back
        panes.note(other)
    else:
        panes.drop(other)
        if series.sessions is not None:
            series.sessions.remove(other)


def _trim(series: Series) -> None:
    """Let go of those that no reading reaches."""
    one = series.definition
    reach_s = series.watermark_s - one.lateness_s - 2 * (one.gap_s or 0)
    while series.sessions and series.sessions[0].last_s < reach_s and not series.sessions[0].is_open:
        series.sessions.pop(0)
