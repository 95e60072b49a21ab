"""The database file: one gateway at a time, durable where it is made, set aside by name when it is unreadable.

Goes in: data_dir. Comes out: a connection with the pragmas that the promises need. What is changed through it is kept
in one long transaction, which ends with a checkpoint; until then the record log has it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from gateway import checkpoint
from gateway.store_errors import StoreBusy, StoreDamaged, StoreError, StoreFailed, StoreNewer, translated
from gateway.tables import FORMAT, TABLES

log = logging.getLogger(__name__)
T = TypeVar("T")

NAME = "lamppost.db"
LOCK = "lock"
_DAMAGE_NOTE = "lamppost.db.unreadable"  # left by a run that met damage, so that the next start does not meet it again
_CHECK_UP_TO_BYTES = 64 << 20  # a full check of more would make the start wait
_BUSY_S = 10.0
_PAGE_BYTES = 4096
_PRAGMAS = (
    f"PRAGMA page_size = {_PAGE_BYTES}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = OFF",  # Debian's default zeroes what is deleted: more writes; gateway/forget.py zeroes all
    "PRAGMA journal_size_limit = 1048576",
    "PRAGMA wal_autocheckpoint = 64",  # pages: a checkpoint of ours goes into the file at once, the WAL stays small
    "PRAGMA temp_store = MEMORY",  # what undoes a commit of many pages would be a file
    "PRAGMA foreign_keys = OFF",
    "PRAGMA cache_size = -8192",  # KiB; what changes between two checkpoints rarely takes more
)


class Database:
    """One file. `writer` belongs to the commit thread. `is_old`: format 1, to be carried over."""

    writer: sqlite3.Connection

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir
        self._path = data_dir / NAME
        self._lock_fd: int | None = None
        self._connections: list[sqlite3.Connection] = []
        self.notices: list[str] = []
        self.is_new = False
        self.is_old = False

    def open(self) -> None:
        """Lock the folder, open or make the file. Raises StoreBusy, StoreNewer, StoreFailed."""
        try:
            self._open()
        except OSError as error:
            raise StoreFailed(
                f"{error.filename or self._dir}: {error.strerror}; check data_dir and who may write there"
            ) from error

    def _open(self) -> None:
        make_durable_dir(self._dir)
        self._lock()
        if (self._dir / _DAMAGE_NOTE).exists():
            self._set_aside((self._dir / _DAMAGE_NOTE).read_text())
        try:
            self._connect()
        except StoreDamaged as error:
            self._disconnect()
            self._set_aside(str(error))
            self._connect()

    def close(self) -> None:
        self._disconnect()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def mark_damaged(self, reason: str) -> None:
        """Make the next start set the file aside: damage deep inside does not show when it is opened."""
        try:
            write_durably(self._dir / _DAMAGE_NOTE, reason.encode())
        except OSError as error:
            log.error("%s; and that could not be noted for the next start (%s)", reason, error.strerror)

    def _lock(self) -> None:
        fd = os.open(self._dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise StoreBusy(
                f"{self._dir} is in use by process {pid}; stop that gateway, or give this one a data_dir of its own"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def _connect(self) -> None:
        is_new = not self._path.exists()
        try:
            self.writer = self._connection()
            for pragma in _PRAGMAS:
                self.writer.execute(pragma)
            self.is_new = is_new or self._format() == 0
            self._make_tables() if self.is_new else self._check()
        except sqlite3.Error as error:
            raise translated(error) from error
        if is_new:
            os.chmod(self._path, 0o600)
            sync_dir(self._dir)  # SQLite syncs the file; that it exists at all is the folder's to say

    def _connection(self) -> sqlite3.Connection:
        made = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._connections.append(made)
        return made

    def _make_tables(self) -> None:
        self.writer.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")

    def _format(self) -> int:
        return int(self.writer.execute("PRAGMA user_version").fetchone()[0])

    def _check(self) -> None:
        found = self._format()
        if found > FORMAT:
            raise StoreNewer(f"{self._path} has format {found}, this lamppost knows up to {FORMAT}; update lamppost")
        self.is_old = found < FORMAT
        if self._path.stat().st_size <= _CHECK_UP_TO_BYTES:
            verdict = self.writer.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise StoreDamaged(f"the database is damaged ({verdict})")
        if not self.is_old:
            checkpoint.read(self.writer)

    def _disconnect(self) -> None:
        while self._connections:
            try:
                self._connections.pop().close()
            except sqlite3.Error as error:  # a full disk: the log stays and is read at the next start
                log.warning("the database was not closed neatly (%s); nothing committed is lost", error)

    def _set_aside(self, why: str) -> None:
        """Rename the file and its log, so that a start never fails over and over for the same damage."""
        number = 1
        while (self._dir / f"{NAME}.damaged-{number}").exists():
            number += 1
        for suffix in ("", "-wal", "-shm"):
            part = self._dir / (NAME + suffix)
            if part.exists():
                part.rename(self._dir / f"{NAME}.damaged-{number}{suffix}")
        (self._dir / _DAMAGE_NOTE).unlink(missing_ok=True)
        sync_dir(self._dir)
        notice = (
            f"{why.strip()}. Set aside as {self._dir / NAME}.damaged-{number}; a new database is begun. Lost with it: "
            "which frames were seen before, what the windows held. Records that wait for a city are in the log and "
            "stay; some may go out again under their old ids. Ids of the gateway's own records go on under a new epoch."
        )
        self.notices.append(notice)
        log.error("%s", notice)


def read_only(data_dir: Path) -> sqlite3.Connection:
    """Open the database of a gateway, running or not, to look at it. Raises StoreError if there is none to read."""
    path = data_dir / NAME
    if not path.exists():
        raise StoreError(f"{path} does not exist; has this gateway run yet?")
    how = "mode=ro" if os.access(data_dir, os.W_OK) else _how_on_a_read_only_disk(path)
    try:
        place = quote(str(path.absolute()))
        connection = sqlite3.connect(f"file:{place}?{how}", uri=True, timeout=_BUSY_S, isolation_level=None)
        connection.execute("SELECT count(*) FROM meta").fetchone()
    except sqlite3.Error as error:
        raise translated(error) from error
    return connection


def _how_on_a_read_only_disk(path: Path) -> str:
    """A copy without anything to be read from the write-ahead log needs no other file. Raises StoreError."""
    wal = path.with_name(path.name + "-wal")
    if not wal.exists() or not wal.stat().st_size:
        return "immutable=1"
    if path.with_name(path.name + "-shm").exists():
        return "mode=ro"
    raise StoreError(f"{path} cannot be read where nobody may write; copy its folder to where you may, and look there")


def make_durable_dir(path: Path) -> None:
    """Make a folder and its parents, each remembered by the one above it even after a power cut."""
    if path.is_dir():
        return
    try:
        make_durable_dir(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_dir(path.parent)
    except OSError as error:
        raise StoreFailed(
            f"{path} cannot be made ({error.strerror}); check data_dir and who may write there"
        ) from error


def sync_dir(path: Path) -> None:
    """Make names made, renamed or removed in `path` survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a small file so that a power cut leaves the old or the new one. Raises OSError."""
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    new.rename(path)
    sync_dir(path.parent)
