"""Nodes lose power in the middle of flash operations, their file system, yesterday's or all of it, and their NVS."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Count

FAULTS = ("cut", "cut", "erased", "cut", "restored", "cut", "nvs")
# A LoRa node's frames may meet another's, or a gateway that is deaf for its own answer: of 133 waits four took over
# 10 s and one 20 s, where 7 s are usual. A stuck node is stuck for ever.
_ALIVE_WITHIN_S = 90.0


async def suffer(folder: Path, *, faults: int, seed: int, nodes: int) -> Count:
    """`faults` over all nodes at once; after each the node must be acknowledged again."""
    async with Campaign(folder, nodes=nodes, seed=seed, bearers=("mqtt", "lora")) as campaign:
        await campaign.start_gateway()
        stuck: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            for index, node in enumerate(sorted(campaign.stage.boards())):
                mine = [FAULTS[i % len(FAULTS)] for i in range(index, faults, nodes)]
                tasks.create_task(_suffer_alone(campaign, node, mine, stuck), name=f"faults.{node}")
        await campaign.stage.gateway.stop()
        count = await campaign.finish(within_s=60)
    print(f"\n{count}")
    assert stuck == [], stuck[0]
    return count


async def _suffer_alone(campaign: Campaign, node: str, faults: list[str], stuck: list[str]) -> None:
    for fault in faults:
        await campaign.spoil_node(node, fault)
        if not await campaign.wait_for_ack(node, within_s=_ALIVE_WITHIN_S):
            stuck.append(f"{node} after {fault}:\n{campaign.stage.boards()[node].console()[-1500:]}")


def verdict(count: Count) -> bool:
    """What a node had not got through when its flash was erased is gone. What was acknowledged never is."""
    return not (count.acknowledged_and_lost or count.duplicates or count.repeated_nonces)


@pytest.mark.timeout(240)
async def test_a_node_survives_whatever_happens_to_its_flash(tmp_path: Path) -> None:
    count = await suffer(tmp_path / "c", faults=14, seed=5, nodes=4)
    assert verdict(count), count
    assert count.acknowledged > 5


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_nodes_survive_two_hundred_faults(tmp_path: Path) -> None:
    count = await suffer(tmp_path / "c", faults=200, seed=6, nodes=6)
    assert verdict(count), count
