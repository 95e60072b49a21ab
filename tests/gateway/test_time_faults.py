"""Every fault of a gateway's clock, through the real core: no wrong time is good, nothing is lost, order holds."""

from __future__ import annotations

import json
import random

import pytest

from drivers.link.frame import URGENT
from tests.gateway.cores import hear, stored_reports
from tests.gateway.link_node import report
from tests.gateway.machines import DAY_S, NEVER_SET, YEAR_S, ScriptedMachine
from tests.gateway.time_street import Street

PLUS_TEN_YEARS = 10 * YEAR_S
MINUTE_S, HOUR_S = 60.0, 3600.0


async def test_booted_in_1970_and_learnt_the_time_an_hour_later_all_get_their_right_time(tmp_path):
    street = Street(tmp_path, ScriptedMachine(wall_off_s=NEVER_SET))
    async with street.gateway():
        for _ in range(4):
            await street.measure()
            street.machine.live(15 * MINUTE_S)
        assert street.told_utc_s == [None] * 4
        street.machine.reach_time_server()
        await street.measure()
        assert street.told_utc_s[-1] is not None
        assert await street.deliver() == 15
    assert set(street.qualities) == {"good", "received"}
    street.assert_complete()


@pytest.mark.parametrize(
    "wall_off_s, options",
    [
        (NEVER_SET, {"policy": "ntp"}),
        (PLUS_TEN_YEARS, {"policy": "ntp"}),
        (NEVER_SET, {"policy": "auto"}),
        (PLUS_TEN_YEARS, {"policy": "auto"}),
        (PLUS_TEN_YEARS, {"policy": "auto", "rtc_off_s": PLUS_TEN_YEARS}),  # the battery-backed clock says so too
        (PLUS_TEN_YEARS, {"policy": "auto", "is_hosted": True}),
        (-7 * DAY_S, {"policy": "auto", "rtc_off_s": 0.0}),
        (NEVER_SET, {"policy": "assume"}),
    ],
)
@pytest.mark.parametrize("knows_the_past", [False, True])
async def test_a_boot_that_never_learnt_the_time_yields_intervals_that_hold(
    tmp_path, wall_off_s, options, knows_the_past
):
    street = Street(tmp_path, ScriptedMachine(**options))
    if knows_the_past:
        street.machine.reach_time_server()
        async with street.gateway():
            await street.measure()
            street.machine.live(HOUR_S)
            await street.measure()
        before = len(street.true_s)
    else:
        before = 0
    street.machine.reboot(off_s=2 * HOUR_S, wall_off_s=wall_off_s)
    for boot in range(2):
        async with street.gateway():
            for _ in range(3):
                street.machine.live(10 * MINUTE_S)
                await street.measure()
            assert not street.core.clock.is_trusted
        street.machine.reboot(off_s=(1 + boot) * HOUR_S, wall_off_s=wall_off_s)
    street.machine.reach_time_server()
    async with street.gateway():
        await street.measure()
        await street.deliver()
        assert [row.holds for row in await street.core.outbox.audit()] == [True]
    bounded = [quality for quality in street.qualities if quality == "bounded"]
    assert len(bounded) == 18
    assert len(street.qualities) == before + 18 + 3
    street.assert_complete()
    if knows_the_past:
        errors = [json.loads(body)[-1]["v"] for body in street.content.values() if '"bounded"' in body]
        assert max(errors) < 3 * HOUR_S  # not years: between the last time known and the first one learnt


@pytest.mark.parametrize("policy", ["ntp", "auto", "rtc"])
async def test_steps_of_the_wall_clock_during_an_outage_change_no_time(tmp_path, policy):
    street = Street(tmp_path, ScriptedMachine(policy=policy))
    street.machine.reach_time_server()
    async with street.gateway():
        await street.measure()
        for by_s in (-7 * DAY_S, 40 * DAY_S, NEVER_SET, PLUS_TEN_YEARS):
            street.machine.live(MINUTE_S)
            street.machine.step(by_s)
            await street.measure()
            street.machine.live(MINUTE_S)
            await street.measure()
        assert (await street.core.status())["clock"]["steps"] == 4
    async with street.gateway():  # the process ends and starts again: the time is kept with the boot
        await street.measure()
        street.machine.live(MINUTE_S)
        street.machine.reach_time_server()
        await street.measure()
        await street.deliver()
    assert set(street.qualities) == {"good", "received"}
    assert None not in street.told_utc_s
    street.assert_complete()


