"""The gateway dies at every boundary while nodes report, and its disk forgets what was not synced."""

import json
from pathlib import Path

import pytest

from lamppost.demo.arrivals import Arrivals
from tests.faults.campaign import Campaign, Count, out_of_order
from tests.peers.mosquitto import Mosquitto


async def fight(
    folder: Path, *, kills: int, seed: int, nodes: int, mutant: str | None = None, drain_s: float = 90.0
) -> Count:
    """`kills` deaths while nodes report by radio and at the listener, and devices at the listener and at a broker.

    drain_s  time for the backlog at the end; nodes that were unheard for long drain at what the region allows
    """
    broker = Mosquitto(folder / "broker", lines=["max_queued_messages 0"])
    broker.start()
    try:
        async with Campaign(folder / "street", nodes=nodes, seed=seed, mutant=mutant, broker_port=broker.port) as it:
            await it.kill_often(kills)
            count = await it.finish(within_s=drain_s)
    finally:
        broker.stop()
    print(f"\n{mutant or 'as shipped'}: {count}")
    return count


@pytest.mark.timeout(240)
async def test_nothing_is_lost_when_the_gateway_dies_at_any_boundary(tmp_path: Path) -> None:
    count = await fight(tmp_path, kills=7, seed=1, nodes=4)
    assert count.is_clean, count
    assert count.acknowledged > 20
    assert count.published > 100


def test_what_was_stored_later_and_came_earlier_is_out_of_order(tmp_path: Path) -> None:
    stored, arrivals = tmp_path / "stored", Arrivals("gw-1")
    stored.write_text("".join(json.dumps([f"meter/c/{name}", "telemetry"]) + "\n" for name in ("b", "a", "b", "c")))
    for name, lane in (("c", "live"), ("b", "backlog"), ("a", "backlog"), ("a", "live")):
        properties = [("record-id", f"meter/c/{name}"), ("assurance", "none"), ("lane", lane)]
        arrivals.add(json.dumps([{"bn": "meter", "v": 1}]).encode(), properties)
    assert out_of_order(arrivals, stored) == ["meter/c/a"]


@pytest.mark.soak
@pytest.mark.timeout(5400)
async def test_nothing_is_lost_over_two_hundred_deaths(tmp_path: Path) -> None:
    count = await fight(tmp_path, kills=200, seed=2, nodes=6, drain_s=1200)
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
    count = await fight(tmp_path, kills=4, seed=3, nodes=2, mutant=mutant)
    assert not count.is_clean, f"{mutant} went unnoticed: {count}"
