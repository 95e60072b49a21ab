"""A disk in memory under the unchanged record log, which does after a power cut what a real one may do.

Without a sync a write may be there, or not, or some of its sectors or pages, or garbage in the sector that was being
written, in any order. A name made, changed or removed may be forgotten until its folder is synced. A sync that failed
may have lost what it was to sync, and the next one knows nothing of that (as Linux does: lwn.net/Articles/752063).
"""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from gateway.outbox.files import Files
from tests.faults.power import Power

SECTOR, PAGE = 512, 4096
_HOW = ("nothing", "everything", "beginning", "sectors", "pages")
_HOW_OFTEN = (20, 10, 20, 30, 20)


@dataclass
class _File:
    """`seen`: what programs read; `durable`: what the disk has for certain; `pending`: the difference, oldest first."""

    durable: bytearray = field(default_factory=bytearray)
    seen: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def settle(self) -> None:
        for at, data in self.pending:
            _put(self.durable, at, data)
        self.pending.clear()


class PowerDisk(Files):
    """One folder. Given to the store as its file layer; `cut` when the power is off."""

    def __init__(self, power: Power, chance: random.Random, *, capacity: int = 1 << 30) -> None:
        self._power = power
        self._chance = chance
        self._capacity = capacity
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._steps: list[tuple[str, str, str]] = []  # what was done to names since the folder was synced
        self._open: dict[int, _File] = {}
        self._next_fd = 1_000_000  # none that the system could have given out
        self.unsynced = 0  # writes that cuts have met

    # What the store calls

    def open(self, path: Path, *, make: bool = False) -> int:
        if not make:
            return self.open_to_read(path)
        self._step()
        if str(path) in self._names:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        self._names[str(path)] = _File()
        self._steps.append(("make", str(path), ""))
        return self.open_to_read(path)

    def open_to_read(self, path: Path) -> int:
        self._next_fd += 1
        self._open[self._next_fd] = self._named(path)
        return self._next_fd

    def close(self, fd: int) -> None:
        self._open.pop(fd, None)

    def size(self, fd: int) -> int:
        return len(self._open[fd].seen)

    def read(self, fd: int, length: int, at: int) -> bytes:
        return bytes(self._open[fd].seen[at : at + length])

    def write(self, fd: int, data: bytes | bytearray | memoryview, at: int) -> None:
        file, code = self._open[fd], self._power.step()
        if not code and self._used() + max(0, at + len(data) - len(file.seen)) > self._capacity:
            code = errno.ENOSPC
        done = bytes(data)[: self._chance.randint(0, len(data))] if code else bytes(data)
        if done:
            _put(file.seen, at, done)
            file.pending.append((at, done))
        if code:
            raise OSError(code, os.strerror(code))

    def sync(self, fd: int) -> None:
        file, code = self._open[fd], self._power.step()
        if not code:
            file.settle()
            return
        if self._power.is_on:  # it is forgotten that these were never written
            kept = [one for one in file.pending if self._chance.random() < 0.5]
            file.pending[:] = kept
            file.settle()
        raise OSError(code, os.strerror(code))

    def uncache(self, fd: int) -> None:
        """Its cache is its files."""

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        self._names[str(new)] = self._names.pop(str(old))
        self._steps.append(("rename", str(old), str(new)))

    def unlink(self, path: Path) -> None:
        self._step()
        self._named(path)
        del self._names[str(path)]
        self._steps.append(("unlink", str(path), ""))

    def sync_dir(self, folder: Path) -> None:
        self._step()
        self._durable_names = dict(self._names)
        self._steps.clear()

    def names(self, folder: Path) -> list[str]:
        return sorted(Path(name).name for name in self._names)

    def room(self, folder: Path) -> tuple[int, int]:
        return self._capacity - self._used(), self._capacity

    def _named(self, path: Path) -> _File:
        if str(path) not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return self._names[str(path)]

    def _step(self) -> None:
        if code := self._power.step():
            raise OSError(code, os.strerror(code))

    def _used(self) -> int:
        return sum(len(file.seen) for file in self._names.values())

    # What the power does

    def cut(self) -> None:
        """Be what the next start finds."""
        self._names = self._remembered_names()
        self._durable_names = dict(self._names)
        self._steps.clear()
        self._open.clear()
        for file in self._names.values():
            self.unsynced += len(file.pending)
            self._resolve(file)

    def _remembered_names(self) -> dict[str, _File]:
        files = {**self._durable_names, **self._names}
        steps, chance = self._steps, self._chance
        if chance.random() < 0.7:  # a journal keeps them in order
            kept = steps[: chance.randint(0, len(steps))]
        else:
            kept = [step for step in steps if chance.random() < 0.5]
        found = dict(self._durable_names)
        for what, path, new in kept:
            if what == "make":
                made = self._made(path, files)
                if made is not None:
                    found[path] = made
            elif path in found:
                file = found.pop(path)
                if what == "rename":
                    found[new] = file
        return found

    def _made(self, path: str, files: dict[str, _File]) -> _File | None:
        """The file that was made under this name, wherever it is by now."""
        at = path
        for what, old, new in self._steps:
            if what == "rename" and old == at:
                at = new
        return files.get(at)

    def _resolve(self, file: _File) -> None:
        chance, size = self._chance, len(file.seen)
        how = chance.choices(_HOW, _HOW_OFTEN)[0]
        if file.pending and chance.random() < 0.3:  # the size is known, what is in it is not
            file.durable.extend(bytes(max(0, size - len(file.durable))))
        for at, data in self._order(file.pending, how):
            step = PAGE if how == "pages" else SECTOR
            for start in range(0, len(data), step):
                if how in ("everything", "beginning") or chance.random() < 0.6:
                    _put(file.durable, at + start, data[start : start + step])
        file.pending.clear()
        file.seen = bytearray(file.durable)

    def _order(self, pending: list[tuple[int, bytes]], how: str) -> list[tuple[int, bytes]]:
        chance = self._chance
        if how == "nothing" or not pending:
            return []
        if how == "everything":
            return list(pending)
        if how == "beginning":
            kept = pending[: chance.randint(1, len(pending))]
            at, data = kept[-1]
            cut = chance.randint(0, len(data) // SECTOR) * SECTOR
            garbage = chance.randbytes(min(SECTOR, len(data) - cut)) if chance.random() < 0.3 else b""
            return [*kept[:-1], (at, data[:cut] + garbage)]
        return chance.sample(pending, len(pending))


def _put(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data
