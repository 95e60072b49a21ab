"""The one queue between the two halves: records wait on disk for every platform until it acknowledged them.

A stream per class (alarm before event before telemetry before bulk), one stored copy, a cursor per platform and stream.
What moves a record counts it in the same commit, so that for each platform, at any moment and to the unit: accepted +
produced = delivered + stored + evicted + expired + thinned + damaged + refused. Knows neither frames nor SenML; what
must give way when there is no room is in outbox_bounds.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from gateway.boot_table import BootTable, resolved_head
from gateway.outbox_bounds import Bounds
from gateway.outbox_ledger import OVERHEAD_BYTES, AuditRow, Ledger, audit_rows, balance_of
from gateway.outbox_places import Place, Places
from gateway.reading import STREAMS, Report, from_bytes, stream_of, to_bytes
from gateway.store import Store

log = logging.getLogger(__name__)
Lane = Literal["live", "backlog"]
Outcome = Literal["delivered", "unheard", "refused"]

_LIVE_S = 10.0  # a record that waited longer than this is backlog
_QUARANTINED = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and its place in the outbox."""

    id: int
    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Records of one stream for one platform, oldest first."""

    city: str
    stream: int
    lane: Lane
    records: tuple[Stored, ...]

    def packs(self, most: int) -> list[Batch]:
        """Split into batches of one node and assurance, at most `most` records long, the order of each node kept."""
        by_node: dict[tuple[str, str], list[Stored]] = {}
        for stored in self.records:
            by_node.setdefault((stored.report.node, stored.report.assurance), []).append(stored)
        return [
            replace(self, records=tuple(records[at : at + most]))
            for records in by_node.values()
            for at in range(0, len(records), most)
        ]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What still waits for one platform. `bytes`: of all records stored, those of other platforms too."""

    records: int
    bytes: int
    oldest_at_s: float | None


