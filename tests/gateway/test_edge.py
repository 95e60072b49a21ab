"""Windows against a plain reference: any order, repeats, late readings, restarts and failed commits."""

import random
from collections import defaultdict

import pytest

from gateway.reading import Reading
from tests.gateway.cores import (
    NOW_S,
    FailingDisk,
    ManualTime,
    deliver_all,
    hear,
    reading_values,
    running_core,
    stored_reports,
)
from tests.gateway.link_node import LinkNode, report

MINUTE = 60


@pytest.fixture
def node(tmp_path):
    made = LinkNode(1)
    made.enrol(tmp_path)
    return made


@pytest.fixture
def time():
    return ManualTime(now_s=NOW_S)  # a whole minute


def own_readings(core, value, at_s):
    return core.intake.submit_own([Reading(quantity="x", value=value, unit="V")], measured_at_s=at_s)


def windows(reports):
    """The last told values of each window, by subject and start, and how often each was told."""
    last, told = {}, defaultdict(int)
    for one in reports:
        if one.kind == "window":
            last[one.subject, one.measured_at_s] = reading_values(one)
            told[one.subject, one.measured_at_s] += 1
    return last, told


async def test_a_window_says_count_mean_min_and_max_of_each_quantity(tmp_path, node, time):
    async with running_core(tmp_path, window_s=MINUTE, clock=time.clock) as core:
        node.uptime_s = 50
        values = [(2000, 5000, 100000), (2100, 5100, 100010), (2300, 5300, 100050)]
        reports = [report(seq, time_s=10 + 10 * seq, values=v) for seq, v in enumerate(values)]
        await hear(core, node.seal(node.body(reports)), at_s=NOW_S + 50)
        time.advance(75)
        await core.clockwork.tell_windows()
        (one,) = [r for r in await stored_reports(core) if r.kind == "window"]
    assert (one.node, one.subject, one.record_id) == ("gw-1", node.id, "gw-1/1/0")
    assert (one.measured_at_s, one.kind) == (NOW_S, "window")
    assert [(r.quantity, r.value, r.unit) for r in one.readings] == [
        ("window", 60, "s"),
        ("humidity/count", 3, "count"),
        ("humidity/mean", pytest.approx(51.3333333), "%RH"),
        ("humidity/min", 50.0, "%RH"),
        ("humidity/max", 53.0, "%RH"),
        ("pressure/count", 3, "count"),
        ("pressure/mean", 100020.0, "Pa"),
        ("pressure/min", 100000.0, "Pa"),
        ("pressure/max", 100050.0, "Pa"),
        ("temperature/count", 3, "count"),
        ("temperature/mean", pytest.approx(21.3333333), "Cel"),
        ("temperature/min", 20.0, "Cel"),
        ("temperature/max", 23.0, "Cel"),
    ]


async def test_a_window_waits_for_stragglers_and_a_later_reading_makes_a_revised_record(tmp_path, time):
    async with running_core(tmp_path, window_s=MINUTE, clock=time.clock) as core:
        await own_readings(core, 1.0, NOW_S + 59)
        time.advance(65)
        await core.clockwork.tell_windows()
        assert windows(await stored_reports(core))[0] == {}  # over, but a straggler may come
        await own_readings(core, 3.0, NOW_S + 58)
        time.advance(10)
        await core.clockwork.tell_windows()
        await core.clockwork.tell_windows()
        last, told = windows(await stored_reports(core))
        assert told == {("gw-1", NOW_S): 1}
        await own_readings(core, 8.0, NOW_S)
        time.advance(10)
        await core.clockwork.tell_windows()
        last, told = windows(await stored_reports(core))
        assert told == {("gw-1", NOW_S): 2}
        assert last["gw-1", NOW_S] == {
            "window": 60,
            "revision": 1,
            "x/count": 3,
            "x/mean": 4.0,
            "x/min": 1.0,
            "x/max": 8.0,
        }


async def test_a_node_that_sends_its_journal_makes_one_record_per_window(tmp_path, node, time):
    async with running_core(tmp_path, window_s=MINUTE, clock=time.clock) as core:
        node.uptime_s = 7200
        for at in range(0, 60, 10):  # an hour of journal, one frame per second
            reports = [report(seq, time_s=3600 + seq * 60) for seq in range(at, at + 10)]
            await hear(core, node.seal(node.body(reports)), at_s=time.now_s)
            time.advance(1)
            await core.clockwork.tell_windows()
        time.advance(10)
        await core.clockwork.tell_windows()
        last, told = windows(await stored_reports(core))
        assert len(last) == 60
        assert max(told.values()) == 1


