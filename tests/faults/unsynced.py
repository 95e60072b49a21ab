"""A file layer under SQLite that remembers what was not synced, so that a test can take it away.

`watch(folder)` runs in the process under test before it opens a database. It registers an SQLite VFS as the default,
which hands everything to the ordinary VFS and notes each write in `folder` until the file is synced. After that process
was killed, `lose(folder)` in the test turns the files into what a power cut could have left: each write that was never
synced is kept, dropped or torn at a sector.

The store under test uses the standard library's sqlite3 and knows nothing of this.
Source: sqlite.org/vfs.html, sqlite.org/c3ref/io_methods.html.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import struct
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path

SECTOR = 512
_RECORD = struct.Struct("<qqii")  # offset, file size before, length of old bytes, length of new bytes
_TRUNCATE = -1  # new length that marks a truncation to `offset`
_OK = 0


class _IoMethods(ctypes.Structure):
    """sqlite3_io_methods; the fields we do not touch are plain pointers."""


_File = POINTER(c_void_p)  # sqlite3_file: its first member points to the methods
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNC = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
# Names stay pointers: SQLite keeps them for as long as the file is open, a converted string would be gone.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)

_IoMethods._fields_ = [
    ("version", c_int),
    ("close", c_void_p),
    ("read", c_void_p),
    ("write", _WRITE),
    ("truncate", _TRUNC),
    ("sync", _SYNC),
    ("rest", c_void_p * 13),  # size, locks, control, shared memory, memory mapping
]


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("max_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _OPEN),
        ("delete", _DELETE),
        ("rest", c_void_p * 14),
    )


_kept: list[object] = []  # callbacks and tables that SQLite points to for the life of the process


def watch(folder: Path, *, forget_syncs: bool = False) -> None:
    """Note every unsynced SQLite write of this process in `folder`. With `forget_syncs` a sync counts for nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    sqlite = ctypes.CDLL("libsqlite3.so.0")
    sqlite.sqlite3_vfs_find.restype = POINTER(_Vfs)
    ordinary = sqlite.sqlite3_vfs_find(None).contents
    layer = _Layer(ordinary, folder, forget_syncs=forget_syncs)
    if sqlite.sqlite3_vfs_register(ctypes.byref(layer.vfs), 1) != _OK:
        raise RuntimeError("SQLite refused the watching file layer")
    _kept.extend((layer, ordinary))


class _Layer:
    """The VFS and the notes of its open files. SQLite calls it from any thread; ctypes takes the interpreter lock."""

    def __init__(self, ordinary: _Vfs, folder: Path, *, forget_syncs: bool) -> None:
        self._ordinary = ordinary
        self._folder = folder
        self._forget_syncs = forget_syncs
        self._notes: dict[int, _Notes] = {}
        self._tables: dict[int, tuple[_IoMethods, _IoMethods]] = {}
        self.vfs = _Vfs()
        ctypes.pointer(self.vfs)[0] = ordinary
        self.vfs.name = b"watched"
        self.vfs.next = None
        self.vfs.open = _OPEN(self._open)
        self.vfs.delete = _DELETE(self._delete)

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, out: object) -> int:
        result: int = self._ordinary.open(ctypes.addressof(self._ordinary), name, file, flags, out)
        if result == _OK and name is not None:
            path = Path(os.fsdecode(ctypes.string_at(name)))
            if not path.name.endswith("-shm"):
                self._notes[file] = _Notes(path, self._folder)
                self._divert(file)
        return result

    def _divert(self, file: int) -> None:
        """Point the file at a copy of its method table in which write, truncate and sync are ours."""
        slot = ctypes.cast(file, _File)
        address = slot[0]
        assert address is not None
        if address not in self._tables:
            theirs = ctypes.cast(address, POINTER(_IoMethods)).contents
            ours = _IoMethods()
            ctypes.pointer(ours)[0] = theirs
            ours.write = _WRITE(self._write(theirs))
            ours.truncate = _TRUNC(self._truncate(theirs))
            ours.sync = _SYNC(self._sync(theirs))
            self._tables[address] = (theirs, ours)
        slot[0] = ctypes.addressof(self._tables[address][1])

    def _write(self, theirs: _IoMethods):  # type: ignore[no-untyped-def]
        def write(file: int, data: int, length: int, offset: int) -> int:
            self._notes[file].note_write(offset, ctypes.string_at(data, length))
            return int(theirs.write(file, data, length, offset))

        return write

    def _truncate(self, theirs: _IoMethods):  # type: ignore[no-untyped-def]
        def truncate(file: int, size: int) -> int:
            self._notes[file].note_truncate(size)
            return int(theirs.truncate(file, size))

        return truncate

    def _sync(self, theirs: _IoMethods):  # type: ignore[no-untyped-def]
        def sync(file: int, flags: int) -> int:
            result = int(theirs.sync(file, flags))
            if result == _OK and not self._forget_syncs:
                self._notes[file].settle()
            return result

        return sync

    def _delete(self, _vfs: int, name: int, sync_dir: int) -> int:
        result: int = self._ordinary.delete(ctypes.addressof(self._ordinary), name, sync_dir)
        with contextlib.suppress(FileNotFoundError):
            _notes_path(self._folder, Path(os.fsdecode(ctypes.string_at(name)))).unlink()
        return result


