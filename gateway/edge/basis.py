"""What the rows of the windows rest on: they are in every commit of the log, or are made again from its records.

Some 400 bytes of rows per reading would be most of what is written. So while every reading that windows take is a
record of the log, their rows go into the database alone, and a start feeds the records since the last checkpoint again.
Where readings stay at the gateway (a local quantity, report by exception) the rows are in every commit. Which of both,
and for which definitions, is a row that only a checkpoint makes durable: it says how the log goes on after that
checkpoint. What was measured, and what else there is: docs/decisions/0015.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.edge.definition import Definition
from gateway.edge.groups import Groups
from gateway.edge.numbers import has_point_in_time, is_measured, numbers_of
from gateway.edge.rows import Tables
from gateway.edge.windows import Windows
from gateway.reading import Report

_KIND = "basis"


class Recent(NamedTuple):
    """A record of the log. `stored_at_s`: the moment that the edge was told. `is_produced`: the gateway made it."""

    report: Report
    stored_at_s: float
    is_produced: bool


@dataclass(frozen=True, slots=True)
class Basis:
    """`states`: the definitions that take readings. `is_fed`: their rows are made again from records."""

    states: tuple[str, ...] = ()
    is_fed: bool = False


def read(tx: Tables) -> Basis:
    """What the database says; of a store from before there was a choice: every commit."""
    row = tx.execute("SELECT state FROM edge_state WHERE kind = ?", (_KIND,)).fetchone()
    if row is None:
        return Basis()
    states, is_fed = json.loads(row[0])
    return Basis(tuple(states), is_fed)


def write(unlogged: Tables, basis: Basis) -> None:
    """With the next checkpoint."""
    state = json.dumps([basis.states, basis.is_fed])
    unlogged.execute("INSERT OR REPLACE INTO edge_state VALUES (?, '', '', 0, 0, ?)", (_KIND, state))


def catch_up(unlogged: Tables, basis: Basis, groups: Groups, recent: Iterable[Recent]) -> None:
    """Feed windows again what was stored since the checkpoint, in its order, under the definitions of that time."""
    windows = Windows([Definition.from_state(state) for state in basis.states], groups, _was_counted)
    for report, stored_at_s, is_produced in recent:
        if is_produced:
            if report.kind == "window":
                windows.replay(unlogged, report)
        elif is_measured(report) and has_point_in_time(report):
            for one, at_s, value in numbers_of(report, now_s=stored_at_s, count=_was_counted):
                windows.add(unlogged, report.node, (one.quantity, one.unit), at_s, value, stored_at_s, False)
    windows.flush(unlogged)


def _was_counted(name: str) -> None:
    """When it came."""
