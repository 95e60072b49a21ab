"""The power goes while a real MicroPython joins: the node is as it was or joined, never locked out, no nonce twice.

test_node_cuts.py does the same to the firmware's modules on CPython, at each write and at each pair of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.board_joins import Scene, scene
from tests.firmware.test_heap import MAIN

pytestmark = [pytest.mark.serial, pytest.mark.timeout(180)]

KINDS = ("first", "roam", "again")  # join of a new node; at another gateway; at its own, which keeps the epoch
MOST_OPERATIONS = 120
SHORT = (("first", 12), ("roam", 13))  # in the middle of what a join left in NVS being taken up
START = "try:\n    import firmware.start\n"


async def prepare(now: Scene, kind: str) -> dict[str, int | bytes]:
    """A node that is about to join; returns its NVS."""
    if kind == "first" or not now.node:
        now.bear()
    if kind != "first":
        if "key" not in now.board.nvs["lamppost"]:
            assert await now.recover() == ""
        now.roam() if kind == "roam" else now.board.set_nvs("lamppost", {"join": 1})
    return now.board.nvs["lamppost"]


async def cut_at(
    now: Scene, kind: str, operation: int, *, torn: bool = True, starts: int = 2
) -> tuple[bool, list[str]]:
    """Join with a cut at this flash operation. Returns whether the cut came before the first report, and what is wrong.

    starts  how often the node must come back after it: a second time under the same key
    """
    before = await prepare(now, kind)
    now.board.cut_at_flash_op(operation, torn=torn)
    reported = await now.live_until()
    now.board.cancel_cut()
    now.board.power_cut()
    return not reported, await _outcome(now, before, f"{kind}, operation {operation}", starts)


async def harm_at(now: Scene, kind: str, after_s: float, *, is_cut: bool) -> list[str]:
    """Join with a cut or a reset of the whole chip at this moment."""
    before = await prepare(now, kind)
    await now.live_until(now.board.power_cut if is_cut else now.board.reset, after_s=after_s)
    if is_cut:
        return await _outcome(now, before, f"{kind}, cut after {after_s:.2f} s")
    return await _outcome(now, None, f"{kind}, reset after {after_s:.2f} s")


async def _outcome(now: Scene, before: dict[str, int | bytes] | None, what: str, starts: int = 2) -> list[str]:
    """before: its NVS, if the power is off and it can be looked at in peace."""
    found = [now.half_done(before) if before is not None else ""]
    if not found[0]:
        found += [await now.recover() for _ in range(starts)]
    found += now.witness.wrong
    now.witness.wrong.clear()
    return [f"{what}: {one}" for one in found if one]


async def test_a_board_that_loses_its_power_in_a_join_is_as_it_was_or_joined(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        for kind, operation in SHORT:
            assert await cut_at(now, kind, operation, starts=1) == (True, [])
        assert [core.counters["joins"] for core in now.cores] == [1, 1]  # what it had agreed on is not lost


@pytest.mark.soak
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("torn", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_board_is_as_it_was_or_joined_whichever_operation_the_power_goes_at(
    tmp_path: Path, kind: str, torn: bool
) -> None:
    """torn: the operation is half done (an NVS write: there or not, at random); else whole, and its answer lost."""
    cuts, wrong = 0, []
    async with scene(tmp_path) as now:
        for operation in range(1, MOST_OPERATIONS):
            was_cut, found = await cut_at(now, kind, operation, torn=torn)
            wrong += found
            if not was_cut:
                break
            cuts += 1
        joins = sum(core.counters["joins"] for core in now.cores)
        print(f"\n{kind}, torn {torn}: {cuts} cuts, {joins} joins, {now.witness.frames} frames, wrong: {wrong}")
    assert wrong == []
    assert 25 < cuts < MOST_OPERATIONS - 1


@pytest.mark.soak
@pytest.mark.timeout(7_200)
async def test_a_board_is_as_it_was_or_joined_whenever_it_is_cut_or_reset(tmp_path: Path) -> None:
    chance, wrong, harms = random.Random(4), [], 100
    async with scene(tmp_path) as now:
        for number in range(harms):
            kind, after_s = KINDS[number % 3], chance.uniform(0.3, 3.0)
            wrong += await harm_at(now, kind, after_s, is_cut=bool(chance.randrange(2)))
        joins = sum(core.counters["joins"] for core in now.cores)
        print(f"\n{harms} cuts and resets: {joins} joins, {now.witness.frames} frames, wrong: {wrong}")
    assert wrong == []


# Each breaks one rule; the campaign must notice. They live in main.py, which every boot runs.
MUTANTS = {
    "what a join left goes before its key is there": """
import firmware.enrol
enrol = firmware.enrol.enrol
def enrol_last(nvs, **how):
    nvs.erase_key("next")
    nvs.commit()
    return enrol(nvs, **how)
firmware.enrol.enrol = enrol_last
""",
    "frame counters are not reserved": """
from firmware.settings import Settings
def take_counter(self):
    self.next_counter += 1
    return self.next_counter - 1
Settings.take_counter = take_counter
""",
}


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_the_campaign_notices_a_broken_rule(tmp_path: Path, mutant: str) -> None:
    main = MAIN.read_text().replace(START, MUTANTS[mutant] + START)
    assert MUTANTS[mutant] in main
    wrong: list[str] = []
    async with scene(tmp_path, main=main.encode()) as now:
        for operation in range(16, 26):
            wrong += (await cut_at(now, "first", operation, torn=False))[1]
            if wrong:
                break
    print(f"\n{mutant}: {wrong}")
    assert wrong
