"""One report at two gateways, the first of which died before its ack was heard: the same record at the city.

The node is the firmware's own, with flash and NVS, a clock that drifts and acks that get lost. The gateways are two
cores whose clocks are not quite the same; the city compares what each of them would send, and shares no code with them.
"""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from firmware.leaving import leave, take_up
from gateway.core import Core
from gateway.senml import encode
from lamppost.demo.arrivals import Arrivals
from provisioning.enrol import enrol_public
from tests.gateway.cores import NOW_S, ManualTime, hear, running_core, stored_reports
from tests.gateway.joining import Site
from tests.gateway.link_node import LinkNode, report
from tests.gateway.machines import NEVER_SET, ScriptedMachine
from tests.gateway.street_node import StreetNode, Wire
from tests.gateway.time_street import Street as TimeStreet

BEGAN_S = int(NOW_S) - 100
DAY_S = 86_400


class Street:
    """A node and two gateways. Every frame is up to `late_s` on its way."""

    def __init__(self, folder: Path, *, seed: int, always_full: bool, late_s: float, drift: float = 0.0) -> None:
        self.chance = random.Random(seed)
        self.folder, self.late_s, self.drift = folder, late_s, drift
        self.site = Site()
        for name in ("gw-1", "gw-2"):
            self.site.endorse(folder / name)
        self.wire = Wire(None, seed=seed)
        self.true_s = NOW_S + self.chance.random()
        self.node = StreetNode(folder / "flash", folder / "gw-1", self.site.trust(), self.wire)
        enrol_public(folder / "gw-2", public_key=self.node.keys.public, alias="flash")
        self.always_full = always_full
        self.off_s = 0.0  # of the clock of the gateway that hears

    def live(self, core: Core | None, off_s: float) -> None:
        self.wire.core, self.off_s = core, off_s

    async def boot(self) -> None:
        self.wire.at_s = self.true_s + self.off_s
        await self.node.boot()
        take_up(self.node.nvs, self.node.settings, self.node.archive._journal)
        self.node.reporter._always_full = self.always_full

    async def measure_and_report(self, pace_s: int) -> None:
        self.node.clock.pass_s(pace_s)
        self.true_s += pace_s * (1 + self.drift)
        self.node.measure()
        await self.report()

    async def report(self) -> bool:
        self.wire.at_s = self.true_s + self.off_s + self.chance.uniform(0, self.late_s)
        return await self.node.report()

    async def leave(self) -> None:
        """The node has lost its gateway: two boots, the first of them to join another one."""
        leave(SimpleNamespace(settings=self.node.settings, archive=self.node.archive))
        self.true_s += 17.3
        await self.boot()


async def told_to_the_city(arrivals: Arrivals, core: Core) -> int:
    found = [one for one in await stored_reports(core) if one.kind == "telemetry"]
    for one in found:
        pack = encode([one], lane="live")
        arrivals.add(pack.payload, [("record-id", one.record_id), *pack.remarks])
    return len(found)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("always_full, late_s, drift", [(False, 0.1, 20e-6), (False, 0.1, -150e-6), (True, 2.5, 20e-6)])
async def test_what_two_gateways_have_of_one_report_is_one_record(tmp_path, seed, always_full, late_s, drift) -> None:
    street = Street(tmp_path, seed=seed, always_full=always_full, late_s=late_s, drift=drift)
    node, pace_s = street.node, 10 + 590 * (seed % 2)
    async with running_core(tmp_path / "gw-1", clock=ManualTime().clock) as first:
        street.live(first, 0.0)
        await street.boot()
        for _ in range(street.chance.randrange(3, 80)):
            await street.measure_and_report(pace_s)
        street.wire._loss = 0.5  # now and then an ack is not heard
        for _ in range(street.chance.randrange(6)):
            await street.measure_and_report(pace_s)
        street.wire._loss, carry = 0.0, street.wire.carry

        async def deaf(frame: bytes, **about) -> None:
            await carry(frame, **about)

        street.wire.carry = deaf  # type: ignore[method-assign,assignment]
        for _ in range(street.chance.randrange(1, 4)):  # stored, and not heard of
            await street.measure_and_report(pace_s)
        street.wire.carry = carry  # type: ignore[method-assign]
        arrivals = Arrivals("gw-1")
        at_first = await told_to_the_city(arrivals, first)
        async with running_core(tmp_path / "gw-2", gateway_id="gw-2", clock=ManualTime().clock) as second:
            street.live(None, -0.4)
            for _ in range(2):
                await street.measure_and_report(pace_s)
            street.live(second, -0.4)
            await street.leave()
            while await street.report():
                street.node.clock.pass_s(3)
                street.true_s += 3
            at_second = await told_to_the_city(arrivals, second)
    assert len(arrivals.records) == len(node.issued)
    assert arrivals.repeats == at_first + at_second - len(node.issued) > 0
    assert arrivals.errors == []
    assert arrivals.duplicates == []
    assert not any("time_quality" in one.name for record in arrivals.records.values() for one in record.measurements)