class Outbox:
    """Records for the configured platforms. `put` belongs into a change of the store, the rest anywhere."""

    def __init__(self, store: Store, ledger: Ledger, bounds: Bounds, boot_table: BootTable) -> None:
        self._store = store
        self._boot_table = boot_table
        self._ledger = ledger
        self._bounds = bounds
        self._news = asyncio.Event()
        self._places = {city: Places() for city in ledger.cities}
        store.on_commit(self._announce)

    def put(self, tx: sqlite3.Connection, report: Report, *, is_produced: bool, now_s: float) -> None:
        """Store one record. On disk, and counted, with the commit of `tx`."""
        body = to_bytes(report)
        stream = STREAMS.index(stream_of(report.kind))
        tx.execute(
            "INSERT INTO records (stream, is_produced, node, epoch, seq, stored_at_s, size, crc, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (stream, is_produced, report.node, report.epoch, report.seq, now_s, len(body), zlib.crc32(body), body),
        )
        self._ledger.came(stream, len(body) + OVERHEAD_BYTES, is_produced=is_produced)

    async def oldest(self, city: str, limit: int) -> Batch:
        """The most important records that `city` has not settled, oldest first; waits while there are none.

        What cannot be dated yet waits for the time, and what follows it in its stream with it; not for ever.
        """
        while True:
            news = self._news
            batch, damaged, held = await self._store.read(lambda db: _oldest(db, city, limit, self._ledger.now_s()))
            if damaged:
                log.error("%d stored records are damaged; they are given up and reported as a gap", len(damaged))
                await self._store.write(partial(self._bounds.give_up_damaged, ids=damaged))
            elif due := self._boot_table.due(held):
                await self._store.write(partial(self._boot_table.release, reports=due))
            elif batch:
                return batch
            else:
                await news.wait()

    async def take(
        self, city: str, *, lane: Lane, streams: Sequence[int], limit: int, max_bytes: int | None = None
    ) -> Batch:
        """The next records of the most important of `streams` that has any; waits while none has.

        lane       "live": stored since `reconnected`; "backlog": what was unsettled then
        limit      most records; max_bytes: most bytes of them as stored, but never less than one record
        Takes each record once: it comes again after `give_back`, or as backlog after `reconnected`.
        """
        places = self._places[city]
        while True:
            news = places.news[lane]
            if places.tail is None:
                places.start(await self._store.read(_tail))
            for stream in streams:
                batch = await self._take_from(places.of(lane, stream), city, limit, max_bytes)
                if batch:
                    return batch
            await news.wait()

    async def _take_from(self, place: Place, city: str, limit: int, max_bytes: int | None) -> Batch | None:
        if place.returned:
            records = place.returned[:limit]
            del place.returned[:limit]
            return Batch(city=city, stream=place.stream, lane=place.lane, records=tuple(records))
        while True:
            batch, damaged, held = await self._store.read(lambda db: _after(db, city, place, limit, max_bytes))
            if damaged:
                log.error("%d stored records are damaged; they are given up and reported as a gap", len(damaged))
                await self._store.write(partial(self._bounds.give_up_damaged, ids=damaged))
            elif due := self._boot_table.due(held):
                await self._store.write(partial(self._boot_table.release, reports=due))
            else:
                break
        if batch:
            place.read_to = batch.records[-1].id
        return batch

    def give_back(self, batch: Batch) -> None:
        """`batch` was taken and not settled: it is taken again, before later ones of the same stream and lane."""
        self._places[batch.city].give_back(batch.lane, batch.stream, batch.records)

    def reconnected(self, city: str) -> None:
        """Live starts at the tail of every stream now; what is unsettled below it is owed as backlog."""
        self._places[city].rewind()

    async def mark_delivered(self, batch: Batch, *, unheard: bool = False) -> None:
        """The platform has these. `unheard`: it said that nobody was subscribed."""
        await self.settle([(batch, "unheard" if unheard else "delivered")])

    async def mark_refused(self, batch: Batch, reason: str) -> None:
        """The platform will not have these: they go into quarantine and are counted."""
        await self.settle([(batch, "refused")], reason=reason)

    async def settle(self, outcomes: Sequence[tuple[Batch, Outcome]], *, reason: str = "") -> None:
        """Move the platform's cursor over all these in one commit. What was evicted meanwhile stays counted as that."""

        def change(tx: sqlite3.Connection) -> None:
            for batch, outcome in outcomes:
                self._settle_one(tx, batch, outcome, reason)

        await self._store.write(change)

    def _settle_one(self, tx: sqlite3.Connection, batch: Batch, outcome: Outcome, reason: str) -> None:
        waiting = _still_waiting(tx, batch)
        if outcome == "refused":
            self._quarantine(tx, batch.city, waiting, reason)
        rows = [(batch.city, batch.stream, id_) for id_ in waiting]
        tx.executemany("INSERT INTO settled (city, stream, id) VALUES (?, ?, ?)", rows)
        counts = Counter({"refused" if outcome == "refused" else "delivered": len(waiting)})
        counts["unheard"] = len(waiting) if outcome == "unheard" else 0
        self._ledger.count(tx, batch.city, counts)
        self._ledger.advance(tx, batch.city, batch.stream)

    def _quarantine(self, tx: sqlite3.Connection, city: str, ids: Iterable[int], reason: str) -> None:
        for id_ in ids:
            tx.execute(
                "INSERT INTO quarantine (city, reason, at_s, body) SELECT ?, ?, ?, body FROM records WHERE id = ?",
                (city, reason, self._ledger.now_s(), id_),
            )
        tx.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (_QUARANTINED,))

    async def backlog(self, city: str) -> Backlog:
        """How much waits for `city`."""
        return await self._store.read(lambda db: backlog_of(db, city))

    async def audit(self) -> list[AuditRow]:
        """Promise 1 as of the last commit, one row per platform; each says whether it holds."""
        return await self._store.read(audit_rows)

    def _announce(self) -> None:
        """Wake everybody who waits, and let the next wait for the next commit."""
        self._news.set()
        self._news = asyncio.Event()
        for places in self._places.values():
            places.announce("live")
            places.announce("backlog")  # what was held for the time may have got it


def backlog_of(db: sqlite3.Connection, city: str) -> Backlog:
    """How much waits for `city`, in any connection to the database; as cheap with a full outbox as an empty one."""
    records = balance_of(db, city)
    size = db.execute("SELECT coalesce(sum(bytes), 0) FROM streams").fetchone()[0] if records else 0
    oldest = [db.execute(_FIRST, {"city": city, "stream": stream}).fetchone() for stream in range(len(STREAMS))]
    return Backlog(records, size, min((row[0] for row in oldest if row), default=None))


