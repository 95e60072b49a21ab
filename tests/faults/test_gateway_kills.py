"""The gateway dies at every boundary while nodes report, and its disk forgets what was not synced."""

from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Count
from tests.faults.gateway_child import POINTS


async def fight(
    folder: Path, *, kills: int, seed: int, nodes: int, mutant: str | None = None, drain_s: float = 90.0
) -> Count:
    """`kills` deaths: at each boundary in turn, every third at a random moment.

    drain_s  time for the backlog at the end; nodes that were unheard for long drain at what the region allows
    """
    async with Campaign(folder, nodes=nodes, seed=seed, mutant=mutant) as campaign:
        for index in range(kills):
            point = POINTS[index % len(POINTS)]
            spec = None if index % 3 == 2 else f"{point}:{campaign.chance.randint(1, 6)}"
            if point.startswith(("commit", "ack")):
                campaign.stage.silence_city()  # then only the disk has what is acknowledged
            await campaign.kill_gateway(spec)
            campaign.stage.wake_city()
        count = await campaign.finish(within_s=drain_s)
    print(f"\n{mutant or 'as shipped'}: {count}")
    return count


@pytest.mark.timeout(240)
async def test_nothing_is_lost_when_the_gateway_dies_at_any_boundary(tmp_path: Path) -> None:
    count = await fight(tmp_path / "c", kills=7, seed=1, nodes=4)
    assert count.is_clean, count
    assert count.acknowledged > 20


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_nothing_is_lost_over_a_hundred_deaths(tmp_path: Path) -> None:
    count = await fight(tmp_path / "c", kills=100, seed=2, nodes=6, drain_s=1200)
    assert count.is_clean, count


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "mutant",
    [
        # The normal run has these two in tests/faults/test_power_cuts.py, which needs no child processes.
        pytest.param("ack_before_commit", marks=pytest.mark.soak),
        pytest.param("no_fdatasync", marks=pytest.mark.soak),
        "downlink_counter_reserved_after_use",
    ],
)
async def test_the_campaign_notices_a_broken_promise(tmp_path: Path, mutant: str) -> None:
    count = await fight(tmp_path / "c", kills=4, seed=3, nodes=2, mutant=mutant)
    assert not count.is_clean, f"{mutant} went unnoticed: {count}"
