"""The power goes at each write of a node's flash and NVS, from its first join to its last report: no nonce twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware.identity import NotEnrolled
from firmware.settings import Settings
from gateway.core import Core
from tests.firmware.bench import PowerCut
from tests.gateway.cores import ManualTime, reading_values, running_core, stored_reports
from tests.gateway.joining import Site
from tests.gateway.street_node import StreetNode, Wire

REPORTS = 6


Cuts = tuple[int | None, ...]


async def live(node: StreetNode, cuts: Cuts) -> None:
    """Join and report; lose the power at these writes, counted from each start (None: after a report); then drain."""
    waiting, is_running, measured = list(cuts), False, 0
    while measured < REPORTS or waiting or not is_running:
        try:
            if not is_running:
                node.supply.restore()
                cut = waiting.pop(0) if waiting else REPORTS * 10_000
                if cut is not None:
                    node.supply.cut_after(cut)
                await node.boot()
                is_running = True
            node.pass_s(10)
            measured += 1
            node.measure()
            await node.report()
            is_running = cut is not None
        except PowerCut:
            is_running = False
    node.supply.restore()
    while await node.report():
        node.pass_s(10)


async def harmed(core: Core, node: StreetNode) -> list[str]:
    """What is wrong with what the node left at the gateway: nothing of what it issued may be missing or changed."""
    at_gateway = {(one.epoch, one.seq): one for one in await stored_reports(core) if one.node == node.enrolment.id}
    found = []
    for number, values in node.issued.items():
        report = at_gateway.get(number)
        if report is None or round(reading_values(report)["temperature"] * 100) != values[0]:
            found.append(f"{number} has {report and report.readings}")
    return found


async def campaign(data_dir: Path, cuts: list[Cuts]) -> tuple[list[str], int, int]:
    """One node for each entry, all at one gateway. Returns what went wrong, frames and joins."""
    time, site = ManualTime(), Site()
    site.endorse(data_dir)
    wrong: list[str] = []
    async with running_core(data_dir, clock=time.clock, alarm_budget_per_h=0) as core:
        wire = Wire(core)
        wire.at_s = time.now_s
        for number, one in enumerate(cuts):
            node = StreetNode(data_dir / f"flash-{number}", data_dir, site.trust(), wire)
            time.now_s = wire.at_s
            await live(node, one)
            wrong += [f"cut at {one}: {what}" for what in wire.repeated + await harmed(core, node)]
            wire.repeated.clear()
        ephemeral = [frame[8:40] for frame in wire.joins if frame[3] >> 6 == 0]
        if len(set(ephemeral)) < len(ephemeral):
            wrong.append("an ephemeral key came twice")
        return wrong, len(wire.up), core.counters["joins"]


async def operations(data_dir: Path) -> tuple[int, int]:
    """How many writes a life without a cut has: until it has joined and is ready to report, and in all."""
    time, site = ManualTime(), Site()
    site.endorse(data_dir)
    async with running_core(data_dir, clock=time.clock) as core:
        node = StreetNode(data_dir / "flash", data_dir, site.trust(), Wire(core))
        await node.boot()
        joined = node.supply.operations
        await live(node, ())
        return joined, node.supply.operations


async def test_no_nonce_repeats_whichever_write_the_power_goes_at(tmp_path: Path) -> None:
    """At each write of a join, on a node of its own; then at each write after a start, on one that has joined."""
    joined, total = await operations(tmp_path / "whole")
    cuts: list[Cuts] = [(at,) for at in range(1, joined + 1)]
    cuts.append((None, *range(1, total - joined)))
    wrong, frames, joins = await campaign(tmp_path / "cut", cuts)
    print(f"\n{joined} writes of a join and {total - joined} of reports: {frames} frames, {joins} joins, {wrong}")
    assert wrong == []
    assert joined > 8
    assert total - joined > 12


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_no_nonce_repeats_whichever_write_of_a_whole_life_the_power_goes_at(tmp_path: Path) -> None:
    _, total = await operations(tmp_path / "whole")
    wrong, frames, joins = await campaign(tmp_path / "cut", [(at,) for at in range(1, total + 1)])
    print(f"\n{total} writes from join to report, the power gone at each: {frames} frames, {joins} joins, {wrong}")
    assert wrong == []


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_no_nonce_repeats_whichever_two_writes_the_power_goes_at(tmp_path: Path) -> None:
    _, total = await operations(tmp_path / "whole")
    pairs = [(first, second) for first in range(1, total + 1) for second in range(1, total + 1)]
    wrong, frames, joins = await campaign(tmp_path / "cut", pairs)
    print(f"\n{len(pairs)} pairs of cuts: {frames} frames, {joins} joins, {wrong}")
    assert wrong == []


def take_counter_without_reserving(self: Settings) -> int:
    self.next_counter += 1
    return self.next_counter - 1


def draw_without_replacing(nvs: object) -> bytes:
    return bytes(31) + b"\7"


@pytest.mark.parametrize("mutant", ["counters are not reserved", "the seed is not replaced"])
async def test_the_campaign_notices_a_broken_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    if mutant.startswith("counters"):
        monkeypatch.setattr(Settings, "take_counter", take_counter_without_reserving)
    else:
        monkeypatch.setattr("tests.gateway.street_node.draw", draw_without_replacing)
    try:
        wrong, _, _ = await campaign(tmp_path, [(3,), (None, *range(4, 16, 2))])
    except (AssertionError, NotEnrolled) as error:
        wrong = [str(error)]  # the gateway refuses what comes twice, and the node is stuck
    assert wrong
