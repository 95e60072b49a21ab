"""What the entries of the log do: a transaction adds and does them, a replay reads and does them again.

    1  STATEMENT  a change of the tables: SQL text and rows
    2  SETTLE     a platform is done with runs of records
    3  GIVE_UP    runs of records that nobody will get
    4  CITIES     which platforms there are
    5  HEARD      marks of record ids that no record's own bytes give
and records, whose streams, origins and sizes the ledger counts.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Iterable, Sequence

import cbor2

from gateway.outbox import body
from gateway.outbox.frame import Frame, read_statement
from gateway.outbox.heard import Heard
from gateway.outbox.leaf import Leaf
from gateway.outbox.ledger import Ledger, Outcome
from gateway.outbox.log import Log, Position
from gateway.outbox.page import AS_TEXT, ENTRY_BYTES, MOVED, PRODUCED, RECORD
from gateway.outbox.ranges import Run
from gateway.outbox.segment import MOVED_MAP, Segment
from gateway.reading import STREAMS, Assurance, Report, Single

log_ = logging.getLogger(__name__)

STATEMENT, SETTLE, GIVE_UP, CITIES, HEARD = 1, 2, 3, 4, 5
_PLACE = struct.Struct("<Qd")
_MARKS = struct.Struct("<Q")
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
        self.accepted = 0  # records that came from outside

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
        self.accepted += not is_produced

    def put_singles(self, singles: Sequence[Single], stream: int, assurance: Assurance, *, now_s: float) -> None:
        """Store records in their shortest form, as `put` would store them."""
        size = self.frame.put_singles(singles, stream, assurance, now_s=now_s)
        self.state.ledger.came(stream, len(singles), size, produced=0)

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
        self.frame.put_event(HEARD, b"".join(map(_MARKS.pack, marks)))
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
        self._tx.set_savepoint()
        self._tx.db.executemany(sql, rows)


def _flat(runs: Sequence[Run]) -> list[int]:
    """Runs as steps: from the end of one to the beginning of the next, and its length."""
    flat: list[int] = []
    at = 0
    for first, end in runs:
        flat += (first - at, end - first)
        at = end
    return flat


def _runs(flat: Sequence[int]) -> list[Run]:
    runs, at = [], 0
    for step, length in zip(flat[::2], flat[1::2], strict=True):
        runs.append((at + step, at + step + length))
        at += step + length
    return runs


# Replay


def replay(
    log: Log, position: Position, db: sqlite3.Connection, state: State, *, tables_from: Position | None = None
) -> int:
    """Do again what the log says after `position`. Returns records found missing.

    tables_from  changes of the tables before it are of another database and left out
    """
    damaged = 0
    for segment, number, leaf in log.since(position):
        damaged += _find_missing(state.ledger, leaf.header.firsts)
        is_ours = tables_from is None or (segment.number, number) >= tables_from[:2]
        _do_page(segment, number, leaf, db if is_ours else None, state)
    damaged += _find_missing(state.ledger, log.next)
    state.heard.keep()
    return damaged


def _find_missing(ledger: Ledger, firsts: Sequence[int]) -> int:
    """Records that must have been before these ordinals and could not be read: they came, and are damaged."""
    found = 0
    for stream, first in enumerate(firsts):
        missing = first - ledger.ends[stream]
        if missing > 0:
            run = (ledger.ends[stream], first)
            ledger.came(stream, missing, 0, produced=0)
            ledger.give_up(stream, "damaged", [run])
            found += missing
    return found


def _do_page(segment: Segment, number: int, leaf: Leaf, db: sqlite3.Connection | None, state: State) -> None:
    for kind, slot, data, start, end in leaf.entries:
        if kind & MOVED:
            (ordinal, _) = _PLACE.unpack_from(data, start)
            state.moved.add(kind & 3, ordinal, segment.number, number)
        elif kind & RECORD:
            stream = kind & 3
            ordinal = leaf.header.firsts[stream] + slot
            missing = ordinal - state.ledger.ends[stream]
            if missing > 0:
                _find_missing(state.ledger, [ordinal if s == stream else 0 for s in range(len(STREAMS))])
            if missing >= 0:
                produced = int(kind & PRODUCED > 0)
                state.ledger.came(stream, 1, ENTRY_BYTES + end - start, produced=produced)
            _hear(kind, data, start, leaf.names, state.heard)
        else:
            _do_event(kind, data[start:end], leaf.names, db, state)


def _hear(kind: int, data: bytes, start: int, names: Sequence[str], heard: Heard) -> None:
    found = None if kind & AS_TEXT else body.hash_of(data, start)
    if found is not None and found[0] < len(names):
        heard.add(heard.mark_of(names[found[0]], found[1]))


def _do_event(kind: int, payload: bytes, names: list[str], db: sqlite3.Connection | None, state: State) -> None:
    if kind == STATEMENT:
        if db is not None:
            try:
                sql, rows = read_statement(payload, names)
            except IndexError:  # the names of a damaged page are lost, and with them what this said
                log_.warning("a change of the tables was on a damaged page and is lost")
                return
            db.executemany(sql, rows) if rows else db.execute(sql)
    elif kind == SETTLE:
        city, stream, outcome, flat = cbor2.loads(payload)
        state.ledger.settle(city, stream, outcome, _runs(flat))
    elif kind == GIVE_UP:
        stream, column, flat = cbor2.loads(payload)
        state.ledger.give_up(stream, column, _runs(flat))
    elif kind == CITIES:
        state.ledger.set_cities(cbor2.loads(payload))
    elif kind == HEARD:
        for (mark,) in _MARKS.iter_unpack(payload):
            state.heard.add(mark)


def recall(log: Log, position: Position, state: State, *, history: int) -> None:
    """Take up what the checkpoint does not hold of the log before it: ids heard, and where records were moved to.

    history  of how many segments before the one of `position` the ids are read; numbers leave gaps, so they are counted
    """
    before = [segment for segment in log.segments if segment.number <= position.segment]
    for at, segment in enumerate(before):
        is_recent = at >= len(before) - 1 - history
        end = position.page if segment.number == position.segment else segment.end
        which = range(1, end) if is_recent else segment.pages_of(MOVED_MAP)
        for number in which:
            leaf = log.page(segment, number)
            if leaf is not None:
                _recall_page(segment, number, leaf, state)


def _recall_page(segment: Segment, number: int, leaf: Leaf, state: State) -> None:
    heard, names = state.heard, leaf.names
    for kind, _, data, start, stop in leaf.entries:
        if kind & MOVED:
            state.moved.add(kind & 3, _PLACE.unpack_from(data, start)[0], segment.number, number)
        elif kind & RECORD:
            found = None if kind & AS_TEXT else body.hash_of(data, start)
            if found is not None and found[0] < len(names):
                heard.insert(heard.mark_of(names[found[0]], found[1]))
        elif kind == HEARD:
            for (mark,) in _MARKS.iter_unpack(data[start:stop]):
                heard.insert(mark)
