"""What goes first when something must go: what expired, then telemetry thinned, then the lowest class; alarms last."""

import random
from dataclasses import replace
from functools import partial

import pytest

from gateway.outbox.bounds import Limits
from gateway.outbox.files import Files
from gateway.reading import STREAMS, Reading
from gateway.store import StoreError
from tests.gateway.cores import (
    FailingDisk,
    ManualTime,
    deliver_all,
    missed_by,
    reading_values,
    running_core,
    stored_reports,
)
from tests.gateway.machines import ScriptedMachine
from tests.gateway.test_outbox import made, put, the_row

DAY_S = 86_400.0
TTL = Limits(ttl_s={"telemetry": 1000.0})


def text(node, seq, *, kind="telemetry"):
    """What cannot be thinned."""
    return replace(made(node, seq, kind=kind), readings=(Reading(quantity="note", value="x" * 20),))


def gaps_told(reports):
    """By reason and node, how many."""
    told = {}
    for report in reports:
        if report.kind == "gap":
            values = reading_values(report)
            key = (values["gap/reason"], report.subject)
            told[key] = told.get(key, 0) + values["gap/count"]
    return told


# Time to live


async def test_what_outlived_its_time_goes_counted_and_told_and_the_rest_stays(tmp_path):
    time = ManualTime()
    async with running_core(tmp_path, limits=TTL, clock=time.clock) as core:
        await put(core, *(made("a", seq) for seq in range(5)), made("a", 100, kind="alarm"))
        time.advance(500)
        await put(core, *(made("a", seq) for seq in range(5, 8)))
        time.advance(520)
        await core.clockwork.tell_windows()
        row = await the_row(core)
        assert (row.expired, row.stored) == (5, 4 + 1)
        time.advance(DAY_S)
        await core.clockwork.tell_windows()
        assert (await the_row(core)).expired == 8
        reports = await deliver_all(core)
        assert gaps_told(reports) == {("expired", "a"): 8}
        assert [one.seq for one in reports if one.node == "a"] == [100]


async def test_only_platforms_that_still_waited_count_what_expired(tmp_path):
    time = ManualTime()
    async with running_core(tmp_path, cities=["quick", "slow"], limits=TTL, clock=time.clock) as core:
        await put(core, *(made("a", seq) for seq in range(5)))
        await core.outbox.mark_delivered(await core.outbox.oldest("quick", 3))
        time.advance(1100)
        await core.clockwork.tell_windows()
        quick, slow = await core.outbox.audit()
        assert (quick.expired, slow.expired) == (2, 5)
        told = [reading_values(one) for one in await deliver_all(core, "slow") if one.kind == "gap"]
        assert [(one["gap/count"], one["gap/platforms"]) for one in told] == [(3, "slow"), (2, "quick slow")]


@pytest.mark.parametrize("wrong_s", [-7 * DAY_S, 40 * DAY_S, 3650 * DAY_S])
async def test_no_step_of_the_clock_lets_anything_expire_and_no_restart_saves_it(tmp_path, wrong_s):
    machine = ScriptedMachine(policy="ntp")
    async with running_core(tmp_path, limits=TTL, clock=machine.clock(), time_hold_s=0) as core:
        await put(core, *(made("a", seq) for seq in range(5)))
        machine.live(400)
        machine.step(wrong_s)
        await core.clockwork.tell_windows()
        assert (await the_row(core)).expired == 0
    async with running_core(tmp_path, limits=TTL, clock=machine.clock(), time_hold_s=0) as core:
        machine.live(400)
        await core.clockwork.tell_windows()
        assert (await the_row(core)).expired == 0
    machine.reboot(off_s=60.0, wall_off_s=wrong_s)
    async with running_core(tmp_path, limits=TTL, clock=machine.clock(), time_hold_s=0) as core:
        await put(core, made("a", 5))
        assert (await the_row(core)).expired == 0
        machine.live(990)
        await core.clockwork.tell_windows()
        row = await the_row(core)
        assert (row.expired, row.stored) == (5, 1 + 1)


async def test_many_expire_in_more_than_one_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.outbox.bounds._MOST_AT_ONCE", 100)
    time = ManualTime()
    async with running_core(tmp_path, limits=TTL, clock=time.clock) as core:
        await put(core, *(made("a", seq) for seq in range(350)))
        time.advance(1100)
        for expired in (100, 200, 300, 350, 350):
            await core.clockwork.tell_windows()
            assert (await the_row(core)).expired == expired


# Room


