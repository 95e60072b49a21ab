"""When there is no room the oldest of the least important stream gives way, counted, and told in gap records.

Room is a number of records, a number of bytes, and a number of bytes that must stay free on the disk. Alarms go last.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import gaps
from gateway.clock import ClockTrust
from gateway.outbox.entries import Transaction
from gateway.outbox.ranges import Run
from gateway.outbox.reader import Found, Reader
from gateway.reading import STREAMS

log = logging.getLogger(__name__)

# Evict a hundredth more than needed, and never only a few: a gap record is larger than what it tells of.
_SLACK = 100
_SLACK_RECORDS = 16
_ALWAYS_BYTES = 1_000_000  # an outbox so small gives nothing up for the sake of the disk
_LOOK_AT_DISK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most the outbox may take."""

    max_records: int = 5_000_000
    max_bytes: int = 2_000_000_000
    min_free_bytes: int = 0


class Bounds:
    """Keeps the outbox within its limits. `put_gap` stores a gap record in the same commit."""

    def __init__(
        self,
        limits: Limits,
        *,
        free_bytes: Callable[[], int],
        reader: Reader,
        clock: ClockTrust,
        put_gap: Callable[[Transaction, gaps.Gap], None],
    ) -> None:
        self._limits = limits
        self._free_bytes = free_bytes
        self._reader = reader
        self._clock = clock
        self._put_gap = put_gap
        self._looked_at_s = float("-inf")
        self._is_disk_short = False
        self._bytes_before = 0

    def flush(self, tx: Transaction) -> None:
        """Make room. The gap records that this makes are counted too."""
        ledger = tx.state.ledger
        size = sum(ledger.sizes)
        before, self._bytes_before = self._bytes_before, size
        if list(tx.frame.began_at) == tx.frame.next:  # nothing came
            return
        records = sum(ledger.records(stream) for stream in range(len(STREAMS)))
        most, most_bytes = self._limits.max_records, self._limits.max_bytes
        if self._disk_is_short():
            most_bytes = min(most_bytes, max(before, _ALWAYS_BYTES))
        if records > most:
            self._evict(tx, records - most + max(most // _SLACK, _SLACK_RECORDS), 0)
        elif size > most_bytes:
            self._evict(tx, 0, size - most_bytes + most_bytes // _SLACK)
        self._bytes_before = sum(ledger.sizes)

    def forget(self) -> None:
        """Nothing is remembered that a failed commit would make wrong."""

    def give_up_unreadable(self, tx: Transaction, stream: int, runs: Sequence[Run]) -> None:
        """Take unreadable records out, counted, with a gap record that says how many."""
        count = sum(end - first for first, end in runs)
        losers = tx.give_up(stream, "damaged", runs)
        tell_unreadable(tx, self._put_gap, count, losers)

    def _disk_is_short(self) -> bool:
        now_s = self._clock.monotonic_s()
        if self._limits.min_free_bytes and now_s - self._looked_at_s >= _LOOK_AT_DISK_S:
            self._looked_at_s = now_s
            is_short = self._free_bytes() < self._limits.min_free_bytes
            if is_short and not self._is_disk_short:
                log.warning(
                    "less than %d bytes are free: the outbox does not grow further", self._limits.min_free_bytes
                )
            self._is_disk_short = is_short
        return self._is_disk_short

    def _evict(self, tx: Transaction, records: int, size: int) -> None:
        """Give up the oldest of the least important streams until so many records, or bytes, are gone."""
        ledger = tx.state.ledger
        for stream in reversed(range(len(STREAMS))):
            stored = ledger.records(stream)
            if not stored or (records <= 0 and size <= 0):
                continue
            average = max(1, ledger.sizes[stream] // stored)
            runs = _oldest(tx, stream, records if records > 0 else -(-size // average))
            wanted = sum(end - first for first, end in runs)
            records, size = records - stored, size - stored * average  # what just came gives way with a later commit
            if not wanted:
                continue
            log.warning("no room: %d of the oldest records of class %s are given up", wanted, STREAMS[stream])
            committed, _ = self._reader.read(stream, runs, most=wanted)
            losers = tx.give_up(stream, "evicted", runs)
            self._tell(tx, committed, wanted - len(committed), losers)

    def _tell(self, tx: Transaction, records: Sequence[Found], others: int, losers: Sequence[str]) -> None:
        numbered: dict[tuple[str, int], list[int]] = {}
        unnumbered: Counter[str] = Counter()
        for one in records:
            report = one.report
            if report.seq is None or report.epoch is None:
                unnumbered[report.node] += 1
            else:
                numbered.setdefault((report.node, report.epoch), []).append(report.seq)
        found = [
            gap
            for (node, epoch), seqs in numbered.items()
            for gap in gaps.gaps_of(node, epoch, gaps.spans_of(seqs), gaps.EVICTED)
        ]
        found += [gaps.Gap(node=node, count=count, reason=gaps.EVICTED) for node, count in unnumbered.items()]
        if others:
            found.append(gaps.Gap(node="", count=others, reason=gaps.EVICTED))
        for gap in found:
            self._put_gap(tx, gaps.with_platforms(gap, tuple(sorted(losers))))


def _oldest(tx: Transaction, stream: int, wanted: int) -> list[Run]:
    """Up to so many of the oldest records of a stream that are on disk."""
    runs: list[Run] = []
    left = wanted
    for first, end in tx.state.ledger.gone[stream].missing(0, tx.frame.began_at[stream]):
        runs.append((first, min(end, first + left)))
        left -= runs[-1][1] - first
        if left <= 0:
            break
    return runs


def tell_unreadable(
    tx: Transaction, put_gap: Callable[[Transaction, gaps.Gap], None], count: int, losers: Sequence[str]
) -> None:
    """A gap record of records of which only the number is known."""
    put_gap(tx, gaps.Gap(node="", count=count, reason=gaps.DAMAGED, platforms=tuple(sorted(losers))))
