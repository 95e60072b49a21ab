"""What the outbox may keep, and what goes first when something must go.

What has outlived its time goes whenever that is seen. For want of room the oldest telemetry is thinned, then the oldest
of the least important stream is given up: bulk, telemetry, events, and alarms last. Each is counted, and told in gap
records or by what stands for it, in the same commit. Room is a number of records, a number of bytes, and a number of
bytes that must stay free on the disk. Source: docs/decisions/0013.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway import gaps
from gateway.boot_table import BootTable
from gateway.clock import ClockTrust
from gateway.outbox.ages import Ages
from gateway.outbox.entries import Transaction
from gateway.outbox.giving_up import told, waiting_for
from gateway.outbox.leaving import Leaving
from gateway.outbox.ledger import Ledger
from gateway.outbox.ranges import Ranges, Run, runs_of
from gateway.outbox.reader import Reader
from gateway.outbox.thinning import thinned
from gateway.reading import STREAMS, Report

log = logging.getLogger(__name__)

# Give up a hundredth more than needed, and never only a few: a gap record is larger than what it tells of.
_SLACK = 100
_SLACK_RECORDS = 16
_ALWAYS_BYTES = 1_000_000  # an outbox so small gives nothing up for the sake of the disk
_LOOK_AT_DISK_S = 1.0
_LOOK_AFTER = 16  # or when so much of the floor was stored since: a fast sender fills a small disk within a second
_LOG_EVERY_S = 60.0
_LEAST_AT_ONCE, _MOST_AT_ONCE = 256, 16_384  # records looked at in one commit: others wait for their answer
_MOST_BYTES_AT_ONCE = 4_000_000
_MOST_HOLES = 2_000  # runs between records that are left as they are: every commit copies them
_TELEMETRY, _BULK = STREAMS.index("telemetry"), STREAMS.index("bulk")
_FROM_THE_LAST = tuple(reversed(range(len(STREAMS))))
_TO_THIN = (_BULK, _TELEMETRY)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most the outbox may take.

    ttl_s        seconds to live by class; a class that is not in it is kept for any time
    thin_span_s  thinned telemetry is one record per node and so many seconds; 0: it is not thinned
    """

    max_records: int = 5_000_000
    max_bytes: int = 2_000_000_000
    min_free_bytes: int = 0
    ttl_s: Mapping[str, float] = field(default_factory=dict)
    thin_span_s: float = 3600.0


class _Excess(NamedTuple):
    """How many records, or else bytes, should go. `is_large`: twice the limit, so also what a platform may have."""

    records: int
    bytes: int
    is_large: bool