async def test_first_the_oldest_telemetry_is_thinned_and_what_stands_for_it_says_so(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_records=2000)) as core:
        for at in range(0, 2100, 50):
            await put(core, *(made(node, seq) for seq in range(at, at + 50) for node in "ab"))
        row = await the_row(core)
        assert row.evicted == 0
        assert row.thinned > 2000
        reports = await deliver_all(core)
        assert (await the_row(core)).stored == 0
        there = {(one.node, one.seq) for one in reports if one.node in "ab"}
        stood_for = set()
        for one in reports:
            if one.kind == "thinned":
                values = reading_values(one)
                seqs = range(values["thinned/from"], values["thinned/to"] + 1)
                assert values["thinned/count"] == len(seqs) == values["temperature/count"]
                assert values["temperature/mean"] == pytest.approx((seqs[0] + seqs[-1]) / 2)
                assert (values["temperature/min"], values["temperature/max"]) == (seqs[0], seqs[-1])
                assert not stood_for & {(one.subject, seq) for seq in seqs}
                stood_for |= {(one.subject, seq) for seq in seqs}
        assert len(stood_for) == row.thinned
        assert there | stood_for == {(node, seq) for seq in range(2100) for node in "ab"}
        assert not there & stood_for


async def test_what_a_failed_commit_would_have_thinned_is_thinned_by_a_later_one(tmp_path):
    disk = FailingDisk()
    async with running_core(tmp_path, limits=Limits(max_records=2000), files=disk) as core:
        for at in range(0, 1000, 50):
            await put(core, *(made(node, seq) for seq in range(at, at + 50) for node in "ab"))
        disk.fails = True
        for _ in range(8):  # each would thin the oldest of those that are left
            with pytest.raises(StoreError):
                await put(core, *(made(node, seq) for seq in range(1000, 1050) for node in "ab"))
        disk.fails = False
        await put(core, *(made(node, seq) for seq in range(1000, 1050) for node in "ab"))
        row = await the_row(core)
        assert (row.evicted, row.thinned > 100) == (0, True)
        thinned = [one for one in await deliver_all(core) if one.kind == "thinned"]
    assert min(reading_values(one)["thinned/from"] for one in thinned) == 0


async def test_the_least_important_class_gives_way_first_and_alarms_last(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_records=100)) as core:
        await put(core, *(text("a", seq, kind="alarm") for seq in range(20)))
        await put(core, *(text("b", seq, kind="event") for seq in range(20)))
        await put(core, *(text("c", seq) for seq in range(80)))
        await put(core, *(text("a", seq, kind="alarm") for seq in range(20, 40)))
        told = gaps_told(await stored_reports(core))
        assert {node for _, node in told} == {"c"}
        await put(core, *(text("a", seq, kind="alarm") for seq in range(40, 80)))
        reports = await deliver_all(core)
        assert {one.seq for one in reports if one.node == "a"} == set(range(80))
        missing = {"b": 20, "c": 80}
        for one in reports:
            if one.node in missing:
                missing[one.node] -= 1
        assert missing["b"] > 0
        assert missing["c"] == 80
        told = gaps_told(reports)
        assert {node: told.get(("evicted", node), 0) for node in "bc"} == missing


async def test_gap_records_that_go_themselves_are_told_again_and_nothing_falls_silent(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_records=100)) as core:
        for at in range(0, 600, 20):
            await put(core, *(text(f"n{seq % 7}", seq) for seq in range(at, at + 20)))
        for at in range(0, 300, 10):
            await put(core, *(text("a", seq, kind="alarm") for seq in range(at, at + 10)))
        reports = await deliver_all(core)
        there = sum(one.node != "gw-1" for one in reports)
        told = sum(count for (_, node), count in gaps_told(reports).items() if node != "gw-1")
        assert there + told == 900
        own = {one.seq for one in reports if one.node == "gw-1"}
        lost = sum(count for (_, node), count in gaps_told(reports).items() if node == "gw-1")
        assert len(own) + lost == max(own) + 1


@pytest.mark.parametrize("record", [partial(text, kind="event"), made], ids=["evicted", "thinned"])
async def test_who_was_told_is_not_told_again_when_others_never_ask(tmp_path, record):
    limits = Limits(max_records=100, thin_span_s=10.0)
    async with running_core(tmp_path, limits=limits, cities=["asks", "never"]) as core:
        reports = []
        for at in range(0, 600, 20):
            await put(core, *(record("a", seq) for seq in range(at, at + 20)))
            if at % 200 == 180:
                reports += await deliver_all(core, "asks")
        for city, taken in (("asks", reports), ("never", [])):
            taken += await deliver_all(core, city)
            assert sum(one.node == "a" for one in taken) + sum(missed_by(one, city) for one in taken) == 600


