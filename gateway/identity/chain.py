"""The gateway's hash chain: which key its beacons of each interval are tagged under, and which one is out.

Time is CLOCK_MONOTONIC_RAW: nobody can set it, and no time server makes it run faster than a node reckons with (chrony
may steer the others by 8 %). A chain belongs to one boot of the machine. So the key of an interval is disclosed after
that interval whatever is restored: a process that starts again in the same boot goes on with the chain and finds the
interval by the clock, not by a count on disk; in another boot, on another machine, or with a clock that reads less than
the chain's beginning, the chain is given up, and no key of it is ever disclosed again. Not defended: a virtual machine
that is resumed from a snapshot of its memory. The file holds the chain's end: no back-up has it.
"""

from __future__ import annotations

import json
import logging
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from drivers.link.beacon import key_before
from drivers.link.beacon_pack import KEY_LEN, UTC_UNKNOWN, pack_anchor, pack_beacon
from gateway.database import write_durably

log = logging.getLogger(__name__)
FILE = "beacons.json"
LAST = 16_384  # intervals of a chain: 12 days of 64 s; a quarter of a second to compute on a Raspberry Pi
_U16 = 0xFFFF


def unsteered_s() -> float:
    """Seconds since the boot, by the crystal alone."""
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Keys of intervals 1 to `last`, and of 0, which began at `began_ms` of the boot's clock: the commitment."""

    number: int
    began_ms: int
    interval_s: int
    last: int
    keys: bytes = field(repr=False)

    @classmethod
    def from_end(cls, end: bytes, *, number: int, began_ms: int, interval_s: int, last: int) -> Chain:
        """end  the key of the last interval, 16 random bytes: all others follow"""
        keys = [end]
        for interval in range(last, 0, -1):
            keys.append(key_before(number, interval, keys[-1]))
        return cls(number=number, began_ms=began_ms, interval_s=interval_s, last=last, keys=b"".join(reversed(keys)))

    def interval_at(self, now_ms: int) -> int:
        """Which interval it is then; above `last` once the chain is over."""
        return (now_ms - self.began_ms) // (1_000 * self.interval_s)

    def start_ms(self, interval: int) -> int:
        return self.began_ms + interval * 1_000 * self.interval_s

    def is_over(self, now_ms: int) -> bool:
        return self.interval_at(now_ms) > self.last

    def anchor(self, now_ms: int) -> bytes | None:
        """What a node is told, None while there is nothing to tell: before the first interval and after the last."""
        interval = self.interval_at(now_ms)
        if not 0 < interval <= self.last:
            return None
        since_ms = now_ms - self.start_ms(interval)
        key = self._key(interval - 1)
        return bytes(pack_anchor(self.number, interval, self.last, self.interval_s, since_ms, key))

    def beacon(self, interval: int, *, utc_s: float | None, error_s: float, more: bytes = b"") -> bytes:
        """The beacon of an interval: it discloses the key before, so it may not be sent before that interval began."""
        key, before = self._key(interval), self._key(interval - 1)
        error_4 = int(error_s * 4) + 2  # a beacon may begin some 0.2 s late
        utc_256 = None if utc_s is None or error_4 >= UTC_UNKNOWN else int(utc_s * 256)
        return bytes(pack_beacon(self.number, interval, key, before, utc_256=utc_256, error_4=error_4, more=more))

    def _key(self, interval: int) -> bytes:
        return self.keys[KEY_LEN * interval : KEY_LEN * (interval + 1)]


class ChainFile:
    """The chain in force, on file before anything is said under it."""

    def __init__(
        self,
        data_dir: Path,
        *,
        interval_s: int,
        boot_id: str,
        monotonic_s: Callable[[], float] = unsteered_s,
        last: int = LAST,
    ) -> None:
        """boot_id  of the boot that monotonic_s counts from"""
        self._path = data_dir / FILE
        self._interval_s = interval_s
        self._boot_id = boot_id
        self._monotonic_s = monotonic_s
        self._last = last
        self._chain: Chain | None = None

    def now_ms(self) -> int:
        return int(self._monotonic_s() * 1_000)

    def current(self) -> Chain:
        """The chain in force; a new one if there is none, or it is over. Raises OSError if that cannot be written."""
        now_ms = self.now_ms()
        if self._chain is None:
            self._chain = self._read(now_ms)
        if self._chain is None or self._chain.is_over(now_ms):
            self._chain = self._begin(now_ms)
        return self._chain

    def anchor(self) -> bytes | None:
        """What a node that asks is told now; from any thread. None while no chain is in force."""
        chain = self._chain
        return None if chain is None else chain.anchor(self.now_ms())

    def _begin(self, now_ms: int) -> Chain:
        end, number = secrets.token_bytes(KEY_LEN), 1 + secrets.randbelow(_U16)
        began_ms = now_ms - 1_000 * self._interval_s  # so that interval 1 begins now
        table = {"boot": self._boot_id, "number": number, "began_ms": began_ms, "interval_s": self._interval_s}
        content = json.dumps(table | {"last": self._last, "end_hex": end.hex()})
        write_durably(self._path, content.encode() + b"\n")
        log.info("beacons: a new chain begins, number %04x", number)
        return Chain.from_end(end, number=number, began_ms=began_ms, interval_s=self._interval_s, last=self._last)

    def _read(self, now_ms: int) -> Chain | None:
        """The chain on file, if it is of this boot and these settings."""
        try:
            table = json.loads(self._path.read_text())
            is_private = not stat.S_IMODE(self._path.stat().st_mode) & 0o077
            end, boot_id = bytes.fromhex(table["end_hex"]), table["boot"]
            number, began_ms, interval_s, last = (
                int(table[name]) for name in ("number", "began_ms", "interval_s", "last")
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("beacons: %s cannot be read; a new chain begins", self._path)
            return None
        if boot_id != self._boot_id or not is_private or now_ms < began_ms or len(end) != KEY_LEN:
            return None
        if (interval_s, last) != (self._interval_s, self._last) or not 0 < number <= _U16:
            return None
        return Chain.from_end(end, number=number, began_ms=began_ms, interval_s=interval_s, last=last)
