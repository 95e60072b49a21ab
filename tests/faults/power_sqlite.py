"""The same for SQLite's files, in this process: the file layer of unsynced.py, its notes in memory, and a switch."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
from collections.abc import Iterator
from ctypes import POINTER, c_int, c_void_p
from pathlib import Path

from tests.faults import unsynced
from tests.faults.power import Power

_IOERR_WRITE, _IOERR_FSYNC, _IOERR_DELETE = 778, 1034, 2570  # sqlite.org/rescode.html
Record = tuple[int, int, bytes, bytes | None]


class PowerSqlite(unsynced.Layer):
    """While `installed`, every SQLite file of the process; only those in use by one store at a time."""

    def __init__(self, power: Power, chance: random.Random) -> None:
        self._power = power
        self._chance = chance
        self._pending: dict[Path, list[Record]] = {}
        self._paths: dict[int, Path] = {}
        self.lost = 0  # writes that cuts have met
        sqlite = ctypes.CDLL("libsqlite3.so.0")
        sqlite.sqlite3_vfs_find.restype = POINTER(unsynced.Vfs)
        sqlite.sqlite3_vfs_register.argtypes = (c_void_p, c_int)
        self._sqlite = sqlite
        self._theirs = sqlite.sqlite3_vfs_find(None)
        super().__init__(self._theirs.contents, b"powered")

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """The default layer meanwhile. Every connection made in it must be closed in it."""
        unsynced.keep(self)
        self._sqlite.sqlite3_vfs_register(ctypes.addressof(self.vfs), 1)
        try:
            yield
        finally:
            self._sqlite.sqlite3_vfs_register(ctypes.addressof(self._theirs.contents), 1)
            self._sqlite.sqlite3_vfs_unregister(ctypes.byref(self.vfs))

    def cut(self) -> None:
        """Make of every file what the next start may find."""
        for path, records in self._pending.items():
            self.lost += len(records)
            if records and path.exists():
                unsynced.rewind(path, records)
                unsynced.replay_some(path, records, self._chance)
        self._pending.clear()

    # What SQLite calls

    def opened(self, file: int, path: Path) -> None:
        self._paths[file] = path

    def write(self, file: int, data: bytes, offset: int) -> int:
        path = self._paths[file]
        with path.open("rb") as now:
            size = os.fstat(now.fileno()).st_size
            now.seek(offset)
            old = now.read(len(data))
        code = self._power.step()
        if code and self._chance.random() < 0.5:
            return _IOERR_WRITE
        self._pending.setdefault(path, []).append((offset, size, old, data))
        if code:
            with path.open("r+b") as now:
                now.seek(offset)
                now.write(data)
        return _IOERR_WRITE if code else unsynced.OK

    def truncate(self, file: int, size: int) -> int:
        path = self._paths[file]
        if self._power.step():
            return _IOERR_WRITE
        before = path.read_bytes()
        self._pending.setdefault(path, []).append((size, len(before), before[size:], None))
        return unsynced.OK

    def _sync(self, theirs: object):  # type: ignore[no-untyped-def]
        """The machine that runs this keeps its power: no real sync."""
        return lambda file, flags: self.sync(file)

    def sync(self, file: int) -> int:
        if self._power.step():
            return _IOERR_FSYNC
        self._pending.pop(self._paths[file], None)
        return unsynced.OK

    def delete(self, path: Path) -> int:
        if self._power.step():
            return _IOERR_DELETE
        self._pending.pop(path, None)
        return unsynced.OK
