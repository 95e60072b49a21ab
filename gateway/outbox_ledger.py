"""Who has what: the counters of promise 1, the cursors, and what nobody waits for any more, in the caller's commit."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from gateway.reading import STREAMS

OVERHEAD_BYTES = 96  # what a record takes in the database beside its body
COLUMNS = ("accepted", "produced", "delivered", "unheard", "evicted", "expired", "thinned", "damaged", "refused")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One platform. `unheard` is part of `delivered`; `stored` is counted in the records themselves."""

    city: str
    accepted: int
    produced: int
    delivered: int
    unheard: int
    evicted: int
    expired: int
    thinned: int
    damaged: int
    refused: int
    stored: int

    @property
    def holds(self) -> bool:
        gone = self.delivered + self.evicted + self.expired + self.thinned + self.damaged + self.refused
        return self.accepted + self.produced == gone + self.stored

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "holds": self.holds}


class Ledger:
    """Counters and cursors of the platforms in `cities`, kept in the commit of what they count."""

    def __init__(self, cities: Sequence[str], *, now_s: Callable[[], float]) -> None:
        self.cities = tuple(cities)
        self.now_s = now_s
        self._came: Counter[tuple[int, bool]] = Counter()  # this transaction: records by stream and origin
        self._came_bytes: Counter[int] = Counter()
        self._totals: dict[int, list[int]] | None = None  # by stream: records, bytes

    def begin(self, tx: sqlite3.Connection) -> list[str]:
        """Take in new platforms, which get what is stored; let go of old ones. Returns what to tell an operator."""
        known = {name for (name,) in tx.execute("SELECT name FROM cities")}
        tx.executemany(
            "INSERT OR IGNORE INTO streams (stream, records, bytes) VALUES (?, 0, 0)",
            [(s,) for s in range(len(STREAMS))],
        )
        said = [self._remove(tx, name) for name in sorted(known - set(self.cities))]
        said += [self._add(tx, name) for name in self.cities if name not in known]
        for stream in range(len(STREAMS)):
            self.drop_finished(tx, stream)
        return said

    def _add(self, tx: sqlite3.Connection, name: str) -> str:
        origins = dict(tx.execute("SELECT is_produced, count(*) FROM records GROUP BY is_produced"))
        accepted, produced = origins.get(0, 0), origins.get(1, 0)
        tx.execute("INSERT INTO cities (name, accepted, produced) VALUES (?, ?, ?)", (name, accepted, produced))
        rows = [(name, stream) for stream in range(len(STREAMS))]
        tx.executemany("INSERT INTO cursors (city, stream, done_through) VALUES (?, ?, 0)", rows)
        return f"platform {name!r} is new and gets what is stored: {accepted + produced} records"

    def _remove(self, tx: sqlite3.Connection, name: str) -> str:
        for table, column in (("cities", "name"), ("cursors", "city"), ("settled", "city")):
            tx.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
        return f"platform {name!r} is not configured any more; what waited for it alone is dropped"

    def came(self, stream: int, size: int, *, is_produced: bool) -> None:
        """One record more in this transaction."""
        self._came[stream, is_produced] += 1
        self._came_bytes[stream] += size

    def count(self, tx: sqlite3.Connection, city: str, counts: Mapping[str, int]) -> None:
        """Move the counters of `city`; names are those of COLUMNS."""
        moved = {name: n for name, n in counts.items() if n and name in COLUMNS}
        if moved:
            changes = ", ".join(f"{name} = {name} + :{name}" for name in moved)
            tx.execute(f"UPDATE cities SET {changes} WHERE name = :city", {**moved, "city": city})

    def advance(self, tx: sqlite3.Connection, city: str, stream: int) -> None:
        """Move the cursor to just below the first record that is not settled; drop what nobody waits for."""
        place = {"city": city, "stream": stream}
        first = tx.execute(
            "SELECT min(id) FROM records r WHERE stream = :stream"
            " AND id > (SELECT done_through FROM cursors WHERE city = :city AND stream = :stream)"
            " AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.city = :city AND s.stream = :stream AND s.id = r.id)",
            place,
        ).fetchone()[0]
        if first is None:
            first = tx.execute("SELECT coalesce(max(id), 0) + 1 FROM records WHERE stream = :stream", place).fetchone()[
                0
            ]
        tx.execute(
            "UPDATE cursors SET done_through = max(done_through, :first - 1) WHERE city = :city AND stream = :stream",
            {**place, "first": first},
        )
        tx.execute(
            "DELETE FROM settled WHERE city = :city AND stream = :stream AND id < :first", {**place, "first": first}
        )
        self.drop_finished(tx, stream)

    def drop_finished(self, tx: sqlite3.Connection, stream: int) -> None:
        """Delete the records of a stream that every platform is done with."""
        through = tx.execute("SELECT min(done_through) FROM cursors WHERE stream = ?", (stream,)).fetchone()[0]
        if through is not None:
            self.remove(tx, stream, "stream = ? AND id <= ?", (stream, through))

    def remove(self, tx: sqlite3.Connection, stream: int, where: str, values: Sequence[object]) -> None:
        """Delete records of one stream and take them from the totals."""
        records, size = tx.execute(
            f"SELECT count(*), coalesce(sum(size + {OVERHEAD_BYTES}), 0) FROM records WHERE {where}", values
        ).fetchone()
        if records:
            tx.execute(f"DELETE FROM records WHERE {where}", values)
            totals = self.totals(tx)
            totals[stream][0] -= records
            totals[stream][1] -= size
            self._save_totals(tx, stream)

    def totals(self, tx: sqlite3.Connection) -> dict[int, list[int]]:
        """Records and bytes by stream, what came in this transaction not counted in before `flush`."""
        if self._totals is None:
            self._totals = {stream: [n, size] for stream, n, size in tx.execute("SELECT * FROM streams")}
        return self._totals

    def flush(self, tx: sqlite3.Connection) -> None:
        """Count what came, for every platform at once."""
        if not self._came:
            return
        totals = self.totals(tx)
        for (stream, _), n in self._came.items():
            totals[stream][0] += n
        for stream, size in self._came_bytes.items():
            totals[stream][1] += size
            self._save_totals(tx, stream)
        produced = sum(n for (_, is_produced), n in self._came.items() if is_produced)
        accepted = self._came.total() - produced
        tx.execute("UPDATE cities SET accepted = accepted + ?, produced = produced + ?", (accepted, produced))
        self._came.clear()
        self._came_bytes.clear()

    def forget(self) -> None:
        self._came.clear()
        self._came_bytes.clear()
        self._totals = None

    def _save_totals(self, tx: sqlite3.Connection, stream: int) -> None:
        assert self._totals is not None
        tx.execute("UPDATE streams SET records = ?, bytes = ? WHERE stream = ?", (*self._totals[stream], stream))