class _Notes:
    """What was written to one file since its last sync, on disk, because the process will be killed."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        notes = _notes_path(folder, path)
        fresh = not notes.exists()
        self._log = notes.open("ab", buffering=0)
        if fresh:
            notes.with_suffix(".path").write_text(json.dumps(str(path)))

    def note_write(self, offset: int, new: bytes) -> None:
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            old = file.read(len(new))
        self._log.write(_RECORD.pack(offset, size, len(old), len(new)) + old + new)

    def note_truncate(self, size: int) -> None:
        with self._path.open("rb") as file:
            before = os.fstat(file.fileno()).st_size
            file.seek(min(size, before))
            old = file.read()
        self._log.write(_RECORD.pack(size, before, len(old), _TRUNCATE) + old)

    def settle(self) -> None:
        self._log.truncate(0)


def _notes_path(folder: Path, path: Path) -> Path:
    return folder / (path.name + ".unsynced")


def lose(folder: Path, chance: random.Random) -> int:
    """Make of every noted file what a power cut could have left. Returns how many unsynced writes there were."""
    lost = 0
    for notes in sorted(folder.glob("*.unsynced")):
        path = Path(json.loads(notes.with_suffix(".path").read_text()))
        records = list(_read_notes(notes.read_bytes()))
        if path.exists() and records:
            _rewind(path, records)
            _replay_some(path, records, chance)
        lost += len(records)
        notes.unlink()
        notes.with_suffix(".path").unlink()
    return lost


def _read_notes(raw: bytes) -> list[tuple[int, int, bytes, bytes | None]]:
    """(offset, size before, old, new or None for a truncation). What a torn note tells of was never written through."""
    records: list[tuple[int, int, bytes, bytes | None]] = []
    at = 0
    while at + _RECORD.size <= len(raw):
        offset, size, old_len, new_len = _RECORD.unpack_from(raw, at)
        end = at + _RECORD.size + old_len + max(new_len, 0)
        if end > len(raw):
            break
        body = raw[at + _RECORD.size : end]
        records.append((offset, size, body[:old_len], None if new_len == _TRUNCATE else body[old_len:]))
        at = end
    return records


def _rewind(path: Path, records: list[tuple[int, int, bytes, bytes | None]]) -> None:
    with path.open("r+b") as file:
        for offset, size, old, _new in reversed(records):
            file.seek(offset)
            file.write(old)
            file.truncate(size)


def _replay_some(path: Path, records: list[tuple[int, int, bytes, bytes | None]], chance: random.Random) -> None:
    """Keep none, or some in any order, each whole or only some of its sectors."""
    if chance.random() < 0.5:
        return
    kept = [record for record in records if chance.random() < 0.5]
    chance.shuffle(kept)
    with path.open("r+b") as file:
        for offset, _size, _old, new in kept:
            if new is None:
                file.truncate(offset)
                continue
            for start in range(0, len(new), SECTOR):
                if chance.random() < 0.8:
                    file.seek(offset + start)
                    file.write(new[start : start + SECTOR])
