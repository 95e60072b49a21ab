"""The gateway's own record ids: "<gateway id>/<epoch>/<seq>", counting up by one, never used twice.

The numbers are in the database and move in the commit of the records that carry them. A new database gets a new epoch
(gateway/floors.py).
"""

from __future__ import annotations

from dataclasses import replace

from gateway.floors import Floors
from gateway.reading import Report
from gateway.tables import Tables


class Numbering:
    """Numbers for records of our own, and for records of others that have no identity of their own."""

    def __init__(self, gateway_id: str) -> None:
        self.gateway_id = gateway_id
        self.epoch = 0
        self._next: dict[str, int] = {}
        self._changed: set[str] = set()

    def begin(self, tx: Tables, floors: Floors) -> int:
        """Take up this database's numbers, or begin an epoch in a new one. Returns its downlink counters' start."""
        meta = dict(tx.execute("SELECT key, value FROM meta WHERE key IN ('gateway_epoch', 'downlink_start')"))
        if not meta:
            meta = {"gateway_epoch": floors.next_epoch(), "downlink_start": floors.downlink}
            tx.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta.items())
        self.epoch = meta["gateway_epoch"]
        floors.epoch = max(floors.epoch, self.epoch)
        floors.cover(tx.execute("SELECT coalesce(max(down_reserved), 0) FROM sessions").fetchone()[0])
        return int(meta["downlink_start"])

    def number(self, tx: Tables, report: Report) -> Report:
        """The same report under our name and the next number."""
        seq = self._take(tx, "own_seq")
        record_id = f"{self.gateway_id}/{self.epoch}/{seq}"
        return replace(report, node=self.gateway_id, epoch=self.epoch, seq=seq, record_id=record_id)

    def foreign(self, tx: Tables, device: str) -> str:
        """A new record id for a device's record that carries neither an id nor a time."""
        return f"{device}/n/{self.epoch}.{self._take(tx, 'foreign_seq')}"

    def _take(self, tx: Tables, name: str) -> int:
        if name not in self._next:
            row = tx.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
            self._next[name] = row[0] if row else 0
        taken = self._next[name]
        self._next[name] = taken + 1
        self._changed.add(name)
        return taken

    def flush(self, tx: Tables) -> None:
        rows = [(name, self._next[name]) for name in self._changed]
        tx.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", rows)
        self._changed.clear()

    def forget(self) -> None:
        self._next.clear()
        self._changed.clear()
