"""A file layer under SQLite and the record log that remembers what was not synced, so that a test can take it away.

`watch(folder)` runs in the process under test before it opens a store. It registers an SQLite VFS as the default, which
hands everything to the ordinary VFS and notes each write in `folder` until the file is synced; and it does the same
under gateway.outbox.files, where names made, changed or removed are noted too, until their folder is synced. After
that process was killed, `lose(folder)` in the test turns the files into what a power cut could have left: each write
that was never synced is kept, dropped or torn at a sector, and the newest names are forgotten.

The store under test knows nothing of this. Source: sqlite.org/vfs.html, sqlite.org/c3ref/io_methods.html.
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

from gateway.outbox.files import Files

SECTOR = 512
_NAMES = "names.jsonl"
_RECORD = struct.Struct("<qqii")  # offset, file size before, length of old bytes, length of new bytes
_TRUNCATE = -1  # new length that marks a truncation to `offset`
OK = 0


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


class Vfs(ctypes.Structure):
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


def keep(*made: object) -> None:
    """SQLite points to these from now on."""
    _kept.extend(made)


def watch(folder: Path, *, forget_syncs: bool = False) -> None:
    """Note every unsynced SQLite write of this process in `folder`. With `forget_syncs` a sync counts for nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    sqlite = ctypes.CDLL("libsqlite3.so.0")
    sqlite.sqlite3_vfs_find.restype = POINTER(Vfs)
    ordinary = sqlite.sqlite3_vfs_find(None).contents
    layer = _Watching(ordinary, folder, forget_syncs=forget_syncs)
    if sqlite.sqlite3_vfs_register(ctypes.byref(layer.vfs), 1) != OK:
        raise RuntimeError("SQLite refused the watching file layer")
    keep(layer, ordinary)
    _watch_log(folder)


def _watch_log(folder: Path) -> None:
    """Put the same under the record log, whose only way to the disk is one class."""
    real = {name: getattr(Files, name) for name in ("write", "sync", "open", "rename", "unlink", "sync_dir")}
    names = _Names(folder)
    notes: dict[int, _Notes] = {}

    def notes_of(fd: int) -> _Notes:
        inode = os.fstat(fd).st_ino
        if inode not in notes:
            notes[inode] = _Notes(Path(f"/proc/self/fd/{fd}"), folder, name=f"inode-{inode}")
            notes[inode].note_home(Path(os.readlink(f"/proc/self/fd/{fd}")).parent, inode)
        notes[inode].reach_by(fd)
        return notes[inode]

    def write(self: Files, fd: int, data: bytes, at: int) -> None:
        notes_of(fd).note_write(at, bytes(data))
        real["write"](self, fd, data, at)

    def sync(self: Files, fd: int) -> None:
        real["sync"](self, fd)
        notes_of(fd).settle()

    def open_(self: Files, path: Path, *, make: bool = False) -> int:
        if make:
            names.note("make", path)
        return int(real["open"](self, path, make=make))

    def rename(self: Files, old: Path, new: Path) -> None:
        names.note("rename", old, new)
        real["rename"](self, old, new)

    def unlink(self: Files, path: Path) -> None:
        names.note("unlink", path, names.keep(path))
        real["unlink"](self, path)

    def sync_dir(self: Files, path: Path) -> None:
        real["sync_dir"](self, path)
        names.settle(path)

    for name, ours in (("write", write), ("sync", sync), ("open", open_), ("rename", rename), ("unlink", unlink)):
        setattr(Files, name, ours)
    Files.sync_dir = sync_dir  # type: ignore[method-assign]


