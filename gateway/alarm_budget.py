"""How many alarms a node may raise: beyond its budget they are kept as events, so that one that babbles harms no other.

A budget fills up evenly, to one hour's worth at the most. An overrun begins with the first alarm that finds it empty,
which is told in a record, and is over once half of the budget is back. What is left is in the commit of the alarm that
took it, with the time by boot, so that neither a restart nor a wrong clock fills it. Of the commit thread, but for
`is_over`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from gateway.boot_table import BootTable
from gateway.counters import Counters
from gateway.outbox.entries import Transaction
from gateway.reading import Reading, Report
from gateway.tables import Tables

_TABLE = (
    "CREATE TABLE IF NOT EXISTS alarm_budgets (node TEXT PRIMARY KEY, remaining REAL NOT NULL, boot INTEGER NOT NULL,"
    " up_s REAL NOT NULL, is_over INTEGER NOT NULL) WITHOUT ROWID"
)
_HOUR_S = 3600.0


class Budget(NamedTuple):
    """What was left of a node's alarms at a moment of a boot."""

    left: float
    boot: int
    up_s: float
    is_over: bool


class AlarmBudget:
    """Budgets of all who ever raised an alarm. `tell` stores a record of the gateway's own that has no time yet."""

    def __init__(
        self,
        per_h: int,
        *,
        boot_table: BootTable,
        counters: Counters,
        tell: Callable[[Transaction, Report], None],
    ) -> None:
        self._per_h = per_h
        self._boot_table = boot_table
        self._counters = counters
        self._tell = tell
        self._known: dict[str, Budget] | None = None
        self._changed: set[str] = set()
        self._over: frozenset[str] = frozenset()

    def begin(self, tx: Tables) -> None:
        """Make the table if it is not there."""
        tx.execute(_TABLE)

    @property
    def is_anybody_over(self) -> bool:
        return bool(self._over)

    def is_over(self, node: str) -> bool:
        """Whether a node's alarms are events for now. May be a commit behind or ahead."""
        return node in self._over

    def judged(self, tx: Transaction, alarm: Report) -> Report:
        """An alarm as it is or as an event; whatever is none as it is."""
        if alarm.kind != "alarm" or not self._per_h:
            return alarm
        name = alarm.node or f"own/{alarm.subject or ''}"  # what the gateway says of a node is not the node's
        before = self._budgets(tx).get(name)
        left = self._per_h if before is None else min(self._per_h, before.left + self._refilled(tx, before))
        was_over = before is not None and before.is_over and left < self._per_h / 2
        if left >= 1:
            self._set(tx, name, left - 1, is_over=was_over)
            return alarm
        if not was_over:
            self._set(tx, name, left, is_over=True)
            self._counters.add("alarm_overruns")
            self._tell(tx, self._notice(alarm))
        self._counters.add("alarms_kept_as_events")
        return replace(alarm, kind="event")

    def _budgets(self, tx: Tables) -> dict[str, Budget]:
        if self._known is None:
            rows = tx.execute("SELECT node, remaining, boot, up_s, is_over FROM alarm_budgets")
            self._known = {node: Budget(left, boot, up_s, bool(is_over)) for node, left, boot, up_s, is_over in rows}
            self._note_over()
        return self._known

    def _refilled(self, tx: Tables, before: Budget) -> float:
        boot, up_s = self._boot_table.stamp()
        age_s = up_s - before.up_s
        if before.boot != boot:
            age_s = self._boot_table.age_at_least_s(tx, (before.boot, before.up_s))
        return max(0.0, age_s) * self._per_h / _HOUR_S

    def _set(self, tx: Tables, name: str, left: float, *, is_over: bool) -> None:
        boot, up_s = self._boot_table.stamp()
        self._budgets(tx)[name] = Budget(left, boot, up_s, is_over)
        self._changed.add(name)
        if is_over is not (name in self._over):
            self._note_over()

    def _note_over(self) -> None:
        self._over = frozenset(name for name, budget in (self._known or {}).items() if budget.is_over)

    def _notice(self, alarm: Report) -> Report:
        readings = (
            Reading(quantity="alarm_budget/overrun", value=True),
            Reading(quantity="alarm_budget/per_hour", value=self._per_h, unit="count"),
        )
        return Report(
            node="",
            record_id="",
            measured_at_s=0.0,
            readings=readings,
            kind="event",
            subject=alarm.node or alarm.subject,
        )

    def flush(self, tx: Tables) -> None:
        """Write down what is left, with the alarms that took it (store.Participant)."""
        rows = [(name, *self._known[name]) for name in sorted(self._changed)] if self._known else []
        tx.executemany("INSERT OR REPLACE INTO alarm_budgets VALUES (?, ?, ?, ?, ?)", rows)
        self._changed.clear()

    def forget(self) -> None:
        """The commit failed: the table says what is left."""
        self._known = None
        self._changed.clear()