async def test_what_was_thinned_and_then_given_up_is_told_by_the_records_it_stood_for(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_records=300, thin_span_s=10.0)) as core:
        for at in range(0, 6000, 50):
            await put(core, *(made("a", seq) for seq in range(at, at + 50)))
        row = await the_row(core)
        assert row.evicted > 100
        reports = await deliver_all(core)
        there = sum(one.node == "a" for one in reports)
        stood_for = sum(reading_values(one)["thinned/count"] for one in reports if one.kind == "thinned")
        told = gaps_told(reports)
        assert told["thinned", "a"] > 0
        assert there + stood_for + sum(n for (_, node), n in told.items() if node == "a") == 6000


class ShortDisk(Files):
    """The file layer of a disk that others fill."""

    free_bytes = 2 << 30

    def room(self, folder):
        return self.free_bytes, 1 << 40


async def test_while_the_disk_is_short_the_outbox_keeps_its_size_and_does_not_melt(tmp_path):
    time, disk = ManualTime(), ShortDisk()
    limits = Limits(min_free_bytes=1 << 30, thin_span_s=0)

    async def fill(core, first, end, step):
        for at in range(first, end, step):
            time.advance(2)
            await put(core, *(made("a", seq) for seq in range(at, at + step)))
        return (await core.outbox.backlog("city")).bytes

    async with running_core(tmp_path, limits=limits, clock=time.clock, files=disk) as core:
        full = await fill(core, 0, 25_000, 1000)
        disk.free_bytes = 900 << 20
        held = await fill(core, 25_000, 35_000, 1000)
        assert 0.9 * full < held < 1.1 * full
        disk.free_bytes = 400 << 20
        shrunk = await fill(core, 35_000, 35_300, 10)
        assert shrunk < 0.9 * held
        disk.free_bytes = 2 << 30
        assert await fill(core, 35_300, 45_300, 1000) > 1.3 * shrunk


async def test_what_may_be_at_a_platform_already_goes_last_of_its_class(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_records=4_000, thin_span_s=0)) as core:
        await put(core, *(made("a", seq) for seq in range(3_900)))
        core.outbox.reconnected("city")
        batch = await core.outbox.take("city", lane="backlog", streams=(2,), limit=500)
        await put(core, *(made("a", seq) for seq in range(3_900, 4_200)))
        await core.outbox.settle([(batch, "delivered")])
        row = await the_row(core)
        assert (row.delivered, row.evicted) == (500, 200 + 40)
        core.outbox.disconnected("city")
        await put(core, *(made("a", seq) for seq in range(4_200, 4_800)))
        kept = [report.seq for report in await stored_reports(core) if report.node == "a"]
        assert min(kept) > 500


async def test_what_was_thinned_takes_a_third_of_the_room_at_most(tmp_path):
    """Else a long outage would leave nothing but a record per hour."""
    limits = Limits(max_bytes=60_000, thin_span_s=60.0)
    async with running_core(tmp_path, limits=limits) as core:
        for first in range(0, 40_000, 400):
            await put(core, *(made("abc"[seq % 3], seq) for seq in range(first, first + 400)))
            sizes = core.store.vault.published.sizes
            assert 2 * sizes[STREAMS.index("bulk")] <= sizes[STREAMS.index("telemetry")] + 20_000
        assert (await the_row(core)).evicted > 0


@pytest.mark.parametrize("seed", range(3))
async def test_a_full_store_stays_full_and_exact_when_classes_nodes_and_sizes_vary(tmp_path, seed):
    chance = random.Random(seed)
    async with running_core(tmp_path, limits=Limits(max_bytes=60_000, thin_span_s=60.0)) as core:
        seqs = dict.fromkeys("abcde", 0)
        for _ in range(60):
            reports = []
            for _ in range(chance.randint(1, 60)):
                node = chance.choice("abcde")
                make = chance.choice([made, made, made, text])
                reports.append(make(node, seqs[node], kind=chance.choice(["telemetry"] * 30 + ["event", "alarm"])))
                seqs[node] += 1
            await put(core, *reports)
            assert (await core.outbox.backlog("city")).bytes < 75_000
            await the_row(core)
        reports = await deliver_all(core)
        there = sum(one.node != "gw-1" for one in reports)
        stood_for = sum(reading_values(one)["thinned/count"] for one in reports if one.kind == "thinned")
        told = sum(count for (_, node), count in gaps_told(reports).items() if node != "gw-1")
        assert there + stood_for + told == sum(seqs.values())
