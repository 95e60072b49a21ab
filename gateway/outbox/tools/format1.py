"""A store of format 1 out of the present one, for the first version of lamppost: one SQLite file, records as rows.

Goes in: a view. Comes out: a file with every record that somebody waits for, the counters, what each platform is done
with, and what identity and freshness rest on. The tables are those of the first version, word for word.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from gateway.boot_table import read_boots
from gateway.boot_times import Boot, resolved
from gateway.errors import ConfigError
from gateway.outbox.ledger import COLUMNS
from gateway.outbox.page import MOVED, RECORD
from gateway.outbox.reader import read_report
from gateway.outbox.segment import FIRST
from gateway.outbox.stored import Stored
from gateway.outbox.view import View
from gateway.reading import STREAMS, Report, to_bytes
from gateway.store_errors import StoreError, translated

_OVERHEAD_BYTES = 96  # what the first version adds to the size of each record
_AT_ONCE = 500
_HEARD_SEGMENTS = 3
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, is_produced INTEGER NOT NULL,
    node TEXT NOT NULL, epoch INTEGER, seq INTEGER,
    stored_at_s REAL NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX records_by_stream ON records (stream, id);
CREATE TABLE streams (stream INTEGER PRIMARY KEY, records INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE cities (
    name TEXT PRIMARY KEY,
    accepted INTEGER NOT NULL DEFAULT 0, produced INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0, unheard INTEGER NOT NULL DEFAULT 0,
    evicted INTEGER NOT NULL DEFAULT 0, expired INTEGER NOT NULL DEFAULT 0, thinned INTEGER NOT NULL DEFAULT 0,
    damaged INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE cursors (
    city TEXT, stream INTEGER, done_through INTEGER NOT NULL, PRIMARY KEY (city, stream)) WITHOUT ROWID;
CREATE TABLE settled (city TEXT, stream INTEGER, id INTEGER, PRIMARY KEY (city, stream, id)) WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, city TEXT NOT NULL, reason TEXT NOT NULL, at_s REAL NOT NULL, body BLOB NOT NULL);
CREATE TABLE sessions (
    node TEXT PRIMARY KEY, epoch INTEGER NOT NULL, highest INTEGER NOT NULL, seen BLOB NOT NULL,
    down_reserved INTEGER NOT NULL, boot INTEGER NOT NULL, heard_at_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE boots (
    node TEXT, epoch INTEGER, boot INTEGER,
    started_at_s REAL NOT NULL, is_trusted INTEGER NOT NULL, heard_at_s REAL NOT NULL,
    PRIMARY KEY (node, epoch, boot)) WITHOUT ROWID;
CREATE TABLE sequences (
    node TEXT, epoch INTEGER, base INTEGER NOT NULL, above BLOB NOT NULL, declared BLOB NOT NULL,
    PRIMARY KEY (node, epoch)) WITHOUT ROWID;
CREATE TABLE digests (
    node TEXT, epoch INTEGER, seq INTEGER, digest INTEGER NOT NULL, PRIMARY KEY (node, epoch, seq)) WITHOUT ROWID;
CREATE TABLE heard (
    n INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, record_id TEXT NOT NULL UNIQUE, digest BLOB NOT NULL);
CREATE INDEX heard_by_device ON heard (device, n);
CREATE TABLE windows (
    subject TEXT, start_s INTEGER, length_s INTEGER, state TEXT NOT NULL,
    revision INTEGER NOT NULL, is_open INTEGER NOT NULL, touched_at_s REAL NOT NULL,
    PRIMARY KEY (subject, start_s, length_s)) WITHOUT ROWID;
CREATE INDEX windows_open ON windows (start_s) WHERE is_open = 1;
CREATE TABLE window_floors (
    subject TEXT, length_s INTEGER, start_s INTEGER NOT NULL, PRIMARY KEY (subject, length_s)) WITHOUT ROWID;
"""
_COPIED = ("counters", "quarantine", "sessions", "boots", "sequences", "digests", "windows", "window_floors")
_META = ("gateway_epoch", "downlink_start", "own_seq", "foreign_seq")


def export(view: View, path: Path) -> tuple[int, int]:
    """Write the store. Returns how many records are in it, and how many could not be read.

    Raises ConfigError if `path` exists, StoreError if it cannot be written
    """
    new = path.with_name(path.name + ".new")
    if path.exists():
        raise ConfigError("--output", str(path), "exists already; name a new file, or move that one away")
    new.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            os.chmod(new, 0o600)
            db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = 1;")
            found = _Export(view, db).write()
            db.execute("COMMIT")
        new.rename(path)
    except sqlite3.Error as error:
        new.unlink(missing_ok=True)
        raise translated(error) from None
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); check the folder and its room") from None
    return found


