"""An alarm: one rule at one node, from raised through acknowledged to cleared, and the record of each step.

A record of the alarm stream: `alarm/rule`, `alarm/state` (raised, acknowledged, cleared), `alarm/severity`, `alarm/n`
(which time it is for this rule and node), then `alarm/value` where one value made it, `alarm/by` who acknowledged,
`alarm/cause` when it was cleared for another reason than the readings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.edge.rows import Key
from gateway.reading import Pending, Reading, Report, TimeQuality, exact_time_s

NORMAL, RAISED, ACKNOWLEDGED = "normal", "raised", "acknowledged"
CLEARED = "cleared"


class Timing(NamedTuple):
    """What is known of a time: as in a Report."""

    quality: TimeQuality = "good"
    error_s: float | None = None
    pending: Pending | None = None


class Alarm:
    """What is remembered of one rule at one node.

    since_s   since when the condition has held, by the times of readings; None while it does not
    seen_s    time of the newest reading that counted
    heard_s   when a report of the node was last stored
    before    what the rule compares the next reading with: value and time
    clock_boot  of which boot of the gateway those times are seconds; None: they are UTC
    values    of an expression: the newest value and its time, by name
    """

    __slots__ = (
        "before",
        "clock_boot",
        "heard_s",
        "is_dirty",
        "is_watched",
        "n",
        "node",
        "phase",
        "rule",
        "seen_s",
        "shape",
        "since_s",
        "unit",
        "value",
        "values",
    )

    def __init__(self, rule: str, node: str, shape: str) -> None:
        self.rule = rule
        self.node = node
        self.shape = shape
        self.phase = NORMAL
        self.n = 0
        self.since_s: float | None = None
        self.seen_s = float("-inf")
        self.heard_s = 0.0
        self.before: tuple[float, float] | None = None
        self.value: float | None = None
        self.unit: str | None = None
        self.values: dict[str, tuple[float, float]] = {}
        self.is_watched = False
        self.clock_boot: int | None = None
        self.is_dirty = False

    @property
    def key(self) -> Key:
        return (self.rule, self.node, 0.0)

    @property
    def is_raised(self) -> bool:
        return self.phase != NORMAL

    @property
    def is_open(self) -> bool:
        """Whether the clock alone can change it, or it is raised."""
        return self.is_watched or self.is_raised or self.since_s is not None

    def doubt(self, clock_boot: int | None) -> None:
        """The clock that times come from is another one now: nothing that was noted can be compared with them."""
        self.since_s, self.seen_s, self.before, self.clock_boot = None, float("-inf"), None, clock_boot
        self.values.clear()

    def to_state(self) -> str:
        fields = [self.shape, self.phase, self.n, self.since_s, self.seen_s, self.heard_s, self.before]
        return json.dumps(
            [*fields, self.value, self.unit, self.values, self.is_watched, self.clock_boot], separators=(",", ":")
        )

    def take_state(self, state: str) -> None:
        self.shape, self.phase, self.n, self.since_s, self.seen_s, self.heard_s, before, *rest = json.loads(state)
        self.before = tuple(before) if before is not None else None
        self.value, self.unit, values, self.is_watched, self.clock_boot = rest
        self.values = {name: (value, at_s) for name, (value, at_s) in values.items()}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What an alarm record says."""

    rule: str
    node: str
    state: str
    severity: str
    n: int
    at_s: float


def as_report(
    alarm: Alarm, state: str, severity: str, timing: Timing, *, at_s: float, value: float | None, **more: str
) -> Report:
    """The record of one step.

    timing what is known of at_s
    value  None if none made it, or it must stay here
    more   by, cause
    """
    texts = {"rule": alarm.rule, "state": state, "severity": severity}
    readings = [Reading(quantity=f"alarm/{name}", value=text) for name, text in texts.items()]
    readings.append(Reading(quantity="alarm/n", value=alarm.n))
    if value is not None:
        readings.append(Reading(quantity="alarm/value", value=value, unit=alarm.unit))
    readings += [Reading(quantity=f"alarm/{name}", value=text) for name, text in more.items()]
    return Report(
        node="",
        record_id="",
        measured_at_s=exact_time_s(at_s),
        readings=tuple(readings),
        time_quality=timing.quality,
        time_error_s=timing.error_s,
        pending=timing.pending,
        kind="alarm",
        subject=alarm.node,
    )


def step_of(record: Report) -> Step | None:
    """What an alarm record of ours says; None for an alarm that a node sent."""
    if record.kind != "alarm" or record.subject is None:
        return None
    values: dict[str, Any] = {reading.quantity: reading.value for reading in record.readings}
    return Step(
        rule=str(values["alarm/rule"]),
        node=record.subject,
        state=str(values["alarm/state"]),
        severity=str(values["alarm/severity"]),
        n=int(values["alarm/n"]),
        at_s=record.measured_at_s,
    )
