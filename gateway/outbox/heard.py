"""Which record ids of third-party devices were here before: the newest few hundred thousand, in a few megabytes.

An id is known by 64 bits of a hash. They stand in tables of a fixed size, the newest ids in the newest table; when that
is full the oldest one goes. Nothing of it is saved: it is read again from the newest segments of the log.
"""

from __future__ import annotations

import hashlib
import operator
import secrets
import sys
from array import array
from collections.abc import Iterable, Sequence
from functools import reduce

_BITS = 18
_LAST = (1 << _BITS) - 1
_PLACE_BITS = _BITS + 4  # a bit of the filter, which has 16 for each slot of the table
_SHIFT = 64 - _PLACE_BITS
_MOST = int((1 << _BITS) * 0.6)  # fuller, the search for a slot that is free would take long
_TABLES = 4
_AT_ONCE = 4_096  # marks: fewer than a table has room for beyond its most
_U64 = (1 << 64) - 1
_SALTS = 16_384


def _no_bits() -> array[int]:
    return array("H", bytes(2 << _BITS))


class _Table:
    """Open addressing, and a bit for each mark that says whether it is worth a look."""

    __slots__ = ("bits", "count", "slots")

    def __init__(self) -> None:
        self.slots = array("Q", bytes(8 << _BITS))
        self.bits = _no_bits()
        self.count = 0

    def holds(self, mark: int, slot: int) -> bool:
        """Whether it is here. `slot`: where it would lie if nothing were in its way."""
        slots = self.slots
        while found := slots[slot]:
            if found == mark:
                return True
            slot = (slot + 1) & _LAST
        return False

    def take_out(self, slots: Sequence[int]) -> None:
        """The marks that were put there last, in this order. Their bits stay: then it is worth a look for nothing."""
        for at in reversed(slots):
            self.slots[at] = 0
        self.count -= len(slots)


class Heard:
    """Ids of committed records, and those of the commit in the making.

    A mark's place is its product with a secret: a device must not be able to choose where its ids lie.
    """

    def __init__(self) -> None:
        self._tables = [_Table()]
        self._union = _no_bits()
        self._multiplier = secrets.randbits(64) | 1
        self._pending: list[tuple[_Table, list[int]]] = []  # slots taken by the commit in the making
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
        return self._is_kept(mark, self._place_of(mark))

    def note(self, marks: Sequence[int]) -> Sequence[bool]:
        """Which of these ids are new; they are noted, as of the commit in the making."""
        if len(marks) > _AT_ONCE:
            return [*self.note(marks[:_AT_ONCE]), *self.note(marks[_AT_ONCE:])]
        table = self._newest()
        slots, bits, union, multiplier = table.slots, table.bits, self._union, self._multiplier
        taken: list[int] = []
        known: list[int] = []
        self._pending.append((table, taken))  # before the first: whatever happens, none stays that is not on disk
        for mark in marks:
            place = (mark * multiplier & _U64) >> _SHIFT
            slot, bit = place >> 4, 1 << (place & 15)
            seen = union[slot]
            if seen & bit and self._is_kept(mark, place):
                known.append(len(taken) + len(known))
                continue
            union[slot] = seen | bit
            bits[slot] |= bit
            while slots[slot]:
                slot = (slot + 1) & _LAST
            taken.append(slot)
            slots[slot] = mark
        table.count += len(taken)
        is_new = [True] * len(marks)
        for at in known:
            is_new[at] = False
        return is_new

    def add(self, mark: int) -> None:
        """Note an id of the commit in the making."""
        self.note((mark,))

    def keep(self) -> None:
        """The commit holds."""
        self._pending.clear()

    def forget(self) -> None:
        """The commit failed."""
        for table, taken in reversed(self._pending):
            table.take_out(taken)
        self._pending.clear()

    def insert(self, marks: Iterable[int]) -> None:
        """Note ids that are on disk."""
        self.note(list(marks))
        self.keep()

    def _newest(self) -> _Table:
        """A table with room."""
        if self._tables[-1].count >= _MOST:
            self._tables = [*self._tables[1 - _TABLES :], _Table()]
            together = [int.from_bytes(table.bits.tobytes(), "little") for table in self._tables]
            self._union = array("H", reduce(operator.or_, together).to_bytes(2 << _BITS, "little"))
        return self._tables[-1]

    def _place_of(self, mark: int) -> int:
        return (mark * self._multiplier & _U64) >> _SHIFT

    def _is_kept(self, mark: int, place: int) -> bool:
        slot, bit = place >> 4, 1 << (place & 15)
        for table in self._tables:  # noqa: SIM110  not `any`: this is looked at for many new ids, too
            if table.bits[slot] & bit and table.holds(mark, slot):
                return True
        return False


def id_mark(heard: Heard, device: str, record_id: str) -> int:
    """What stands for the record id of a device: part of its hash if it is one, else a hash of it."""
    tail = record_id.removeprefix(f"{device}/h/")
    if len(tail) == 32 and len(tail) != len(record_id):
        return heard.mark_of(device, int.from_bytes(bytes.fromhex(tail[:16]), "little"))
    return heard.mark_of(device, _hashed(record_id.encode()))


def content_mark(mark: int, digest: bytes) -> int:
    """What stands for an id together with what it said."""
    return _hashed(mark.to_bytes(8, "little") + digest) or 1


def first_words(digests: Sequence[bytes]) -> Sequence[int]:
    """The first 64 bits of each of these hashes of 16 bytes, as `mark_of` takes them; several may be in one piece."""
    words = array("Q", b"".join(digests))
    if sys.byteorder == "big":
        words.byteswap()
    return words[::2]


def _hashed(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
