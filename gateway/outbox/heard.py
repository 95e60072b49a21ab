"""Which record ids of third-party devices were here before: the newest few hundred thousand, in a few megabytes.

An id is known by 64 bits of a hash. They stand in tables of a fixed size, the newest ids in the newest table; when that
is full the oldest one goes. Nothing of it is saved: it is read again from the newest segments of the log.
"""

from __future__ import annotations

import hashlib
import secrets
from array import array
from collections.abc import Iterable

_BITS = 18
_LAST = (1 << _BITS) - 1
_FILTER_BITS = 21
_FILTER_SHIFT = 64 - _FILTER_BITS
_MOST = int((1 << _BITS) * 0.7)
_TABLES = 3
_U64 = (1 << 64) - 1
_SALTS = 16_384


class _Table:
    """Open addressing, behind a bit for each of many more places that says whether it is worth a look.

    The multiplier is secret: a device must not be able to choose where its ids lie.
    """

    __slots__ = ("bits", "count", "slots")

    def __init__(self) -> None:
        self.slots = array("Q", bytes(8 << _BITS))
        self.bits = bytearray(1 << _FILTER_BITS - 3)
        self.count = 0

    def insert(self, marks: Iterable[int], multiplier: int) -> None:
        """Note these; there must be room for all."""
        slots, bits, count = self.slots, self.bits, self.count
        for mark in marks:
            place = (mark * multiplier & _U64) >> _FILTER_SHIFT
            at = place >> _FILTER_BITS - _BITS
            while (found := slots[at]) and found != mark:
                at = (at + 1) & _LAST
            if not found:
                slots[at] = mark
                bits[place >> 3] |= 1 << (place & 7)
                count += 1
        self.count = count

    def holds(self, mark: int, at: int) -> bool:
        """Whether it is here. `at`: where it would lie if nothing were in its way."""
        slots = self.slots
        while found := slots[at]:
            if found == mark:
                return True
            at = (at + 1) & _LAST
        return False


class Heard:
    """Ids of committed records, and those of the commit in the making."""

    def __init__(self) -> None:
        self._tables = [_Table()]
        self._multiplier = secrets.randbits(64) | 1
        self._pending: dict[int, None] = {}
        self._salts: dict[str, int] = {}

    def mark_of(self, device: str, digest: int) -> int:
        """What stands for an id of `device`. `digest`: 64 bits of the id's hash."""
        return (self.salt_of(device) ^ digest) or 1

    def salt_of(self, device: str) -> int:
        """What makes the same hash another mark for each device: a mark is this XOR 64 bits of a hash, never 0."""
        salt = self._salts.get(device)
        if salt is None:
            if len(self._salts) >= _SALTS:
                self._salts.clear()
            salt = int.from_bytes(hashlib.blake2b(device.encode(), digest_size=8).digest(), "little")
            self._salts[device] = salt
        return salt

    def __contains__(self, mark: int) -> bool:
        if mark in self._pending:
            return True
        place = (mark * self._multiplier & _U64) >> _FILTER_SHIFT
        byte, bit, at = place >> 3, 1 << (place & 7), place >> _FILTER_BITS - _BITS
        for table in self._tables:  # noqa: SIM110 - a generator would cost more than the look
            if table.bits[byte] & bit and table.holds(mark, at):
                return True
        return False

    def note(self, mark: int) -> bool:
        """Whether an id is new; then it is noted, as of the commit in the making."""
        if mark in self:
            return False
        self._pending[mark] = None
        return True

    def add(self, mark: int) -> None:
        """Note an id of the commit in the making."""
        self._pending[mark] = None

    def keep(self) -> None:
        """The commit holds."""
        self.insert(list(self._pending))
        self._pending.clear()

    def forget(self) -> None:
        """The commit failed."""
        self._pending.clear()

    def insert(self, marks: list[int]) -> None:
        """Note ids that are on disk."""
        while marks:
            table = self._newest()
            room = _MOST - table.count
            table.insert(marks[:room], self._multiplier)
            marks = marks[room:]

    def _newest(self) -> _Table:
        """A table with room."""
        if self._tables[-1].count >= _MOST:
            self._tables = [*self._tables[1 - _TABLES :], _Table()]
        return self._tables[-1]


def id_mark(heard: Heard, device: str, record_id: str) -> int:
    """What stands for the record id of a device: part of its hash if it is one, else a hash of it."""
    tail = record_id.removeprefix(f"{device}/h/")
    if len(tail) == 32 and len(tail) != len(record_id):
        return heard.mark_of(device, int.from_bytes(bytes.fromhex(tail[:16]), "little"))
    return heard.mark_of(device, _hashed(record_id.encode()))


def content_mark(mark: int, digest: bytes) -> int:
    """What stands for an id together with what it said."""
    return _hashed(mark.to_bytes(8, "little") + digest) or 1


def _hashed(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