async def test_what_has_no_point_in_time_is_left_out_and_counted(tmp_path, node, time):
    async with running_core(tmp_path, window_s=MINUTE, clock=time.clock) as core:
        await hear(core, node.frame(0))
        node.boot = 3
        await hear(core, node.seal(node.body([report(1, time_s=5)], older_boot=2)))
        await own_readings(core, 1.0, NOW_S + 7200)
        time.advance(100)
        await core.clockwork.tell_windows()
        last, _ = windows(await stored_reports(core))
        assert list(last) == [(node.id, NOW_S)]
        assert core.counters["edge_no_point_in_time"] == 1
        assert core.counters["edge_in_the_future"] == 1


async def test_no_windows_are_made_when_there_are_to_be_none(tmp_path, time):
    async with running_core(tmp_path, window_s=0, clock=time.clock) as core:
        await own_readings(core, 1.0, NOW_S)
        time.advance(1000)
        await core.clockwork.tell_windows()
        assert [one.kind for one in await stored_reports(core)] == ["telemetry"]


async def test_a_straggler_after_its_window_was_forgotten_does_not_pass_for_a_whole_one(tmp_path, time):
    async with running_core(tmp_path, window_s=MINUTE, clock=time.clock) as core:
        await own_readings(core, 1.0, NOW_S)
        time.advance(100)
        await core.clockwork.tell_windows()
        time.advance(90_000)
        await core.clockwork.tell_windows()
        await own_readings(core, 2.0, NOW_S)
        time.advance(100)
        await core.clockwork.tell_windows()
        assert core.counters["edge_too_late"] == 1
        assert windows(await stored_reports(core))[1] == {("gw-1", NOW_S): 1}


async def test_a_device_cannot_fill_a_window_with_quantities(tmp_path, time):
    async with running_core(tmp_path, window_s=MINUTE, clock=time.clock) as core:
        readings = [Reading(quantity=f"q{n}", value=n, unit=None) for n in range(200)]
        await core.intake.submit_own(readings, measured_at_s=NOW_S)
        assert core.counters["edge_too_many_quantities"] == 136


@pytest.mark.parametrize("seed", range(3))
async def test_windows_equal_the_reference_over_shuffles_repeats_restarts_and_failed_commits(tmp_path, time, seed):
    chance = random.Random(seed)
    nodes = [LinkNode(number) for number in (1, 2, 3)]
    for one in nodes:
        one.enrol(tmp_path)
        one.uptime_s = 10_000
    truth = defaultdict(list)
    frames = []
    for one in nodes:
        for seq in range(120):
            celsius = chance.randint(-4000, 8500)
            measured = report(seq, time_s=10_000 - 7 * seq, values=(celsius, 0, 30000))
            truth[one.id, (NOW_S - 7 * seq) // MINUTE * MINUTE].append(celsius / 100)
            frames.append((one, measured))
    frames += chance.sample(frames, 60)  # re-transmissions
    chance.shuffle(frames)
    delivered = []
    for part in range(4):
        disk = FailingDisk()
        async with running_core(tmp_path, window_s=MINUTE, clock=time.clock, files=disk) as core:
            for one, measured in frames[part::4]:
                disk.fails = chance.random() < 0.1
                verdict = await hear(core, one.seal(one.body([measured])), at_s=NOW_S)
                if disk.fails:
                    assert verdict.retry
                    disk.fails = False
                    await hear(core, one.seal(one.body([measured])), at_s=NOW_S)
                time.advance(0.5)
            time.advance(100)
            await core.clockwork.tell_windows()
            delivered += await deliver_all(core)
    last, _ = windows(delivered)
    assert set(last) == set(truth)
    for key, values in truth.items():
        assert last[key]["temperature/count"] == len(values)
        assert last[key]["temperature/mean"] == pytest.approx(sum(values) / len(values))
        assert (last[key]["temperature/min"], last[key]["temperature/max"]) == (min(values), max(values))


async def test_windows_of_a_length_that_was_changed_are_told_with_their_own(tmp_path, time):
    async with running_core(tmp_path, window_s=MINUTE, clock=time.clock) as core:
        await own_readings(core, 1.0, NOW_S + 59)
    async with running_core(tmp_path, window_s=300, clock=time.clock) as core:
        await own_readings(core, 3.0, NOW_S + 59)
        time.advance(400)
        await core.clockwork.tell_windows()
        told = [reading_values(one) for one in await stored_reports(core) if one.kind == "window"]
        assert [(one["window"], one["x/count"], one["x/mean"]) for one in told] == [(60, 1, 1.0), (300, 1, 3.0)]
