"""Messages of third parties that came together: the plainest go a short way to the outbox, all others by `Devices`.

The short way is for one reading of one number that privacy leaves as it is; who may say it under which name is found
out once and remembered for as long as that cannot change. Its record id and its bytes on disk are those of the long
way. Everything is done in the order of arrival.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from typing import Any, Literal, NamedTuple, Protocol, cast

from gateway.counters import Counters
from gateway.devices import Devices, Message
from gateway.outbox.entries import Transaction
from gateway.outbox.heard import first_words
from gateway.reading import DIGEST_BYTES, Assurance
from gateway.row import Row
from gateway.senml_decode import SenmlError
from gateway.senml_plain import Plains, read_plain

Said = tuple[str, str, str | None, type]  # device, name as it says it, unit, type of the value
_WAYS_KEPT = 8_192
_TOGETHER = 512  # messages: of more the first would have left the processor's cache before the last is read
_FEW = 8  # messages: not worth another try together


@dataclass(kw_only=True, slots=True)
class Burst:
    """PUBLISHes that came right after each other over one connection: new, not retained, without a content type.

    devices, payloads  of each message
    """

    devices: Sequence[str]
    payloads: Sequence[bytes]
    received_at_s: float
    assurance: Assurance = "none"

    def message(self, at: int) -> Message:
        """One of them."""
        return Message(
            device=self.devices[at],
            payload=self.payloads[at],
            content_type=None,
            received_at_s=self.received_at_s,
            assurance=self.assurance,
        )

    def parts(self) -> Iterator[Burst]:
        """The same in two bursts, or in bursts of one if that is not many."""
        count = len(self.payloads)
        step = 1 if count <= _FEW else count // 2
        for at in range(0, count, step):
            end = at + step
            yield replace(self, devices=self.devices[at:end], payloads=self.payloads[at:end])


class _Way(NamedTuple):
    """What readings of one device under one name have in common.

    quantity  the name below the device's own
    unit      theirs; one object for all of them, as records wait in memory
    begun     a hash of what the text begins with that the record id is a hash of; to be copied
    salt      of the device's marks
    """

    quantity: str
    unit: str | None
    begun: Any
    salt: int


class _Rows:
    """Readings on their way into the outbox, with what stands for the id of each."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._salts: list[int] = []

    def add(self, device: str, way: _Way, columns: Plains, at: int, end: int) -> None:
        """Those of `columns` from `at` to `end`, which are of one device and go one way."""
        quantity, unit, begun, salt = way
        copy = begun.copy
        if end == at + 1:
            hashed = copy()
            hashed.update(b'%b", null, %b]]' % (columns.value_texts[at], columns.time_texts[at]))
            digest = hashed.digest()[:DIGEST_BYTES]
            self.rows.append(Row(device, quantity, unit, (columns.values[at],), (columns.times[at],), digest))
            self._salts.append(salt)
            return
        digests = []
        for texts in zip(columns.value_texts[at:end], columns.time_texts[at:end]):  # noqa: B905
            hashed = copy()
            hashed.update(b'%b", null, %b]]' % texts)
            digests.append(hashed.digest()[:DIGEST_BYTES])
        row = Row(device, quantity, unit, columns.values[at:end], columns.times[at:end], b"".join(digests))
        self.rows.append(row)
        self._salts += [salt] * len(digests)

    def marks(self) -> list[int]:
        """What stands for the id of each."""
        firsts = first_words([row.digests for row in self.rows])
        return [(salt ^ first) or 1 for salt, first in zip(self._salts, firsts)]  # noqa: B905

    def those(self, is_new: Sequence[bool]) -> Iterator[Row]:
        """Of each row those of which it holds."""
        at = 0
        for row in self.rows:
            end = at + len(row.values)
            kept = row.those(is_new[at:end])
            if kept is not None:
                yield kept
            at = end


class Recording(Protocol):
    """Where readings go once they have an id; a Recorder."""

    def leaves(self, device: str, quantity: str) -> bool: ...
    def state_of_ways(self, tx: Transaction) -> tuple[object, ...]: ...
    def put_rows(self, tx: Transaction, rows: Sequence[Row], assurance: Assurance) -> None: ...


