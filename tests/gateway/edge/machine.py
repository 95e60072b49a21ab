"""The edge on a database that is durable at checkpoints only, beside the log of its commits, as in the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.config import EdgeConfig
from gateway.config_edge import GroupConfig
from gateway.counters import Counters
from gateway.edge.basis import Recent
from gateway.edge.engine import Edge
from gateway.edge.groups import Groups
from gateway.edge.privacy import Privacy
from gateway.edge.rows import Tables
from gateway.reading import Reading, Report

START_S = 1_800_000_000.0


def measured(node: str, at_s: float, seq: int | None = None, **values: Any) -> Report:
    """A report of these quantities, all without a unit."""
    readings = tuple(Reading(quantity=name, value=value) for name, value in values.items())
    return Report(node=node, record_id="", measured_at_s=at_s, readings=readings, epoch=1, seq=seq)


class Commit:
    """The store's transaction as the edge sees it.

    entries   what the log gets of it, in order
    is_owed   somebody outside has the answer that it is on disk
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.entries: list[Recent | tuple[str, list[Any]]] = []
        self.wants_checkpoint = self.is_owed = False
        db.execute("SAVEPOINT commit_in_the_making")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        if not sql.lstrip().startswith("SELECT"):
            self.entries.append((sql, [tuple(parameters)]))
        return self._db.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Any:
        rows = list(parameters)
        self.entries += [(sql, rows)] if rows else []
        return self._db.executemany(sql, rows)

    @property
    def unlogged(self) -> Tables:
        return self._db

    def ask_checkpoint(self) -> None:
        self.wants_checkpoint = True

    def release(self) -> None:
        """It holds."""
        self._db.execute("RELEASE commit_in_the_making")

    def roll_back(self) -> None:
        """It never was."""
        self._db.execute("ROLLBACK TO commit_in_the_making")
        self._db.execute("RELEASE commit_in_the_making")

    def records(self) -> list[Recent]:
        return [one for one in self.entries if isinstance(one, Recent)]


class Machine:
    """`produced`: every record that the edge made and the log holds. `forwarded`: what went on to the city.

    Reports share a commit until something else happens.
    """

    def __init__(self, groups: Iterable[GroupConfig] = (), **edge: Any) -> None:
        self.config = EdgeConfig(**{"window_s": 0, **edge})
        self.groups = Groups(groups)
        self.counters = Counters()
        self.produced: list[Report] = []
        self.forwarded: list[Report] = []
        self.now_s = START_S
        self._log: list[Commit] = []  # since the checkpoint
        self._checkpoint = b""
        self._start(self._database())
        self.checkpoint()

    def _database(self) -> sqlite3.Connection:
        """As of the checkpoint."""
        db = sqlite3.connect(":memory:", isolation_level=None)
        if self._checkpoint:
            db.deserialize(self._checkpoint)
        return db

    def _start(self, db: sqlite3.Connection, recent: Iterable[Recent] = ()) -> None:
        privacy = Privacy(self.config.privacy, self.groups, key=b"k" * 32, count=self.counters.add)
        self.edge = Edge(self.config, self.groups, privacy, self.counters)
        self.db = db
        self._tx = Commit(db)
        self.edge.begin(self._tx, recent)
        self.commit()

    def add(self, report: Report) -> list[Report]:
        self._tx.is_owed = True
        outcome = self.edge.add(self._tx, report, now_s=self.now_s)
        if outcome.forward is not None:
            self.forwarded.append(outcome.forward)
            self._tx.entries.append(Recent(outcome.forward, self.now_s, is_produced=False))
        return self._keep(outcome.produced)

    def fail(self, report: Report) -> None:
        """Take a report in, in a commit that fails."""
        self.commit()
        self.edge.add(self._tx, report, now_s=self.now_s)
        self.edge.flush(self._tx)
        self._tx.roll_back()
        self.edge.forget()
        self._tx = Commit(self.db)

    def tick(self, now_s: float | None = None) -> list[Report]:
        self.now_s = self.now_s if now_s is None else now_s
        self.commit()
        made = self._keep(self.edge.tick(self._tx, now_s=self.now_s))
        self.commit()
        return made

    def acknowledge(self, rule: str, node: str) -> list[Report] | None:
        self._tx.is_owed = True
        made = self.edge.acknowledge(self._tx, rule, node, by="ann", now_s=self.now_s)
        return None if made is None else self._keep(made)

    def move(self, node: str) -> None:
        self._tx.is_owed = True
        self.edge.node_moved(self._tx, node, at_s=self.now_s)
        self.commit()

    @property
    def withheld(self) -> int:
        """How many reports ever stayed here."""
        self.commit()
        self.edge.committed()
        return self.edge.withheld

    def commit(self) -> None:
        tx = self._tx
        self.edge.flush(tx)
        tx.release()
        self._log.append(tx)
        self._tx = Commit(self.db)
        if tx.wants_checkpoint:
            self.checkpoint()

    def checkpoint(self) -> None:
        """The database is durable as it is; what the log says is in it."""
        self.edge.flush(self._tx)
        self._tx.release()
        self._checkpoint = self.db.serialize()
        self._log.clear()
        self.edge.checkpointed(self.db)
        self._tx = Commit(self.db)

    def kill(self, *, torn: int = 0) -> None:
        """Begin again from the checkpoint and the log. Of its last commits `torn` are gone, if nobody had an answer."""
        self.commit()
        while torn > 0 and self._log and not self._log[-1].is_owed:
            gone = self._log.pop().records()
            self.produced = self.produced[: len(self.produced) - len(gone)]
            torn -= len(gone) > 0
        db, kept = self._database(), self._log
        for entry in (entry for commit in kept for entry in commit.entries):
            if not isinstance(entry, Recent):
                db.executemany(*entry)
        self._start(db, [record for commit in kept for record in commit.records()])

    def reconfigure(self, groups: Iterable[GroupConfig] = (), **edge: Any) -> None:
        self.config = EdgeConfig(**{"window_s": 0, **edge})
        self.groups = Groups(groups)
        privacy = Privacy(self.config.privacy, self.groups, key=b"k" * 32, count=self.counters.add)
        self.edge.reconfigure(self._tx, self.config, self.groups, privacy)
        self.commit()

    def _keep(self, records: Sequence[Report]) -> list[Report]:
        self._tx.entries += [Recent(record, self.now_s, is_produced=True) for record in records]
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
