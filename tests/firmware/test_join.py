"""A node joins over the simulated air: real MicroPython, chip models, the gateway's own radio, intake and disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from boards import data
from boards.virtual.board import VirtualBoard
from boards.virtual.street import Street
from drivers.link import p256
from gateway.config import LoraSouthbound
from gateway.core import Core
from gateway.southbound.lora import LoraRadio
from provisioning.enrol import enrol_public, nvs_of_born
from provisioning.provision import files_for
from tests.firmware.test_board import BOARD, CONFIG
from tests.firmware.test_heap import HEAP_KIB, KIB, shims_of
from tests.gateway.cores import running_core
from tests.gateway.identity.edhoc_node import KeyPair
from tests.gateway.joining import Site

pytestmark = [pytest.mark.serial, pytest.mark.timeout(180)]


@asynccontextmanager
async def on_the_air(street: Street, data_dir: Path) -> AsyncIterator[Core]:
    """A gateway on the street's radio."""
    async with running_core(data_dir, commit_window_s=0.02) as core:
        config = LoraSouthbound(device=f"virtual:{street.gateway_radio_path}")
        radio = LoraRadio(config, core.intake, data_dir=data_dir, count=core.counters.add)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(radio.run())
            yield core
            running.cancel()


async def until(fact: Callable[[], bool], node: VirtualBoard, *, deadline_s: float = 90.0) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            while not fact():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(node.console()) from None


def born(street: Street, keys: KeyPair, trust: bytes, made, *, heapsize: str = "256k", **nvs: int | bytes):
    """A board as it leaves provisioning, its key pair in NVS; off."""
    node = street.add_node("node", heapsize=heapsize)
    node.write_files(files_for(board=data.load(BOARD), config=CONFIG))
    private = p256.to_octets(keys.private)
    node.set_nvs("lamppost", {**nvs_of_born(made, trust=trust), "priv": private, "seed": bytes(range(32)), **nvs})
    return node


async def test_a_node_joins_by_radio_within_128_kib_and_reports(street, tmp_path) -> None:
    site, keys = Site(), KeyPair()
    site.endorse(tmp_path)
    made = enrol_public(tmp_path, public_key=keys.public)
    shims = shims_of(street)
    node = born(street, keys, site.trust().to_bytes(), made, heapsize=f"{HEAP_KIB + shims // KIB}k")
    async with on_the_air(street, tmp_path) as core:
        node.power_on()
        await until(lambda: core.counters["joins"] == 1, node)
        await until(lambda: made.id in core.intake.heard, node)
    assert "MemoryError" not in node.console()
    assert "lamppost: joined, epoch 1" in node.console()
    held = node.nvs["lamppost"]
    assert (held["epoch"], len(held["key"])) == (1, 32)
    assert held["seed"] != bytes(range(32))
    assert held["priv"].hex() not in node.console()


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_a_node_whose_gateway_fell_silent_looks_for_another_and_goes_on_as_it_was(street, tmp_path) -> None:
    """Nobody answers six reports: one attempt in a boot of its own; then twice as long until the next."""
    site, keys = Site(), KeyPair()
    made = enrol_public(tmp_path, public_key=keys.public)
    session = {"key": bytes(range(32)), "epoch": 4, "counter": 0, "seq": 0, "boot": 7}
    node = born(street, keys, site.trust().to_bytes(), made, **session)
    node.power_on()
    await until(lambda: "epoch 4, boot 8" in node.console(), node)
    await until(lambda: "not joined: no answer to message 1" in node.console(), node, deadline_s=240)
    await until(lambda: "epoch 4, boot 9" in node.console(), node)
    held = node.nvs["lamppost"]
    assert (held["key"], held["epoch"], held["joins"]) == (bytes(range(32)), 4, 1)
    assert "join" not in held
