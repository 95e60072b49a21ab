"""A node that babbles alarms has a budget of them: beyond it they are events, and no other node minds."""

import asyncio
from dataclasses import replace
from functools import partial

from drivers.link.frame import URGENT
from gateway.alarm_budget import AlarmBudget
from tests.gateway.cores import (
    ManualTime,
    hear,
    reading_values,
    running_core,
    stored_reports,
)
from tests.gateway.link_node import LinkNode
from tests.gateway.machines import ScriptedMachine
from tests.gateway.test_outbox import made, the_row

DAY_S = 86_400.0


async def raise_alarms(core, node, first, count):
    for seq in range(first, first + count):
        verdict = await hear(core, node.frame(seq, floor=seq, kind=URGENT), at_s=core.clock.stamp_s())
        assert verdict.accepted


async def test_a_node_that_babbles_alarms_raises_events_from_some_on_and_others_do_not_mind(tmp_path):
    time = ManualTime()
    one, other = LinkNode(1), LinkNode(2)
    one.enrol(tmp_path)
    other.enrol(tmp_path)
    async with running_core(tmp_path, clock=time.clock, alarm_budget_per_h=10) as core:
        await raise_alarms(core, one, 0, 25)
        await raise_alarms(core, other, 0, 1)
        kinds = {(report.node, report.seq): report.kind for report in await stored_reports(core)}
        assert [kinds[one.id, seq] for seq in range(25)] == ["alarm"] * 10 + ["event"] * 15
        assert kinds[other.id, 0] == "alarm"
        (notice,) = [
            report for report in await stored_reports(core) if report.kind == "event" and report.node == "gw-1"
        ]
        assert notice.subject == one.id
        assert reading_values(notice) == {"alarm_budget/overrun": True, "alarm_budget/per_hour": 10}
        assert (core.counters["alarm_overruns"], core.counters["alarms_kept_as_events"]) == (1, 15)
        assert (await the_row(core)).accepted == 26


async def test_a_budget_comes_back_evenly_and_an_overrun_is_over_when_half_of_it_is_back(tmp_path):
    time = ManualTime()
    node = LinkNode(1)
    node.enrol(tmp_path)
    async with running_core(tmp_path, clock=time.clock, alarm_budget_per_h=10) as core:
        await raise_alarms(core, node, 0, 11)
        time.advance(361)  # a tenth of an hour is one alarm
        await raise_alarms(core, node, 11, 2)
        assert core.counters["alarms_kept_as_events"] == 2
        assert core.counters["alarm_overruns"] == 1
        time.advance(1900)
        await raise_alarms(core, node, 13, 6)
        assert core.counters["alarms_kept_as_events"] == 3
        assert core.counters["alarm_overruns"] == 2


async def test_neither_a_restart_nor_a_wrong_clock_fills_a_budget(tmp_path):
    machine = ScriptedMachine(policy="ntp")
    node = LinkNode(1)
    node.enrol(tmp_path)
    options = {"alarm_budget_per_h": 10, "time_hold_s": 0}
    async with running_core(tmp_path, clock=machine.clock(), **options) as core:
        await raise_alarms(core, node, 0, 12)
        machine.step(40 * DAY_S)
        await raise_alarms(core, node, 12, 1)
        assert core.counters["alarms_kept_as_events"] == 3
    for reboot in (False, True):
        if reboot:
            machine.reboot(off_s=30.0, wall_off_s=3650 * DAY_S)
        async with running_core(tmp_path, clock=machine.clock(), **options) as core:
            before = core.counters["alarms_kept_as_events"]
            await raise_alarms(core, node, 13 + 5 * reboot, 5)
            assert core.counters["alarms_kept_as_events"] - before == 5
            assert core.counters["alarm_overruns"] <= 1


async def test_no_budget_means_any_number_of_alarms(tmp_path):
    node = LinkNode(1)
    node.enrol(tmp_path)
    async with running_core(tmp_path, alarm_budget_per_h=0) as core:
        await raise_alarms(core, node, 0, 100)
        assert {report.kind for report in await stored_reports(core)} == {"alarm"}


async def test_the_alarms_of_a_node_that_babbles_do_not_hurry(tmp_path, monkeypatch):
    """They wait for company, which here only an alarm of another node ends."""
    monkeypatch.setattr("gateway.intake._WITHIN_S", {})
    monkeypatch.setattr("gateway.intake._NODE_WAITS_S", 3_600.0)
    node, other = LinkNode(1), LinkNode(2)
    node.enrol(tmp_path)
    other.enrol(tmp_path)
    async with running_core(tmp_path, alarm_budget_per_h=3, commit_window_s=3_600.0) as core, asyncio.timeout(10):
        await raise_alarms(core, node, 0, 4)
        waiting = [asyncio.create_task(hear(core, node.frame(seq, floor=seq, kind=URGENT))) for seq in range(4, 9)]
        for _ in range(50):
            await core.store.fetch(lambda: None)
        assert not any(task.done() for task in waiting)
        await raise_alarms(core, other, 0, 1)
        await asyncio.gather(*waiting)


async def test_what_the_gateway_says_of_one_node_is_not_the_budget_of_another(tmp_path):
    kinds = []
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        budget = AlarmBudget(3, boot_table=core.boot_table, counters=core.counters, tell=lambda tx, report: None)
        for subject in "aaaaab":
            alarm = replace(made("", 0, kind="alarm"), subject=subject)
            kinds.append(await core.store.write(partial(budget.judged, alarm=alarm)))
    assert [(one.subject, one.kind) for one in kinds] == [
        *[("a", "alarm")] * 3,
        *[("a", "event")] * 2,
        ("b", "alarm"),
    ]
