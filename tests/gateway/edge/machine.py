"""The edge on a database that is written at checkpoints only, with a log of records beside it, as after a power cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.config import EdgeConfig
from gateway.config_edge import GroupConfig
from gateway.counters import Counters
from gateway.edge.engine import Edge
from gateway.edge.groups import Groups
from gateway.edge.privacy import Privacy
from gateway.reading import Reading, Report

START_S = 1_800_000_000.0


def measured(node: str, at_s: float, seq: int | None = None, **values: Any) -> Report:
    """A report of these quantities, all without a unit."""
    readings = tuple(Reading(quantity=name, value=value) for name, value in values.items())
    return Report(node=node, record_id="", measured_at_s=at_s, readings=readings, epoch=1, seq=seq)


class Machine:
    """`produced`: every record that the edge made and the log holds. `forwarded`: what went on to the city."""

    def __init__(self, groups: Iterable[GroupConfig] = (), **edge: Any) -> None:
        self.config = EdgeConfig(**{"window_s": 0, **edge})
        self.groups = Groups(groups)
        self.counters = Counters()
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.produced: list[Report] = []
        self.forwarded: list[Report] = []
        self.now_s = START_S
        self._log: list[tuple[Report, float | None]] = []
        self._moves: list[tuple[int, str, float]] = []
        self.edge = self._new_edge()
        self.edge.begin(self.db)

    def _new_edge(self) -> Edge:
        privacy = Privacy(self.config.privacy, self.groups, key=b"k" * 32, count=self.counters.add)
        return Edge(self.config, self.groups, privacy, self.counters)

    def add(self, report: Report) -> list[Report]:
        self._log.append((report, self.now_s))
        outcome = self.edge.add(self.db, report, now_s=self.now_s)
        if outcome.forward is not None:
            self.forwarded.append(outcome.forward)
        return self._keep(outcome.produced)

    def tick(self, now_s: float | None = None) -> list[Report]:
        self.now_s = self.now_s if now_s is None else now_s
        return self._keep(self.edge.tick(self.db, now_s=self.now_s))

    def acknowledge(self, rule: str, node: str) -> list[Report] | None:
        made = self.edge.acknowledge(self.db, rule, node, by="ann", now_s=self.now_s)
        return None if made is None else self._keep(made)

    def move(self, node: str) -> None:
        self._moves.append((len(self._log), node, self.now_s))
        self.edge.node_moved(self.db, node, at_s=self.now_s)

    @property
    def withheld(self) -> int:
        """How many reports ever stayed here."""
        self.checkpoint()
        self.edge.committed()
        return self.edge.withheld

    def checkpoint(self) -> None:
        self.db.execute("BEGIN")
        self.edge.flush(self.db)
        self.db.execute("COMMIT")
        self._log.clear()
        self._moves.clear()

    def kill(self, *, torn: int = 0) -> None:
        """Begin again from the last checkpoint and the log; the last `torn` records of the edge's own are not in it."""
        for _ in range(torn):
            if not self._log or self._log[-1][1] is not None:
                break
            self._log.pop()
            self.produced.pop()
        self.edge = self._new_edge()
        self.edge.begin(self.db)
        for at, (record, stored_at_s) in enumerate([*self._log, (None, None)]):
            for place, node, moved_s in self._moves:
                if place == at:
                    self.edge.node_moved(self.db, node, at_s=moved_s)
            if record is None:
                continue
            if stored_at_s is None:
                self.edge.replay(self.db, record)
            else:
                self.edge.feed(self.db, record, stored_at_s=stored_at_s)

    def reconfigure(self, groups: Iterable[GroupConfig] = (), **edge: Any) -> None:
        self.config = EdgeConfig(**{"window_s": 0, **edge})
        self.groups = Groups(groups)
        privacy = Privacy(self.config.privacy, self.groups, key=b"k" * 32, count=self.counters.add)
        self.checkpoint()
        self.edge.reconfigure(self.db, self.config, self.groups, privacy)

    def _keep(self, records: Sequence[Report]) -> list[Report]:
        self._log += [(record, None) for record in records]
        self.produced += records
        return list(records)


def values_of(record: Report) -> dict[str, Any]:
    return {reading.quantity: reading.value for reading in record.readings}


def windows(records: Iterable[Report]) -> dict[tuple[str, str, float], dict[str, Any]]:
    """The last told values by name, subject and start."""
    told = {}
    for one in records:
        if one.kind == "window":
            values = values_of(one)
            told[values.get("window/name", ""), one.subject or "", one.measured_at_s] = values
    return told


def alarms(records: Iterable[Report]) -> list[tuple[str, str, str]]:
    """Rule, node and state of each alarm record, in order."""
    found = [(values_of(one), one.subject) for one in records if one.kind == "alarm"]
    return [(values["alarm/rule"], str(node), values["alarm/state"]) for values, node in found]
