"""Delivers stored records to one city, and moves the cursor by what the city answered. Eviction is the outbox's own.

Oldest records first, one pack of one node per message. Several packs are on their way at one time, as many as the
platform takes, but of each node only one, so that the order per node holds even if one pack is refused. Nothing is kept
on the way: what was not answered is still in the outbox, and goes out again under the same record ids.
"""

import asyncio
import itertools
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from gateway.city.platform import PackRefused, Platform
from gateway.errors import CityError
from gateway.mqtt.codes import NO_MATCHING_SUBSCRIBERS, PAYLOAD_FORMAT_INVALID, TOPIC_NAME_INVALID, name_of
from gateway.outbox import Batch, Outbox, Outcome
from gateway.senml import encode
from gateway.store_errors import StoreFailed, StoreFull

log = logging.getLogger(__name__)

_ABOUT_THE_PAYLOAD = (TOPIC_NAME_INVALID, PAYLOAD_FORMAT_INVALID)
_TRIES = 3
_REFUSALS_KEPT = 10_000
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0


class Forwarder:
    """The way of one city's records out of the outbox.

    city_name           the city's name in the outbox
    require_subscriber  an answer of 0x10 (nobody subscribed) is no delivery
    batch_records       records taken from the outbox at one time
    pack_records        most records in one message
    """

    def __init__(
        self,
        outbox: Outbox,
        city: Platform,
        *,
        city_name: str,
        count: Callable[[str], None],
        require_subscriber: bool = False,
        batch_records: int = 1_000,
        pack_records: int = 16,
    ) -> None:
        self._outbox = outbox
        self._city = city
        self._city_name = city_name
        self._count = count
        self._require_subscriber = require_subscriber
        self._batch_records = batch_records
        self._pack_records = pack_records
        self._refusals: Counter[int] = Counter()  # per record that was refused and is still to be settled
        self._last_refusal = ""
        self._state = "waiting"

    async def run(self) -> None:
        """Serve until cancelled. No task outlives this call."""
        failures = 0
        while True:
            self._state = "waiting"
            await self._city.ready()
            batch = await self._outbox.oldest(self._city_name, self._batch_records)
            self._state = "delivering"
            if await self._deliver(batch):
                failures = 0
                continue
            self._state = "retrying"
            await asyncio.sleep(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**failures))
            failures = min(failures + 1, 8)

    def status(self) -> dict[str, object]:
        """What `gateway status` shows."""
        return {"state": self._state, "last_refusal": self._last_refusal, "records_refused_so_far": len(self._refusals)}

    async def _deliver(self, batch: Batch) -> bool:
        """Send what the batch holds. Returns whether the city settled all of it."""
        answers = Answers(self._outbox)
        nodes = deque(self._queues(batch))
        async with asyncio.TaskGroup() as tasks:
            settling = tasks.create_task(answers.run(), name="forward.settle")
            async with asyncio.TaskGroup() as senders:
                for _ in range(min(self._city.window, len(nodes))):
                    senders.create_task(self._send_each(nodes, answers), name="forward.send")
            answers.close()
            await settling
        return answers.records_settled == len(batch.records)

    def _queues(self, batch: Batch) -> list[list[Batch]]:
        """The packs to send, a list per node. A record that was refused before goes alone, lest others go with it."""
        queues: dict[str, list[Batch]] = {}
        for pack in batch.packs(self._pack_records):
            queue = queues.setdefault(pack.records[0].report.node, [])
            if any(stored.id in self._refusals for stored in pack.records):
                queue += pack.packs(1)
            else:
                queue += _by_assurance(pack)
        return list(queues.values())

    async def _send_each(self, nodes: deque[list[Batch]], answers: "Answers") -> None:
        """Take one node after the other, its packs in order; after a refusal its later packs wait for a new round."""
        while nodes:
            for pack in nodes.popleft():
                try:
                    outcome = await self._send(pack)
                except CityError as error:
                    log.debug("city %s: a pack stays in the outbox: %s", self._city_name, error)
                    return
                if outcome is None:
                    break
                answers.add(pack, outcome)

    async def _send(self, pack: Batch) -> Outcome | None:
        """Send one pack. Returns what became of it; None if it is to be sent again."""
        reports = [stored.report for stored in pack.records]
        try:
            code = await self._city.publish(encode(reports, lane=pack.lane, content=self._city.content))
        except PackRefused as error:
            return self._refused(pack, str(error))
        if code == NO_MATCHING_SUBSCRIBERS and not self._require_subscriber:
            self._forgive(pack)
            return "unheard"
        if code < 0x80 and code != NO_MATCHING_SUBSCRIBERS:
            self._forgive(pack)
            return "delivered"
        self._count(f"city_answered_{code:02x}")
        if code in _ABOUT_THE_PAYLOAD:
            return self._refused(pack, name_of(code))
        self._note(f"{name_of(code)}; tried again until the city takes it")
        return None

    def _refused(self, pack: Batch, why: str) -> Outcome | None:
        """Count a refusal of the payload; after the third of a record that went alone it is given up."""
        ids = [stored.id for stored in pack.records]
        if len(self._refusals) > _REFUSALS_KEPT:  # of records that were evicted meanwhile
            self._refusals.clear()
        self._refusals.update(ids)
        self._note(f"{why}; record {pack.records[0].report.record_id}")
        if len(ids) > 1 or self._refusals[ids[0]] < _TRIES:
            return None
        self._forgive(pack)
        return "refused"

    def _forgive(self, pack: Batch) -> None:
        if self._refusals:
            for stored in pack.records:
                self._refusals.pop(stored.id, None)

    def _note(self, refusal: str) -> None:
        if refusal != self._last_refusal:
            log.warning("city %s refuses: %s", self._city_name, refusal)
        self._last_refusal = refusal


def _by_assurance(pack: Batch) -> Iterator[Batch]:
    """A pack says one assurance of all it holds."""
    for _, records in itertools.groupby(pack.records, key=lambda stored: stored.report.assurance):
        yield replace(pack, records=tuple(records))


class Answers:
    """Settles in the outbox what the city has answered: all that came while one commit was made share the next."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._answered: list[tuple[Batch, Outcome]] = []
        self._news = asyncio.Event()
        self._is_closed = False
        self.records_settled = 0

    def add(self, pack: Batch, outcome: Outcome) -> None:
        self._answered.append((pack, outcome))
        self._news.set()

    def close(self) -> None:
        """No more will come."""
        self._is_closed = True
        self._news.set()

    async def run(self) -> None:
        """Until closed and empty. What cannot be written is left: it goes out again, under the same record ids."""
        while not (self._is_closed and not self._answered):
            await self._news.wait()
            self._news.clear()
            answered, self._answered = self._answered, []
            if not answered:
                continue
            try:
                await self._outbox.settle(answered)
            except (StoreFull, StoreFailed) as error:
                log.warning("the city has %d packs that cannot be noted as delivered: %s", len(answered), error)
            else:
                self.records_settled += sum(len(pack.records) for pack, _ in answered)
