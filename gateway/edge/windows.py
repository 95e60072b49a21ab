"""Windows over event time: each value goes into its pane, a window that is over is told, a late value revises it.

A window is told by the gateway's clock, delay_s after its end and three seconds after its last reading, so that a
silent node's is told and a journal makes one record each. Which readings are too late is decided by the times of the
readings alone: the watermark of a series is the newest of them, never beyond the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from gateway.edge.definition import Definition
from gateway.edge.groups import Groups
from gateway.edge.panes import Column, Pane, Series, Slot
from gateway.edge.rows import Key, Rows, Tables
from gateway.edge.sessions import place_in_session
from gateway.edge.window_record import as_report, parse
from gateway.reading import Report

_QUIET_S = 3.0  # for a node that is sending its journal to come to an end
_QUANTITIES = 64
_AHEAD_S = 3600.0  # a watermark is never past the clock, unless the clock was set back since
_SWEEP_S = 600.0


class Windows:
    """All windows of the configured definitions, and what is left of those before them."""

    def __init__(self, definitions: Iterable[Definition], groups: Groups, count: Callable[[str], None]) -> None:
        self._count = count
        self._active = {one.owner: one for one in definitions}
        self._groups = groups
        self._known: dict[str, Definition] = dict(self._active)
        self._panes: Rows[Pane] = Rows("pane", self._parse_pane)
        self._series: Rows[Series] = Rows("series", self._parse_series)
        self._plans: dict[tuple[str, str, str | None], list[Slot]] = {}
        self._has_definitions = False
        self._new: list[tuple[str, str]] = []  # definitions that are not in the table yet
        self._swept_s: float | None = None

    def __len__(self) -> int:
        return len(self._panes) + len(self._series) + len(self._plans)

    def add(
        self, tx: Tables, node: str, column: Column, at_s: float, value: float, now_s: float, is_local: bool
    ) -> None:
        """Take one value in. `is_local`: only definitions that name the quantity get it."""
        plan = self._plans.get((node, *column))
        if plan is None:
            plan = self._plan(tx, node, column, is_local=is_local)
        for slot in plan:
            series, pane = slot.series, slot.pane
            if abs(now_s - series.touched_s) < series.idle_s and pane.is_hot and pane.start_s <= at_s < pane.end_s:
                mark_s = at_s if at_s < now_s else now_s
                if mark_s > series.watermark_s:
                    series.watermark_s = mark_s
                if series.watermark_s > pane.last_call_s and not _is_ahead(series, now_s):
                    self._count("edge_too_late")
                    continue
                slot.tally.add(at_s, value)
                if not pane.is_dirty:
                    self._panes.note(pane)
            elif not self._place(tx, slot, at_s, value, now_s):
                continue
            slot.pane.touched_s = series.touched_s = now_s
            if not series.is_dirty:
                self._series.note(series)

    def _plan(self, tx: Tables, node: str, column: Column, *, is_local: bool) -> list[Slot]:
        self._begin(tx)
        plan = []
        for one in self._active.values():
            if one.names_exactly(column[0]) if is_local else one.takes(column[0]):
                for subject in one.subjects(node, self._groups):
                    plan.append(Slot(self._series_of(tx, one, subject), column))
        self._plans[node, *column] = plan
        return plan

    def _series_of(self, tx: Tables, definition: Definition, subject: str) -> Series:
        found = self._series.find(tx, (definition.owner, subject, 0.0))
        if found is None:
            found = Series(definition, subject)
            self._series.keep(found)
        return found

    def _place(self, tx: Tables, slot: Slot, at_s: float, value: float, now_s: float) -> bool:
        """Find or begin the pane, open its windows, and take the value in. False if it is left out, and counted."""
        series, definition = slot.series, slot.series.definition
        if _is_ahead(series, now_s):
            series.watermark_s = series.floor_s = -math.inf
            series.touched_s = now_s
        if series.touched_s and now_s - series.touched_s >= series.idle_s:
            series.floor_s = max(series.floor_s, series.watermark_s)
        series.watermark_s = max(series.watermark_s, min(at_s, now_s))
        length_s = definition.gap_s or definition.length_s
        start_s = at_s if definition.gap_s else at_s // definition.slide_s * definition.slide_s
        end_s = start_s + length_s
        if end_s + definition.lateness_s < series.watermark_s or start_s <= series.floor_s:
            self._count("edge_too_late")
            return False
        if definition.gap_s:
            pane = place_in_session(tx, self._panes, series, at_s)
        else:
            pane = self._pane(tx, definition, series.subject, start_s)
        tally = pane.tallies.get(slot.column)
        if tally is None:
            if len(pane.tallies) >= _QUANTITIES:
                self._count("edge_too_many_quantities")
                return False
            tally = pane.tallies[slot.column] = definition.tally()
        tally.add(at_s, value)
        slot.pane, slot.tally = pane, tally
        self._open_windows(tx, pane)
        self._panes.note(pane)
        return True

    def _pane(self, tx: Tables, definition: Definition, subject: str, start_s: float) -> Pane:
        found = self._panes.find(tx, (definition.owner, subject, start_s))
        if found is None:
            found = Pane(definition, subject, start_s)
            self._panes.keep(found)
        return found

    def _open_windows(self, tx: Tables, pane: Pane) -> None:
        """Each window that the pane belongs to is to be told, for the first time or again."""
        for window in self._windows_of(tx, pane):
            if not window.is_open:
                window.is_open = True
                self._panes.note(window)
        pane.is_hot = pane.definition.gap_s is None

    def _windows_of(self, tx: Tables, pane: Pane) -> Iterator[Pane]:
        one = pane.definition
        if one.gap_s is not None or one.slide_s == one.length_s:
            yield pane
            return
        for back_s in range(0, one.length_s, one.slide_s):
            yield self._pane(tx, one, pane.subject, pane.start_s - back_s)

    def tick(self, tx: Tables, now_s: float) -> list[Report]:
        """The records of windows that are over."""
        self._begin(tx)
        records = []
        due = [pane for pane in self._panes.opened(tx) if self._is_due(pane, now_s)]
        due.sort(key=lambda pane: (pane.window_end_s, pane.start_s, pane.subject, pane.definition.owner))
        for window in due:
            panes = self._panes_of(tx, window)
            touched_s = max((pane.touched_s for pane in panes), default=0.0)
            if touched_s <= now_s - _QUIET_S:
                records.append(as_report(window, panes, now_s=now_s, is_retired=self._is_retired(window)))
                self._note_told(window, panes)
        if self._swept_s is None or now_s - self._swept_s >= _SWEEP_S:
            self._swept_s = now_s
            self._sweep(tx, now_s)
        return records

    def _is_due(self, window: Pane, now_s: float) -> bool:
        return window.window_end_s + window.definition.delay_s <= now_s or self._is_retired(window)

    def _is_retired(self, window: Pane) -> bool:
        return window.definition.owner not in self._active

    def _panes_of(self, tx: Tables, window: Pane) -> list[Pane]:
        """The panes of a window, in order of time."""
        one = window.definition
        if one.gap_s is not None or one.slide_s == one.length_s:
            return [window]
        starts = (window.start_s + ahead_s for ahead_s in range(0, one.length_s, one.slide_s))
        found = (self._panes.find(tx, (one.owner, window.subject, start_s)) for start_s in starts)
        return [pane for pane in found if pane is not None]

    def _note_told(self, window: Pane, panes: Iterable[Pane]) -> None:
        window.revision += 1
        window.is_open = False
        for pane in panes:
            pane.is_hot = False
        self._panes.note(window)

    def replay(self, tx: Tables, record: Report) -> None:
        """A window was told by this record."""
        self._begin(tx)
        told = parse(record)
        for one in self._known.values():
            if (one.name, one.gap_s is not None) != (told.name, told.is_session):
                continue
            if not told.is_session and one.length_s != told.length_s:
                continue
            window = self._panes.find(tx, (one.owner, told.subject, told.start_s))
            if window is not None and window.is_open:
                self._note_told(window, self._panes_of(tx, window))
                window.revision = told.revision + 1
                window.is_partial |= told.is_partial
                return

    def mark_partial(self, tx: Tables, node: str, at_s: float) -> None:
        """The node came from, or went to, another gateway: windows over that moment do not hold all of it."""
        for one in self._active.values():
            for subject in one.subjects(node, self._groups):
                self._series_of(tx, one, subject)
                if one.gap_s is not None:
                    found = self._panes.of_subject(tx, one.owner, subject)
                    over = [pane for pane in found if pane.start_s <= at_s <= pane.window_end_s]
                else:
                    over = list(self._windows_of(tx, self._pane(tx, one, subject, at_s // one.slide_s * one.slide_s)))
                for window in over:
                    window.is_partial = True
                    window.is_open |= window.revision > 0
                    self._panes.note(window)

    def _sweep(self, tx: Tables, now_s: float) -> None:
        """Drop what no reading can reach any more; nobody can tell the difference."""
        reaches: dict[str, dict[str, float]] = {}
        for series in self._series.opened(tx):
            one = series.definition
            is_idle = now_s - series.touched_s >= series.idle_s
            reach_s = series.watermark_s if is_idle else series.watermark_s - one.lateness_s - 2 * (one.gap_s or 0)
            reaches.setdefault(one.owner, {})[series.subject] = reach_s
        for owner, reach_of in reaches.items():
            self._sweep_panes(tx, self._known[owner], reach_of)
            if owner not in self._active:
                self._drop_retired(tx, owner)

    def _sweep_panes(self, tx: Tables, definition: Definition, reach_of: Mapping[str, float]) -> None:
        """Those that begin before what is reached of their subject: looked for together, they lie by time."""
        length_s = 0 if definition.gap_s else definition.length_s
        query = "SELECT subject, at_s FROM edge_state WHERE kind = 'pane' AND owner = ? AND at_s < ?"
        rows = tx.execute(query, (definition.owner, max(reach_of.values()) - length_s)).fetchall()
        for subject, at_s in rows:
            reach_s = reach_of.get(subject, -math.inf)
            pane = self._panes.find(tx, (definition.owner, subject, at_s)) if at_s < reach_s - length_s else None
            if pane is not None and not pane.is_open and pane.window_end_s < reach_s:
                self._panes.drop(pane)

    def _drop_retired(self, tx: Tables, owner: str) -> None:
        """Of a definition that is gone, once everything was told."""
        self._panes.drop_subjects(tx, owner)
        opened = {pane.subject for pane in self._panes.opened(tx) if pane.definition.owner == owner}
        for series in list(self._series.opened(tx)):
            if series.definition.owner == owner and series.subject not in opened:
                self._series.drop(series)

    # The store's side.

    def flush(self, tx: Tables) -> None:
        tx.executemany("INSERT INTO edge_state VALUES ('definition', ?, '', 0, 0, ?)", self._new)
        self._new.clear()
        self._panes.flush(tx)
        self._series.flush(tx)

    def shrink(self) -> None:
        """After a flush: let go of windows that were told. No way of a value leads straight into them."""
        self._panes.shrink()

    def forget(self) -> None:
        """Memory is empty again."""
        self._plans.clear()
        self._panes.forget()
        self._series.forget()
        self._new.clear()
        self._known = dict(self._active)
        self._has_definitions = False

    def _begin(self, tx: Tables) -> None:
        """Know the definitions of all that is kept; note the new ones."""
        if self._has_definitions:
            return
        stored = dict(tx.execute("SELECT owner, state FROM edge_state WHERE kind = 'definition'").fetchall())
        self._known = {owner: Definition.from_state(state) for owner, state in stored.items()} | self._active
        self._new = [(one.owner, one.to_state()) for one in self._active.values() if one.owner not in stored]
        self._has_definitions = True

    def _parse_pane(self, key: Key, state: str, is_open: bool) -> Pane:
        pane = Pane(self._known[key[0]], key[1], key[2])
        pane.take_state(state, is_open=is_open)
        return pane

    def _parse_series(self, key: Key, state: str, is_open: bool) -> Series:
        series = Series(self._known[key[0]], key[1])
        series.take_state(state)
        return series


def _is_ahead(series: Series, now_s: float) -> bool:
    """Whether the gateway's clock was ahead when the series got its watermark: then that means nothing."""
    return series.watermark_s > now_s + _AHEAD_S
