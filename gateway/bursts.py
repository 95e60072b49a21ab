"""Messages of third parties that came together: the plainest go a short way to the outbox, all others by `Devices`.

The short way is for one reading of one number that privacy leaves as it is; who may say it under which name is found
out once and remembered for as long as that cannot change. Its record id and its bytes on disk are those of the long
way. Everything is done in the order of arrival.
"""

from __future__ import annotations

import contextlib
import operator
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import compress
from typing import Any, Literal, NamedTuple, Protocol

from gateway.counters import Counters
from gateway.devices import Devices, Message
from gateway.outbox.entries import Transaction
from gateway.reading import Assurance, Single
from gateway.senml_decode import SenmlError
from gateway.senml_plain import Plain, decode_plains

Key = tuple[str, str, str | None, type, Assurance]  # device, name as it says it, unit, type of the value
_FIRST_U64 = struct.Struct("<Q8x").unpack
_WAYS_KEPT = 8_192


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


class Recording(Protocol):
    """Where readings go once they have an id; a Recorder."""

    def leaves(self, device: str, quantity: str) -> bool: ...
    def state_of_ways(self, tx: Transaction) -> tuple[object, ...]: ...
    def put_singles(self, tx: Transaction, singles: Sequence[Single], assurance: Assurance) -> None: ...


class Bursts:
    """Takes bursts in the commit thread."""

    def __init__(self, devices: Devices, recording: Recording, *, counters: Counters) -> None:
        self._devices = devices
        self._recording = recording
        self._counters = counters
        self._ways: dict[Key, _Way | Literal[False]] = {}  # False: there is none
        self._state: tuple[object, ...] = ()  # of what these hang on

    def take(self, tx: Transaction, bursts: Sequence[Burst | Message]) -> list[list[str | None]]:
        """Store what is new. Returns for each message why it is refused, None if it is not."""
        self._forget_old_ways(tx)
        plains = iter(decode_plains([data for one in bursts if isinstance(one, Burst) for data in one.payloads]))
        new: list[Single] = []
        answers: list[list[str | None]] = []
        for at, one in enumerate(bursts):
            if at and new and one.assurance != bursts[at - 1].assurance:
                self._put(tx, new, bursts[at - 1].assurance)
            if isinstance(one, Burst):
                answers.append(self._take(tx, one, plains, new))
            else:
                self._put(tx, new, one.assurance)
                answers.append([self._devices.take(tx, one).reason])
        if new:
            self._put(tx, new, bursts[-1].assurance)
        return answers

    def _take(
        self, tx: Transaction, burst: Burst, plains: Iterator[Plain | None], new: list[Single]
    ) -> list[str | None]:
        """One burst. `new`: records of its assurance that are still to be stored."""
        refused: list[str | None] = [None] * len(burst.payloads)
        first_u64, assurance = _FIRST_U64, burst.assurance
        singles: list[Single] = []
        marks: list[int] = []
        way: _Way | Literal[False] = False
        before: tuple[str, str, str | None, type] | None = None
        for at, (device, plain) in enumerate(zip(burst.devices, plains)):  # noqa: B905  strict would take one too many
            if plain is not None:
                name, unit, value, time_s, value_text, time_text = plain
                said = device, name, unit, value.__class__
                if said != before:
                    before, way = said, self._way(tx, (*said, assurance))
                if way:
                    quantity, unit, begun, salt = way
                    hashed = begun.copy()
                    hashed.update(b'%b", null, %b]]' % (value_text, time_text))
                    digest = hashed.digest()[:16]
                    marks.append((salt ^ first_u64(digest)[0]) or 1)
                    singles.append((device, quantity, unit, value, time_s, digest))
                    continue
            self._note(tx, singles, marks, new)
            self._put(tx, new, assurance)
            refused[at] = self._devices.take(tx, burst.message(at)).reason
            before = None  # what it changed, ways may hang on
        self._note(tx, singles, marks, new)
        return refused

    def _note(self, tx: Transaction, singles: list[Single], marks: list[int], new: list[Single]) -> None:
        """Add those that were not here before to `new`; the lists are empty afterwards."""
        is_new = tx.state.heard.note(marks)
        repeated = is_new.count(False)
        if repeated:
            self._counters.add("senml_repeated", repeated)
        new += compress(singles, is_new) if repeated else singles
        singles.clear()
        marks.clear()

    def _way(self, tx: Transaction, key: Key) -> _Way | Literal[False]:
        way = self._ways.get(key)
        return self._find_way(tx, key) if way is None else way

    def _put(self, tx: Transaction, new: list[Single], assurance: Assurance) -> None:
        if new:
            self._recording.put_singles(tx, new, assurance)
            new.clear()

    def _forget_old_ways(self, tx: Transaction) -> None:
        """What was found out stays for as long as it cannot have changed."""
        state = (*self._recording.state_of_ways(tx), self._devices.names_of_nodes)
        is_same = len(state) == len(self._state) and all(map(operator.is_, state, self._state))
        if not is_same or len(self._ways) >= _WAYS_KEPT:
            self._ways.clear()
            self._state = state

    def _find_way(self, tx: Transaction, key: Key) -> _Way | Literal[False]:
        """False if there is none for these: then the long way says why, or does what is to be done."""
        device, name, unit, kind, assurance = key
        way: _Way | Literal[False] = False
        with contextlib.suppress(SenmlError):
            quantity = self._devices.own_name(device, name, assurance)
            if self._recording.leaves(device, quantity):
                self._devices.admit(tx, device)
                shown = "null" if unit is None else f'"{unit}"'
                head = f'[["{quantity}", {shown}, "{kind.__name__}", "'
                way = _Way(quantity, unit, sha256(head.encode()), tx.state.heard.salt_of(device))
        self._ways[key] = way
        return way

    def flush(self, tx: Transaction) -> None:
        """Nothing is kept that belongs on disk (store.Participant)."""

    def forget(self) -> None:
        """The commit failed, and with it may be that a device is known."""
        self._ways.clear()
