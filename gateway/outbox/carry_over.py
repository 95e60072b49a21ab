"""Carries the store of the first version over: records out of the SQLite table into the log, with cursors and counters.

Everything is read from the old tables and put into a log that did not exist before; only then do the tables change,
in the commit that also says format 2. Cut short at any moment, it begins anew at the next start.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator

from gateway.outbox.entries import State, Transaction
from gateway.outbox.heard import content_mark, id_mark
from gateway.outbox.ledger import COLUMNS
from gateway.outbox.log import MOST_PAGES, Log
from gateway.outbox.ranges import Ranges, runs_of
from gateway.reading import STREAMS, from_bytes

_GONE = ("records", "streams", "cities", "cursors", "settled", "heard")


def carry_over(db: sqlite3.Connection, log: Log, state: State) -> None:
    """From format 1 to 2. The caller saves a checkpoint and commits."""
    places = _Places()
    for row in _records(db):
        _carry_record(row, log, state, places)
    places.flush(log, state)
    _carry_ledger(db, state, places)
    places.carry_marks(db, log, state)
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE devices (device TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute("INSERT INTO devices SELECT DISTINCT device FROM heard")
    for table in _GONE:
        db.execute(f"DROP TABLE {table}")
    db.execute("PRAGMA user_version = 2")


Row = tuple[int, int, int, float, int, bytes]


def _records(db: sqlite3.Connection) -> Iterable[Row]:
    return db.execute("SELECT id, stream, is_produced, stored_at_s, crc, body FROM records ORDER BY id")


class _Places:
    """Which ordinal each old record got; and the commit in the making."""

    def __init__(self) -> None:
        self.ordinals: list[list[int]] = [[] for _ in STREAMS]  # old ids by stream, in the order of ordinals
        self.damaged: list[list[int]] = [[] for _ in STREAMS]
        self._tx: Transaction | None = None

    def transaction(self, db: sqlite3.Connection | None, log: Log, state: State) -> Transaction:
        if self._tx is not None and self._tx.frame.page_count >= MOST_PAGES:
            self.flush(log, state)
        if self._tx is None:
            self._tx = Transaction(db, state, log.frame())  # type: ignore[arg-type]
        return self._tx

    def flush(self, log: Log, state: State) -> None:
        if self._tx is not None and self._tx.frame.page_count:
            log.commit(self._tx.frame)
            state.heard.keep()
        self._tx = None

    def carry_marks(self, db: sqlite3.Connection, log: Log, state: State) -> None:
        """The ids of records that came before, delivered or not."""
        for device, record_id, digest in db.execute("SELECT device, record_id, digest FROM heard ORDER BY n"):
            self.transaction(db, log, state).hear(*_marks_of(state, device, record_id, digest))
        self.flush(log, state)


def _carry_record(row: Row, log: Log, state: State, places: _Places) -> None:
    id_, stream, is_produced, stored_at_s, crc, body = row
    try:
        if zlib.crc32(body) != crc:
            raise ValueError("its checksum does not match")
        report = from_bytes(body)
    except (ValueError, TypeError):
        places.damaged[stream].append(id_)
        return
    places.transaction(None, log, state).put(report, stream, is_produced=bool(is_produced), now_s=stored_at_s)
    places.ordinals[stream].append(id_)


def _carry_ledger(db: sqlite3.Connection, state: State, places: _Places) -> None:
    ledger = state.ledger
    columns = ", ".join(COLUMNS)
    for name, *counts in db.execute(f"SELECT name, {columns} FROM cities ORDER BY name").fetchall():
        ledger.counts[name] = dict(zip(COLUMNS, counts, strict=True))
        for stream in range(len(STREAMS)):
            settled = _settled(db, name, stream, places.ordinals[stream])
            ledger.settled[name, stream] = settled
            through = _through(db, name, stream)
            done = _settled_ids(db, name, stream)
            ledger.counts[name]["damaged"] += sum(id_ > through and id_ not in done for id_ in places.damaged[stream])
    for stream in range(len(STREAMS)):
        ledger.recount(stream)


def _settled(db: sqlite3.Connection, city: str, stream: int, ids: list[int]) -> Ranges:
    through, done = _through(db, city, stream), _settled_ids(db, city, stream)
    return Ranges(runs_of(_done(ids, through, done)))


def _done(ids: list[int], through: int, done: set[int]) -> Iterator[int]:
    return (ordinal for ordinal, id_ in enumerate(ids) if id_ <= through or id_ in done)


def _through(db: sqlite3.Connection, city: str, stream: int) -> int:
    row = db.execute("SELECT done_through FROM cursors WHERE city = ? AND stream = ?", (city, stream)).fetchone()
    return int(row[0]) if row else 0


def _settled_ids(db: sqlite3.Connection, city: str, stream: int) -> set[int]:
    rows = db.execute("SELECT id FROM settled WHERE city = ? AND stream = ?", (city, stream))
    return {id_ for (id_,) in rows}


def _marks_of(state: State, device: str, record_id: str, digest: bytes) -> list[int]:
    mark = id_mark(state.heard, device, record_id)
    return [mark] if record_id.startswith(f"{device}/h/") else [mark, content_mark(mark, digest)]
