"""Does a reading fulfil the condition of a rule: yes, no, or not enough to change anything. No clock, no records.

Each function gets what the alarm remembers and one reading, and updates what the next reading is compared with.
"""

from __future__ import annotations

from gateway.config_alarm import RuleConfig
from gateway.edge.alarm import Alarm
from gateway.edge.expression import Expression

Verdict = bool | None  # None: between the threshold and its hysteresis, or nothing to compare with


def judge(rule: RuleConfig, alarm: Alarm, at_s: float, value: float) -> tuple[Verdict, float]:
    """The verdict on one value, and the figure that it rests on (the value, its rate, its jump)."""
    if rule.kind == "rate":
        return _judge_rate(rule, alarm, at_s, value)
    if rule.kind == "stuck":
        return _judge_stuck(rule, alarm, at_s, value), value
    if rule.kind == "jump":
        return _judge_jump(rule, alarm, at_s, value)
    return _judge_level(rule, value), value


def _judge_level(rule: RuleConfig, value: float) -> Verdict:
    above, below, by = rule.above, rule.below, rule.hysteresis
    if (above is not None and value > above) or (below is not None and value < below):
        return True
    if (above is not None and value > above - by) or (below is not None and value < below + by):
        return None
    return False


def _judge_rate(rule: RuleConfig, alarm: Alarm, at_s: float, value: float) -> tuple[Verdict, float]:
    before, alarm.before = alarm.before, (value, at_s)
    if before is None or at_s <= before[1]:
        return None, value
    per_s = (value - before[0]) / (at_s - before[1])
    return _judge_level(rule, per_s), per_s


def _judge_stuck(rule: RuleConfig, alarm: Alarm, at_s: float, value: float) -> Verdict:
    if alarm.before is None or abs(value - alarm.before[0]) > rule.tolerance:
        alarm.before = (value, at_s)
        return False
    return True if at_s - alarm.before[1] >= (rule.for_s or 0) else None


def _judge_jump(rule: RuleConfig, alarm: Alarm, at_s: float, value: float) -> tuple[Verdict, float]:
    before, alarm.before = alarm.before, (value, at_s)
    if before is None:
        return None, value
    step = value - before[0]
    return abs(step) > (rule.step or 0), step


def judge_expression(expression: Expression, alarm: Alarm, raised: dict[str, bool], *, oldest_s: float) -> bool | None:
    """None while one of its quantities is missing or older than `oldest_s`. Raises ExpressionError."""
    values: dict[str, float | bool] = {name: raised[name] for name in expression.rules}
    for name in expression.quantities:
        value, at_s = alarm.values.get(name, (0.0, float("-inf")))
        if at_s < oldest_s:
            return None
        values[name] = value
    return expression.is_true(values)