_FIRST = """
SELECT stored_at_s FROM records r WHERE stream = :stream
    AND id > (SELECT done_through FROM cursors WHERE city = :city AND stream = :stream)
    AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.city = :city AND s.stream = :stream AND s.id = r.id)
ORDER BY id LIMIT 1"""
_WAITING = """
    r.id > (SELECT done_through FROM cursors c WHERE c.city = :city AND c.stream = r.stream)
    AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.city = :city AND s.stream = r.stream AND s.id = r.id)"""


def _oldest(
    db: sqlite3.Connection, city: str, limit: int, now_s: float
) -> tuple[Batch | None, list[int], list[Report]]:
    """The next batch, or the ids of damaged records that stand in its way; and what waits for the time before it."""
    held: list[Report] = []
    for stream in range(len(STREAMS)):
        rows = db.execute(
            "SELECT id, stored_at_s, crc, body FROM records r WHERE stream = :stream"
            " AND r.id > (SELECT done_through FROM cursors WHERE city = :city AND stream = :stream)"
            " AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.city = :city AND s.stream = :stream AND s.id = r.id)"
            " ORDER BY id LIMIT :limit",
            {"city": city, "stream": stream, "limit": limit},
        ).fetchall()
        batch, damaged = _as_batch(rows, city, stream, now_s)
        if damaged:
            return None, damaged, []
        dated = resolved_head(db, [stored.report for stored in batch.records])
        if dated:
            records = tuple(Stored(old.id, new) for old, new in zip(batch.records, dated, strict=False))
            return replace(batch, records=records), [], held
        held += [stored.report for stored in batch.records]
    return None, [], held


def _tail(db: sqlite3.Connection) -> int:
    """The highest id given so far, of records that are gone too."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    return int(row[0]) if row else 0


def _after(
    db: sqlite3.Connection, city: str, place: Place, limit: int, max_bytes: int | None
) -> tuple[Batch | None, list[int], list[Report]]:
    """The records of one stream behind a place, or the ids of damaged ones there; else what waits for the time."""
    rows = db.execute(
        "SELECT id, stored_at_s, crc, body FROM records r WHERE stream = :stream AND id > :after AND id <= :through"
        " AND r.id > (SELECT done_through FROM cursors WHERE city = :city AND stream = :stream)"
        " AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.city = :city AND s.stream = :stream AND s.id = r.id)"
        " ORDER BY id LIMIT :limit",
        {"city": city, "stream": place.stream, "after": place.read_to, "through": place.ends_at, "limit": limit},
    ).fetchall()
    if max_bytes is not None:
        size = 0
        for at, row in enumerate(rows):
            size += len(row[3])
            if size > max_bytes and at:
                del rows[at:]
                break
    batch, damaged = _as_batch(rows, city, place.stream, 0.0)
    if damaged:
        return None, damaged, []
    dated = resolved_head(db, [stored.report for stored in batch.records])
    if not dated:
        return None, [], [stored.report for stored in batch.records]
    records = tuple(Stored(old.id, new) for old, new in zip(batch.records, dated, strict=False))
    return replace(batch, lane=place.lane, records=records), [], []


def _as_batch(
    rows: list[tuple[int, float, int, bytes]], city: str, stream: int, now_s: float
) -> tuple[Batch, list[int]]:
    records, damaged = [], []
    for id_, _, crc, body in rows:
        try:
            if zlib.crc32(body) != crc:
                raise ValueError("its checksum does not match")
            records.append(Stored(id_, from_bytes(body)))
        except (ValueError, TypeError):
            damaged.append(id_)
    lane: Lane = "backlog" if rows and rows[0][1] < now_s - _LIVE_S else "live"
    return Batch(city=city, stream=stream, lane=lane, records=tuple(records)), damaged


def _still_waiting(tx: sqlite3.Connection, batch: Batch) -> list[int]:
    """Those of the batch that are neither evicted nor settled before."""
    found = []
    for stored in batch.records:
        row = tx.execute(
            f"SELECT 1 FROM records r WHERE r.id = :id AND {_WAITING}", {"id": stored.id, "city": batch.city}
        ).fetchone()
        if row:
            found.append(stored.id)
    return found


__all__ = ["AuditRow", "Backlog", "Batch", "Bounds", "Ledger", "Outbox", "Stored", "audit_rows", "backlog_of"]
