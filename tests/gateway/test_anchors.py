"""A node asks for the anchor of beacons: what it is told, and when it is refused. Real core, real seals."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from drivers.link import frame as frames
from drivers.link import keys
from drivers.link.frame import BEACON
from drivers.link.seal import Ccm
from gateway.config import parse
from gateway.core import Core
from gateway.identity.chain import ChainFile
from gateway.parts import open_southbound
from tests.gateway.cores import ManualTime, hear, running_core
from tests.gateway.link_node import LinkNode, aes_ecb


@pytest.fixture
def node(tmp_path: Path) -> LinkNode:
    made = LinkNode(1)
    made.enrol(tmp_path)
    return made


def with_beacons(core: Core, data_dir: Path) -> ChainFile:
    core.beacons = ChainFile(
        data_dir, interval_s=64, boot_id=core.clock.boot_id, monotonic_s=core.clock.monotonic_s, last=100
    )
    core.beacons.current()
    return core.beacons


def told(node: LinkNode, downlink: bytes) -> bytes:
    """What the answer to its last frame tells a node."""
    assert downlink[0] == 0x55
    counter = int.from_bytes(downlink[4:8], "big")
    key, iv = keys.derive(node.root_key, node.epoch, keys.DOWN)
    aad = frames.aad_downlink(downlink[:3], node.epoch, counter, node.counter)
    return bytes(Ccm(aes_ecb(key)).open(keys.nonce(iv, counter), aad, downlink[8:]))


async def test_a_node_that_asks_is_told_where_the_chain_is(tmp_path: Path, node: LinkNode) -> None:
    time = ManualTime()
    async with running_core(tmp_path, clock=time.clock) as core:
        chain = with_beacons(core, tmp_path).current()
        await hear(core, node.frame(0))
        time.advance(70.5)
        verdict = await hear(core, node.seal(b"", kind=BEACON), at_s=time.now_s)
        assert (verdict.accepted, verdict.stored, verdict.urgent) == (True, 0, False)
        numbers = b"".join(number.to_bytes(2, "big") for number in (chain.number, 2, 100, 64))
        assert told(node, verdict.downlink) == numbers + (6_500).to_bytes(3, "big") + chain.keys[16:32]
        again = await hear(core, node.seal(b"of a later version", kind=BEACON), at_s=time.now_s)
        assert told(node, again.downlink)[2:4] == b"\0\2"


async def test_asking_again_with_the_same_bytes_is_a_replay(tmp_path: Path, node: LinkNode) -> None:
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        with_beacons(core, tmp_path)
        await hear(core, node.frame(0))
        ask = node.seal(b"", kind=BEACON)
        assert (await hear(core, ask)).accepted
        verdict = await hear(core, ask)
        assert (verdict.reason, verdict.downlink) == ("replayed", None)


async def test_asking_opens_no_session_and_no_epoch(tmp_path: Path, node: LinkNode) -> None:
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        with_beacons(core, tmp_path)
        assert (await hear(core, node.seal(b"", kind=BEACON))).reason == "no_session"
        await hear(core, node.frame(0))
        node.epoch = 3
        assert (await hear(core, node.seal(b"", kind=BEACON))).reason == "no_session"
        assert (await hear(core, node.frame(0))).accepted  # which tells the city of epoch 2
        assert core.counters["gaps_epoch_unknown"] == 1


async def test_a_gateway_without_beacons_does_not_answer(tmp_path: Path, node: LinkNode) -> None:
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        await hear(core, node.frame(0))
        verdict = await hear(core, node.seal(b"", kind=BEACON))
        assert (verdict.reason, verdict.downlink) == ("no_beacons", None)


async def test_a_stolen_nodes_ask_is_no_other_nodes(tmp_path: Path, node: LinkNode) -> None:
    thief = LinkNode(2, address=node.address)
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        with_beacons(core, tmp_path)
        await hear(core, node.frame(0))
        assert (await hear(core, thief.seal(b"", kind=BEACON))).reason == "bad_tag"


@pytest.mark.parametrize("beacon_s, is_told", [(0, False), (16, True)])
async def test_the_setting_of_the_radio_says_whether_there_are_beacons(
    tmp_path: Path, node: LinkNode, beacon_s: int, is_told: bool
) -> None:
    config = parse(
        f'[gateway]\nid = "gw-1"\nsite = "test"\ndata_dir = "{tmp_path}"\n'
        f'[southbound.lora]\ndevice = "virtual:{tmp_path}/none.sock"\nbeacon_s = {beacon_s}\n'
    )
    async with AsyncExitStack() as stack, running_core(tmp_path, clock=ManualTime().clock) as core:
        (radio,) = (part for part in await open_southbound(config, core, stack) if part.name == "southbound.lora")
        assert radio.status()["state"] == "starting"
        if core.beacons:
            core.beacons.current()  # as the radio does
        await hear(core, node.frame(0))
        assert (await hear(core, node.seal(b"", kind=BEACON))).accepted is is_told
