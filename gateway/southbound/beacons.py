"""When the next beacon is due, and what it says: with the gateway's time, if that is good. Keys: identity/chain."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.clock import ClockTrust
from gateway.identity.chain import Chain, ChainFile

log = logging.getLogger(__name__)
_AHEAD_MS = 250  # how long before its moment a beacon is made
_AFTER_MS = 25  # after the interval began: a clock that is steered by 8 % meanwhile may not disclose a key early
_RETRY_MS = 60_000


class Beacons:
    """The beacons of one radio, each once."""

    def __init__(self, chain: ChainFile, clock: ClockTrust, *, count: Callable[[str, int], None]) -> None:
        self._file = chain
        self._clock = clock
        self._count = count
        self._made: tuple[int, int] | None = None  # chain and interval of the latest
        self._blocked_until_ms = 0

    def due(self, *, now_us: int) -> tuple[bytes, int] | None:
        """The next beacon and its moment (microseconds, as now_us), once that is near."""
        now_ms = self._file.now_ms()
        chain = self._chain(now_ms)
        if chain is None:
            return None
        interval = chain.interval_at(now_ms) + 1
        wait_ms = chain.start_ms(interval) + _AFTER_MS - now_ms
        if wait_ms > _AHEAD_MS or interval > chain.last or self._made == (chain.number, interval):
            return None
        self._made = (chain.number, interval)
        is_good = self._clock.is_good
        utc_s = self._clock.now_s() + wait_ms / 1_000 if is_good else None
        return chain.beacon(interval, utc_s=utc_s, error_s=self._clock.error_s or 0.0), now_us + wait_ms * 1_000

    def _chain(self, now_ms: int) -> Chain | None:
        if now_ms < self._blocked_until_ms:
            return None
        try:
            return self._file.current()
        except OSError as error:
            self._blocked_until_ms = now_ms + _RETRY_MS
            self._count("lora_beacons_skipped_disk", 1)
            log.warning("no beacons: the chain cannot be written (%s); free space under data_dir", error.strerror)
            return None
