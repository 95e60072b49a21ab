"""The edge's table, and the windows of the first version carried over into it."""

from __future__ import annotations

import json

from gateway.edge.definition import every
from gateway.edge.rows import Commit, Tables
from gateway.tables import EDGE_TABLES

_BY_SUBJECT = "%PRIMARY KEY (kind, owner, subject, at_s)%"


def begin(tx: Commit) -> None:
    """Make the table where it is missing; move windows that the first version kept, once."""
    if tx.execute("SELECT 1 FROM sqlite_master WHERE name = 'edge_state' AND sql LIKE ?", (_BY_SUBJECT,)).fetchone():
        _put_in_order(tx.unlogged)
        tx.ask_checkpoint()
    for statement in EDGE_TABLES.split(";"):
        if statement.strip():
            tx.execute(statement)
    old = tx.execute("SELECT name FROM sqlite_master WHERE name = 'windows'").fetchone()
    if old is not None:
        _carry(tx)
        tx.execute("DELETE FROM windows")
        tx.execute("DELETE FROM window_floors")


def _put_in_order(unlogged: Tables) -> None:
    """By subject first, each checkpoint wrote a page or two for every node. The log says the same to either table."""
    unlogged.execute("DROP INDEX IF EXISTS edge_state_open")
    unlogged.execute("ALTER TABLE edge_state RENAME TO edge_state_by_subject")
    for statement in filter(str.strip, EDGE_TABLES.split(";")):
        unlogged.execute(statement)
    unlogged.execute("INSERT INTO edge_state SELECT * FROM edge_state_by_subject")
    unlogged.execute("DROP TABLE edge_state_by_subject")


def _carry(tx: Tables) -> None:
    query = "SELECT subject, start_s, length_s, state, revision, is_open, touched_at_s FROM windows"
    series: dict[tuple[str, int], list[float]] = {}
    for subject, start_s, length_s, state, revision, is_open, touched_s in tx.execute(query).fetchall():
        rows = [[quantity, unit, [int(row[0]), *row[1:]]] for quantity, unit, *row in json.loads(state)]
        kept = json.dumps([revision, False, touched_s, start_s, rows])
        _insert(tx, "pane", length_s, subject, start_s, is_open, kept)
        seen = series.setdefault((subject, length_s), [start_s, touched_s])
        seen[:] = max(seen[0], start_s), max(seen[1], touched_s)
    floors = tx.execute("SELECT subject, length_s, start_s FROM window_floors").fetchall()
    floor_of = {(subject, length_s): floor_s for subject, length_s, floor_s in floors}
    for (subject, length_s), (watermark_s, touched_s) in series.items():
        kept = json.dumps([watermark_s, floor_of.get((subject, length_s), float("-inf")), touched_s])
        _insert(tx, "series", length_s, subject, 0, 1, kept)
    for length_s in {length_s for _, length_s in series}:
        one = every(length_s)
        tx.execute("INSERT INTO edge_state VALUES ('definition', ?, '', 0, 0, ?)", (one.owner, one.to_state()))


def _insert(tx: Tables, kind: str, length_s: int, subject: str, at_s: float, is_open: int, state: str) -> None:
    row = (kind, every(length_s).owner, subject, at_s, is_open, state)
    tx.execute("INSERT INTO edge_state VALUES (?, ?, ?, ?, ?, ?)", row)
