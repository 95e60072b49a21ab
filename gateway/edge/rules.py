"""Rules: each is kept apart for each node; what it decides is an alarm that is raised, acknowledged and cleared.

Decided by the newest reading only: older ones, and those that come max_age_s after they were measured, raise and clear
nothing. Hold times run by the times of readings, and by the gateway's clock while none comes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from gateway.config_alarm import RuleConfig
from gateway.edge.alarm import ACKNOWLEDGED, CLEARED, NORMAL, RAISED, Alarm, Timing, as_report
from gateway.edge.condition import Verdict, judge, judge_expression
from gateway.edge.expression import Expression, ExpressionError, name_of
from gateway.edge.groups import Groups
from gateway.edge.pulse import Pulse
from gateway.edge.rows import Key, Rows, Tables
from gateway.reading import Pending, Reading, Report, exact_time_s

_AHEAD_S = 3600.0  # no reading is newer than the clock by more, unless that was set back since
_HEARD = 100_000
_NOT_SHAPE = ("severity", "actions")  # changing these changes nothing about what is remembered


class Rule:
    """A RuleConfig, ready for use."""

    def __init__(self, config: RuleConfig, earlier: Iterable[str]) -> None:
        self.config = config
        self.name = config.name
        self.expression = Expression(config.expression, earlier) if config.expression is not None else None
        fields = {name: value for name, value in asdict(config).items() if name not in _NOT_SHAPE}
        self.shape = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


class Rules:
    """All rules. Every method but flush and forget gives back the alarm records it makes."""

    def __init__(
        self,
        configs: Sequence[RuleConfig],
        groups: Groups,
        count: Callable[[str], None],
        is_local: Callable[[str, str], bool],
    ) -> None:
        """`is_local`: whether the values of this quantity of this node must stay here."""
        names = [config.name for config in configs]
        self._rules = {one.name: Rule(one, names[:at]) for at, one in enumerate(configs)}
        self._groups = groups
        self._count = count
        self._is_local = is_local
        self._alarms: Rows[Alarm] = Rows("alarm", self._parse)
        self._pulse = Pulse()
        self._timing = Timing()  # of the times that are being judged
        self._plans: dict[str, list[tuple[Rule, Alarm]]] = {}
        self.heard: dict[str, float] = {}  # since this process began
        self.has_actions = any(one.actions for one in configs)
        self._has_silent = any(one.kind == "silent" for one in configs)

    def __len__(self) -> int:
        return len(self._alarms) + len(self._plans)

    def add(self, tx: Tables, report: Report, readings: Sequence[Reading], *, now_s: float) -> list[Report]:
        """Judge the numbers of one report that was just stored."""
        plan = self._plan(tx, report.node)
        if not plan:
            return []
        self.heard[report.node] = now_s
        self._pulse.beat(tx, now_s)
        self._timing = Timing(report.time_quality, report.time_error_s, report.pending)
        clock_boot = report.pending.boot if report.pending else None
        made: list[Report] = []
        newest_s = report.measured_at_s
        for rule, alarm in plan:
            if alarm.shape != rule.shape:
                continue  # the next tick clears it, then the new rule begins
            if alarm.clock_boot != clock_boot or alarm.seen_s > now_s + _AHEAD_S:
                alarm.doubt(clock_boot)
                self._alarms.note(alarm)
            if rule.config.kind == "silent":
                made += self._hear(rule, alarm, now_s)
            for reading in readings:
                at_s = report.measured_at_s if reading.at_s is None else reading.at_s
                newest_s = max(newest_s, at_s)
                made += self._take(rule, alarm, reading, at_s, now_s)
            if rule.expression is not None:
                made += self._combine(tx, rule, alarm, newest_s, now_s)
        return made

    def _plan(self, tx: Tables, node: str) -> list[tuple[Rule, Alarm]]:
        found = self._plans.get(node)
        if found is None:
            if len(self.heard) > _HEARD:
                self.heard.clear()
            mine = [one for one in self._rules.values() if self._groups.takes(one.config.nodes, node)]
            found = self._plans[node] = [(rule, self._alarm(tx, rule, node)) for rule in mine]
        return found

    def _alarm(self, tx: Tables, rule: Rule, node: str) -> Alarm:
        found = self._alarms.find(tx, (rule.name, node, 0.0))
        if found is None or (found.shape != rule.shape and not found.is_raised):
            found = Alarm(rule.name, node, rule.shape)
            found.is_watched = rule.config.kind == "silent"
            self._alarms.keep(found)
        return found

    def _hear(self, rule: Rule, alarm: Alarm, now_s: float) -> list[Report]:
        alarm.heard_s = now_s
        self._alarms.note(alarm)
        return self._apply(rule, alarm, False, now_s, now_s)

    def _take(self, rule: Rule, alarm: Alarm, reading: Reading, at_s: float, now_s: float) -> list[Report]:
        value = reading.value
        if not isinstance(value, (int, float)):
            return []
        if rule.expression is not None:
            self._note_value(rule.expression, alarm, name_of(reading.quantity), float(value), at_s)
            return []
        if reading.quantity != rule.config.quantity:
            return []
        if at_s < now_s - rule.config.max_age_s or at_s < alarm.seen_s:
            self._count("edge_rule_reading_old")
            return []
        alarm.seen_s = at_s
        self._alarms.note(alarm)
        verdict, figure = judge(rule.config, alarm, at_s, float(value))
        is_level = rule.config.kind in ("threshold", "stuck")
        alarm.value, alarm.unit = figure, reading.unit if is_level or rule.config.kind == "jump" else None
        return self._apply(rule, alarm, verdict, at_s, now_s)

    def _note_value(self, expression: Expression, alarm: Alarm, name: str, value: float, at_s: float) -> None:
        if name in expression.quantities and at_s >= alarm.values.get(name, (0.0, float("-inf")))[1]:
            alarm.values[name] = (value, at_s)
            self._alarms.note(alarm)

    def _combine(self, tx: Tables, rule: Rule, alarm: Alarm, at_s: float, now_s: float) -> list[Report]:
        if rule.expression is None or alarm.shape != rule.shape:
            return []
        raised = {}
        for name in rule.expression.rules:
            other = self._alarms.find(tx, (name, alarm.node, 0.0))
            raised[name] = other is not None and other.is_raised
        try:
            oldest_s = now_s - rule.config.max_age_s
            verdict = judge_expression(rule.expression, alarm, raised, oldest_s=oldest_s)
        except ExpressionError:
            self._count("edge_rule_expression_failed")
            return []
        return self._apply(rule, alarm, verdict, at_s, now_s)

    def _apply(self, rule: Rule, alarm: Alarm, verdict: Verdict, at_s: float, now_s: float) -> list[Report]:
        """Move the alarm by one verdict."""
        if verdict is True:
            if alarm.since_s is None:
                alarm.since_s = at_s
                self._alarms.note(alarm)
            if alarm.phase == NORMAL and at_s - alarm.since_s >= rule.config.hold_s:
                return [self._step(rule, alarm, RAISED, at_s)]
            return []
        if alarm.since_s is not None and (verdict is False or alarm.phase == NORMAL):
            alarm.since_s = None
            self._alarms.note(alarm)
        if verdict is False and alarm.is_raised and (alarm.phase == ACKNOWLEDGED or not rule.config.latching):
            return [self._step(rule, alarm, CLEARED, at_s)]
        return []

    def _step(self, rule: Rule | None, alarm: Alarm, state: str, at_s: float, **more: str) -> Report:
        alarm.n += state == RAISED
        alarm.phase = NORMAL if state == CLEARED else state
        self._alarms.note(alarm)
        severity = rule.config.severity if rule is not None else "info"
        quantity = rule.config.quantity if rule is not None else None
        hidden = quantity is None or state == ACKNOWLEDGED or "cause" in more or self._is_local(alarm.node, quantity)
        return as_report(alarm, state, severity, self._timing, at_s=at_s, value=None if hidden else alarm.value, **more)

    def tick(self, tx: Tables, now_s: float, clock_boot: int | None = None) -> list[Report]:
        """What the clock alone decides: hold times, silence, rules that changed or are gone."""
        now_s = exact_time_s(now_s)  # as the records say it
        self._timing = _timing_of(clock_boot)
        if self._has_silent:
            self._pulse.beat(tx, now_s)
        made: list[Report] = []
        for alarm in sorted(self._alarms.opened(tx), key=lambda one: one.key):
            rule = self._rules.get(alarm.rule)
            if rule is None or rule.shape != alarm.shape:
                steps = self._retire(rule, alarm, now_s)
            else:
                steps = self._wait(rule, alarm, now_s, clock_boot)
            for step in steps:
                made += [step, *self._consequences(tx, alarm.node, now_s)]
        return made

    def _consequences(self, tx: Tables, node: str, at_s: float) -> list[Report]:
        """What expressions make of a step that no reading of the node has caused."""
        made: list[Report] = []
        for rule, alarm in self._plan(tx, node):
            made += self._combine(tx, rule, alarm, at_s, at_s)
        return made

    def _wait(self, rule: Rule, alarm: Alarm, now_s: float, clock_boot: int | None) -> list[Report]:
        if rule.config.kind == "silent":
            alarm.heard_s = min(alarm.heard_s, now_s)
            quiet_s = now_s - max(alarm.heard_s, self._pulse.listening_s)
            return self._apply(rule, alarm, True, now_s, now_s) if quiet_s > (rule.config.for_s or 0) else []
        if alarm.phase != NORMAL or alarm.since_s is None or not rule.config.hold_s or alarm.clock_boot != clock_boot:
            return []
        newest_s = max([alarm.seen_s, *(at_s for _, at_s in alarm.values.values())])
        if now_s - newest_s > rule.config.max_age_s or now_s - alarm.since_s < rule.config.hold_s:
            return []
        return [self._step(rule, alarm, RAISED, now_s)]

    def _retire(self, rule: Rule | None, alarm: Alarm, now_s: float) -> list[Report]:
        """Its rule is another one now, or none."""
        cause = "rule_gone" if rule is None else "rule_changed"
        made = [self._step(rule, alarm, CLEARED, now_s, cause=cause)] if alarm.is_raised else []
        self._alarms.drop(alarm)
        self._plans.pop(alarm.node, None)
        return made

    def acknowledge(
        self, tx: Tables, name: str, node: str, *, by: str, now_s: float, clock_boot: int | None, n: int | None
    ) -> list[Report] | None:
        """Somebody has seen it. None if it is not raised, was acknowledged before, or another time (n) is meant."""
        now_s = exact_time_s(now_s)
        self._timing = _timing_of(clock_boot)
        alarm, rule = self._alarms.find(tx, (name, node, 0.0)), self._rules.get(name)
        if alarm is None or rule is None or alarm.phase != RAISED or n not in (None, alarm.n):
            return None
        made = [self._step(rule, alarm, ACKNOWLEDGED, now_s, by=by), *self._consequences(tx, node, now_s)]
        if rule.config.latching and alarm.since_s is None:
            made += [self._step(rule, alarm, CLEARED, now_s), *self._consequences(tx, node, now_s)]
        return made

    def raised(self, tx: Tables) -> dict[tuple[str, str], str]:
        """The phase of each alarm that is raised, by rule and node."""
        return {(one.rule, one.node): one.phase for one in self._alarms.opened(tx) if one.is_raised}

    def actions_of(self, name: str) -> tuple[str, ...]:
        """The actions that the rule holds while raised."""
        rule = self._rules.get(name)
        return rule.config.actions if rule is not None else ()

    def flush(self, tx: Tables) -> None:
        self._alarms.flush(tx)
        self._pulse.flush(tx)

    def forget(self) -> None:
        """Memory is empty again."""
        self._plans.clear()
        self._alarms.forget()
        self._pulse.forget()

    def _parse(self, key: Key, state: str, is_open: bool) -> Alarm:
        alarm = Alarm(key[0], key[1], "")
        alarm.take_state(state)
        return alarm


def _timing_of(clock_boot: int | None) -> Timing:
    """Of a moment of ours: UTC, or seconds of a boot that does not know it."""
    return Timing() if clock_boot is None else Timing("untrusted", None, Pending(clock_boot))
