"""How much airtime the gateway has left this hour. Kept in the data folder, so that a restart does not reset it.

The clock is the machine's time since boot: after a reboot it is behind the file's, and then no time counts as passed.
Source of the rules: drivers/radio/region.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from drivers.radio.region import DutyLedger, band_of

log = logging.getLogger(__name__)

_UNSYNCED_US = 30_000_000  # a power cut may take the kernel's last half minute of file writes with it
_URGENT_PERMILLE = 200  # of the allowance, kept for answers to alarms
_JOINS_APART_S = 2
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def seconds_since_boot() -> int:
    """Runs through suspend and is never set."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


class JoinShare:
    """How much of the allowance goes to answering joins: a fifth in any hour, as anybody may ask for one.

    A bucket that holds a hundredth of the allowance and fills at 18 % of it per hour. Beginning a join wants half of
    the bucket, so that one that has begun can also end; and two seconds since the last one, for while the gateway
    answers a stranger it is deaf to alarms.
    """

    def __init__(self, allowance_us: int, now_s: int) -> None:
        self._full_us = allowance_us // 100
        self._per_hour_us = allowance_us * 18 // 100
        self._left_us = float(self._full_us)
        self._at_s = now_s
        self._begun_at_s = now_s - _JOINS_APART_S

    def begin(self, now_s: int) -> bool:
        """Whether a new join is to be answered at all; then the next one is not for a while."""
        self._fill(now_s)
        if self._left_us * 2 < self._full_us or now_s - self._begun_at_s < _JOINS_APART_S:
            return False
        self._begun_at_s = now_s
        return True

    def take(self, airtime_us: int, now_s: int) -> bool:
        """Spend airtime on an answer; False, and nothing is spent, if the share has not so much left."""
        self._fill(now_s)
        if airtime_us > self._left_us:
            return False
        self._left_us -= airtime_us
        return True

    def _fill(self, now_s: int) -> None:
        passed_s = max(now_s - self._at_s, 0)
        self._at_s = now_s
        self._left_us = min(self._left_us + passed_s * self._per_hour_us / 3_600, float(self._full_us))


class DutyBook:
    """The duty ledger of one channel, on file. Writing costs one small file per transmission, without fsync."""

    def __init__(
        self,
        path: Path,
        *,
        freq_hz: int,
        bandwidth_hz: int,
        now_s: Callable[[], int] = seconds_since_boot,
        boot_id: str | None = None,
    ) -> None:
        self._path = path
        self._freq_hz = freq_hz
        self._bandwidth_hz = bandwidth_hz
        self._band = band_of(freq_hz, bandwidth_hz)
        self._now_s = now_s
        self._boot_id = boot_id or _BOOT_ID.read_text().strip()
        self._ledger = DutyLedger(now_s())
        self._joins = JoinShare(self._band.allowance_us, now_s())

    def load(self) -> None:
        """Take up what an earlier run spent. A file that cannot be read counts as most of the hour spent."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        boot_id, _, ledger = content.partition(b"\n")
        try:
            self._ledger = DutyLedger.from_bytes(ledger, self._now_s())
        except ValueError as error:
            log.warning("%s: %s; taking most of this hour's airtime as spent", self._path, error)
            self._ledger = DutyLedger.unknown(self._now_s())
        if boot_id.decode(errors="replace") != self._boot_id:
            lost_us = min(_UNSYNCED_US, self._band.allowance_us // 4)
            self._ledger.record(self._freq_hz, lost_us, self._now_s(), self._bandwidth_hz)

    def allows(self, airtime_us: int, *, is_urgent: bool) -> bool:
        """Whether such a frame may start now. The last fifth of the hour's airtime is for urgent ones."""
        wanted_us = airtime_us if is_urgent else airtime_us + self._band.allowance_us * _URGENT_PERMILLE // 1_000
        return bool(self._ledger.may_transmit(self._freq_hz, wanted_us, self._now_s(), self._bandwidth_hz))

    def begin_join(self) -> bool:
        """Whether the share of joins has room for another one now."""
        return self._joins.begin(self._now_s())

    def take_join_share(self, airtime_us: int) -> bool:
        """Whether an answer to a join may have so much airtime; then it has had it."""
        return self._joins.take(airtime_us, self._now_s())

    def record(self, airtime_us: int) -> None:
        """Note a frame before it starts. Raises OSError if that cannot be written: then do not transmit."""
        self._ledger.record(self._freq_hz, airtime_us, self._now_s(), self._bandwidth_hz)
        new = self._path.with_suffix(".new")
        new.write_bytes(self._boot_id.encode() + b"\n" + self._ledger.to_bytes())
        os.replace(new, self._path)

    def status(self) -> dict[str, object]:
        """What is spent and allowed, in milliseconds of airtime per hour."""
        spent_us = self._ledger.spent_us(self._freq_hz, self._now_s(), self._bandwidth_hz)
        return {"band": self._band.name, "spent_ms": spent_us // 1_000, "allowed_ms": self._band.allowance_us // 1_000}
