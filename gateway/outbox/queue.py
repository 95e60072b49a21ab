"""The one queue between the two halves: records wait on disk for every platform until it acknowledged them.

A stream per class (alarm before event before telemetry before bulk), one stored copy, and for each platform and stream
a live lane and a backlog lane. What moves a record counts it in the same commit, so that for each platform, at any
moment and to the unit: accepted + produced = delivered + stored + evicted + expired + thinned + damaged + refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gateway.boot_table import BootTable, resolved_head
from gateway.outbox.batch import Backlog, Batch, Lane
from gateway.outbox.bounds import Bounds
from gateway.outbox.entries import Transaction
from gateway.outbox.lanes import Lanes
from gateway.outbox.ledger import AuditRow, Ledger, Outcome
from gateway.outbox.ranges import Run
from gateway.outbox.reader import Reader
from gateway.outbox.stored import Stored, count_of, each_of, runs_in
from gateway.reading import STREAMS, Assurance, Report, stream_of, to_bytes
from gateway.row import Row

if TYPE_CHECKING:
    from gateway.store import Store

log = logging.getLogger(__name__)

_LIVE_S = 10.0  # for `oldest`: a record that waited longer than this is backlog
_QUARANTINED = 1000
_MANY = 200  # records: so many for a platform make it worth a commit to note what it has
_SOON_S = 0.02
_LATER_S = 3.0
_EVERY = range(len(STREAMS))
_STREAM_CODES = {name: code for code, name in enumerate(STREAMS)}


class Outbox:
    """Records for the configured platforms. `put` belongs into a change of the store, the rest into the event loop."""

    def __init__(self, store: Store, bounds: Bounds, boot_table: BootTable, *, now_s: Callable[[], float]) -> None:
        self._store = store
        self._boot_table = boot_table
        self._bounds = bounds
        self._now_s = now_s
        self._news = asyncio.Event()
        self._lanes: dict[str, Lanes] = {}
        self._turns: dict[tuple[str, Lane], asyncio.Lock] = {}
        self._oldest_at_s: dict[tuple[str, int], tuple[int, float]] = {}
        store.on_commit(bounds.leaving.clear)
        store.on_commit(self._announce)

    @property
    def _ledger(self) -> Ledger:
        return self._store.vault.published

    @property
    def _reader(self) -> Reader:
        return self._store.vault.reader

    # In the commit thread

    def put(self, tx: Transaction, report: Report, *, is_produced: bool, now_s: float) -> None:
        """Store one record. On disk, and counted, with the commit of `tx`."""
        tx.put(report, _STREAM_CODES[stream_of(report.kind)], is_produced=is_produced, now_s=now_s)

    def put_rows(self, tx: Transaction, rows: Sequence[Row], assurance: Assurance, *, now_s: float) -> None:
        """The same for records of telemetry in their shortest form."""
        tx.put_rows(rows, _STREAM_CODES["telemetry"], assurance, now_s=now_s)

    # Taking

    async def take(
        self,
        city: str,
        *,
        lane: Lane,
        streams: Sequence[int],
        limit: int,
        max_bytes: int | None = None,
        in_rows: bool = False,
    ) -> Batch:
        """The next records of a lane, of the first of `streams` that has any; waits while there are none.

        Moves the lane's position, so that several batches can be on their way. Each is to be settled or given back.
        `in_rows`: several may come as one Stored.
        """
        batch = await self._take(city, lane, streams, limit, max_bytes)
        return batch if in_rows else replace(batch, records=each_of(batch.records))

    async def _take(self, city: str, lane: Lane, streams: Sequence[int], limit: int, max_bytes: int | None) -> Batch:
        lanes = self._lanes_of(city)
        async with self._turns.setdefault((city, lane), asyncio.Lock()):
            while True:
                news = self._news
                for stream in streams:
                    batch = await self._take_from(lanes, lane, stream, limit, max_bytes)
                    if batch is not None:
                        return batch
                await news.wait()

    async def _take_from(
        self, lanes: Lanes, lane: Lane, stream: int, limit: int, max_bytes: int | None
    ) -> Batch | None:
        given_back = lanes.returned(lane, stream, limit)
        if given_back:
            return Batch(city=lanes.city, stream=stream, lane=lane, records=given_back, connection=lanes.connection)
        while runs := lanes.runs(lane, stream, self._ledger, limit):
            connection = lanes.connection
            found = self._store.vault.state.fresh.read(stream, runs, most=limit, most_bytes=max_bytes)
            if not found:
                found = await self._fetch(stream, runs, limit, max_bytes)
            if connection != lanes.connection:
                continue
            if found:
                kept = self._bounds.leaving.hand_over(
                    stream,
                    found,
                    gone=lambda: self._ledger.gone[stream],
                    passed=lambda ordinal: lanes.passed(lane, stream, ordinal),
                )
                if kept:
                    return _as_batch(kept, lanes, stream, lane)
                await self._store.read(lambda _: None)  # a commit in the making gives up the first of them
                continue
            if lanes.runs(lane, stream, self._ledger, 1)[:1] == [(runs[0][0], runs[0][0] + 1)]:
                return None  # it waits for the time; what was damaged is given up by now
        return None

    async def _fetch(self, stream: int, runs: list[Run], most: int, most_bytes: int | None) -> list[Stored]:
        """Read; give up what cannot be read."""
        read = partial(self._reader.read, stream, runs, most=most, most_bytes=most_bytes)
        found, unreadable = await self._store.fetch(read)
        if unreadable:
            await self._store.write(lambda tx: self._give_up_unreadable(tx, stream, unreadable))
        return await self._dated(found) if any(one.is_pending for one in found) else found

    async def _dated(self, found: list[Stored]) -> list[Stored]:
        """With their times in UTC, up to the first that waits for the time; that it waits is not for ever."""
        while True:
            reports = [one.report for one in found]
            dated = await self._store.read(partial(resolved_head, reports=reports))
            due = [] if dated else self._boot_table.due(reports)
            if not due:
                return [old.with_report(new) for old, new in zip(found, dated, strict=False)]
            await self._store.write(partial(self._boot_table.release, reports=due))

    def _give_up_unreadable(self, tx: Transaction, stream: int, runs: list[Run]) -> None:
        """Of what could not be read: what still waits, and still cannot be read now that nothing moves."""
        gone = tx.state.ledger.gone[stream]
        waiting = [part for first, end in runs for part in gone.missing(first, end)]
        _, unreadable = self._reader.read(stream, waiting, most=sum(end - first for first, end in waiting) + 1)
        if unreadable:
            log.error("stored records are damaged; they are given up and reported as a gap")
            self._bounds.give_up_unreadable(tx, stream, unreadable)

    def give_back(self, batch: Batch) -> None:
        """It was not delivered: it will be taken again before later ones of its stream and lane."""
        self._lanes_of(batch.city).give_back(batch)
        self._announce()

    def reconnected(self, city: str) -> None:
        """The platform is there again: live begins at the tail of every stream, what is not settled is owed."""
        lanes = self._lanes_of(city)
        lanes.reconnect(self._ledger)
        lanes.is_connected = True
        self._announce()

    def disconnected(self, city: str) -> None:
        """Nothing is on its way to the platform until it is reconnected."""
        self._lanes_of(city).is_connected = False

    def under_way(self, stream: int, ledger: Ledger) -> list[Run]:
        """What platforms may have already though it is not settled; for any thread, as of a moment ago."""
        return [run for lanes in list(self._lanes.values()) for run in lanes.under_way(stream, ledger)]

    def has(self, city: str, *, lane: Lane, streams: Sequence[int]) -> bool:
        """Whether `take` would return at once."""
        return self._lanes_of(city).pending(lane, streams, self._ledger)

    def _lanes_of(self, city: str) -> Lanes:
        lanes = self._lanes.get(city)
        if lanes is None:
            lanes = self._lanes[city] = Lanes(city)
            lanes.reconnect(self._ledger)
        return lanes

    async def oldest(self, city: str, limit: int) -> Batch:
        """The most important records that `city` has not settled, oldest first; waits while there are none."""
        while True:
            news = self._news
            for stream in _EVERY:
                settled = self._ledger.settled.get((city, stream))
                runs = list(settled.missing(0, self._ledger.ends[stream])) if settled is not None else []
                found = await self._fetch(stream, runs, limit, None) if runs else []
                if found:
                    lane: Lane = "backlog" if found[0].stored_at_s < self._now_s() - _LIVE_S else "live"
                    return _as_batch(found, self._lanes_of(city), stream, lane)
            await news.wait()

    # Settling

    async def mark_delivered(self, batch: Batch, *, unheard: bool = False) -> None:
        """The platform has these. `unheard`: it said that nobody was subscribed."""
        await self.settle([(batch, "unheard" if unheard else "delivered")])

    async def mark_refused(self, batch: Batch, reason: str) -> None:
        """The platform will not have these: they go into quarantine and are counted."""
        await self.settle([(batch, "refused")], reason=reason)

    async def settle(self, outcomes: Sequence[tuple[Batch, Outcome]], *, reason: str = "") -> None:
        """Move the platform's cursor over all these in one commit. What was evicted meanwhile stays counted as that."""
        if outcomes:
            wait_s = self._settling_wait_s(outcomes)
            await self._store.write(lambda tx: self._settle(tx, outcomes, reason), within_s=wait_s)

    def _settling_wait_s(self, outcomes: Sequence[tuple[Batch, Outcome]]) -> float:
        """While a platform catches up, soon; else with the next records: a kill before it costs repeats, no loss."""
        settled: Counter[str] = Counter()
        for batch, _ in outcomes:
            settled[batch.city] += count_of(batch.records)
        waits = any(self._ledger.balance(city) - count > _MANY for city, count in settled.items())
        return _SOON_S if waits or settled.total() > _MANY else _LATER_S

    def _settle(self, tx: Transaction, outcomes: Sequence[tuple[Batch, Outcome]], reason: str) -> None:
        joined: dict[tuple[str, int, Outcome], list[Batch]] = {}
        for batch, outcome in outcomes:
            joined.setdefault((batch.city, batch.stream, outcome), []).append(batch)
        for (city, stream, outcome), batches in joined.items():
            if outcome == "refused":
                self._quarantine(tx, batches, reason)
            runs = runs_in(stored for batch in batches for stored in batch.records)
            tx.settle(city, stream, outcome, runs)

    def _quarantine(self, tx: Transaction, batches: Sequence[Batch], reason: str) -> None:
        for batch in batches:
            settled = tx.state.ledger.settled.get((batch.city, batch.stream))
            for stored in each_of(batch.records):
                if settled is not None and stored.id // len(STREAMS) not in settled:
                    row = (batch.city, reason, self._now_s(), to_bytes(stored.report))
                    tx.execute("INSERT INTO quarantine (city, reason, at_s, body) VALUES (?, ?, ?, ?)", row)
        tx.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (_QUARANTINED,))

    # Looking

    async def backlog(self, city: str) -> Backlog:
        """How much waits for `city`."""
        ledger = self._ledger
        records = ledger.balance(city)
        times = [await self._oldest_of(ledger, city, stream) for stream in _EVERY] if records else []
        oldest = min((at_s for at_s in times if at_s is not None), default=None)
        return Backlog(records, sum(ledger.sizes) if records else 0, oldest)

    async def _oldest_of(self, ledger: Ledger, city: str, stream: int) -> float | None:
        """When the first record was stored that waits in a stream. Looked up when it changes."""
        settled = ledger.settled.get((city, stream))
        run = next(settled.missing(0, ledger.ends[stream]), None) if settled is not None else None
        if run is None:
            return None
        known = self._oldest_at_s.get((city, stream))
        if known is None or known[0] != run[0]:
            found, _ = await self._store.fetch(partial(self._reader.read, stream, [run], most=1))
            known = self._oldest_at_s[city, stream] = (run[0], found[0].stored_at_s if found else self._now_s())
        return known[1]

    async def audit(self) -> list[AuditRow]:
        """Promise 1 as of the last commit, one row per platform; each says whether it holds."""
        return self._ledger.audit()

    def _announce(self) -> None:
        """Wake everybody who waits, and let the next wait for the next commit."""
        self._news.set()
        self._news = asyncio.Event()


def _as_batch(found: Sequence[Stored], lanes: Lanes, stream: int, lane: Lane) -> Batch:
    return Batch(
        city=lanes.city,
        stream=stream,
        lane=lane,
        records=tuple(found),
        size=sum(one.size for one in found),
        connection=lanes.connection,
    )
