"""A gateway whose clock is scripted, with those who measure and a city that checks every time it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import senml
from gateway.core import Core
from gateway.intake import Message
from gateway.reading import Reading, Report
from tests.gateway.cores import hear, running_core
from tests.gateway.link_node import LinkNode
from tests.gateway.machines import DAY_S, ScriptedMachine

UNSAID_ERROR_S = 5.0  # docs/protocol.md: a good time without an error of its own


@dataclass
class Street:
    """A gateway on a scripted machine, a node, a third-party device, a sensor of its own, and a city that checks."""

    folder: Path
    machine: ScriptedMachine
    core: Core = field(init=False)
    node: LinkNode = field(default_factory=LinkNode)
    seq: int = 0
    node_began_s: float = 0.0
    true_s: dict[str, float] = field(default_factory=dict)  # by record id: when it was measured
    content: dict[str, str] = field(default_factory=dict)  # by record id: what the city got
    qualities: list[str] = field(default_factory=list)
    last_seq: dict[Any, int] = field(default_factory=dict)
    told_utc_s: list[int | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.node.enrol(self.folder, enrolled_at_s=int(self.machine.true_s - 30 * DAY_S))
        self.node_began_s = self.machine.true_s - 100

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        """One life of the gateway's process."""
        async with running_core(self.folder, clock=self.machine.clock(), cities=["city"]) as self.core:
            yield

    async def measure(self, *, kind: int | None = None) -> None:
        """One reading of each sort."""
        now_s = self.machine.true_s
        self.node.uptime_s = int(now_s - self.node_began_s)
        verdict = await hear(
            self.core,
            self.node.frame(self.seq, floor=self.seq, **({} if kind is None else {"kind": kind})),
            at_s=self.core.clock.stamp_s(),
        )
        assert verdict.downlink is not None
        utc_s = self.node.open(verdict.downlink).utc_s
        assert utc_s is None or abs(utc_s - now_s) <= 60, "a node was told a wrong time"
        self.told_utc_s.append(utc_s)
        self.true_s[f"{self.node.id}/{self.node.epoch}/{self.seq}"] = now_s
        self.seq += 1
        own = await self.core.intake.submit_own([Reading(quantity="temperature", value=20.0, unit="Cel")])
        self.true_s[own] = now_s
        message = Message(
            device="meter-1",
            payload=json.dumps([{"n": "power", "v": self.seq}]).encode(),
            content_type="application/senml+json",
            received_at_s=self.core.clock.stamp_s(),
            record_id=f"m{self.seq}",
        )
        assert (await self.core.intake.submit_senml(message)).stored == 1
        self.true_s[f"meter-1/c/m{self.seq}"] = now_s

    async def deliver(self, *, is_acknowledged: bool = True) -> int:
        """Take what the outbox gives, check it as the city would, acknowledge it. Returns how many records came."""
        count = 0
        while (await self.core.outbox.backlog("city")).records:
            batch = await self._ready()
            if batch is None:
                break
            for stored in batch.records:
                self._check(stored.report)
            count += len(batch.records)
            if not is_acknowledged:
                break
            await self.core.outbox.mark_delivered(batch)
        return count

    async def _ready(self) -> Any:
        """The next batch; None if all that is stored waits for the time."""
        await self.core.clockwork.tell_windows()  # a commit: what the clock has learnt is settled
        asked = asyncio.create_task(self.core.outbox.oldest("city", 100))
        await asyncio.wait([asked], timeout=0.3 if self.core.clock.trusted_s() is None else 20)
        if asked.done():
            return asked.result()
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        return None

    def _check(self, one: Report) -> None:
        records = json.loads(senml.encode([one], lane="live").payload)
        told = {record["n"]: record.get("v", record.get("vs")) for record in records}
        quality, error_s = told.get("time_quality", "good"), told.get("time_error", UNSAID_ERROR_S)
        off_s = abs(records[0]["bt"] - self.true_s[one.record_id])
        if quality in ("good", "received", "bounded"):
            assert off_s <= error_s, (one.record_id, quality, off_s, error_s)
        if quality in ("good", "received"):
            assert error_s <= 120
        if quality == "untrusted":
            assert records[0]["bt"] <= self.true_s[one.record_id] + UNSAID_ERROR_S, "it is older than it says"
        body = json.dumps(records)
        is_first = one.record_id not in self.content
        assert self.content.setdefault(one.record_id, body) == body, "one id with two contents"
        self.qualities.append(quality)
        if one.seq is not None and is_first:
            place = (one.node, one.epoch, one.kind)
            assert one.seq >= self.last_seq.get(place, -1), "out of order"
            self.last_seq[place] = one.seq

    def assert_complete(self) -> None:
        """Everything measured is at the city, once."""
        assert set(self.content) == set(self.true_s)
