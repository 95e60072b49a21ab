"""Report by exception: what goes on, what stays, and that what stays is counted and told to the unit."""

import pytest

from gateway.config_edge import GroupConfig, PrivacyConfig, ReportConfig
from gateway.reading import Reading, Report
from tests.gateway.cores import NOW_S, ManualTime, hear, reading_values, running_core, stored_reports
from tests.gateway.edge.machine import START_S, Machine, measured, values_of
from tests.gateway.link_node import LinkNode, report


def policy(**options):
    return ReportConfig(**{"quantities": ("x",), "heartbeat_s": 1000, **options})


@pytest.mark.parametrize(
    "config, values, forwarded",
    [
        (policy(dead_band=1.0), [10, 11, 11.5, 12.4, 10.4], [10, 11.5, 10.4]),
        (policy(dead_band_pct=10.0), [10, 11, 11.5, 12.5, 12.7], [10, 11.5, 12.7]),
        (policy(dead_band=5.0, dead_band_pct=10.0), [10, 11.5, 12, 20], [10, 11.5, 20]),
        (policy(on_change=True), [10, 10, 11, 11, 10], [10, 11, 10]),
        (policy(on_change=True, heartbeat_s=20), [10, 10, 10, 10, 10], [10, 10, 10]),
        (policy(), [10, 20, 30], [10]),
        (policy(dead_band=1.0, nodes=("b",)), [10, 10, 10], [10, 10, 10]),
        (policy(dead_band=1.0, nodes=("group:g",)), [10, 10, 10], [10]),
        (policy(dead_band=1.0, quantities=("y*",)), [10, 10], [10, 10]),
        (policy(on_change=True), ["open", "open", "shut", True, True], ["open", "shut", True]),
    ],
)
def test_what_goes_on(config, values, forwarded):
    machine = Machine((GroupConfig(name="g", nodes=("a",)),), report=(config,))
    for number, value in enumerate(values):
        machine.add(measured("a", START_S + 10 * number, number, x=value))
    assert [values_of(one)["x"] for one in machine.forwarded] == forwarded
    assert machine.withheld == len(values) - len(forwarded)


def test_a_report_goes_as_a_whole_if_any_reading_is_due_or_covered_by_no_policy():
    machine = Machine(report=(policy(dead_band=1.0), policy(quantities=("y",), dead_band=1.0)))
    machine.add(measured("a", START_S, x=1.0, y=1.0))
    machine.add(measured("a", START_S, x=1.0, y=1.0))
    machine.add(measured("a", START_S, x=1.0, y=5.0))
    machine.add(measured("a", START_S, x=1.0, z=5.0))
    assert [values_of(one) for one in machine.forwarded] == [
        {"x": 1.0, "y": 1.0},
        {"x": 1.0, "y": 5.0},
        {"x": 1.0, "z": 5.0},
    ]


def test_an_alarm_of_a_node_always_goes():
    machine = Machine(report=(policy(dead_band=1.0),))
    for _ in range(2):
        readings = (Reading(quantity="x", value=1.0),)
        machine.add(Report(node="a", record_id="", measured_at_s=START_S, readings=readings, kind="alarm"))
    assert len(machine.forwarded) == 2


def test_what_stays_is_told_with_its_range_and_count():
    machine = Machine(report=(policy(dead_band=1.0),), withheld_every_s=600)
    for seq in (5, 6, 8, 9):
        machine.add(measured("a", START_S, seq, x=1.0 if seq < 8 else 9.0))
    assert machine.tick(START_S + 599) == []
    (gap,) = machine.tick(START_S + 600)
    assert (gap.kind, gap.subject) == ("gap", "a")
    assert values_of(gap) == {"gap/epoch": 1, "gap/from": 6, "gap/to": 9, "gap/count": 2, "gap/reason": "withheld"}
    assert machine.tick(START_S + 5000) == []


def test_a_reading_that_must_stay_is_cut_out_and_one_alone_is_withheld():
    machine = Machine(privacy=(PrivacyConfig(quantities=("x",), action="local"),), window_s=60)
    machine.add(measured("a", START_S, x=1.0, y=2.0))
    machine.add(measured("a", START_S, x=1.0))
    assert [values_of(one) for one in machine.forwarded] == [{"y": 2.0}]
    assert machine.withheld == 1
    (window,) = machine.tick(START_S + 100)
    assert not any(name.startswith("x/") for name in values_of(window))


async def test_the_counts_of_the_outbox_hold_and_the_city_can_balance_the_sequences(tmp_path):
    from gateway.config import EdgeConfig

    node = LinkNode(1)
    node.enrol(tmp_path)
    time = ManualTime(now_s=NOW_S)
    edge = EdgeConfig(window_s=0, report=(policy(quantities=("*",), dead_band=0.5),), withheld_every_s=60)
    async with running_core(tmp_path, edge=edge, clock=time.clock) as core:
        for seq in range(20):
            values = (2000 + 100 * (seq // 5), 5000, 100000)
            await hear(core, node.seal(node.body([report(seq, time_s=node.uptime_s, values=values)])), at_s=NOW_S)
        time.advance(61)
        await core.clockwork.tell_windows()
        stored = await stored_reports(core)
        (audit,) = await core.outbox.audit()
    seqs = {one.seq for one in stored if one.node == node.id}
    (gap,) = [reading_values(one) for one in stored if one.kind == "gap"]
    assert seqs == {0, 5, 10, 15}
    assert gap["gap/count"] == core.edge.withheld == 16
    assert len(seqs & set(range(gap["gap/from"], gap["gap/to"] + 1))) + gap["gap/count"] == 19  # from 1 to 19
    assert (audit.holds, audit.accepted, audit.produced) == (True, 4, 1)
