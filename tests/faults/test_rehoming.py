"""Two gateways, nodes that joined the first, which is killed: when each speaks with the second, and what is lost.

Real MicroPython boards, half by radio and half over a broker, gateways in processes of their own, a subscriber at the
city. What a gateway had acknowledged and not yet delivered is on its disk: it comes when the gateway is started again.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from boards import data
from boards.virtual.board import VirtualBoard
from boards.virtual.street import Street
from drivers.link import p256
from firmware.journal_image import issued
from gateway.endpoint import parse_endpoint
from lamppost.broker import Broker
from lamppost.demo.arrivals import Arrivals
from lamppost.demo.gateway_process import GatewayProcess
from lamppost.demo.subscriber import subscribe
from provisioning.enrol import enrol_public, nvs_of_born
from provisioning.provision import files_for
from tests.gateway.identity.edhoc_node import KeyPair
from tests.gateway.joining import Site
from tests.peers.mosquitto import Mosquitto

pytestmark = [pytest.mark.serial, pytest.mark.soak]
GATEWAY = """\
[gateway]
id = "{name}"
site = "test"
data_dir = "{data_dir}"
time = "assume"
[southbound.mqtt]
broker = "mqtt://127.0.0.1:{broker}"
[southbound.lora]
device = "virtual:{radio}"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:{city}"
topic = "city/{{site}}/{{node}}/senml"
[edge]
window_s = 0
"""


@dataclass
class Lamp:
    """One node."""

    id: str
    board: VirtualBoard
    bearer: str
    rehomed_s: float | None = None

    def issued(self) -> set[str]:
        """Every record id that its flash and NVS say was issued, of epochs that are over too."""
        files = self.board.files(below="/journal")
        ends = {epoch: end for epoch, (_, end) in issued({p.rpartition("/")[2]: c for p, c in files.items()}).items()}
        closed = self.board.nvs["lamppost"].get("closed", b"")
        assert isinstance(closed, bytes)
        ends |= {epoch: max(end, ends.get(epoch, 0)) for epoch, end, _ in struct.iter_unpack(">III", closed)}
        return {f"{self.id}/{epoch}/{seq}" for epoch, end in ends.items() for seq in range(end)}


@dataclass
class Cabinet:
    """One gateway."""

    process: GatewayProcess
    data_dir: Path

    def heard(self) -> dict[str, Any]:
        found: dict[str, Any] = self.process.status().get("nodes", {}).get("heard", {})
        return found

    def counters(self, word: str) -> dict[str, int]:
        found = self.process.status().get("counters", {})
        return {name: count for name, count in found.items() if word in name}


@dataclass
class Scene:
    """Everything that runs."""

    lamps: list[Lamp]
    cabinets: list[Cabinet]
    arrivals: Arrivals = field(default_factory=lambda: Arrivals("gw-1"))

    def of_nodes(self) -> set[str]:
        return {one for one in self.arrivals.records if one.startswith("urn:")}

    async def until(self, fact, *, deadline_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while not fact():
                    await asyncio.sleep(0.25)
        except TimeoutError:
            told = "\n".join(f"{one.bearer} {one.board.console()[-600:]}" for one in self.lamps)
            raise AssertionError(f"{what}: not within {deadline_s} s\n{told}") from None


def provision(
    street: Street, site: Site, folders: list[Path], name: str, bearer: str, broker: int, pace_s: int
) -> Lamp:
    keys = KeyPair()
    made = enrol_public(folders[0], public_key=keys.public, alias=name)
    enrol_public(folders[1], public_key=keys.public, alias=name)
    config: dict[str, Any] = {"bearer": bearer, "sample_s": pace_s, "report_s": pace_s, "retry_s": 3, "retry_max_s": 10}
    config |= {"sensors": ["bme280"], "repl_window_s": 1}
    if bearer == "mqtt":
        config |= {
            "wifi": {"ssid": "street", "password": "lamplight"},
            "mqtt": {"host": "127.0.0.1", "port": broker, "ack_s": 4},
        }
    board = street.add_node(name)
    board.write_files(files_for(board=data.load("heltec_v3"), config=config))
    private = {"priv": p256.to_octets(keys.private), "seed": bytes(range(32))}
    board.set_nvs("lamppost", {**nvs_of_born(made, trust=site.trust().to_bytes()), **private})
    return Lamp(made.id, board, bearer)


@pytest.mark.parametrize(
    "count", [pytest.param(4, marks=pytest.mark.timeout(600)), pytest.param(20, marks=pytest.mark.timeout(1800))]
)
async def test_nodes_of_a_killed_gateway_go_on_at_another(tmp_path: Path, count: int, capsys) -> None:
    async with AsyncExitStack() as stack:
        middle = Mosquitto(tmp_path, lines=["allow_anonymous true"])
        middle.start()
        stack.callback(middle.stop)
        city = stack.enter_context(Broker())
        street = stack.enter_context(Street(tmp_path / "boards"))
        radios = [street.gateway_radio_path, street.add_gateway("gateway-2", position_m=(30.0, 0.0))]
        site, cabinets = Site(), []
        for at, radio in enumerate(radios):
            name, folder = f"gw-{at + 1}", tmp_path / f"gw-{at + 1}"
            site.endorse(folder)
            config = tmp_path / f"{name}.toml"
            config.write_text(
                GATEWAY.format(name=name, data_dir=folder, broker=middle.port, radio=radio, city=city.port)
            )
            process = GatewayProcess(config, folder, tmp_path / f"{name}.log")
            stack.push_async_callback(process.stop)
            cabinets.append(Cabinet(process, folder))
        folders, pace_s = [one.data_dir for one in cabinets], max(10, count)  # one frequency for all
        lamps = [
            provision(street, site, folders, f"lamp-{at}", ("lora", "mqtt")[at % 2], middle.port, pace_s)
            for at in range(count)
        ]
        scene = Scene(lamps, cabinets)
        endpoint = parse_endpoint("city", city.url)
        await stack.enter_async_context(
            subscribe(endpoint, "city/test/#", lambda *one: scene.arrivals.add(*one) and None)
        )
        await play(scene, count, capsys)
        report(scene, capsys)


async def play(scene: Scene, count: int, capsys) -> None:
    first, second = scene.cabinets
    await first.process.start()
    for lamp in scene.lamps:
        await asyncio.to_thread(lamp.board.power_on)
        await asyncio.sleep(0.5)
    await scene.until(lambda: len(first.heard()) == count, deadline_s=60 + 25 * count, what="all at the first")
    await second.process.start()
    await asyncio.sleep(10)  # both are up, and every node stays where it is
    assert second.heard() == {}
    await first.process.kill()
    killed_s = time.monotonic()

    def all_are_there() -> bool:
        for lamp in scene.lamps:
            if lamp.rehomed_s is None and lamp.id in second.heard():
                lamp.rehomed_s = time.monotonic() - killed_s
        return all(lamp.rehomed_s is not None for lamp in scene.lamps)

    await scene.until(all_are_there, deadline_s=180 + 45 * count, what="all at the second")
    with capsys.disabled():
        print(f"\n{json.dumps(times(scene))}")
    await first.process.start()  # what it had acknowledged and not delivered is on its disk
    running = list(scene.lamps)
    while running:
        lamp = running.pop(0)
        await scene.until(
            lambda lamp=lamp: lamp.issued() <= scene.of_nodes(), deadline_s=400, what=f"{lamp.board.name} is told"
        )
        await asyncio.to_thread(lamp.board.power_cut)
        if not lamp.issued() <= scene.of_nodes():  # it made one more in that moment
            await asyncio.to_thread(lamp.board.power_on)
            running.append(lamp)


def times(scene: Scene) -> dict[str, Any]:
    """From the kill to the first report at the other gateway, by bearer."""
    found: dict[str, Any] = {}
    for bearer in ("lora", "mqtt"):
        took_s = sorted(lamp.rehomed_s or 0.0 for lamp in scene.lamps if lamp.bearer == bearer)
        shown = {"first": took_s[0], "median": took_s[len(took_s) // 2], "last": took_s[-1]}
        found[bearer] = {name: round(value, 1) for name, value in shown.items()}
    return {"rehomed_s": found}


def report(scene: Scene, capsys) -> None:
    measured = set().union(*(lamp.issued() for lamp in scene.lamps))
    lost = measured - scene.of_nodes()
    told = {
        "nodes": len(scene.lamps),
        "measured": len(measured),
        "delivered": len(measured & scene.of_nodes()),
        "lost": len(lost),
        "repeats": scene.arrivals.repeats,
        "duplicates": len(scene.arrivals.duplicates),
        "joins": scene.cabinets[1].counters("join"),
    }
    for one, other in scene.arrivals.two_contents.items():
        told[one] = [str(scene.arrivals.records[one].content), str(other.content)]
    with capsys.disabled():
        print(f"\n{json.dumps(told)}")
    assert not lost, sorted(lost)[:20]
    assert scene.arrivals.duplicates == []
    assert scene.arrivals.errors == []
