"""Messages of third parties that came together: the plainest go a short way to the outbox, all others by `Devices`.

A short way is only for a reading of which nothing is asked on its way (no privacy, no policy, no edge); who may say it
under which name is found out once per burst. Its record id and its bytes on disk are those of the long way. Everything
is done in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from gateway.counters import Counters
from gateway.devices import Devices, Message
from gateway.outbox.entries import Transaction
from gateway.reading import Assurance, Single
from gateway.senml_decode import SenmlError
from gateway.senml_plain import decode_plains

PutSingles = Callable[[Transaction, Sequence[Single], Assurance], None]


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
    head      how the text begins that the record id is a hash of
    salt      of the device's marks
    """

    quantity: str
    head: str
    salt: int


class Bursts:
    """Takes bursts in the commit thread.

    is_through   whether nothing is asked of a device's reading of this quantity before it is stored
    put_singles  stores records, for which that holds
    """

    def __init__(
        self,
        devices: Devices,
        *,
        counters: Counters,
        is_through: Callable[[str, str], bool],
        put_singles: PutSingles,
    ) -> None:
        self._devices = devices
        self._counters = counters
        self._is_through = is_through
        self._put_singles = put_singles

    def take(self, tx: Transaction, burst: Burst) -> list[str | None]:
        """Store what is new. Returns for each message why it is refused, None if it is not."""
        refused: list[str | None] = [None] * len(burst.payloads)
        ways: dict[tuple[str, str, str | None, type], _Way | None] = {}
        heard = tx.state.heard
        new: list[Single] = []
        repeated = 0
        for at, plain in enumerate(decode_plains(burst.payloads)):
            way = None
            if plain is not None:
                device = burst.devices[at]
                name, unit, value, time_s = plain
                key = (device, name, unit, value.__class__)
                way = ways[key] if key in ways else ways.setdefault(key, self._way(tx, burst.assurance, *key))
            if way is None:
                self._put(tx, new, burst.assurance)
                new = []
                refused[at] = self._devices.take(tx, burst.message(at)).reason
                continue
            quantity, head, salt = way
            digest = sha256(f'{head}{value!r}", null, {time_s!r}]]'.encode()).digest()[:16]
            if heard.note((salt ^ int.from_bytes(digest[:8], "little")) or 1):
                new.append((device, quantity, unit, value, time_s, digest))
            else:
                repeated += 1
        self._put(tx, new, burst.assurance)
        if repeated:
            self._counters.add("senml_repeated", repeated)
        return refused

    def _put(self, tx: Transaction, new: Sequence[Single], assurance: Assurance) -> None:
        if new:
            self._put_singles(tx, new, assurance)

    def _way(
        self, tx: Transaction, assurance: Assurance, device: str, name: str, unit: str | None, kind: type
    ) -> _Way | None:
        """None if there is none for these: then the long way says why, or does what is to be done."""
        try:
            quantity = self._devices.own_name(device, name, assurance)
            if not self._is_through(device, quantity):
                return None
            self._devices.admit(tx, device)
        except SenmlError:
            return None
        shown = "null" if unit is None else f'"{unit}"'
        return _Way(quantity, f'[["{quantity}", {shown}, "{kind.__name__}", "', tx.state.heard.salt_of(device))
