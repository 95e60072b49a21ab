"""Third-party devices publish at the listener while the gateway dies: what it acknowledged reaches the city."""

import asyncio
import random
import threading
import time
from pathlib import Path

import pytest

from gateway.endpoint import parse_endpoint
from gateway.errors import GatewayError
from lamppost.broker import Broker, free_ports
from lamppost.demo.arrivals import Arrivals
from lamppost.demo.gateway_process import GatewayProcess
from lamppost.demo.subscriber import subscribe
from tests.faults import unsynced
from tests.faults.campaign import CHILD
from tests.faults.devices import Publish, publish_with_mosquitto, publish_with_paho
from tests.faults.gateway_child import POINTS

_TOML = """\
[gateway]
id = "gw-1"
site = "test"
data_dir = "{folder}/data"
time = "assume"

[southbound.mqtt]
listen = "mqtt://127.0.0.1:{port}"

[[city]]
kind = "mqtt"
url = "{city}"
topic = "city/{{site}}/{{node}}/senml"

[edge]
window_s = 0
"""


async def fight(
    folder: Path, publish: Publish, *, kills: int, seed: int, mutant: str | None = None
) -> tuple[set[int], set[int]]:
    """(acknowledged, arrived) after `kills` deaths and a quiet end. For a mutant the city is away until then."""
    chance, acknowledged, arrivals = random.Random(seed), [], Arrivals("gw-1")
    (port,) = free_ports(1)
    with Broker() as broker:
        config = folder / "gateway.toml"
        away = "mqtt://127.0.0.1:1" if mutant else broker.url
        config.write_text(_TOML.format(folder=folder, port=port, city=away))
        command = (*CHILD, *(("--mutant", mutant) if mutant else ()))
        gateway = GatewayProcess(config, folder / "data", folder / "gateway.log", command=command)
        stop = threading.Event()
        device = threading.Thread(target=publish, args=(port, acknowledged, stop))
        device.start()
        try:
            async with subscribe(parse_endpoint("city", broker.url), "city/#", arrivals.add):
                for index in range(kills):
                    await _die(gateway, folder, _spec(index, chance), chance)
                config.write_text(_TOML.format(folder=folder, port=port, city=broker.url))
                await gateway.start(extra=("--notes", str(folder / "notes")))
                await asyncio.to_thread(_finish, device, stop)
                await _until_all_arrived(acknowledged, arrivals)
                await gateway.stop()
        finally:
            stop.set()
            await gateway.kill()
    assert arrivals.errors == []
    return set(acknowledged), _values(arrivals)


def _spec(index: int, chance: random.Random) -> str | None:
    return None if index % 4 == 3 else f"{POINTS[index % len(POINTS)]}:{chance.randint(1, 12)}"


async def _die(gateway: GatewayProcess, folder: Path, spec: str | None, chance: random.Random) -> None:
    try:
        await gateway.start(extra=("--notes", str(folder / "notes"), *(("--kill", spec) if spec else ())))
    except GatewayError:
        if gateway.is_running or spec is None:
            raise
    await gateway.wait(3.0 if spec else chance.uniform(0.05, 1.0))
    await gateway.kill()
    unsynced.lose(folder / "notes", chance)


def _finish(device: threading.Thread, stop: threading.Event) -> None:
    time.sleep(1.0)  # the device goes on for a moment with nobody dying
    stop.set()
    device.join(30)


def _values(arrivals: Arrivals) -> set[int]:
    return {
        int(m.value) for record in arrivals.records.values() for m in record.measurements if m.name.endswith("count")
    }


async def _until_all_arrived(acknowledged: list[int], arrivals: Arrivals) -> None:
    deadline_s = asyncio.get_running_loop().time() + 20
    while not set(acknowledged) <= _values(arrivals) and asyncio.get_running_loop().time() < deadline_s:
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("publish", [publish_with_paho, publish_with_mosquitto])
@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(8, marks=pytest.mark.timeout(120)),
        pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
async def test_what_a_device_was_acknowledged_is_at_the_city(tmp_path: Path, publish: Publish, kills: int) -> None:
    acknowledged, arrived = await fight(tmp_path, publish, kills=kills, seed=kills)
    print(f"\n{publish.__name__}: {kills} kills, {len(acknowledged)} acknowledged, {len(acknowledged - arrived)} lost")
    assert acknowledged - arrived == set()
    assert len(acknowledged) > kills


@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", ["ack_before_commit", "no_fdatasync"])
async def test_the_campaign_notices_a_broken_promise(tmp_path: Path, mutant: str) -> None:
    acknowledged, arrived = await fight(tmp_path, publish_with_paho, kills=6, seed=1, mutant=mutant)
    print(f"\n{mutant}: {len(acknowledged)} acknowledged, {len(acknowledged - arrived)} lost")
    assert acknowledged - arrived