class Bounds:
    """Keeps the outbox within its limits; a part of the store's commits.

    put_gap    stores a gap record in the same commit
    put_own    numbers and stores a record of the gateway's own
    under_way  what a platform may have already, of a stream: it goes last of its class, lest it be told as missing
    set_tight  is told at each look whether the disk is short
    """

    def __init__(
        self,
        limits: Limits,
        *,
        free_bytes: Callable[[], int],
        reader: Reader,
        clock: ClockTrust,
        boot_table: BootTable,
        put_gap: Callable[[Transaction, gaps.Gap], None],
        put_own: Callable[[Transaction, Report], None],
        under_way: Callable[[int, Ledger], Iterable[Run]] = lambda *_: (),
        set_tight: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._limits = limits
        self._free_bytes = free_bytes
        self._reader = reader
        self._clock = clock
        self._ages = Ages({STREAMS.index(name): ttl_s for name, ttl_s in limits.ttl_s.items()}, boot_table)
        self._put_gap = put_gap
        self._put_own = put_own
        self._under_way = under_way
        self.leaving = Leaving()
        self._set_tight = set_tight
        self._looked_at_s = float("-inf")
        self._looked_at_bytes = 0
        self._held_bytes: int | None = None  # the most while the disk is short
        self._looked_through = [0] * len(STREAMS)  # by stream: what was thinned, or found not to be worth it
        self._kept_through = self._looked_through[:]
        self._said: dict[str, float] = {}

    def flush(self, tx: Transaction) -> None:
        """Let expire what is due, and make room. The records that this makes are counted too."""
        ledger, frame = tx.state.ledger, tx.frame
        self.leaving.clear()
        self._kept_through = self._looked_through[:]
        came = sum(frame.next) - sum(frame.began_at)
        if came:
            self._ages.note(tx, frame.next, [gone.base for gone in ledger.gone])
        most = max(_MOST_AT_ONCE, 2 * came)
        has_expired = self._expire(tx, most)
        if came:
            self._make_room(tx, most)
        frame.makes_room = has_expired and not came

    def forget(self) -> None:
        """Nothing is remembered that a failed commit would make wrong."""
        self._ages.forget()
        self.leaving.clear()
        self._looked_through = self._kept_through[:]

    def give_up_unreadable(self, tx: Transaction, stream: int, runs: Sequence[Run]) -> None:
        """Take unreadable records out, counted, with a gap record that says how many."""
        self._give_up(tx, stream, runs, "damaged", told(tx.state.ledger, stream, runs, [], gaps.DAMAGED))

    def _give_up(
        self, tx: Transaction, stream: int, runs: Sequence[Run], column: str, found: Iterable[gaps.Gap]
    ) -> None:
        tx.give_up(stream, column, runs)
        for gap in found:
            self._put_gap(tx, gap)

    # Time to live

    def _expire(self, tx: Transaction, most: int) -> bool:
        """Whether anything had outlived its time."""
        has_expired = False
        for stream, ordinal in self._ages.expired(tx).items():
            runs = self._oldest(tx, stream, most, before=ordinal)
            if not runs:
                continue
            has_expired = True
            self._drop(tx, stream, runs, "expired", gaps.EXPIRED)
            if self._oldest(tx, stream, 1, before=ordinal):
                self._ages.look_again(stream)
        return has_expired

    def _drop(self, tx: Transaction, stream: int, runs: Sequence[Run], column: str, reason: str) -> None:
        count = sum(end - first for first, end in runs)
        records, _ = self._reader.read(stream, runs, most=count)
        self._say(column, f"{count} of the oldest records of class {STREAMS[stream]} are {reason}")
        self._give_up(tx, stream, runs, column, told(tx.state.ledger, stream, runs, records, reason))

    # Room

    def _make_room(self, tx: Transaction, most: int) -> None:
        self._look_at_disk(sum(tx.state.ledger.sizes))
        most_bytes = (
            self._limits.max_bytes if self._held_bytes is None else min(self._limits.max_bytes, self._held_bytes)
        )
        over = self._over(tx.state.ledger, most_bytes)
        while over and self._thin(tx):
            over = self._over(tx.state.ledger, most_bytes)
        if over:
            self._evict(tx, over, most=most)

    def _over(self, ledger: Ledger, most_bytes: int) -> _Excess | None:
        """None if all is well."""
        most = self._limits.max_records
        records = sum(ledger.records(stream) for stream in range(len(STREAMS))) - most
        size = sum(ledger.sizes) - most_bytes
        if records > 0:
            return _Excess(records + max(most // _SLACK, _SLACK_RECORDS), 0, records > most)
        return _Excess(0, size + most_bytes // _SLACK, size > most_bytes) if size > 0 else None

    def _look_at_disk(self, size: int) -> None:
        """Below the floor the outbox keeps to what it has; with half of that free it gives way, by and by."""
        floor, now_s = self._limits.min_free_bytes, self._clock.monotonic_s()
        is_due = now_s - self._looked_at_s >= _LOOK_AT_DISK_S or size - self._looked_at_bytes > floor // _LOOK_AFTER
        if not floor or not is_due:
            return
        self._looked_at_s, self._looked_at_bytes = now_s, size
        free = self._free_bytes()
        self._set_tight(free < floor)
        if free >= floor:
            self._held_bytes = None
            return
        if self._held_bytes is None:
            self._held_bytes = max(size, _ALWAYS_BYTES)
            self._say("floor", f"less than {floor} bytes are free: the outbox does not grow further")
        if free < floor // 2:
            self._held_bytes = max(self._held_bytes - self._held_bytes // _SLACK, _ALWAYS_BYTES)

    def _thin(self, tx: Transaction) -> bool:
        """Thin the oldest that was not looked at. False if nothing came of it, or what was thinned takes its share."""
        ledger = tx.state.ledger
        if not self._limits.thin_span_s or 2 * ledger.sizes[_BULK] > ledger.sizes[_TELEMETRY]:
            return False
        if any(len(ledger.gone[stream].firsts) > _MOST_HOLES for stream in _TO_THIN):
            return False
        return any(self._thin_stream(tx, stream) for stream in _TO_THIN)

    def _thin_stream(self, tx: Transaction, stream: int) -> bool:
        ledger = tx.state.ledger
        wanted = min(max(ledger.records(stream) // 8, _LEAST_AT_ONCE), _MOST_AT_ONCE)
        runs = self._oldest(tx, stream, wanted, after=self._looked_through[stream])
        records, _ = self._reader.read(stream, runs, most=wanted, most_bytes=_MOST_BYTES_AT_ONCE)
        if not records:
            return False
        self._looked_through[stream] = records[-1].ordinal + 1
        whose = ((one.ordinal, one.report, waiting_for(ledger, stream, one.ordinal)) for one in records)
        made = thinned(whose, self._limits.thin_span_s)
        for one in made:
            self._put_own(tx, one.report)
        if made:
            ordinals = sorted(ordinal for one in made for ordinal in one.ordinals)
            self._say("thinned", f"{len(ordinals)} of the oldest records of class {STREAMS[stream]} are thinned")
            tx.give_up(stream, "thinned", runs_of(ordinals))
        return bool(made)

    def _evict(self, tx: Transaction, over: _Excess, *, most: int) -> None:
        """Give up the oldest of the least important streams until the excess is gone."""
        ledger, records, size = tx.state.ledger, over.records, over.bytes
        for stream in _FROM_THE_LAST:
            stored = ledger.records(stream)
            if not stored or (records <= 0 and size <= 0):
                continue
            average = max(1, ledger.sizes[stream] // stored)
            wanted = records if records > 0 else -(-size // average)
            runs = self._oldest(tx, stream, min(wanted, most))
            left = min(wanted, most) - sum(end - first for first, end in runs)
            if left > 0 and over.is_large:
                runs += _first_of(self._on_its_way(tx, stream), left)
            records, size = records - stored, size - stored * average  # what just came gives way with a later commit
            if runs:
                self._drop(tx, stream, runs, "evicted", gaps.EVICTED)

    def _oldest(
        self, tx: Transaction, stream: int, wanted: int, *, after: int = 0, before: int | None = None
    ) -> list[Run]:
        """Up to so many of the oldest records of a stream, of the ordinals in [after, before).

        They are on disk, and on their way to nobody.
        """
        ledger, began_at = tx.state.ledger, tx.frame.began_at[stream]
        end = began_at if before is None else min(before, began_at)
        stored = ledger.gone[stream]

        def pick() -> list[Run]:
            busy = _joined(self._under_way(stream, ledger))
            free = (part for run in stored.missing(after, max(after, end)) for part in busy.missing(*run))
            return _first_of(free, wanted)

        return self.leaving.choose(stream, pick)

    def _on_its_way(self, tx: Transaction, stream: int) -> list[Run]:
        """The rest of them."""
        ledger, end = tx.state.ledger, tx.frame.began_at[stream]
        busy = _joined(self._under_way(stream, ledger))
        waiting = ledger.gone[stream]
        return [part for first, stop in busy for part in waiting.missing(first, min(stop, end))]

    def _say(self, what: str, words: str) -> None:
        """Now and then: a log line for each would wear the disk that is short."""
        now_s = self._clock.monotonic_s()
        if now_s - self._said.get(what, float("-inf")) >= _LOG_EVERY_S:
            self._said[what] = now_s
            log.warning("%s; `lamppost gateway status` counts all of them", words)


def _joined(runs: Iterable[Run]) -> Ranges:
    found = Ranges()
    for first, end in runs:
        found.add(first, end)
    return found


def _first_of(runs: Iterable[Run], wanted: int) -> list[Run]:
    found: list[Run] = []
    for first, end in runs:
        if wanted <= 0:
            break
        found.append((first, min(end, first + wanted)))
        wanted -= found[-1][1] - first
    return found


def tell_unreadable(
    tx: Transaction, put_gap: Callable[[Transaction, gaps.Gap], None], count: int, losers: Sequence[str]
) -> None:
    """A gap record of records of which only the number is known."""
    put_gap(tx, gaps.Gap(node="", count=count, reason=gaps.DAMAGED, platforms=tuple(sorted(losers))))