async def test_the_first_gateway_alone_decides_if_nobody_told_the_node(tmp_path) -> None:
    """Then two contents of one id can come, which this file would notice."""
    street = Street(tmp_path, seed=1, always_full=True, late_s=0.0)
    async with running_core(tmp_path / "gw-1", clock=ManualTime().clock) as first:
        street.live(first, 0.0)
        await street.boot()
        street.wire._loss = 1.0
        await street.measure_and_report(10)
        street.wire._loss = 0.0
        await hear(first, street.wire.up[-1], at_s=street.true_s)
        arrivals = Arrivals("gw-1")
        await told_to_the_city(arrivals, first)
        async with running_core(tmp_path / "gw-2", gateway_id="gw-2", clock=ManualTime().clock) as second:
            street.live(second, 0.7)
            await street.leave()
            while await street.report():
                pass
            await told_to_the_city(arrivals, second)
    assert len(arrivals.duplicates) == 1


@pytest.fixture
def node(tmp_path: Path) -> LinkNode:
    """In a boot that began 100 s ago."""
    made = LinkNode()
    made.enrol(tmp_path)
    return made


async def times(core: Core) -> list[tuple[float, str]]:
    return [(one.measured_at_s, one.time_quality) for one in await stored_reports(core)]


@pytest.mark.parametrize(
    "told_off_s, measured_off_s",
    [(0, 0), (-3, -3), (4, 4), (6, 0.375), (-86_400, 0.375), (1 << 30, 0.375), (-int(NOW_S) + 200, 0.375)],
)
async def test_what_a_node_tells_counts_as_far_as_our_clock_agrees(tmp_path, node, told_off_s, measured_off_s) -> None:
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        await hear(core, node.frame(0, began_s=BEGAN_S + told_off_s), at_s=NOW_S + 0.375)
        assert await times(core) == [(NOW_S + measured_off_s, "good")]


@pytest.mark.parametrize(
    "began_s, quality",
    [
        (BEGAN_S - 5_000, "good"),
        (BEGAN_S + 100, "bounded"),
        (int(NOW_S) + 1_000, "bounded"),
        (1_000, "bounded"),
        (None, "bounded"),
    ],
)
async def test_an_older_boot_began_when_the_node_says_unless_that_cannot_be(tmp_path, node, began_s, quality) -> None:
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        node.boot = 5
        body = node.body([report(0, time_s=50), report(1, time_s=60)], older_boot=4, began_s=began_s)
        await hear(core, node.seal(body))
        first, second = await times(core)
        assert (first[1], second[1]) == (quality, quality)
        if quality == "good":
            assert (first[0], second[0]) == (began_s + 50, began_s + 60)


async def test_a_beginning_that_we_know_better_is_not_taken_later_either(tmp_path, node) -> None:
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        await hear(core, node.frame(0, began_s=BEGAN_S - 3_600))
        node.boot, node.uptime_s = 2, 5
        await hear(core, node.seal(node.body([report(1, time_s=90)], older_boot=1, began_s=BEGAN_S - 3_600)))
        assert await times(core) == [(NOW_S, "good"), (NOW_S - 10, "good")]


