"""Which record ids of third-party devices were here before: the newest few hundred thousand, in a few megabytes.

An id is known by 64 bits of a hash. They stand in tables of a fixed size, the newest ids in the newest table; when that
is full the oldest one goes. Nothing of it is saved: it is read again from the newest segments of the log.
"""

from __future__ import annotations

import hashlib
import operator
import secrets
from array import array
from collections.abc import Iterable, Sequence
from functools import reduce

_BITS = 18
_LAST = (1 << _BITS) - 1
_PLACE_BITS = _BITS + 3  # a bit of the filter; the byte that it lies in has the number of a place in the table
_SHIFT = 64 - _PLACE_BITS
_MOST = int((1 << _BITS) * 0.7)
_TABLES = 3
_U64 = (1 << 64) - 1
_SALTS = 16_384


class _Table:
    """Open addressing, and a bit for each mark that says whether it is worth a look."""

    __slots__ = ("bits", "count", "slots")

    def __init__(self) -> None:
        self.slots = array("Q", bytes(8 << _BITS))
        self.bits = bytearray(1 << _BITS)
        self.count = 0

    def insert(self, places: Iterable[tuple[int, int]], union: bytearray) -> None:
        """Note these marks at their places; there must be room for all. `union`: of the bits of all tables."""
        slots, bits, count = self.slots, self.bits, self.count
        for mark, place in places:
            at = byte = place >> 3
            while (found := slots[at]) and found != mark:
                at = (at + 1) & _LAST
            if not found:
                slots[at] = mark
                bit = 1 << (place & 7)
                bits[byte] |= bit
                union[byte] |= bit
                count += 1
        self.count = count

    def holds(self, mark: int, place: int) -> bool:
        """Whether it is here. `place`: where it would lie if nothing were in its way."""
        slots, at = self.slots, place >> 3
        while found := slots[at]:
            if found == mark:
                return True
            at = (at + 1) & _LAST
        return False


class Heard:
    """Ids of committed records, and those of the commit in the making.

    A mark's place is its product with a secret: a device must not be able to choose where its ids lie.
    """

    def __init__(self) -> None:
        self._tables = [_Table()]
        self._union = bytearray(1 << _BITS)
        self._multiplier = secrets.randbits(64) | 1
        self._pending: dict[int, int] = {}
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
        return mark in self._pending or self._is_kept(mark, self._place_of(mark))

    def note(self, marks: Sequence[int]) -> Sequence[bool]:
        """Which of these ids are new; they are noted, as of the commit in the making."""
        pending, union, multiplier = self._pending, self._union, self._multiplier
        known = []
        for at, mark in enumerate(marks):
            place = (mark * multiplier & _U64) >> _SHIFT
            if mark in pending or (union[place >> 3] & 1 << (place & 7) and self._is_kept(mark, place)):
                known.append(at)
            else:
                pending[mark] = place
        is_new = [True] * len(marks)
        for at in known:
            is_new[at] = False
        return is_new

    def add(self, mark: int) -> None:
        """Note an id of the commit in the making."""
        self._pending[mark] = self._place_of(mark)

    def keep(self) -> None:
        """The commit holds."""
        self._insert(list(self._pending.items()))
        self._pending.clear()

    def forget(self) -> None:
        """The commit failed."""
        self._pending.clear()

    def insert(self, marks: Iterable[int]) -> None:
        """Note ids that are on disk."""
        self._insert([(mark, self._place_of(mark)) for mark in marks])

    def _insert(self, places: list[tuple[int, int]]) -> None:
        while places:
            table = self._newest()
            room = _MOST - table.count
            table.insert(places[:room], self._union)
            places = places[room:]

    def _newest(self) -> _Table:
        """A table with room."""
        if self._tables[-1].count >= _MOST:
            self._tables = [*self._tables[1 - _TABLES :], _Table()]
            together = [int.from_bytes(table.bits, "little") for table in self._tables]
            self._union[:] = reduce(operator.or_, together).to_bytes(len(self._union), "little")
        return self._tables[-1]

    def _place_of(self, mark: int) -> int:
        return (mark * self._multiplier & _U64) >> _SHIFT

    def _is_kept(self, mark: int, place: int) -> bool:
        byte, bit = place >> 3, 1 << (place & 7)
        return any(table.bits[byte] & bit and table.holds(mark, place) for table in self._tables)


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
