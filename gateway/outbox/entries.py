"""What the entries of the log do: a transaction adds and does them; replay.py reads and does them again.

    1  STATEMENT  a change of the tables: SQL text and rows
    2  SETTLE     a platform is done with runs of records
    3  GIVE_UP    runs of records that nobody will get
    4  CITIES     which platforms there are
    5  HEARD      marks of record ids that no record's own bytes give
and records, whose streams, origins and sizes the ledger counts.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence

import cbor2

from gateway.outbox.frame import Frame
from gateway.outbox.fresh import Fresh
from gateway.outbox.heard import Heard
from gateway.outbox.ledger import Ledger, Outcome
from gateway.outbox.ranges import Run
from gateway.reading import STREAMS, Assurance, Report
from gateway.row import Row

STATEMENT, SETTLE, GIVE_UP, CITIES, HEARD = 1, 2, 3, 4, 5
PLACE = struct.Struct("<Qd")
MARKS = struct.Struct("<Q")
_READS = ("SELECT", "PRAGMA")


class Moved:
    """Where the records are that were copied out of a segment that was needed: by stream and ordinal."""

    def __init__(self) -> None:
        self.places: list[dict[int, tuple[int, int]]] = [{} for _ in STREAMS]

    def add(self, stream: int, ordinal: int, segment: int, page: int) -> None:
        self.places[stream][ordinal] = (segment, page)

    def note(self, segment: int, page: int, frame: Frame) -> None:
        """`frame` was written from that page on."""
        for stream, ordinal, offset in frame.moved:
            self.add(stream, ordinal, segment, page + offset)

    def drop(self, stream: int, ordinals: Iterable[int]) -> None:
        for ordinal in ordinals:
            self.places[stream].pop(ordinal, None)


class State:
    """What the log's entries amount to, beside the tables."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.heard = Heard()
        self.fresh = Fresh()
        self.moved = Moved()


class Transaction:
    """What a change of the store sees: the tables, and the log's next commit."""

    def __init__(self, db: sqlite3.Connection, state: State, frame: Frame, *, number: int = 0) -> None:
        """`number`: how many commits were made before."""
        self._number = number
        self.db = db
        self.state = state
        self.frame = frame
        self.has_savepoint = False
        self.wants_checkpoint = False

    # The tables

    @property
    def total_changes(self) -> int:
        """The same number again: nothing was changed or stored meanwhile (tables.Tables)."""
        return self.db.total_changes + self._number + (self.frame.page_count > 0)

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """Read from the tables, or change them."""
        if not sql.lstrip().startswith(_READS):
            self._note(sql, [tuple(parameters)])
        return self.db.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Change the tables once per row."""
        listed = [tuple(row) for row in rows]
        if listed:
            self._note(sql, listed)
            self.db.executemany(sql, listed)

    def _note(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        self.set_savepoint()
        self.frame.put_statement(STATEMENT, sql, rows)

    def set_savepoint(self) -> None:
        """The tables can be brought back to where they are now, if the commit fails."""
        if not self.has_savepoint:
            self.db.execute("SAVEPOINT commit_in_the_making")
            self.has_savepoint = True

    @property
    def unlogged(self) -> Unlogged:
        """The database alone, for what can be made again from the records since the last checkpoint."""
        return Unlogged(self)

    def ask_checkpoint(self) -> None:
        """Have one made after this commit, if the disk lets us."""
        self.wants_checkpoint = True

    def stamp(self, now_s: float) -> float:
        """The moment as a reader will find it with a record that is stored now (whole milliseconds)."""
        return self.frame.stamp(now_s)

    # The outbox

    def put(self, report: Report, stream: int, *, is_produced: bool, now_s: float) -> None:
        """Store one record for every platform."""
        size = self.frame.put_record(report, stream, is_produced=is_produced, now_s=now_s)
        self.state.ledger.came(stream, 1, size, produced=int(is_produced))

    def put_rows(self, rows: Sequence[Row], stream: int, assurance: Assurance, *, now_s: float) -> None:
        """Store records in their shortest form, as `put` would store them."""
        first = self.frame.next[stream]
        self.state.fresh.add(stream, first, rows, assurance, self.stamp(now_s))
        size = self.frame.put_rows(rows, stream, assurance, now_s=now_s)
        self.state.ledger.came(stream, self.frame.next[stream] - first, size, produced=0)

    def settle(self, city: str, stream: int, outcome: Outcome, runs: Sequence[Run]) -> int:
        """`city` is done with these; how many that is news of."""
        self.frame.put_event(SETTLE, cbor2.dumps([city, stream, outcome, _flat(runs)]))
        return self.state.ledger.settle(city, stream, outcome, runs)

    def give_up(self, stream: int, column: str, runs: Sequence[Run]) -> list[str]:
        """Nobody will get these; the platforms that waited for some."""
        self.frame.put_event(GIVE_UP, cbor2.dumps([stream, column, _flat(runs)]))
        return self.state.ledger.give_up(stream, column, runs)

    def set_cities(self, names: Sequence[str]) -> list[str]:
        """These platforms there are; what to tell an operator."""
        if list(self.state.ledger.counts) == list(names):
            return []
        self.frame.put_event(CITIES, cbor2.dumps(list(names)))
        return self.state.ledger.set_cities(names)

    def hear(self, *marks: int) -> None:
        """Note marks that cannot be read from a record."""
        self.frame.put_event(HEARD, b"".join(map(MARKS.pack, marks)))
        for mark in marks:
            self.state.heard.add(mark)


class Unlogged:
    """Tables (tables.Tables) whose changes the log does not hold. A failed commit takes them back like all others."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    @property
    def total_changes(self) -> int:
        return self._tx.total_changes

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        self._tx.set_savepoint()
        return self._tx.db.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        listed = list(rows)
        if listed:
            self._tx.set_savepoint()
            self._tx.db.executemany(sql, listed)


def _flat(runs: Sequence[Run]) -> list[int]:
    """Runs as steps: from the end of one to the beginning of the next, and its length."""
    flat: list[int] = []
    at = 0
    for first, end in runs:
        flat += (first - at, end - first)
        at = end
    return flat
