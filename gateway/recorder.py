"""What the commit thread makes a record of: accepted reports, which the edge sees first, and records of our own.

Everything that gets into the outbox goes through here, so that policy, privacy, the edge, the budget of alarms and the
numbering are passed in one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway import gaps
from gateway.alarm_budget import AlarmBudget
from gateway.boot_table import BootTable
from gateway.boot_times import dated
from gateway.clock import ClockTrust
from gateway.command.desk import Desk
from gateway.command.queue import Commands
from gateway.counters import Counters
from gateway.edge.acknowledgement import Acknowledgement
from gateway.edge.engine import Edge
from gateway.edge.privacy import Privacy
from gateway.numbering import Numbering
from gateway.outbox import Outbox
from gateway.outbox.entries import Transaction
from gateway.reading import Assurance, Reading, Report, exact_time_s, report_of
from gateway.row import Row
from gateway.trust import Trust

_SENSOR_TIME_ERROR_S = 0.125  # of a reading of our own sensors


class Recorder:
    """Of the commit thread. `edge`, `outbox` and the others are set by whoever puts the gateway together."""

    commands: Commands
    desk: Desk
    edge: Edge
    outbox: Outbox
    privacy: Privacy

    def __init__(
        self,
        *,
        clock: ClockTrust,
        counters: Counters,
        trust: Trust,
        numbering: Numbering,
        boot_table: BootTable,
        alarm_budget_per_h: int,
    ) -> None:
        self._clock = clock
        self._counters = counters
        self._trust = trust
        self._numbering = numbering
        self.alarm_budget = AlarmBudget(
            alarm_budget_per_h, boot_table=boot_table, counters=counters, tell=self.put_undated
        )

    def put_uplink(self, tx: Transaction, report: Report) -> bool:
        """Store what a node reported, less what privacy takes away. Returns whether the log holds it."""
        return self.put_accepted(tx, self.privacy.apply(self.commands.settled(tx, report)))

    def put_accepted(self, tx: Transaction, report: Report) -> bool:
        """Store what is to go on, let the edge see all of it, store what that causes. Privacy comes before this.

        Returns whether the log holds it: what stays at the gateway is in the edge's counts alone.
        """
        permitted = self._permitted(report)
        if not permitted.readings:  # its sequence is taken, so the city must hear why nothing comes
            self.put_gap(tx, gaps.of_report(report, gaps.NOT_PERMITTED))
            return False
        now_s = tx.stamp(self._clock.now_s())  # the edge is told the very time that a start would find in the log
        outcome = self.edge.add(tx, permitted, now_s=self._clock.monotonic_s() if permitted.pending else now_s)
        if outcome.forward is not None:
            kept = self.alarm_budget.judged(tx, outcome.forward)
            self.outbox.put(tx, kept, is_produced=False, now_s=now_s)
        self._put_all(tx, outcome.produced)
        return outcome.forward is not None

    def put_rows(self, tx: Transaction, rows: Sequence[Row], assurance: Assurance) -> None:
        """The same for readings of devices whose ids are noted already. `leaves` holds for each."""
        if self.edge.takes_rows and not self._trust.has_policy:
            now_s = tx.stamp(self._clock.now_s())
            self.edge.add_rows(tx, rows, now_s=now_s)
            self.outbox.put_rows(tx, rows, assurance, now_s=now_s)
            return
        for single in (single for row in rows for single in row.singles()):
            if not self.put_accepted(tx, report_of(single, assurance)):  # no record says to the next start that it was
                tx.hear(tx.state.heard.mark_of(single[0], int.from_bytes(single[-1][:8], "little")))

    def leaves(self, device: str, quantity: str) -> bool:
        """Whether privacy changes nothing of such a reading before it gets its id."""
        return self.privacy.leaves(device, quantity)

    def state_of_ways(self, tx: Transaction) -> tuple[object, ...]:
        """As long as these are the very same objects, `leaves` and trust of a device say the same."""
        return self.privacy, tx if self._trust.has_registry else None

    def put_readings(self, tx: Transaction, readings: Sequence[Reading], kind: str, measured_at_s: float | None) -> str:
        """Store a report of the gateway's own sensors, or of its state; None: measured now. Returns its record id."""
        report = Report(
            node="",
            record_id="",
            measured_at_s=0.0,
            readings=tuple(readings),
            kind=kind,  # type: ignore[arg-type]
        )
        stamp_s = self._clock.stamp_s() if measured_at_s is None else measured_at_s
        numbered = self._numbering.number(tx, dated(report, self._clock, stamp_s, error_s=_SENSOR_TIME_ERROR_S))
        self.put_accepted(tx, self.privacy.apply(numbered))
        return numbered.record_id

    def put_own(self, tx: Transaction, report: Report) -> None:
        """Number and store a record that the gateway made."""
        kept = self.alarm_budget.judged(tx, report)
        self.outbox.put(tx, self._numbering.number(tx, kept), is_produced=True, now_s=self._clock.now_s())

    def put_undated(self, tx: Transaction, report: Report) -> None:
        """The same for one that is of this moment."""
        self.put_own(tx, dated(report, self._clock, self._clock.stamp_s()))

    def put_gap(self, tx: Transaction, gap: gaps.Gap) -> None:
        """Tell the city what is missing, and count it."""
        self._counters.add(f"gaps_{gap.reason}")
        self.put_undated(tx, gaps.as_report(gap))

    def tick(self, tx: Transaction) -> int:
        """Store what time brings: windows that are over, alarms held long enough. Returns how many records."""
        stamp_s = self._clock.stamp_s()
        at_s, boot = self._clock.place(stamp_s)
        made = self.edge.tick(tx, now_s=at_s, clock_boot=boot)
        self._put_all(tx, [self._of_now(one, at_s, stamp_s) for one in made])
        self.commands.expire(tx)
        return len(made)

    def acknowledge(self, tx: Transaction, note: Acknowledgement) -> bool:
        """Store that an operator has seen an alarm. False if it is not raised, or was acknowledged before."""
        stamp_s = self._clock.stamp_s()
        at_s, boot = self._clock.place(stamp_s)
        made = self.edge.acknowledge(tx, note.rule, note.node, by=note.by, now_s=at_s, clock_boot=boot, n=note.n)
        self._put_all(tx, [self._of_now(one, at_s, stamp_s) for one in made or ()])
        return made is not None

    def _permitted(self, report: Report) -> Report:
        """Without the quantities that the policy does not let through; events are no measurements."""
        if report.kind == "event":
            return report
        permitted = self._trust.permitted(report)
        if len(permitted.readings) < len(report.readings):
            self._counters.add("refused_quantities", len(report.readings) - len(permitted.readings))
        return permitted

    def _of_now(self, report: Report, at_s: float, stamp_s: float) -> Report:
        """The record with what is known of its time, if it is of this moment and not of a window or a reading."""
        is_now = report.kind != "window" and report.measured_at_s == exact_time_s(at_s)
        return dated(report, self._clock, stamp_s) if is_now else report

    def _put_all(self, tx: Transaction, reports: Sequence[Report]) -> None:
        for report in reports:
            self.put_own(tx, report)
            self.desk.react(tx, report)


def as_it_came(stored: Report, *, gateway_id: str) -> Report:
    """A record of others as the edge saw it: what they sent as an alarm beyond their budget is stored as an event.

    Events that never were alarms are our own, and what nodes say of commands. Of alarms of our own sensors nobody can
    tell that they were.
    """
    is_ours = stored.node == gateway_id
    if stored.kind != "event" or is_ours or any(one.quantity.startswith("command/") for one in stored.readings):
        return stored
    return replace(stored, kind="alarm")
