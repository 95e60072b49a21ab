"""The shipped agent in a process whose system clock is wrong: libfaketime stands between it and the kernel.

What the scripted machine cannot show: that nothing of the whole program, from TLS to asyncio, takes its time elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

import aiomqtt
import pytest

from gateway.status import overview
from lamppost.broker import free_ports
from tests.gateway.agent import Agent
from tests.peers.mosquitto import program

V5 = aiomqtt.ProtocolVersion.V5


class FakeTime:
    """The wall clock of processes started from now on; `set` moves it while they run. Monotonic clocks stay real."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = folder / "faketime"
        faketime = program("faketime", "faketime")
        library = subprocess.run(
            [faketime, "-f", "+0", "printenv", "LD_PRELOAD"], check=True, capture_output=True, text=True
        ).stdout.strip()
        monkeypatch.setenv("LD_PRELOAD", library)
        monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(self._file))
        monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
        monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")

    def set(self, spec: str) -> None:
        """A specification of faketime(1), e.g. "+3652d"."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{spec}\n")
        new.rename(self._file)


@pytest.fixture
def fake_time(tmp_path, monkeypatch):
    return FakeTime(tmp_path, monkeypatch)


def records_of(payload: bytes) -> dict[str, object]:
    return {one["n"]: one.get("v", one.get("vs")) for one in json.loads(payload)}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(f"-{int(time.time()) - 600}", id="1970"),
        pytest.param("+3700d", id="ten years ahead"),
    ],
)
async def test_an_agent_started_with_a_wrong_clock_dates_its_readings_rightly_once_it_is_set_right(
    tmp_path, mosquitto, fake_time, wrong
):
    (port,) = free_ports(1)
    fake_time.set(wrong)
    agent = Agent(
        tmp_path / "agent",
        f'[southbound.mqtt]\nlisten = "mqtt://127.0.0.1:{port}"\n'
        f'[[city]]\nkind = "mqtt"\nurl = "{mosquitto.url}"\ntopic = "city/{{site}}/{{node}}/senml"\n',
    )
    with agent:
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=V5) as city, asyncio.timeout(60):
            await city.subscribe("city/#", qos=1)
            began_s = time.time()
            await publish(port, 1)
            measured_s = time.time()
            seen = await status_when(agent, lambda seen: not seen["clock"]["is_trusted"])
            assert any("is not trusted" in note for note in seen["notes"])
            fake_time.set("+0")
            first = await anext(city.messages)
            await status_when(agent, lambda seen: seen["clock"]["is_trusted"])
            fake_time.set(wrong)  # a step while it runs
            await status_when(agent, lambda seen: seen["clock"]["steps"] > 1)
            stepped_s = time.time()
            await publish(port, 2)
            second = await anext(city.messages)
    one, two = json.loads(first.payload), json.loads(second.payload)
    assert began_s - 2 <= one[0]["bt"] <= measured_s + 2
    assert stepped_s - 2 <= two[0]["bt"] <= time.time() + 2
    assert [records_of(m.payload)["time_quality"] for m in (first, second)] == ["received", "received"]


async def publish(port: int, value: int) -> None:
    async with aiomqtt.Client("127.0.0.1", port, protocol=V5) as device:
        await device.publish("up/meter-1/senml", json.dumps([{"n": "power", "v": value}]), qos=1)


async def status_when(agent: Agent, fact) -> dict:
    while True:
        seen = overview(agent.data_dir)
        if "clock" in seen and fact(seen):
            return seen
        await asyncio.sleep(0.05)
