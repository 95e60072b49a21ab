"""Notes in the outbox what the platform has answered: all that came while one commit was made shares the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from operator import attrgetter

from gateway.city.lines import weight_of
from gateway.outbox import Batch, Lane, Outbox, Outcome, Stored, count_of
from gateway.store_errors import StoreFailed, StoreFull

log = logging.getLogger(__name__)

_AGAIN_S = 1.0
_ID = attrgetter("id")


class Settling:
    """One platform's answers on their way to the disk. `count`: records of which the disk does not know yet.

    weight  bytes that these take
    """

    def __init__(self, outbox: Outbox, city: str) -> None:
        self.count = 0
        self.weight = 0
        self.on_settled: Callable[[], None] | None = None
        self._outbox = outbox
        self._city = city
        self._answered: dict[str, dict[tuple[Lane, int, Outcome], list[Stored]]] = {}  # by reason
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, lane: Lane, stream: int, records: Sequence[Stored], outcome: Outcome, *, reason: str = "") -> None:
        """The platform has, or refuses for good and says why, these records."""
        self._answered.setdefault(reason, {}).setdefault((lane, stream, outcome), []).extend(records)
        self.count += count_of(records)
        self.weight += weight_of(records)
        self._idle.clear()
        self._news.set()

    async def idle(self) -> None:
        """Return once the disk knows everything that was added."""
        await self._idle.wait()

    async def run(self) -> None:
        """Until cancelled. What cannot be written is tried again: sending it once more would help nobody."""
        while True:
            await self._news.wait()
            self._news.clear()
            answered, self._answered = self._answered, {}
            for reason, found in answered.items():
                outcomes = [
                    (Batch(city=self._city, stream=stream, lane=lane, records=tuple(sorted(records, key=_ID))), outcome)
                    for (lane, stream, outcome), records in found.items()
                ]
                await self._settle(outcomes, reason)
                for batch, _ in outcomes:
                    self.count -= count_of(batch.records)
                    self.weight -= weight_of(batch.records)
            if not self.count:
                self._idle.set()
            if self.on_settled is not None:
                self.on_settled()

    async def _settle(self, outcomes: Sequence[tuple[Batch, Outcome]], reason: str) -> None:
        while True:
            try:
                await self._outbox.settle(outcomes, reason=reason)
            except (StoreFull, StoreFailed) as error:
                log.warning("city %s: what it took cannot be noted, trying again: %s", self._city, error)
                await asyncio.sleep(_AGAIN_S)
            else:
                return
