"""Every table of the gateway's database, so that its whole content can be seen on one page.

The database is a checkpoint: what it holds is as of a position in the record log (gateway/outbox), and what the log
says after that is done again at the next start. Columns ending in _s are UTC seconds. A node is named by its id
throughout. Format 2; a newer one is refused by name, and format 1 is carried over (gateway/outbox/carry_over.py).
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Protocol

FORMAT = 2


class Tables(Protocol):
    """What reads and changes them: the transaction of a commit, or a plain connection."""

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> sqlite3.Cursor: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> object: ...

    @property
    def total_changes(self) -> int:
        """The same number again: nothing was changed meanwhile."""


TABLES = """
-- checkpoint: the position in the log; ledger: counters and cursors of the platforms. Both JSON.
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, city TEXT NOT NULL, reason TEXT NOT NULL, at_s REAL NOT NULL, body BLOB NOT NULL);

-- Freshness. seen: 64 bits, bit i says that counter highest - 1 - i was accepted.
-- down_reserved: no downlink counter from here on was used.
CREATE TABLE sessions (
    node TEXT PRIMARY KEY, epoch INTEGER NOT NULL, highest INTEGER NOT NULL, seen BLOB NOT NULL,
    down_reserved INTEGER NOT NULL, boot INTEGER NOT NULL, heard_at_s REAL NOT NULL) WITHOUT ROWID;
-- When each boot of a node began, and when it was last heard. clock_boot: the boot of the gateway (clock_boots) since
-- whose beginning started_at_s counts, while that is not known in UTC. told_s, lag_s: gateway/began.py.
CREATE TABLE boots (
    node TEXT, epoch INTEGER, boot INTEGER,
    started_at_s REAL NOT NULL, is_trusted INTEGER NOT NULL, heard_at_s REAL NOT NULL, clock_boot INTEGER,
    told_s INTEGER, lag_s REAL,
    PRIMARY KEY (node, epoch, boot)) WITHOUT ROWID;

-- Identity of reports. Below base all are stored or declared lost.
-- above: pairs of u32 (first, end) of what is stored higher up.
CREATE TABLE sequences (
    node TEXT, epoch INTEGER, base INTEGER NOT NULL, above BLOB NOT NULL, declared BLOB NOT NULL,
    PRIMARY KEY (node, epoch)) WITHOUT ROWID;
CREATE TABLE digests (
    node TEXT, epoch INTEGER, seq INTEGER, digest INTEGER NOT NULL, PRIMARY KEY (node, epoch, seq)) WITHOUT ROWID;
-- Third-party devices that were ever heard: their number is bounded. Their record ids are known from the log.
CREATE TABLE devices (device TEXT PRIMARY KEY) WITHOUT ROWID;
"""

# What the edge remembers: windows, alarms, last values sent, counts of what was held back; see gateway/edge/rows.py.
# Time comes before subject: what windows begin together, and forget together, shares pages.
EDGE_TABLES = """
CREATE TABLE IF NOT EXISTS edge_state (
    kind TEXT, owner TEXT, subject TEXT, at_s REAL, is_open INTEGER NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (kind, owner, at_s, subject)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edge_state_open ON edge_state (kind) WHERE is_open = 1;
"""

# Root keys that nodes and this gateway agreed on. enrolled: which enrolment it followed, so that a new one ends it.
# One confirmed row per node at most (a frame under it came); rows above it wait for their first frame.
JOINS = """
CREATE TABLE IF NOT EXISTS joins (
    id INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, enrolled BLOB NOT NULL, root BLOB NOT NULL,
    is_confirmed INTEGER NOT NULL, at_s REAL NOT NULL);
CREATE INDEX IF NOT EXISTS joins_by_node ON joins (node, id);
"""
TABLES += JOINS

# Commands to nodes: those that wait, and the last that ended, by node. Numbers count up per node and never come again.
# queued_at_s: UTC, if it was known; queued_up_s: seconds since that boot of the gateway began. token: of a note.
COMMANDS = """
CREATE TABLE IF NOT EXISTS commands (
    node TEXT, number INTEGER, tag INTEGER NOT NULL, name TEXT NOT NULL, words TEXT NOT NULL, code INTEGER NOT NULL,
    arguments BLOB NOT NULL, actor TEXT NOT NULL, token TEXT NOT NULL, queued_at_s REAL, queued_up_s REAL NOT NULL,
    boot_id TEXT NOT NULL, ttl_s INTEGER NOT NULL, sends INTEGER NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (node, number)) WITHOUT ROWID;
"""
TABLES += COMMANDS