class _Export:
    """One export: ids are given to the records of one class after the other."""

    def __init__(self, view: View, db: sqlite3.Connection) -> None:
        self._view = view
        self._db = db
        self._boots = _boots_of(view.db)
        self._next_id = 1
        self._unreadable = [0 for _ in STREAMS]
        self._devices = {device for (device,) in view.db.execute("SELECT device FROM devices")}

    def write(self) -> tuple[int, int]:
        ledger, db = self._view.ledger, self._db
        self._copy_tables()
        columns = ", ".join(COLUMNS)
        marks = ", ".join("?" for _ in COLUMNS)
        for city, counts in ledger.counts.items():
            values = (city, *(counts[name] for name in COLUMNS))
            db.execute(f"INSERT INTO cities (name, {columns}) VALUES (?, {marks})", values)
        self._hear_the_newest()
        total = sum(self._write_stream(stream) for stream in range(len(STREAMS)))
        return total, sum(self._unreadable)

    def _write_stream(self, stream: int) -> int:
        """The records of a class, its cursors and its totals."""
        ids: list[tuple[int, int]] = []  # ordinal, id
        size, first_id = 0, self._next_id
        for one in self._records(stream):
            ids.append((one.ordinal, self._next_id))
            size += self._insert(one, stream) + _OVERHEAD_BYTES
        self._db.execute("INSERT INTO streams VALUES (?, ?, ?)", (stream, len(ids), size))
        for city in self._view.ledger.cities:
            self._write_cursor(city, stream, ids, first_id)
        return len(ids)

    def _records(self, stream: int) -> Iterator[Stored]:
        ledger = self._view.ledger
        for first, end in list(ledger.gone[stream].missing(0, ledger.ends[stream])):
            for at in range(first, end, _AT_ONCE):
                found, unreadable = self._view.reader.read(stream, [(at, min(end, at + _AT_ONCE))], most=_AT_ONCE)
                yield from found
                self._count_unreadable(stream, unreadable)

    def _count_unreadable(self, stream: int, runs: list[tuple[int, int]]) -> None:
        """What cannot be read is counted as damaged for each platform that waited for it, so that its sum holds."""
        self._unreadable[stream] += sum(end - first for first, end in runs)
        for city in self._view.ledger.cities:
            settled = self._view.ledger.settled[city, stream]
            missed = sum(b - a for first, end in runs for a, b in settled.missing(first, end))
            if missed:
                self._db.execute("UPDATE cities SET damaged = damaged + ? WHERE name = ?", (missed, city))

    def _insert(self, one: Stored, stream: int) -> int:
        report = self._dated(one)
        body = to_bytes(report)
        values = (self._next_id, stream, int(one.is_produced), report.node, report.epoch, report.seq)
        self._db.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, one.stored_at_s, len(body), zlib.crc32(body), body),
        )
        self._next_id += 1
        self._hear(report)
        return len(body)

    def _hear(self, report: Report) -> None:
        """So that a device's repeat of it is known as one. The digest of what it said is in the id, or is not known."""
        if report.node not in self._devices:
            return
        digest = b""
        if report.record_id.startswith(f"{report.node}/h/"):
            digest = bytes.fromhex(report.record_id.rpartition("/")[2])
        row = (report.node, report.record_id, digest)
        self._db.execute("INSERT OR IGNORE INTO heard (device, record_id, digest) VALUES (?, ?, ?)", row)

    def _hear_the_newest(self) -> None:
        """Records that nobody waits for any more, as far back as this version knows their ids."""
        log = self._view.log
        for segment in log.segments[-_HEARD_SEGMENTS:]:
            for number in range(FIRST, segment.end):
                leaf = log.page(segment, number)
                for kind, _, data, start, end in leaf.entries if leaf else ():
                    if kind & RECORD and not kind & MOVED:
                        report = read_report(kind, data, start, end, leaf.names) if leaf else None
                        if report is not None:
                            self._hear(report)

    def _dated(self, one: Stored) -> Report:
        """The first version knows no times that are learnt later: what is not known by now stays untrusted."""
        report = one.report
        if report.pending is None:
            return report
        known = resolved(report, self._boots)
        if known is not None:
            return known
        return replace(report, measured_at_s=one.stored_at_s, time_quality="untrusted", time_error_s=None, pending=None)

    def _write_cursor(self, city: str, stream: int, ids: list[tuple[int, int]], first_id: int) -> None:
        settled = self._view.ledger.settled[city, stream]
        through = first_id - 1
        done = [id_ for ordinal, id_ in ids if ordinal in settled]
        for id_ in done:
            if id_ == through + 1:
                through = id_
        self._db.execute("INSERT INTO cursors VALUES (?, ?, ?)", (city, stream, through))
        rows = [(city, stream, id_) for id_ in done if id_ > through]
        self._db.executemany("INSERT INTO settled VALUES (?, ?, ?)", rows)

    def _copy_tables(self) -> None:
        """By the columns that the first version knows; what has come since stays behind."""
        theirs = self._view.db
        for table in _COPIED:
            columns = [row[1] for row in self._db.execute(f"PRAGMA table_info({table})")]
            if not {*columns} <= {row[1] for row in theirs.execute(f"PRAGMA table_info({table})")}:
                continue  # this version keeps that otherwise
            where = " WHERE clock_boot IS NULL" if table == "boots" and _has_clock_boot(theirs) else ""
            names, marks = ", ".join(columns), ", ".join("?" for _ in columns)
            rows = theirs.execute(f"SELECT {names} FROM {table}{where}")
            self._db.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
        marks = ", ".join("?" for _ in _META)
        rows = theirs.execute(f"SELECT key, value FROM meta WHERE key IN ({marks})", _META)
        self._db.executemany("INSERT INTO meta VALUES (?, ?)", rows)


def _has_clock_boot(db: sqlite3.Connection) -> bool:
    return "clock_boot" in {row[1] for row in db.execute("PRAGMA table_info(boots)")}


def _boots_of(db: sqlite3.Connection) -> dict[int, Boot]:
    has = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'clock_boots'").fetchone()
    return read_boots(db) if has else {}
