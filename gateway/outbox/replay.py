"""Does again what the log says: after a position, for a start; or before it, for what a checkpoint does not hold."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

import cbor2

from gateway.outbox import body
from gateway.outbox.entries import CITIES, GIVE_UP, HEARD, MARKS, PLACE, SETTLE, STATEMENT, State
from gateway.outbox.frame import read_statement
from gateway.outbox.heard import Heard
from gateway.outbox.leaf import Leaf
from gateway.outbox.ledger import Ledger
from gateway.outbox.log import Log, Position
from gateway.outbox.page import AS_TEXT, ENTRY_BYTES, MOVED, PRODUCED, RECORD
from gateway.outbox.ranges import Run
from gateway.outbox.segment import MOVED_MAP, Segment
from gateway.reading import STREAMS

log_ = logging.getLogger(__name__)

_KINDS = MOVED | RECORD | AS_TEXT


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
            (ordinal, _) = PLACE.unpack_from(data, start)
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
        elif kind != HEARD:
            _do_event(kind, data[start:end], leaf.names, db, state)
    state.heard.insert(_marks_of(leaf, state.heard))


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


def _runs(flat: Sequence[int]) -> list[Run]:
    runs, at = [], 0
    for step, length in zip(flat[::2], flat[1::2], strict=True):
        runs.append((at + step, at + step + length))
        at += step + length
    return runs


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
    for kind, _, data, start, _ in leaf.entries:
        if kind & MOVED:
            state.moved.add(kind & 3, PLACE.unpack_from(data, start)[0], segment.number, number)
    state.heard.insert(_marks_of(leaf, state.heard))


def _marks_of(leaf: Leaf, heard: Heard) -> list[int]:
    """What stands for the ids that a page holds: those of records, and ids alone."""
    salts = [heard.salt_of(name) for name in leaf.names]
    records = [(data, start) for kind, _, data, start, _ in leaf.entries if kind & _KINDS == RECORD]
    marks = [(salts[node] ^ digest) or 1 for node, digest in body.hashes_of(records) if node < len(salts)]
    for kind, _, data, start, end in leaf.entries:
        if kind == HEARD:
            marks += [mark for (mark,) in MARKS.iter_unpack(data[start:end])]
    return marks