async def test_a_clock_that_drifted_for_months_is_as_it_was_last_told(tmp_path, node) -> None:
    """Not as it began by the first frame, which no later one can move."""
    time = ManualTime()
    async with running_core(tmp_path, clock=time.clock) as core:
        await hear(core, node.frame(0, began_s=BEGAN_S))
        time.advance(100 * DAY_S)
        node.uptime_s += 100 * DAY_S - 60  # a slow one
        await hear(core, node.frame(1, began_s=BEGAN_S + 60), at_s=time.now_s)
        last_s, node.boot, node.uptime_s = node.uptime_s, 2, 20
        time.advance(30)
        await hear(core, node.seal(node.body([report(2, time_s=last_s + 5)], older_boot=1)), at_s=time.now_s)
        assert (await times(core))[-1] == (time.now_s - 25, "good")


@pytest.mark.parametrize("told_off_s", [0, 3_600])
async def test_what_is_told_while_nobody_knows_the_time_is_held_against_it_later(tmp_path, told_off_s) -> None:
    street = TimeStreet(tmp_path, ScriptedMachine(wall_off_s=NEVER_SET))
    machine, node = street.machine, street.node
    async with street.gateway():
        began_s = machine.true_s - 100
        node.uptime_s = 100
        told = node.frame(0, began_s=int(began_s) + told_off_s)
        await hear(street.core, told, at_s=street.core.clock.stamp_s())
        machine.live(10)
        machine.reach_time_server()
        await street.core.clockwork.tell_windows()
        machine.live(10)
        await hear(street.core, node.frame(1, full=False), at_s=street.core.clock.stamp_s())
        node.boot, node.uptime_s = 2, 20
        older = node.seal(node.body([report(2, time_s=110)], older_boot=1))
        await hear(street.core, older, at_s=street.core.clock.stamp_s())
        found = await times(street.core)
    assert abs(found[-1][0] - began_s - 110) <= 5
    assert found[-1][1] == "good"


async def test_what_an_older_boot_told_stands_for_frames_that_do_not_repeat_it(tmp_path, node) -> None:
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        node.boot = 5
        body = node.body([report(0, time_s=50)], older_boot=4, began_s=BEGAN_S - 5_000)
        await hear(core, node.seal(body))
        body = node.body([report(1, time_s=60)], older_boot=4, full=False)
        await hear(core, node.seal(body, full=False))
        assert await times(core) == [(BEGAN_S - 5_000 + 50, "good"), (BEGAN_S - 5_000 + 60, "good")]


async def test_an_ack_tells_the_same_beginning_until_the_clocks_have_drifted_apart(tmp_path, node) -> None:
    """A short ack tells it too then, and not each time."""
    async with running_core(tmp_path, clock=ManualTime().clock) as core:

        async def told_s(*, full: bool, at_s: float, seq: int, **said: int) -> int | None:
            verdict = await hear(core, node.frame(seq, full=full, **said), at_s=at_s)
            utc_s: int | None = node.open(verdict.downlink, highest=seq).utc_s
            return utc_s

        assert await told_s(full=True, at_s=NOW_S + 0.4, seq=0) == NOW_S
        assert await told_s(full=True, at_s=NOW_S + 0.4, seq=1, began_s=BEGAN_S) == NOW_S
        for seq, off_s in enumerate((0.8, 1.2, 0.3), start=2):
            assert await told_s(full=True, at_s=NOW_S + off_s, seq=seq, began_s=BEGAN_S) == NOW_S
        found = [await told_s(full=False, at_s=NOW_S + 0.3, seq=seq) for seq in range(5, 21)]
        assert found == [None] * 16
        drifted = [await told_s(full=False, at_s=NOW_S + 0.3 + 0.02 * step, seq=21 + step) for step in range(128)]
        assert {one for one in drifted if one is not None} <= {NOW_S + 2, NOW_S + 3}
        assert 4 <= len([one for one in drifted if one is not None]) <= 10


async def test_a_clock_that_may_be_off_by_more_than_two_seconds_tells_nobody(tmp_path, node) -> None:
    machine = ScriptedMachine(drift=0.0)
    machine.reach_time_server()
    street = TimeStreet(tmp_path, machine)
    async with street.gateway():
        await street.measure()
        machine.lose_time_server()
        machine.live(8 * 3_600)
        street.node.boot += 1
        street.node_began_s = machine.true_s - 100
        await street.measure()
    assert [one is None for one in street.told_utc_s] == [False, True]
