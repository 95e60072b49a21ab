"""When there is no room the oldest of the least important stream gives way, counted, and told in gap records.

Room is a number of records, a number of bytes, and a number of bytes that must stay free on the disk. Alarms go last.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import gaps
from gateway.clock import ClockTrust
from gateway.outbox_ledger import OVERHEAD_BYTES, Ledger
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
        ledger: Ledger,
        limits: Limits,
        *,
        data_dir: Path,
        clock: ClockTrust,
        put_gap: Callable[[sqlite3.Connection, gaps.Gap], None],
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._data_dir = data_dir
        self._clock = clock
        self._put_gap = put_gap
        self._looked_at_s = float("-inf")
        self._is_disk_short = False

    def flush(self, tx: sqlite3.Connection) -> None:
        """Count what came, then make room. The gap records that this makes are counted too."""
        before = sum(size for _, size in self._ledger.totals(tx).values())
        self._ledger.flush(tx)
        totals = self._ledger.totals(tx)
        records = sum(n for n, _ in totals.values())
        size = sum(size for _, size in totals.values())
        most = self._limits.max_records
        most_bytes = self._limits.max_bytes
        if self._disk_is_short():
            most_bytes = min(most_bytes, max(before, _ALWAYS_BYTES))
        if records > most:
            self._evict(tx, records - most + max(most // _SLACK, _SLACK_RECORDS), 0)
            self._ledger.flush(tx)
        elif size > most_bytes:
            self._evict(tx, 0, size - most_bytes + most_bytes // _SLACK)
            self._ledger.flush(tx)

    def forget(self) -> None:
        self._ledger.forget()

    def give_up_damaged(self, tx: sqlite3.Connection, ids: Sequence[int]) -> None:
        """Take unreadable records out, counted, with a gap record for what is known of them."""
        for stream in range(len(STREAMS)):
            marks = ",".join("?" * len(ids))
            rows = tx.execute(
                f"SELECT id, node, epoch, seq, size FROM records WHERE stream = ? AND id IN ({marks})", (stream, *ids)
            ).fetchall()
            if rows:
                self._give_up(tx, stream, rows, "damaged", gaps.DAMAGED)

    def _disk_is_short(self) -> bool:
        now_s = self._clock.monotonic_s()
        if self._limits.min_free_bytes and now_s - self._looked_at_s >= _LOOK_AT_DISK_S:
            self._looked_at_s = now_s
            status = os.statvfs(self._data_dir)
            is_short = status.f_bavail * status.f_frsize < self._limits.min_free_bytes
            if is_short and not self._is_disk_short:
                log.warning(
                    "less than %d bytes are free: the outbox does not grow further", self._limits.min_free_bytes
                )
            self._is_disk_short = is_short
        return self._is_disk_short

    def _evict(self, tx: sqlite3.Connection, records: int, size: int) -> None:
        for stream in reversed(range(len(STREAMS))):
            if records <= 0 and size <= 0:
                return
            rows = []
            cursor = tx.execute(
                "SELECT id, node, epoch, seq, size FROM records WHERE stream = ? ORDER BY id", (stream,)
            )
            for row in cursor:
                if records <= 0 and size <= 0:
                    break
                rows.append(row)
                records -= 1
                size -= row[4] + OVERHEAD_BYTES
            cursor.close()
            if rows:
                log.warning("no room: %d of the oldest records of class %s are given up", len(rows), STREAMS[stream])
                self._give_up(tx, stream, rows, "evicted", gaps.EVICTED)

    def _give_up(
        self,
        tx: sqlite3.Connection,
        stream: int,
        rows: Sequence[tuple[int, str, int, int, int]],
        column: str,
        reason: str,
    ) -> None:
        first, last = rows[0][0], rows[-1][0]
        given_up = {row[0] for row in rows}
        losers = set()
        for city in self._ledger.cities:
            waited = given_up.intersection(_waiting(tx, city, stream, first, last))
            self._ledger.count(tx, city, Counter({column: len(waited)}))
            if waited:
                losers.add(city)
        for at in range(0, len(rows), 500):
            ids = [row[0] for row in rows[at : at + 500]]
            marks = ",".join("?" * len(ids))
            self._ledger.remove(tx, stream, f"id IN ({marks})", ids)
            tx.execute(f"DELETE FROM settled WHERE stream = ? AND id IN ({marks})", (stream, *ids))
        self._tell(tx, rows, reason, tuple(sorted(losers)))

    def _tell(
        self,
        tx: sqlite3.Connection,
        rows: Sequence[tuple[int, str, int, int, int]],
        reason: str,
        platforms: tuple[str, ...],
    ) -> None:
        numbered: dict[tuple[str, int], list[int]] = {}
        unnumbered: Counter[str] = Counter()
        for _, node, epoch, seq, _ in rows:
            if seq is None:
                unnumbered[node] += 1
            else:
                numbered.setdefault((node, epoch), []).append(seq)
        found = [
            gap
            for (node, epoch), seqs in numbered.items()
            for gap in gaps.gaps_of(node, epoch, gaps.spans_of(seqs), reason)
        ]
        found += [gaps.Gap(node=node, count=count, reason=reason) for node, count in unnumbered.items()]
        for gap in found:
            self._put_gap(tx, gaps.with_platforms(gap, platforms))


def _waiting(tx: sqlite3.Connection, city: str, stream: int, first: int, last: int) -> set[int]:
    rows = tx.execute(
        "SELECT id FROM records r WHERE stream = :stream AND id BETWEEN :first AND :last"
        " AND id > (SELECT done_through FROM cursors WHERE city = :city AND stream = :stream)"
        " AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.city = :city AND s.stream = :stream AND s.id = r.id)",
        {"city": city, "stream": stream, "first": first, "last": last},
    )
    return {id_ for (id_,) in rows}