class _Names:
    """What was done to the names of files since their folders were last synced, on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = (folder / _NAMES).open("ab", buffering=0)

    def note(self, what: str, path: Path, other: Path | None = None) -> None:
        self._log.write(json.dumps([what, str(path), str(other)]).encode() + b"\n")

    def keep(self, path: Path) -> Path:
        """Another name for a file that is about to lose its own."""
        kept = self._folder / f"kept-{path.stat().st_ino}"
        kept.unlink(missing_ok=True)
        os.link(path, kept)
        return kept

    def settle(self, folder: Path) -> None:
        """The log has one folder, so all of it is settled."""
        self._log.truncate(0)


class Layer:
    """A VFS over the ordinary one that asks its methods below about each change. SQLite calls it from any thread.

    A subclass says what to do; each method returns a result code, OK to go on with the ordinary layer.
    """

    def __init__(self, ordinary: Vfs, name: bytes) -> None:
        self._ordinary = ordinary
        self._tables: dict[int, tuple[_IoMethods, _IoMethods]] = {}
        self.vfs = Vfs()
        ctypes.pointer(self.vfs)[0] = ordinary
        self.vfs.name = name
        self.vfs.next = None
        self.vfs.open = _OPEN(self._open)
        self.vfs.delete = _DELETE(self._delete)

    def opened(self, file: int, path: Path) -> None:
        """A file that is to be watched."""

    def write(self, file: int, data: bytes, offset: int) -> int:
        return OK

    def truncate(self, file: int, size: int) -> int:
        return OK

    def sync(self, file: int) -> int:
        return OK

    def synced(self, file: int) -> None:
        """The ordinary layer has synced it."""

    def delete(self, path: Path) -> int:
        return OK

    def deleted(self, path: Path) -> None:
        """The ordinary layer has deleted it."""

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, out: object) -> int:
        result: int = self._ordinary.open(ctypes.addressof(self._ordinary), name, file, flags, out)
        if result == OK and name is not None:
            path = Path(os.fsdecode(ctypes.string_at(name)))
            if not path.name.endswith("-shm"):
                self.opened(file, path)
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
            return self.write(file, ctypes.string_at(data, length), offset) or int(
                theirs.write(file, data, length, offset)
            )

        return write

    def _truncate(self, theirs: _IoMethods):  # type: ignore[no-untyped-def]
        def truncate(file: int, size: int) -> int:
            return self.truncate(file, size) or int(theirs.truncate(file, size))

        return truncate

    def _sync(self, theirs: _IoMethods):  # type: ignore[no-untyped-def]
        def sync(file: int, flags: int) -> int:
            result = self.sync(file) or int(theirs.sync(file, flags))
            if result == OK:
                self.synced(file)
            return result

        return sync

    def _delete(self, _vfs: int, name: int, sync_dir: int) -> int:
        path = Path(os.fsdecode(ctypes.string_at(name)))
        if code := self.delete(path):
            return code
        result: int = self._ordinary.delete(ctypes.addressof(self._ordinary), name, sync_dir)
        self.deleted(path)
        return result


class _Watching(Layer):
    """Keeps notes of open files on disk."""

    def __init__(self, ordinary: Vfs, folder: Path, *, forget_syncs: bool) -> None:
        super().__init__(ordinary, b"watched")
        self._folder = folder
        self._forget_syncs = forget_syncs
        self._notes: dict[int, _Notes] = {}

    def opened(self, file: int, path: Path) -> None:
        self._notes[file] = _Notes(path, self._folder)

    def write(self, file: int, data: bytes, offset: int) -> int:
        self._notes[file].note_write(offset, data)
        return OK

    def truncate(self, file: int, size: int) -> int:
        self._notes[file].note_truncate(size)
        return OK

    def synced(self, file: int) -> None:
        if not self._forget_syncs:
            self._notes[file].settle()

    def deleted(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            _notes_path(self._folder, path).unlink()


class _Notes:
    """What was written to one file since its last sync, on disk, because the process will be killed."""

    def __init__(self, path: Path, folder: Path, *, name: str = "") -> None:
        self._path = path
        self._folder = folder
        self._name = name
        notes = folder / f"{name}.unsynced" if name else _notes_path(folder, path)
        fresh = not notes.exists()
        self._log = notes.open("ab", buffering=0)
        if fresh:
            notes.with_suffix(".path").write_text(json.dumps(str(path)))

    def note_home(self, home: Path, inode: int) -> None:
        """A file that may be renamed is found again by its inode."""
        (self._folder / f"{self._name}.path").write_text(json.dumps([str(home), inode]))

    def reach_by(self, fd: int) -> None:
        self._path = Path(f"/proc/self/fd/{fd}")

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
    lost = _forget_names(folder / _NAMES, chance)
    for notes in sorted(folder.glob("*.unsynced")):
        path = _home(json.loads(notes.with_suffix(".path").read_text()))
        records = list(_read_notes(notes.read_bytes()))
        if path.exists() and records:
            rewind(path, records)
            replay_some(path, records, chance)
        lost += len(records)
        notes.unlink()
        notes.with_suffix(".path").unlink()
    return lost


def _home(place: str | list[object]) -> Path:
    """Where the file is now: by its name, or by folder and inode."""
    if isinstance(place, str):
        return Path(place)
    folder, inode = place
    return next((path for path in Path(str(folder)).iterdir() if path.stat().st_ino == inode), Path("/nowhere"))


def _forget_names(log: Path, chance: random.Random) -> int:
    """Take back some of the newest names that no sync of their folder has made last. Returns how many."""
    if not log.exists():
        return 0
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    log.unlink()
    forgotten = steps[chance.randint(0, len(steps)) :]
    for what, path, other in reversed(forgotten):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path) if what == "make" else os.rename(other, path)
    return len(forgotten)


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


def rewind(path: Path, records: list[tuple[int, int, bytes, bytes | None]]) -> None:
    """Take back what was written since the last sync."""
    with path.open("r+b") as file:
        for offset, size, old, _new in reversed(records):
            file.seek(offset)
            file.write(old)
            file.truncate(size)


def replay_some(path: Path, records: list[tuple[int, int, bytes, bytes | None]], chance: random.Random) -> None:
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
