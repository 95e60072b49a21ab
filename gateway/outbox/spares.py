"""The files of a record log before it writes to them: filled with zeros, kept for use again, held back on a full disk.

Commits into a file that was written before need no journal entry for its blocks. A disk that gets full keeps two such
files: one for noting deliveries, one to be given up so that a checkpoint has room.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from gateway.outbox.files import Files
from gateway.outbox.page import PAGE

SEGMENT_BYTES = 8 << 20
_LEAST_SEGMENT_BYTES = 256 << 10
_SHARE_OF_DISK = 128  # a segment takes at most this part of the file system
_MOST = 3
_RESERVED = 2  # spare files on a disk that gets full: for noting deliveries, and to be given up for a checkpoint
_ROOMY_SEGMENTS = 8  # with room for so many, none is kept back
_PREFIX = "spare-"
_FILL_BYTES = 256 << 10


class Spares:
    """The spare files in one folder, which also holds the segments. Numbers are used once, for either."""

    def __init__(self, folder: Path, files: Files, *, segment_bytes: int | None = None) -> None:
        """`segment_bytes`: of new files; None: 8 MiB, less on a small disk."""
        self._folder = folder
        self._files = files
        self._segment_bytes = segment_bytes
        self._next_number = 1

    def note(self, name: str) -> None:
        """There is a file of this name. One that was not finished is deleted. Raises OSError."""
        if name.endswith(".new"):
            self._files.unlink(self._folder / name)
        elif name.startswith(_PREFIX):
            self.note_number(int(name.removeprefix(_PREFIX)))

    def note_number(self, number: int) -> None:
        """This one is used."""
        self._next_number = max(self._next_number, number + 1)

    def next_number(self) -> int:
        """One that was never used."""
        number, self._next_number = self._next_number, self._next_number + 1
        return number

    @property
    def segment_bytes(self) -> int:
        """Of new files."""
        if self._segment_bytes is None:
            _, total = self._files.room(self._folder)
            share = total // _SHARE_OF_DISK // PAGE * PAGE
            self._segment_bytes = min(SEGMENT_BYTES, max(_LEAST_SEGMENT_BYTES, share))
        return self._segment_bytes

    def have_room(self, *, fits: bool) -> bool:
        """Whether something can be written without the spare files that are kept back. `fits`: into the file in use.

        A file that was taken from those is kept back as a whole: what remains of it is for noting deliveries too.
        """
        return self._disk_has_room() or len(self._paths()) >= _RESERVED + (not fits)

    def grow(self) -> bool:
        """Make a file ready beside those that are kept back; False if the disk has no room for it."""
        while len(self._paths()) <= _RESERVED:
            if not self._make_spare():
                return False
        return True

    def reserve(self) -> None:
        """Have spare files at hand when the disk gets full, so that deliveries can be noted then."""
        while not self._disk_has_room() and len(self._paths()) < _RESERVED:
            if not self._make_spare():
                return

    def clear_room(self) -> None:
        """On a full disk give a spare file back to it, for something that matters more."""
        spares = self._paths()
        if spares and self._files.room(self._folder)[0] < self.segment_bytes:
            self._files.unlink(spares[-1])

    def take(self, path: Path, *, least_pages: int) -> None:
        """Have a file at `path` with room for so many data pages: one used again, or a new one. Raises OSError."""
        if not self._rename_one(path, least_pages):
            self._make(path, max(self.segment_bytes, (least_pages + 2) * PAGE))

    def give_back(self, path: Path, number: int) -> None:
        """Nobody needs the segment at `path` any more: keep its file for use again, or delete it. Raises OSError."""
        if len(self._paths()) < _MOST:
            self._files.rename(path, self._folder / f"{_PREFIX}{number:010}")
        else:
            self._files.unlink(path)
        self._files.sync_dir(self._folder)

    def discard(self, path: Path) -> None:
        """Delete it if the disk lets us."""
        with contextlib.suppress(OSError):
            self._files.unlink(path)
            self._files.sync_dir(self._folder)

    def _paths(self) -> list[Path]:
        return [self._folder / name for name in self._files.names(self._folder) if name.startswith(_PREFIX)]

    def _rename_one(self, path: Path, least_pages: int) -> bool:
        for spare in self._paths():
            fd = self._files.open(spare)
            size = self._files.size(fd)
            self._files.close(fd)
            if size >= (least_pages + 2) * PAGE:
                self._files.rename(spare, path)
                self._files.sync_dir(self._folder)
                return True
        return False

    def _make(self, path: Path, size: int) -> None:
        """A file full of zeros.

        Written in few calls, because after each this thread has to wait for the others. The kernel keeps such a write
        as one piece, and would write all of it again with the first page that changes: so it is to forget them.
        """
        new = path.with_suffix(".new")
        fd = self._files.open(new, make=True)
        try:
            for at in range(0, size, _FILL_BYTES):
                self._files.write(fd, bytes(min(_FILL_BYTES, size - at)), at)
            self._files.sync(fd)
            self._files.uncache(fd)
        except OSError:
            self.discard(new)
            raise
        finally:
            self._files.close(fd)
        self._files.rename(new, path)
        try:
            self._files.sync_dir(self._folder)
        except OSError:
            self.discard(path)
            raise

    def _disk_has_room(self) -> bool:
        return self._files.room(self._folder)[0] > _ROOMY_SEGMENTS * self.segment_bytes

    def _make_spare(self) -> bool:
        if self._files.room(self._folder)[0] < self.segment_bytes:  # not tried: it would write it in vain
            return False
        try:
            self._make(self._folder / f"{_PREFIX}{self._next_number:010}", self.segment_bytes)
        except OSError:
            return False
        self._next_number += 1
        return True
