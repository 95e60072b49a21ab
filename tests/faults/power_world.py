"""A gateway's store on a disk whose power goes, its senders, two platforms, and what must be true after each cut.

Everything above the file layers is the shipped code: intake, store, outbox. A sender sends the next message when the
last one was acknowledged, and else the same one again after the next start. Platforms take what the lanes give them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
from collections.abc import Iterable
from pathlib import Path

from drivers.link.frame import REPORT, URGENT, parse_downlink, reconstruct_counter
from gateway.core import Core
from gateway.errors import GatewayError
from gateway.intake import Burst, Message
from gateway.outbox import Lane, Outcome
from gateway.reading import STREAMS, Reading, Report
from gateway.store import StoreError
from tests.faults.power import Power
from tests.faults.power_count import Count, Platform
from tests.faults.power_disk import PowerDisk
from tests.faults.power_floors import powered_floors
from tests.faults.power_sqlite import PowerSqlite
from tests.faults.power_windows import EDGE, WindowCheck
from tests.gateway.cores import NOW_S, ManualTime, hear, running_core
from tests.gateway.link_node import LinkNode

GATEWAY, CITIES = "gw-1", ("near", "far")
_ERRNOS = (5, 28)  # EIO, ENOSPC
_BOTH_LANES: tuple[Lane, ...] = ("live", "backlog")
_DEVICES = 3
_STEP_S = 0.125  # between two readings of a device, so that it never comes to be far in the future


class World:
    """One disk from its first start on. `go_on` makes one start, some traffic and one cut."""

    def __init__(self, data_dir: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.power = Power()
        small = self.chance.random() < 0.25  # a disk that fills up now and then
        self.segment_bytes = self.chance.choice((64 << 10, 128 << 10))
        capacity = (self.chance.randint(12, 30) if small else 4000) * self.segment_bytes
        self.disk = PowerDisk(self.power, self.chance, capacity=capacity)
        self.sqlite = PowerSqlite(self.power, self.chance)
        self.count = Count()
        self.time = ManualTime(NOW_S)
        self.platforms = [Platform(city) for city in CITIES]
        self.node = LinkNode(1)
        self._data_dir = data_dir
        self._next = [0] * _DEVICES
        self._unanswered: dict[int, int] = {}  # how many messages of a device came together, and had no answer
        self._own = 0
        self._seq = 0
        self._acknowledged: dict[str, object] = {}
        self._ids: dict[object, str] = {}  # by content
        self._contents: dict[str, object] = {}
        self._windows = WindowCheck()
        self._highest_down = 0
        self._down: dict[int, bytes] = {}
        self.node.enrol(data_dir)

    async def go_on(self) -> None:
        """Start, check what is there, let some traffic pass, and lose the power at some moment of all that."""
        with self.sqlite.installed(), powered_floors(self.power, self.chance):
            self._arm()
            try:
                async with self._core() as core:
                    self.count.starts += 1
                    await self._check(core)
                    self._spoil()
                    await self._traffic(core)
                    if self.chance.random() < 0.5:
                        self.power.off()  # else it may go while the gateway stops
            except Exception as error:  # noqa: BLE001  whatever it is, it is what the campaign looks for
                self._note_end(error)
            self._cut()

    async def finish(self) -> Count:
        """Start once more in peace, deliver everything, check."""
        with self.sqlite.installed(), powered_floors(self.power, self.chance):
            self.power.arm(None)
            try:
                async with self._core() as core:
                    self.count.starts += 1
                    await self._check(core)
                    await self._drain(core)
                    await self._check(core)
                    await self._check_windows(core)
            except Exception as error:  # noqa: BLE001  as above
                self._note_end(error)
        self.count.unsynced_writes += self.disk.unsynced + self.sqlite.lost
        self.count.failed_calls = self.power.failed
        self.count.acknowledged = len(self._acknowledged)
        self.count.records = len(self._contents)
        return self.count

    def _core(self) -> contextlib.AbstractAsyncContextManager[Core]:
        return running_core(
            self._data_dir,
            cities=CITIES,
            clock=self.time.clock,
            files=self.disk,
            segment_bytes=self.segment_bytes,
            gateway_id=GATEWAY,
            edge=EDGE,
        )

    def _arm(self) -> None:
        self.power.arm(int(math.exp(self.chance.uniform(0, math.log(400)))))

    def _spoil(self) -> None:
        """Some of the next calls fail, for once or a few times."""
        chance = self.chance
        if chance.random() < 0.5:
            at = [chance.randint(1, 40) for _ in range(chance.randint(1, 4))]
            self.power.spoil(
                {step + more: chance.choice(_ERRNOS) for step in at for more in range(chance.choice((1, 1, 3)))}
            )

    def _cut(self) -> None:
        self.count.cuts += 1
        self.power.off()
        self.disk.cut()
        self.sqlite.cut()
        for platform in self.platforms:
            platform.is_connected = False
            platform.on_the_way.clear()

    def _note_end(self, error: Exception) -> None:
        """An end that the power did not bring about."""
        if isinstance(error, GatewayError) and (not self.power.is_on or self.power.failed_since_armed):
            self.count.cut_while_starting += 1
            return
        self.count.start_failures.append(f"{type(error).__name__}: {error}")

    # Traffic

    async def _traffic(self, core: Core) -> None:
        chance = self.chance
        for _ in range(chance.randint(1, 8)):
            if not self.power.is_on:
                return
            self.time.advance(chance.uniform(0.1, 5))
            work = [self._send(core, device) for device in range(_DEVICES) if chance.random() < 0.7]
            if chance.random() < 0.5:
                work.append(self._report(core))
            if chance.random() < 0.4:
                work.append(self._own_record(core))
            if chance.random() < 0.3:
                work.append(core.clockwork.tell_windows())
            for platform in self.platforms:
                if chance.random() < (0.7 if platform.name == "near" else 0.15):
                    work.append(self._deliver(core, platform))
            chance.shuffle(work)
            await asyncio.gather(*work)

    async def _send(self, core: Core, device: int) -> None:
        """One message, or many that come together."""
        many = self._unanswered.setdefault(device, self.chance.choice((1, 1, 2, 40, 150)) if device == 0 else 1)
        values = range(self._next[device], self._next[device] + many)
        payloads = [json.dumps([{"n": "count", "v": value, "t": NOW_S + value * _STEP_S}]).encode() for value in values]
        try:
            (refused,) = await core.intake.submit_bursts([self._burst(device, payloads, values)])
        except StoreError:
            return  # the very same comes again: a store need not know for ever what it was sent
        for value, reason in zip(values, refused, strict=True):
            assert reason is None, reason
            self._next[device] = value + 1
            self._acknowledge(f"m{device}", ("count", value))
        del self._unanswered[device]

    def _burst(self, device: int, payloads: list[bytes], values: range) -> Burst | Message:
        name, at_s = f"m{device}", self.time.now_s
        if device != 1:
            return Burst(devices=[name] * len(payloads), payloads=payloads, received_at_s=at_s)
        (payload,), (value,) = payloads, values
        return Message(device=name, payload=payload, content_type=None, received_at_s=at_s, record_id=str(value))

    async def _report(self, core: Core) -> None:
        """One sealed frame with one to three reports, an alarm now and then; what is not acknowledged comes again."""
        node, many = self.node, self.chance.randint(1, 3)
        kind = URGENT if self.chance.random() < 0.3 else REPORT
        seqs = range(self._seq, self._seq + many)
        verdict = await hear(core, node.frame(*seqs, floor=self._seq, kind=kind), at_s=self.time.now_s)
        if verdict.downlink is None:
            return
        parsed = parse_downlink(verdict.downlink)
        counter = parsed.counter if parsed.is_full else reconstruct_counter(parsed.counter, self._highest_down)
        if self._down.setdefault(counter, verdict.downlink) != verdict.downlink:
            self.count.repeated_nonces.append(f"downlink {counter}")
        told = node.open(verdict.downlink, highest=self._highest_down)
        told.resolve(self._seq + many)
        self._highest_down = max(self._highest_down, counter)
        for seq in seqs:
            if told.holds(seq):
                self._acknowledge(node.id, ("seq", seq))
                self._seq = seq + 1

    async def _own_record(self, core: Core) -> None:
        value, self._own = self._own, self._own + 1
        with contextlib.suppress(GatewayError):
            await core.intake.submit_own([Reading(quantity="own", value=float(value))])
            self._acknowledge(GATEWAY, ("own", float(value)))

    def _acknowledge(self, node: str, content: tuple[str, float]) -> None:
        self._acknowledged[f"{node} {content[0]} {content[1]:g}"] = None

    # Platforms

    async def _deliver(self, core: Core, platform: Platform) -> None:
        """Take some, some of that in either lane; note it now or with a later one."""
        if not platform.is_connected or self.chance.random() < 0.2:
            core.outbox.reconnected(platform.name)
            platform.is_connected = True
            platform.on_the_way.clear()  # the connection broke before the answers came
        for lane in _BOTH_LANES:
            for stream in range(len(STREAMS)):
                if core.outbox.has(platform.name, lane=lane, streams=(stream,)):
                    await self._take(core, platform, lane, stream, self.chance.choice((1, 5, 40, 300)))
        if platform.on_the_way and self.chance.random() < 0.7:
            answered, platform.on_the_way = platform.on_the_way, []
            with contextlib.suppress(GatewayError):
                await core.outbox.settle(answered)
                platform.noted.update(one.report.record_id for batch, _ in answered for one in batch.records)

    async def _take(self, core: Core, platform: Platform, lane: Lane, stream: int, most: int) -> None:
        with contextlib.suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(5):
                batch = await core.outbox.take(platform.name, lane=lane, streams=(stream,), limit=most)
            for stored in batch.records:
                self._arrived(platform, stored.report, lane, stream)
            outcome: Outcome = self.chance.choices(("delivered", "unheard"), (9, 1))[0]  # type: ignore[assignment]
            platform.on_the_way.append((batch, outcome))

    def _arrived(self, platform: Platform, report: Report, lane: Lane, stream: int) -> None:
        self._note_identity(report)
        if report.record_id in platform.got:
            return
        platform.got.add(report.record_id)
        place = (report.node, stream, lane)
        at = _place_of(report)
        if at <= platform.order.get(place, -1):
            self.count.disorder.append(f"{platform.name} {lane}: {report.record_id} after {platform.order[place]}")
        platform.order[place] = at

    async def _drain(self, core: Core) -> None:
        for platform in self.platforms:
            core.outbox.reconnected(platform.name)
            platform.is_connected = True
            while (await core.outbox.backlog(platform.name)).records:
                for stream in range(len(STREAMS)):
                    if core.outbox.has(platform.name, lane="backlog", streams=(stream,)):
                        await self._take(core, platform, "backlog", stream, 1000)
                answered, platform.on_the_way = platform.on_the_way, []
                if not answered:
                    self.count.unbalanced.append(f"{platform.name} waits for records that nobody can take")
                    return
                await core.outbox.settle(answered)

    # What must be true

    async def _check_windows(self, core: Core) -> None:
        """Let all windows be told, and compare them with what is stored."""
        for _ in range(3):  # on a disk that was full they wait for room
            self.time.advance(10_000)
            await core.clockwork.tell_windows()
            await self._drain(core)
        self.count.miscounted += list(self._windows.mistakes())[:5]

    async def _check(self, core: Core) -> None:
        """After a start: everything that was acknowledged is here or there, once, in order, and counted."""
        if core.store.notices or core.store.vault.damaged:
            self.count.start_failures.append(f"{core.store.notices} {core.store.vault.damaged} damaged")
        ledger, reader = core.store.vault.published, core.store.vault.reader
        by_city: dict[str, set[str]] = {}
        for city in CITIES:
            waiting: set[str] = set()
            for stream in range(len(STREAMS)):
                runs = list(ledger.settled[city, stream].missing(0, ledger.ends[stream]))
                found, unreadable = reader.read(stream, runs, most=1 << 30)
                if unreadable:
                    self.count.lost.append(f"{city} {STREAMS[stream]}: {unreadable} cannot be read")
                self._note_order(city, stream, [one.report for one in found])
                waiting.update(one.report.record_id for one in found)
            by_city[city] = waiting
        for row in await core.outbox.audit():
            self._check_row(row.as_dict(), by_city[row.city])
        for platform in self.platforms:
            here = platform.got | by_city[platform.name]
            known = {_named(self._contents[id_]) for id_ in here}
            self.count.forgotten += sorted(platform.noted & by_city[platform.name])[:5]
            missing = self._acknowledged.keys() - known
            self.count.lost += [f"{platform.name} will not get {one}" for one in sorted(missing)[:5]]

    def _check_row(self, row: dict[str, object], waiting: set[str]) -> None:
        if not row["holds"] or row["stored"] != len(waiting):
            self.count.unbalanced.append(f"{len(waiting)} wait, {row}")
        counted = int(str(row["accepted"])) + int(str(row["produced"]))
        if counted != len(self._contents):
            self.count.unbalanced.append(f"{counted} counted, {len(self._contents)} seen")

    def _note_order(self, city: str, stream: int, reports: Iterable[Report]) -> None:
        last: dict[str, float] = {}
        for report in reports:
            self._note_identity(report)
            at = _place_of(report)
            if at <= last.get(report.node, -1):
                self.count.disorder.append(f"{city} stored: {report.record_id} after {last[report.node]}")
            last[report.node] = at

    def _note_identity(self, report: Report) -> None:
        content = _content_of(report)
        if report.record_id not in self._contents:
            self._windows.note(report)
            if report.kind == "gap":
                self.count.gaps.append(f"{report.subject}: {report.readings}")
        if self._contents.setdefault(report.record_id, content) != content:
            self.count.repeated_ids.append(report.record_id)
        if self._ids.setdefault(content, report.record_id) != report.record_id:
            self.count.two_ids.append(f"{content} is {self._ids[content]} and {report.record_id}")


def _place_of(report: Report) -> float:
    """What ascends over the records of one sender."""
    if report.seq is not None:
        return float((report.epoch or 0) << 32 | report.seq)
    return float(str(report.readings[0].value))


def _content_of(report: Report) -> tuple[str, str, float]:
    """(sender, what, number): what a sender said, whatever its record is called."""
    if report.kind == "window":
        revision = next((one.value for one in report.readings if one.quantity == "revision"), 0)
        return report.subject or "", f"window {report.measured_at_s:.0f}", float(str(revision))
    if report.node.startswith("urn:"):
        return report.node, "seq", float(report.seq or 0)
    return report.node, report.readings[0].quantity, float(str(report.readings[0].value))


def _named(content: object) -> str:
    node, what, number = content  # type: ignore[misc]
    return f"{node} {what} {number:g}"
