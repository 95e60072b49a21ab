"""A small file whose text is replaced often and need not survive a power cut, at hardly any cost to the flash.

Written through a mapping that stays: the kernel then sends its pages to the disk twice a minute at most, and only then
notes a new time of change. Replacing the file would cost a page, its folder and the journal each time, and write() the
inode with every commit of the journal: each by itself more than the readings of a small site.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_PAGE = 4096


class MappedText:
    """One file. What is shorter than what was there is padded with spaces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None
        self._inode = 0

    def write(self, text: bytes) -> None:
        """Who reads meanwhile may see half of it, and looks again. Raises OSError; then the old text stays."""
        if self._map is None or len(text) > len(self._map) or self._has_gone():
            self._open(len(text))
        assert self._map is not None
        self._map[:] = text.ljust(len(self._map))

    def _has_gone(self) -> bool:
        try:
            return os.stat(self._path).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _open(self, least: int) -> None:
        self.close()
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            found = os.fstat(fd)
            room = max(found.st_size, -(-least // _PAGE) * _PAGE)
            os.posix_fallocate(fd, 0, room)  # else a full disk would end us when a page is touched
            self._map, self._inode = mmap.mmap(fd, room), found.st_ino
        finally:
            os.close(fd)

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