async def test_a_day_without_a_time_server_stays_good_and_a_fortnight_says_how_far_off_it_may_be(tmp_path):
    street = Street(tmp_path, ScriptedMachine(drift=60e-6))
    street.machine.reach_time_server()
    async with street.gateway():
        await street.measure()
        street.machine.lose_time_server()
        for _ in range(24):
            street.machine.live(HOUR_S)
            await street.measure()
        await street.deliver()
        assert set(street.qualities) == {"good", "received"}
        street.machine.live(13 * DAY_S)
        street.node_began_s = street.machine.true_s - 100  # it was reset meanwhile
        street.node.boot += 1
        await street.measure()
        await street.deliver()
        assert set(street.qualities[-3:]) == {"bounded"}
        assert street.told_utc_s[-1] is None
    street.assert_complete()


async def test_with_the_city_in_reach_readings_wait_for_the_time_and_then_go_out_untrusted_once(tmp_path):
    street = Street(tmp_path, ScriptedMachine(wall_off_s=PLUS_TEN_YEARS))
    async with street.gateway():
        await street.measure()
        assert await street.deliver() == 0
        street.machine.live(100)
        await street.measure()
        assert await street.deliver() == 0  # 120 s have not passed
        street.machine.live(30)
        assert await street.deliver(is_acknowledged=False) == 6  # sent, and the answer never came
        await street.measure()
        street.machine.live(30)
        street.machine.reach_time_server()
        assert await street.deliver() == 9
        assert sorted(street.qualities[6:]) == sorted(["untrusted"] * 6 + ["good"] * 2 + ["received"])
    street.assert_complete()


async def test_an_alarm_does_not_wait_for_the_time_and_the_others_go_on_waiting(tmp_path):
    street = Street(tmp_path, ScriptedMachine(wall_off_s=NEVER_SET))
    async with street.gateway():
        await street.measure()
        await street.measure(kind=URGENT)
        assert await street.deliver() == 1
        assert street.qualities == ["untrusted"]
        street.machine.reach_time_server()
        street.machine.live(5)
        await street.deliver()
        assert set(street.qualities[1:]) == {"good", "received"}
    street.assert_complete()


@pytest.mark.parametrize("learns_before_the_reports_come", [False, True])
async def test_a_nodes_boot_that_was_noted_before_the_time_was_known_is_placed_later(
    tmp_path, learns_before_the_reports_come
):
    street = Street(tmp_path, ScriptedMachine(wall_off_s=NEVER_SET))
    machine, node = street.machine, street.node
    async with street.gateway():
        node.uptime_s = 500
        await hear(street.core, node.frame(0), at_s=street.core.clock.stamp_s())
        began_s = machine.true_s - 500
        machine.live(HOUR_S)
        if learns_before_the_reports_come:
            machine.reach_time_server()
            await street.core.clockwork.tell_windows()
        node.boot, node.uptime_s = 2, 60
        body = node.body([report(1, time_s=900), report(2, time_s=960)], older_boot=1)
        await hear(street.core, node.seal(body), at_s=street.core.clock.stamp_s())
        stored = [one.pending is None for one in await stored_reports(street.core)]
        assert stored == [False, *[learns_before_the_reports_come] * 2]
        machine.reach_time_server()
        machine.live(5)
        for seq, uptime_s in ((0, 500), (1, 900), (2, 960)):
            street.true_s[f"{node.id}/1/{seq}"] = began_s + uptime_s
        await street.deliver()
    assert street.qualities == ["good"] * 3
    street.assert_complete()


async def test_a_nodes_boot_that_never_told_lies_between_what_we_knew_and_a_moment_of_our_own_boot(tmp_path):
    street = Street(tmp_path, ScriptedMachine())
    machine, node = street.machine, street.node
    machine.reach_time_server()
    async with street.gateway():
        await hear(street.core, node.frame(0), at_s=street.core.clock.stamp_s())
        street.true_s[f"{node.id}/1/0"] = machine.true_s
    machine.live(600)
    measured_s = machine.true_s
    machine.reboot(off_s=HOUR_S, wall_off_s=NEVER_SET)
    async with street.gateway():
        node.boot, node.uptime_s = 3, 30
        body = node.body([report(1, time_s=100)], older_boot=2)
        await hear(street.core, node.seal(body), at_s=street.core.clock.stamp_s())
        street.true_s[f"{node.id}/1/1"] = measured_s
        machine.live(MINUTE_S)
        machine.reach_time_server()
        await street.deliver()
    assert street.qualities == ["good", "bounded"]
    street.assert_complete()


