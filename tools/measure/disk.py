"""A small disk of its own: ext4 on a loop device, whose sectors the kernel counts; tmpfs where there is no such device.

Needs root. Whoever lacks it is told so by name, and decides what that means.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

SECTOR = 512


class DiskError(Exception):
    """No such disk can be made here; the message says why."""


class LoopDisk:
    """ext4 with its journal in a file. A context manager; mounted at `path` inside the block."""

    kind = "ext4"

    def __init__(self, folder: Path, *, size_bytes: int) -> None:
        self.image = folder / "disk.img"
        self.path = folder / "disk"
        self._size_bytes = size_bytes
        self._device = ""

    def __enter__(self) -> LoopDisk:
        if os.geteuid():
            raise DiskError("a loop device needs root")
        self.path.mkdir(parents=True)
        with self.image.open("wb") as image:
            image.truncate(self._size_bytes)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self.image))
        self._device = _run("losetup", "--find", "--show", str(self.image))
        try:
            _run("mount", "-t", "ext4", self._device, str(self.path))
        except DiskError:
            _run("losetup", "--detach", self._device)
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(DiskError):
            _run("umount", str(self.path))
        with contextlib.suppress(DiskError):
            _run("losetup", "--detach", self._device)
        self.image.unlink(missing_ok=True)

    def written_bytes(self) -> int:
        """What the file system has sent to the device so far, its journal included. Source: block/stat.rst, field 7."""
        fields = Path(f"/sys/block/{Path(self._device).name}/stat").read_text().split()
        return int(fields[6]) * SECTOR


class Tmpfs:
    """Memory with a limit: a full disk without a device. A context manager."""

    kind = "tmpfs"

    def __init__(self, folder: Path, *, size_bytes: int) -> None:
        self.path = folder / "disk"
        self._size_bytes = size_bytes

    def __enter__(self) -> Tmpfs:
        self.path.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "none", str(self.path))
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(DiskError):
            _run("umount", str(self.path))


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DiskError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise DiskError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()
