"""A day of frames is played back after a restart of the gateway and after loss of power: none is accepted.

The nodes are the firmware's own modules, the gateway is the real core on its store; below its file layers a disk
forgets what was not synced when the power goes.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections import Counter
from pathlib import Path

import pytest

from drivers.link.frame import FrameError
from gateway.core import Core
from gateway.errors import GatewayError
from gateway.identity.sessions import Sessions
from tests.faults.power import Power
from tests.faults.power_disk import PowerDisk
from tests.faults.power_floors import powered_floors
from tests.faults.power_sqlite import PowerSqlite
from tests.gateway.cores import ManualTime, hear, running_core
from tests.gateway.joining import Site
from tests.gateway.street_node import StreetNode, Wire

_PERIOD_S = 300
_LOSS = 0.1


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The store complains of its disk."""
    caplog.set_level(logging.CRITICAL)


class Day:
    """A street of nodes, and a gateway whose power may go."""

    def __init__(self, folder: Path, *, nodes: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.power = Power()
        self.disk = PowerDisk(self.power, self.chance, capacity=1 << 30)
        self.sqlite = PowerSqlite(self.power, self.chance)
        self.time = ManualTime()
        self.wire = Wire(None, loss=_LOSS, seed=seed)
        self.wire.at_s = self.time.now_s
        self._folder = folder
        site = Site()
        site.endorse(folder / "gateway")
        self.nodes = [
            StreetNode(folder / f"flash-{at}", folder / "gateway", site.trust(), self.wire) for at in range(nodes)
        ]

    @contextlib.asynccontextmanager
    async def gateway(self):
        """The gateway's process, from start to stop; or to the end of its power."""
        with self.sqlite.installed(), powered_floors(self.power, self.chance):
            self.power.arm(None)
            options = {"clock": self.time.clock, "files": self.disk, "alarm_budget_per_h": 0}
            async with running_core(self._folder / "gateway", **options) as core:
                self.wire.core = core
                yield core

    async def pass_by(self, periods: int) -> None:
        """Each node measures and reports in each period."""
        for _ in range(periods):
            self.time.advance(_PERIOD_S)
            self.wire.at_s = self.time.now_s
            for node in self.nodes:
                node.clock.pass_s(_PERIOD_S)
                node.measure()
                await node.report()

    async def lose_power(self, periods: int) -> None:
        """The day goes on until the power goes, at some write or sync of so many periods."""
        with contextlib.suppress(GatewayError, FrameError):
            async with self.gateway():
                self.power.arm(self.chance.randrange(20, 60 * periods))
                await self.pass_by(periods)
                self.power.off()
        self.disk.cut()
        self.sqlite.cut()

    async def play_back(self, core: Core, frames: list[bytes]) -> Counter[str]:
        """What becomes of frames that were accepted before."""
        outcome: Counter[str] = Counter()
        for frame in frames:
            verdict = await hear(core, frame, at_s=self.time.now_s)
            outcome["accepted" if verdict.accepted else str(verdict.reason)] += 1
            assert verdict.accepted or verdict.downlink is None
        return outcome


async def a_day(folder: Path, *, nodes: int, periods: int, losses: int, seed: int) -> Counter[str]:
    """Record, restart, play back; lose the power, start, play back. Returns what became of all that was played."""
    day = Day(folder, nodes=nodes, seed=seed)
    total: Counter[str] = Counter()
    async with day.gateway():
        for node in day.nodes:
            await node.boot()
        await day.pass_by(periods // 2)
    for loss in range(losses + 1):
        if loss:
            await day.lose_power(max(2, periods // 2 // losses))
        else:
            async with day.gateway():
                await day.pass_by(periods - periods // 2)
        async with day.gateway() as core:
            recorded = [frame for frame in day.wire.up if frame in day.wire.accepted]
            joins = core.counters["joins"]
            outcome = await day.play_back(core, recorded)
            outcome += await day.play_back(core, day.chance.sample(recorded, len(recorded)))
            total += outcome
            for frame in day.wire.joins:
                await hear(core, frame, at_s=day.time.now_s)
            assert core.counters["joins"] == joins
            assert (await core.outbox.audit())[0].holds
            await day.pass_by(1)  # and the nodes are heard as before
            assert day.wire.up[-1] in day.wire.accepted or day.wire.up[-2] in day.wire.accepted
        print(f"\nafter {'loss of power' if loss else 'a restart'}: {len(recorded)} frames twice: {dict(outcome)}")
    assert day.wire.repeated == []
    return total


async def test_a_recorded_day_is_refused_after_a_restart_and_after_loss_of_power(tmp_path: Path) -> None:
    outcome = await a_day(tmp_path, nodes=3, periods=24, losses=3, seed=3)
    assert outcome["accepted"] == 0
    assert outcome["replayed"] > 300


async def test_the_day_notices_a_window_that_is_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sessions, "flush", lambda self, tx: None)
    with pytest.raises(AssertionError):
        assert (await a_day(tmp_path, nodes=1, periods=6, losses=0, seed=1))["accepted"] == 0


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_a_recorded_day_of_twelve_nodes_is_refused(tmp_path: Path) -> None:
    outcome = await a_day(tmp_path, nodes=12, periods=288, losses=8, seed=5)
    assert outcome["accepted"] == 0
    assert outcome["replayed"] > 50_000
