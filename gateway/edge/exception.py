"""Report by exception: which reports go on to the city, and the count of those that do not.

A report is one record with one content, so it goes as a whole or not at all: it is held back only if each of its
readings is one that a policy covers and none of them is due. Alarms and events always go. Decided in the order of
arrival, against the last value that went.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase

from gateway.config_edge import ReportConfig
from gateway.edge.groups import Groups
from gateway.edge.rows import Key, Rows, Tables
from gateway.reading import Reading, Report, Value

_BETWEEN = "\n"  # in no name


class Sent:
    """The last value of one quantity of one node that went on."""

    __slots__ = ("at_s", "is_dirty", "key", "value")

    is_open = False

    def __init__(self, key: Key) -> None:
        self.key = key
        self.value: Value = None
        self.at_s: float | None = None
        self.is_dirty = False

    def to_state(self) -> str:
        return json.dumps([self.value if not isinstance(self.value, bytes) else self.value.hex(), self.at_s])


class Exceptions:
    """All [[edge.report]]; the first that covers a reading holds for it."""

    def __init__(self, policies: Sequence[ReportConfig], groups: Groups) -> None:
        self._policies = [(_owner(one), one) for one in policies]
        self._groups = groups
        self._sent: Rows[Sent] = Rows("sent", _parse)
        self._plans: dict[tuple[str, str], tuple[ReportConfig, Sent] | None] = {}

    def __len__(self) -> int:
        return len(self._sent) + len(self._plans)

    def is_due(self, tx: Tables, report: Report, readings: Sequence[Reading]) -> bool:
        """Whether the report goes on; if so, its values are what the next ones are compared with."""
        if not self._policies or report.kind in ("alarm", "event"):
            return True
        plans = [self._plan(tx, report.node, reading.quantity) for reading in readings]
        times = [report.measured_at_s if reading.at_s is None else reading.at_s for reading in readings]
        goes = not readings or any(
            plan is None or _moved(*plan, reading, at_s)
            for plan, reading, at_s in zip(plans, readings, times, strict=True)
        )
        if goes:
            for plan, reading, at_s in zip(plans, readings, times, strict=True):
                if plan is not None:
                    plan[1].value, plan[1].at_s = reading.value, at_s
                    self._sent.note(plan[1])
        return goes

    def _plan(self, tx: Tables, node: str, quantity: str) -> tuple[ReportConfig, Sent] | None:
        key = (node, quantity)
        if key not in self._plans:
            self._plans[key] = self._covering(tx, node, quantity)
        return self._plans[key]

    def _covering(self, tx: Tables, node: str, quantity: str) -> tuple[ReportConfig, Sent] | None:
        for owner, policy in self._policies:
            is_named = any(fnmatchcase(quantity, one) for one in policy.quantities)
            if is_named and self._groups.takes(policy.nodes, node):
                key = (owner, f"{node}{_BETWEEN}{quantity}", 0.0)
                sent = self._sent.find(tx, key)
                if sent is None:
                    sent = Sent(key)
                    self._sent.keep(sent)
                return policy, sent
        return None

    def sweep(self, tx: Tables) -> None:
        """Drop what belongs to policies that are gone. With a flush."""
        owners = {owner for owner, _ in self._policies}
        known = {owner for (owner,) in tx.execute("SELECT DISTINCT owner FROM edge_state WHERE kind = 'sent'")}
        gone = [(owner,) for owner in known - owners]
        tx.executemany("DELETE FROM edge_state WHERE kind = 'sent' AND owner = ?", gone)

    def flush(self, tx: Tables) -> None:
        self._sent.flush(tx)

    def forget(self) -> None:
        """Memory is empty again."""
        self._plans.clear()
        self._sent.forget()


def _moved(policy: ReportConfig, sent: Sent, reading: Reading, at_s: float) -> bool:
    """Whether the value differs enough from the last one that went, or that is long ago."""
    value, last = reading.value, sent.value
    if sent.at_s is None or abs(at_s - sent.at_s) >= policy.heartbeat_s or reading.total is not None:
        return True
    if not _is_number(value) or not _is_number(last):
        return value != last
    moved = abs(value - last)  # type: ignore[operator]
    if policy.dead_band is not None and moved > policy.dead_band:
        return True
    if policy.dead_band_pct is not None and moved > abs(last) * policy.dead_band_pct / 100:  # type: ignore[arg-type]
        return True
    return policy.on_change and moved > 0


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _owner(policy: ReportConfig) -> str:
    return hashlib.sha256(json.dumps(asdict(policy), sort_keys=True).encode()).hexdigest()[:12]


def _parse(key: Key, state: str, is_open: bool) -> Sent:
    sent = Sent(key)
    sent.value, sent.at_s = json.loads(state)
    return sent
