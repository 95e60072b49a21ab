"""The edge step as a state machine: a stored report or the time goes in, records of the gateway's own come out.

Every decision depends on stored records and the `now_s` that comes with them. What is remembered are rows of
edge_state: those of rules, counts and last values are in the commit that they belong to; those of windows are, or are
made again at a start from the records since the last checkpoint (gateway/edge/basis.py). What was decided but not
stored is made by the next add or tick, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.config import EdgeConfig
from gateway.counters import Counters
from gateway.edge import basis, carried
from gateway.edge.alarm import Step, step_of
from gateway.edge.basis import Basis, Recent
from gateway.edge.definition import Definition, every
from gateway.edge.exception import Exceptions
from gateway.edge.groups import Groups
from gateway.edge.numbers import AHEAD_S, has_point_in_time, is_measured, numbers_of
from gateway.edge.privacy import Privacy
from gateway.edge.rows import Commit, Tables
from gateway.edge.rules import Rules
from gateway.edge.windows import Windows
from gateway.edge.withheld import Withheld
from gateway.reading import Reading, Report
from gateway.row import Row

Part = Windows | Rules | Exceptions | Withheld
_CACHED = 150_000  # rows and plans in memory, some 400 bytes each


@dataclass(slots=True)
class Outcome:
    """What became of one report.

    forward   what goes on to the city; None if it stays here, counted
    produced  records of the gateway's own that it caused; they have no number yet
    """

    forward: Report | None
    produced: list[Report] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Change:
    """A step of an alarm that is on disk, for whoever acts on it."""

    step: Step
    record: Report
    actions: tuple[str, ...]


class Edge:
    """Of the commit thread. `tx`: where rows that are not in memory are read from."""

    def __init__(self, config: EdgeConfig, groups: Groups, privacy: Privacy, counters: Counters) -> None:
        self._counters = counters
        self._changes: list[Change] = []
        self._flushed: list[Change] = []
        self.raised: dict[tuple[str, str], str] = {}  # on disk: phase by rule and node
        self._flushed_raised: dict[tuple[str, str], str] | None = None
        self.withheld = self._flushed_withheld = 0  # reports that ever stayed here; the first is as of the disk
        self._is_moved = True
        self._basis = Basis()  # as of the last checkpoint: what is done until the next
        self._noted_basis: Basis | None = None  # in the database since; None: to be read
        self._must_save = False
        self._configure(config, groups, privacy)

    def _configure(self, config: EdgeConfig, groups: Groups, privacy: Privacy) -> None:
        definitions = [Definition(one) for one in config.window]
        definitions += [every(config.window_s)] if config.window_s else []
        self._privacy = privacy
        self._groups = groups
        is_fed = not (config.report or privacy.has_local)
        self._wanted_basis = Basis(tuple(sorted(one.to_state() for one in definitions)), is_fed)
        self._windows = Windows(definitions, groups, self._counters.add)
        self._rules = Rules(config.rule, groups, self._counters.add, privacy.is_local)
        self._exceptions = Exceptions(config.report, groups)
        self._withheld = Withheld(config.withheld_every_s)
        parts: tuple[Part, ...] = (self._windows, self._rules, self._exceptions, self._withheld)
        self._parts = parts
        self._is_swept = False
        self.takes_rows = not (config.rule or config.report or privacy.has_local)
        self._is_idle = self.takes_rows and not definitions

    def reconfigure(self, tx: Commit, config: EdgeConfig, groups: Groups, privacy: Privacy) -> None:
        """Go on under another configuration. The next tick tells the windows and clears the alarms of what is gone."""
        self._flush_parts(tx)
        heard = self._rules.heard
        self._configure(config, groups, privacy)
        self._is_moved = True
        self._rules.heard.update(heard)

    def begin(self, tx: Commit, recent: Iterable[Recent] = ()) -> None:
        """Make the table, take over what an earlier version kept elsewhere, and make windows again.

        recent  the records of the log since the last checkpoint, alarms as they came
        """
        carried.begin(tx)
        self._basis = basis.read(tx)
        self.make_again(tx.unlogged, recent)
        self.raised = self._rules.raised(tx)
        self.withheld = self._flushed_withheld = self._withheld.total(tx)

    def make_again(self, unlogged: Tables, recent: Iterable[Recent]) -> None:
        """The tables are as of the last checkpoint and what the log says after it: bring the windows there, too."""
        self._windows.forget()
        self._noted_basis = None
        if self._basis.is_fed:
            basis.catch_up(unlogged, self._basis, self._groups, recent)

    def checkpointed(self, db: Tables) -> None:
        """What the database says is durable (store.Store)."""
        self._basis = basis.read(db)

    def add(self, tx: Tables, report: Report, *, now_s: float) -> Outcome:
        """Take in a report that is being stored, and say what goes on and what it causes.

        now_s  the moment: UTC, or seconds of the gateway's boot if the report's time is
        """
        outcome = self._take(tx, report, now_s)
        self._note_changes(outcome.produced)
        return outcome

    def add_rows(self, tx: Tables, rows: Sequence[Row], *, now_s: float) -> None:
        """`add` for readings of devices where nothing but windows sees them (`takes_rows`): all of them go on."""
        if self._is_idle:
            return
        add = self._windows.add
        for node, quantity, unit, values, times, _ in rows:
            for value, at_s in zip(values, times, strict=True):
                if at_s > now_s + AHEAD_S:
                    self._counters.add("edge_in_the_future")
                else:
                    add(tx, node, (quantity, unit), at_s, value, now_s, False)

    def tick(self, tx: Tables, *, now_s: float, clock_boot: int | None = None) -> list[Report]:
        """The records that are due by now. `clock_boot`: now_s is not UTC but seconds of that boot of the gateway."""
        made = self._rules.tick(tx, now_s, clock_boot)
        if clock_boot is None:
            made += [*self._windows.tick(tx, now_s), *self._withheld.tick(tx, now_s)]
        self._note_changes(made)
        return made

    def acknowledge(
        self,
        tx: Tables,
        rule: str,
        node: str,
        *,
        by: str,
        now_s: float,
        clock_boot: int | None = None,
        n: int | None = None,
    ) -> list[Report] | None:
        """Somebody has seen an alarm, raised for the n-th time: the records of it; None if there is no such alarm."""
        made = self._rules.acknowledge(tx, rule, node, by=by, now_s=now_s, clock_boot=clock_boot, n=n)
        self._note_changes(made or [])
        return made

    def node_moved(self, tx: Tables, node: str, *, at_s: float) -> None:
        """The node joined here from another gateway, or left for one: windows over that moment say `partial`.

        Durable with a checkpoint that follows the commit: no record says it.
        """
        self._windows.mark_partial(tx, node, at_s)
        self._must_save = True

    def _take(self, tx: Tables, report: Report, now_s: float) -> Outcome:
        forward = self._forward(tx, report, now_s)
        if self._is_idle or not is_measured(report):
            return Outcome(forward)
        if not has_point_in_time(report):  # in no window; but a rule must not wait for the time
            self._counters.add("edge_no_point_in_time")
            is_bounded = report.time_quality == "bounded"
            return Outcome(forward, [] if is_bounded else self._rules.add(tx, report, report.readings, now_s=now_s))
        numbers = numbers_of(report, now_s=now_s, count=self._counters.add)
        has_local = self._privacy.has_local
        for reading, at_s, value in numbers:
            is_local = has_local and self._privacy.is_local(report.node, reading.quantity)
            column = (reading.quantity, reading.unit)
            self._windows.add(tx, report.node, column, at_s, value, now_s, is_local)
        return Outcome(forward, self._rules.add(tx, report, [one for one, _, _ in numbers], now_s=now_s))

    def _forward(self, tx: Tables, report: Report, now_s: float) -> Report | None:
        """The report without what must stay here; None if nothing of it goes, which is counted."""
        readings: Sequence[Reading] = report.readings
        if self._privacy.has_local:
            readings = [one for one in readings if not self._privacy.is_local(report.node, one.quantity)]
        if readings and self._exceptions.is_due(tx, report, readings):
            return report if len(readings) == len(report.readings) else replace(report, readings=tuple(readings))
        self._withheld.add(tx, report, now_s=now_s)
        return None

    def _note_changes(self, records: Sequence[Report]) -> None:
        for record in records:
            step = step_of(record)
            if step is not None:
                self._changes.append(Change(step, record, self._rules.actions_of(step.rule)))

    # The store's side.

    def flush(self, tx: Commit) -> None:
        """Write down what changed; the commit follows."""
        self._note_basis(tx)
        if self._changes or self._is_moved:
            self._flushed_raised = self._rules.raised(tx)
            self._is_moved = False
        self._flushed_withheld = self._withheld.total(tx)
        self._flushed += self._changes
        self._changes = []
        self._flush_parts(tx)
        if sum(len(part) for part in self._parts) > _CACHED:
            self._windows.shrink()
        if sum(len(part) for part in self._parts) > _CACHED:
            for part in self._parts:
                part.forget()

    def _note_basis(self, tx: Commit) -> None:
        """Have a checkpoint made when another basis is wanted; until then the old one holds."""
        if self._noted_basis is None:
            self._noted_basis = basis.read(tx)
        if self._noted_basis != self._wanted_basis:
            basis.write(tx.unlogged, self._wanted_basis)
            self._noted_basis = self._wanted_basis
            self._must_save = True
        if self._must_save:
            tx.ask_checkpoint()
            self._must_save = False

    def _flush_parts(self, tx: Commit) -> None:
        self._windows.flush(tx.unlogged if self._basis.is_fed else tx)
        for part in (self._rules, self._exceptions, self._withheld):
            part.flush(tx)
        if not self._is_swept:
            self._is_swept = True
            self._exceptions.sweep(tx)

    def forget(self) -> None:
        """The commit failed: the table knows better."""
        self._changes, self._flushed = [], []
        self._flushed_raised, self._is_moved = None, True
        self._noted_basis = None
        for part in self._parts:
            part.forget()

    @property
    def heard(self) -> Mapping[str, float]:
        """When a node that a rule covers was last heard, since this process began."""
        return self._rules.heard

    @property
    def must_react(self) -> bool:
        """Whether a rule acts on the spot: then a report must not wait long for company in its commit."""
        return self._rules.has_actions

    def actions_of(self, rule: str) -> tuple[str, ...]:
        """The actions that a rule holds while it is raised."""
        return self._rules.actions_of(rule)

    def committed(self) -> list[Change]:
        """The alarm steps that the last commit has put on disk, once. After a commit, before the next flush."""
        if self._flushed_raised is not None:
            self.raised, self._flushed_raised = self._flushed_raised, None
        self.withheld = self._flushed_withheld
        done, self._flushed = self._flushed, []
        return done
