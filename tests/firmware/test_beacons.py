"""A node hears its gateway's beacons: real MicroPython, chip models, the gateway's own radio, intake and chain."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from boards import data
from boards.virtual.street import Street
from gateway.config import LoraSouthbound
from gateway.core import Core
from gateway.identity.chain import ChainFile
from gateway.southbound.beacons import Beacons
from gateway.southbound.lora import LoraRadio
from provisioning.enrol import enrol
from provisioning.payload import node_files
from provisioning.provision import files_for
from tests.firmware.test_board import BOARD, CONFIG
from tests.firmware.test_heap import HEAP_KIB, KIB, serving_as, shims_of
from tests.firmware.test_join import until
from tests.gateway.cores import running_core
from tests.peers.micropython import check_micropython

LISTENING = {**CONFIG, "lora": {"beacons": True}}
SHOWN = serving_as(
    """
    take = type(parts.bearer)._take
    def take_and_tell(self):
        gc.collect()
        print("live", gc.mem_alloc())
        import firmware.beacons
        gc.collect()
        print("looking", gc.mem_alloc())
        return take(self)
    type(parts.bearer)._take = take_and_tell
    parts.bearer.at = 0
    serve(parts)
"""
)


@asynccontextmanager
async def with_beacons(street: Street, data_dir: Path) -> AsyncIterator[Core]:
    """A gateway on the street's radio, with a beacon every four seconds."""
    async with running_core(data_dir, commit_window_s=0.02) as core:
        core.beacons = ChainFile(data_dir, interval_s=4, boot_id=core.clock.boot_id)
        radio = LoraRadio(
            LoraSouthbound(device=f"virtual:{street.gateway_radio_path}"),
            core.intake,
            data_dir=data_dir,
            count=core.counters.add,
            beacons=Beacons(core.beacons, core.clock, count=core.counters.add),
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(radio.run())
            yield core
            running.cancel()


@pytest.mark.soak
@pytest.mark.serial
@pytest.mark.timeout(180)
async def test_a_node_asks_listens_and_learns_the_time_within_128_kib(street: Street, tmp_path: Path) -> None:
    made = enrol(tmp_path)
    shims = shims_of(street)
    node = street.add_node("node", heapsize=f"{HEAP_KIB + shims // KIB}k")
    files = files_for(board=data.load(BOARD), config={**LISTENING, "report_s": 10})
    node.write_files({**files, "/main.py": SHOWN.encode()})
    node.set_nvs("lamppost", made.nvs())
    async with with_beacons(street, tmp_path) as core:
        node.power_on()
        await until(lambda: "a beacon tells the time" in node.console(), node)
        await until(lambda: core.counters["lora_beacons_sent"] > 10, node)
        node.power_cut()
    print(node.console(), core.counters.snapshot())
    figures = re.findall(r"(live|looking) (\d+)", node.console())
    print({name: f"{(int(figure) - shims) / KIB:.1f} KiB" for name, figure in figures}, "of", HEAP_KIB)
    assert "MemoryError" not in node.console()
    told_ms = re.search(r"tells the time, to (\d+) ms", node.console())
    assert told_ms is not None
    assert int(told_ms[1]) < 4_000


RETAINED = """
import gc, sys
sys.path.remove("")
import firmware.report, firmware.bearer_lora, drivers.link.keys, firmware.forget
gc.collect()
before = gc.mem_alloc()
import firmware.bearer_beacons
gc.collect()
listening = gc.mem_alloc()
import firmware.beacons
gc.collect()
looking = gc.mem_alloc()
firmware.forget.forget(*{loaded!r})
gc.collect()
print(listening - before, looking - listening, gc.mem_alloc() - listening)
"""


def test_listening_keeps_little_heap_and_looking_leaves_none_behind(tmp_path: Path) -> None:
    """64-bit objects; a board's are half as large."""
    for name, content in node_files().items():
        path = tmp_path / name.removeprefix("/lib/").lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    loaded = ("firmware.beacons", "drivers.link.beacon")
    listening, looking, left = map(int, check_micropython(RETAINED.format(loaded=loaded), path=[tmp_path]).split())
    print(f"beacons: {listening} bytes of heap to listen, {looking} more while one is looked at, {left} left behind")
    assert listening < 4_600
    assert looking < 8_400
    assert left < 1_000  # names, once