async def test_what_has_a_time_to_live_ages_by_the_monotonic_clock_and_never_too_fast(tmp_path):
    street = Street(tmp_path, ScriptedMachine(wall_off_s=NEVER_SET))
    machine = street.machine

    async def age_s(stored: tuple[int, float]) -> float:
        return await street.core.store.read(lambda db: street.core.boot_table.age_at_least_s(db, stored))

    async with street.gateway():
        stored, stored_s = street.core.boot_table.stamp(), machine.true_s
        machine.live(HOUR_S)
        machine.step(40 * DAY_S)
        assert await age_s(stored) == pytest.approx(HOUR_S)
        await street.measure()
    machine.reboot(off_s=5 * DAY_S, wall_off_s=PLUS_TEN_YEARS)
    async with street.gateway():
        machine.live(MINUTE_S)
        assert HOUR_S - MINUTE_S <= await age_s(stored) <= machine.true_s - stored_s
        machine.reach_time_server()
        await street.measure()
        assert HOUR_S <= await age_s(stored) <= machine.true_s - stored_s
        known = street.core.boot_table.stamp()
    machine.reboot(off_s=5 * DAY_S, wall_off_s=NEVER_SET)
    machine.reach_time_server()
    async with street.gateway():
        await street.measure()
        age = await age_s(known)
        assert 5 * DAY_S - MINUTE_S <= age <= machine.true_s - stored_s


async def test_a_floor_that_a_wrong_clock_had_raised_gives_way_to_a_time_server_after_a_day(tmp_path):
    street = Street(tmp_path, ScriptedMachine(policy="assume", wall_off_s=40 * DAY_S))
    machine = street.machine
    async with street.gateway():  # the operator vouched for a clock that was wrong
        await street.core.clockwork.tell_windows()
        assert street.core.clock.is_good
    machine.reboot(off_s=HOUR_S, wall_off_s=NEVER_SET)
    async with street.gateway():
        await street.measure()
    machine.reboot(off_s=HOUR_S, wall_off_s=0.0)
    machine.reach_time_server()
    machine.policy = "ntp"
    async with street.gateway():
        for _ in range(23):
            machine.live(HOUR_S)
            await street.measure()
            assert not street.core.clock.is_trusted
        for _ in range(3):
            machine.live(HOUR_S)
            await street.measure()
        assert street.core.clock.is_good
        await street.deliver()
        assert set(street.qualities) == {"good", "received", "bounded"}
        street.assert_complete()
    machine.reboot(off_s=HOUR_S, wall_off_s=0.0)
    machine.reach_time_server()
    async with street.gateway():
        assert street.core.clock.is_good


async def live(street: Street, chance: random.Random) -> None:
    """One life of the process, with faults between readings."""
    machine = street.machine
    async with street.gateway():
        for _ in range(chance.randint(1, 8)):
            match chance.choice(["measure", "measure", "live", "step", "server", "lose", "city", "alarm"]):
                case "measure":
                    await street.measure()
                case "alarm":
                    await street.measure(kind=URGENT)
                case "live":
                    machine.live(chance.choice([1.0, 70.0, 1000.0, 20_000.0]))
                case "step":
                    machine.step(chance.choice([-7 * DAY_S, 40 * DAY_S, -3.0, 3.0, NEVER_SET, PLUS_TEN_YEARS]))
                case "server":
                    machine.reach_time_server()
                case "lose":
                    machine.lose_time_server()
                case "city" if street.core.clock.is_trusted:
                    await street.deliver(is_acknowledged=chance.random() < 0.7)
            machine.live(chance.uniform(2, 90))


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(n, marks=pytest.mark.soak) for n in range(12, 400))])
async def test_in_any_order_of_faults_no_wrong_time_is_good_nothing_is_lost_and_no_id_has_two_contents(tmp_path, seed):
    chance = random.Random(seed)
    machine = ScriptedMachine(
        wall_off_s=chance.choice([NEVER_SET, PLUS_TEN_YEARS, 0.0]),
        policy=chance.choice(["ntp", "auto"]),
        drift=chance.uniform(-80e-6, 80e-6),
    )
    street = Street(tmp_path, machine)
    for _ in range(chance.randint(2, 6)):
        await live(street, chance)
        if chance.random() < 0.6:
            machine.reboot(off_s=chance.uniform(1, 3 * DAY_S), wall_off_s=chance.choice([NEVER_SET, -DAY_S, YEAR_S]))
            street.node.boot += 1
            street.node_began_s = machine.true_s - 10
    machine.reach_time_server()
    async with street.gateway():
        machine.live(1000)
        await street.measure()
        await street.deliver()
        assert [row.holds for row in await street.core.outbox.audit()] == [True]
    street.assert_complete()
