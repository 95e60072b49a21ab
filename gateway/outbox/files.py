"""Every call the record log makes of the operating system, and the only place that makes any.

A test puts a layer under the unchanged store by replacing the methods of `Files`: one that forgets what was not synced,
tears writes, loses names of folders that were not synced, or fails on purpose. Each method raises OSError.
"""

from __future__ import annotations

import os
from pathlib import Path


class Files:
    """The real disk."""

    def open(self, path: Path, *, make: bool = False) -> int:
        """A descriptor for reading and writing. `make`: the file must not exist and is made."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if make else 0)
        return os.open(path, flags, 0o600)

    def open_to_read(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def read(self, fd: int, length: int, at: int) -> bytes:
        """What is there, shorter only at the end of the file."""
        return os.pread(fd, length, at)

    def write(self, fd: int, data: bytes | bytearray | memoryview, at: int) -> None:
        """Write all of it. Nothing is on disk before `sync`."""
        view = memoryview(data)
        while len(view):
            written = os.pwrite(fd, view, at)
            view, at = view[written:], at + written

    def sync(self, fd: int) -> None:
        """What was written to this file is on disk when this returns."""
        os.fdatasync(fd)

    def uncache(self, fd: int) -> None:
        """Let the kernel give up what it keeps of this file in memory, if that is on disk."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_dir(self, folder: Path) -> None:
        """Names made, changed or removed in `folder` survive a power cut when this returns."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def names(self, folder: Path) -> list[str]:
        return sorted(os.listdir(folder))

    def room(self, folder: Path) -> tuple[int, int]:
        """Bytes of the file system that are free to us, and all it has."""
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
