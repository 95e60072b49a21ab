"""Answers lost, gateways set back to an older image: no command is done twice, none is given up in silence."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from drivers.link import order
from gateway.config import CommandConfig
from tests.gateway.command.test_commands import Street, street
from tests.gateway.cores import ManualTime
from tests.gateway.link_node import LinkNode

MANY = CommandConfig(allow=("output",), most_waiting=100)


class Obeying:
    """The node's half of orders, as firmware/obey has it; what it does is counted by the seconds of the order."""

    def __init__(self) -> None:
        self.last = (0, 0)
        self.done: Counter[int] = Counter()
        self.to_tell: list[tuple[int, ...]] = []

    def take(self, octets: bytes) -> None:
        number, tag = int.from_bytes(octets[:4], "big"), int.from_bytes(octets[4:6], "big")
        if (number, tag) == self.last:
            self.to_tell.append((number, tag, order.DONE, 0))
        elif number <= self.last[0]:
            self.to_tell.append((number, tag, order.STALE, self.last[0]))
        else:
            self.last = (number, tag)
            self.done[int.from_bytes(octets[8:11], "big")] += 1
            self.to_tell.append((number, tag, order.DONE, 0))


async def ended_unknown(here: Street) -> set[int]:
    """The commands, by their seconds, that this gateway ended as unknown."""
    rows = await here.core.store.read(
        lambda db: db.execute("SELECT arguments FROM commands WHERE state = 'unknown'").fetchall()
    )
    return {int.from_bytes(arguments[1:4], "big") for (arguments,) in rows}


async def speak(here: Street, node: Obeying, rng: random.Random) -> None:
    """A frame that arrives; its answer may be lost, and then what it told is told again."""
    told, node.to_tell = node.to_tell, []
    octets = await here.speak(*told)
    if octets and rng.randrange(4):
        node.take(octets)


async def live(data_dir: Path, seed: int, images: list[tuple[Path, set[int]]]) -> Obeying:
    """Some lives of a gateway, now and then set back; then all that the last one knows is done, or told as unknown."""
    rng, node, obeying = random.Random(seed), LinkNode(), Obeying()
    asked: set[int] = set()
    unknown: set[int] = set()
    seq = 0
    for life in range(5):
        if images and rng.randrange(3) == 0:
            shutil.rmtree(data_dir)
            image, asked = rng.choice(images)
            shutil.copytree(image, data_dir)
            asked = set(asked)
        async with street(data_dir, node=node, time=ManualTime(), command=MANY) as here:
            here.seq, here.was_set_back = seq, True
            for step in range(rng.randrange(2, 7)):
                if rng.randrange(2):
                    for_s = 1_000 * life + 100 * step + rng.randrange(1, 100) + 10_000 * len(images)
                    await here.ask("output", state="on", for_s=for_s)
                    asked.add(for_s)
                await speak(here, obeying, rng)
            unknown |= await ended_unknown(here)
            if rng.randrange(2):
                images.append((data_dir.parent / f"image-{len(images)}", set(asked)))
                shutil.copytree(data_dir, images[-1][0])
            seq = here.seq
    async with street(data_dir, node=node, time=ManualTime(), command=MANY) as here:
        here.seq, here.was_set_back = seq, True
        for _ in range(60):
            await speak(here, obeying, random.Random(1))
        unknown |= await ended_unknown(here)
        assert here.core.commands.waiting == 0
    assert asked <= set(obeying.done) | unknown
    return obeying


@pytest.mark.parametrize("seed", range(2))
async def test_no_command_is_done_twice_and_none_given_up_in_silence(tmp_path: Path, seed: int) -> None:
    obeying = await live(tmp_path / "data", seed, [])
    assert max(obeying.done.values(), default=1) == 1


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_no_command_is_done_twice_in_many_histories(tmp_path: Path) -> None:
    total = 0
    for seed in range(4, 204):
        obeying = await live(tmp_path / str(seed) / "data", seed, [])
        assert max(obeying.done.values(), default=1) == 1, seed
        total += len(obeying.done)
    print(f"200 histories, {total} commands done, 0 twice, 0 given up in silence")