def audit_rows(db: sqlite3.Connection) -> list[AuditRow]:
    """The counters of each platform, and what is stored for it, in any connection to the database."""
    names = ", ".join(COLUMNS)
    return [
        AuditRow(city=city, stored=_stored_for(db, city), **dict(zip(COLUMNS, counts, strict=True)))
        for city, *counts in db.execute(f"SELECT name, {names} FROM cities ORDER BY name")
    ]


def balance_of(db: sqlite3.Connection, city: str) -> int:
    """How many records wait for `city` by its counters; an audit counts the records themselves."""
    row = db.execute(
        "SELECT accepted + produced - delivered - evicted - expired - thinned - damaged - refused"
        " FROM cities WHERE name = ?",
        (city,),
    ).fetchone()
    return int(row[0]) if row else 0


def _stored_for(db: sqlite3.Connection, city: str) -> int:
    above = db.execute(
        "SELECT coalesce(sum((SELECT count(*) FROM records r WHERE r.stream = c.stream AND r.id > c.done_through)), 0)"
        " FROM cursors c WHERE c.city = ?",
        (city,),
    ).fetchone()[0]
    settled = db.execute(
        "SELECT count(*) FROM settled s JOIN records r ON r.id = s.id WHERE s.city = ?", (city,)
    ).fetchone()[0]
    return int(above - settled)