class Bursts:
    """Takes bursts in the commit thread."""

    def __init__(self, devices: Devices, recording: Recording, *, counters: Counters) -> None:
        self._devices = devices
        self._recording = recording
        self._counters = counters
        self._ways: dict[tuple[Said, Assurance], _Way | Literal[False]] = {}  # False: there is none
        self._state: tuple[object, ...] = ()  # of what these hang on

    def take(self, tx: Transaction, bursts: Sequence[Burst | Message]) -> list[list[str | None]]:
        """Store what is new. Returns for each message why it is refused, None if it is not."""
        self._forget_old_ways(tx)
        answers: list[list[str | None]] = []
        for (kind, assurance), together in groupby(bursts, key=_kind_of):
            if kind is Burst:
                answers += self._take_all(tx, cast(list[Burst], list(together)), assurance)
            else:
                answers += [[self._devices.take(tx, one).reason] for one in cast(Iterator[Message], together)]
        return answers

    def _take_all(self, tx: Transaction, bursts: Sequence[Burst], assurance: Assurance) -> list[list[str | None]]:
        """Bursts of one assurance. If there are many, or not all are plain, in halves."""
        payloads = [data for burst in bursts for data in burst.payloads]
        columns = read_plain(payloads) if len(payloads) <= _TOGETHER or len(bursts) == 1 else None
        if columns is not None:
            return self._take_plain(tx, bursts, columns, assurance)
        if len(bursts) > 1:
            half = len(bursts) // 2
            return self._take_all(tx, bursts[:half], assurance) + self._take_all(tx, bursts[half:], assurance)
        (burst,) = bursts
        if len(burst.payloads) == 1:
            return [[self._devices.take(tx, burst.message(0)).reason]]
        parts = [self._take_all(tx, [part], assurance) for part in burst.parts()]
        return [[reason for ((*reasons,),) in parts for reason in reasons]]

    def _take_plain(
        self, tx: Transaction, bursts: Sequence[Burst], columns: Plains, assurance: Assurance
    ) -> list[list[str | None]]:
        """Bursts that say this. What has no way of its own goes the long one, when all before it is stored."""
        answers: list[list[str | None]] = []
        rows = _Rows()
        first = 0
        for burst in bursts:
            refused: list[str | None] = [None] * len(burst.payloads)
            for said, at, end in _runs(burst.devices, columns, first):
                way = self._ways.get((said, assurance))
                if way is None:
                    way = self._find_way(tx, said, assurance)
                if way:
                    rows.add(said[0], way, columns, first + at, first + end)
                    continue
                self._put(tx, rows, assurance)
                rows = _Rows()
                refused[at:end] = [self._devices.take(tx, burst.message(one)).reason for one in range(at, end)]
            answers.append(refused)
            first += len(refused)
        self._put(tx, rows, assurance)
        return answers

    def _put(self, tx: Transaction, rows: _Rows, assurance: Assurance) -> None:
        """Store those that were not here before."""
        is_new = tx.state.heard.note(rows.marks())
        repeated = is_new.count(False)
        if repeated:
            self._counters.add("senml_repeated", repeated)
        new = list(rows.those(is_new)) if repeated else rows.rows
        if new:
            self._recording.put_rows(tx, new, assurance)

    def _forget_old_ways(self, tx: Transaction) -> None:
        """What was found out stays for as long as it cannot have changed."""
        state = (*self._recording.state_of_ways(tx), self._devices.names_of_nodes)
        is_same = len(state) == len(self._state) and all(map(operator.is_, state, self._state))
        if not is_same or len(self._ways) >= _WAYS_KEPT:
            self._ways.clear()
            self._state = state

    def _find_way(self, tx: Transaction, said: Said, assurance: Assurance) -> _Way | Literal[False]:
        """False if there is none for these: then the long way says why, or does what is to be done."""
        device, name, unit, kind = said
        way: _Way | Literal[False] = False
        with contextlib.suppress(SenmlError):
            quantity = self._devices.own_name(device, name, assurance)
            if self._recording.leaves(device, quantity):
                self._devices.admit(tx, device)
                shown = "null" if unit is None else f'"{unit}"'
                head = f'[["{quantity}", {shown}, "{kind.__name__}", "'
                way = _Way(quantity, unit, sha256(head.encode()), tx.state.heard.salt_of(device))
        self._ways[said, assurance] = way
        return way

    def flush(self, tx: Transaction) -> None:
        """Nothing is kept that belongs on disk (store.Participant)."""

    def forget(self) -> None:
        """The commit failed, and with it may be that a device is known."""
        self._ways.clear()


def _kind_of(one: Burst | Message) -> tuple[type, Assurance]:
    return type(one), one.assurance


def _runs(devices: Sequence[str], columns: Plains, first: int) -> Sequence[tuple[Said, int, int]]:
    """What of a burst follows each other and is said alike: how, and from where to where in the burst.

    first  where the burst begins in `columns`
    """
    count = len(devices)
    end = first + count
    names, units, kinds = columns.names[first:end], columns.units[first:end], columns.kinds[first:end]
    device, name, unit, kind = devices[0], names[0], units[0], kinds[0]
    if devices.count(device) == names.count(name) == units.count(unit) == kinds.count(kind) == count:
        return (((device, name, unit, kind), 0, count),)
    each = list(zip(devices, names, units, kinds))  # noqa: B905
    starts = [0, *(at for at in range(1, count) if each[at] != each[at - 1])]
    return [(each[at], at, end) for at, end in zip(starts, [*starts[1:], count])]  # noqa: B905
