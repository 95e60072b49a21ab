"""Joins through a link that does what it likes, and what never was a join."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from drivers.link import join
from gateway.identity import joins
from provisioning.enrol import Enrolment
from tests.gateway.cores import hear, running_core
from tests.gateway.identity.test_edhoc import mutated
from tests.gateway.joining import Bearer, JoiningNode, Site, speaker


class Weather:
    """A link that loses, doubles, spoils and delays frames."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._late: list[bytes] = []

    def __call__(self, frame: bytes) -> list[bytes]:
        arrived: list[bytes] = []
        how = self._dice.random()
        if how < 0.55:
            arrived.append(frame)
        elif how < 0.65:
            arrived += [frame, frame]
        elif how < 0.75:
            arrived.append(mutated(self._dice, frame))
        elif how < 0.9:
            self._late.append(frame)
        if self._late and self._dice.random() < 0.4:
            arrived.insert(self._dice.randrange(len(arrived) + 1), self._late.pop(0))
        return arrived


async def joins_in_weather(data_dir: Path, site: Site, count: int, seed: int) -> Counter[str]:
    """So many nodes try to join, eight at a time. Returns how their attempts ended."""
    dice = random.Random(seed)
    ends: Counter[str] = Counter()
    nodes = [JoiningNode(site.trust()) for _ in range(count)]
    enrolments = [node.enrol(data_dir) for node in nodes]
    async with running_core(data_dir) as core:

        async def live(node: JoiningNode, enrolment: Enrolment) -> None:
            weather = Weather(dice)
            for _ in range(20):
                joined = await node.join(Bearer(core, up=weather, down=weather))
                if joined is None:
                    ends[node.joiner.failure] += 1
                    continue
                assert (await hear(core, speaker(enrolment, joined).report())).accepted
                ends["joined"] += 1
                return
            ends["gave up"] += 1

        for at in range(0, count, 8):
            await asyncio.gather(*map(live, nodes[at : at + 8], enrolments[at : at + 8]))
        assert await JoiningNodeOf(nodes[0]).join(Bearer(core), epoch=1)  # the gateway is as well as before
        assert len(core.intake._joins) <= joins.MOST_HALF_OPEN
        assert core.counters["refused_join_library"] == 0
    return ends


class JoiningNodeOf(JoiningNode):
    """The same node after a reset."""

    def __init__(self, other: JoiningNode) -> None:
        self.keys, self.trust = other.keys, other.trust
        self.kept, self.pauses_s = [], []
        self.joiner = self._joiner()


async def test_joins_through_a_bad_link_end_joined_or_cleanly_failed(data_dir, site, capfd) -> None:
    ends = await joins_in_weather(data_dir, site, 8, seed=7)
    print(dict(ends))
    assert ends["joined"] == 8
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.soak
@pytest.mark.timeout(1_800)
async def test_two_hundred_joins_through_a_bad_link(data_dir, site, capfd) -> None:
    ends = await joins_in_weather(data_dir, site, 200, seed=int(time.time()))
    with capfd.disabled():
        print(dict(ends))
    assert ends["joined"] == 200
    assert "panicked" not in capfd.readouterr().err


async def fuzz_entrance(data_dir: Path, site: Site, count: int, seed: int) -> Counter[str]:
    """Mutated join frames at the intake's door."""
    dice = random.Random(seed)
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    async with running_core(data_dir) as core:
        bearer = Bearer(core)
        assert await node.join(bearer)
        open_joins = core.intake._joins
        taken: Counter[str] = Counter()
        for _ in range(count):
            frame = mutated(dice, dice.choice(bearer.frames))
            outcome = open_joins.take(frame) if join.is_join(frame) else joins.NoJoin("other_kind")
            taken[outcome.reason if isinstance(outcome, joins.NoJoin) else type(outcome).__name__] += 1
            assert len(open_joins) <= joins.MOST_HALF_OPEN
        assert "Proof" not in taken
        assert await JoiningNodeOf(node).join(Bearer(core), epoch=1)
    return taken


async def test_mutated_join_frames_are_refused_by_name(data_dir, site, capfd) -> None:
    taken = await fuzz_entrance(data_dir, site, 5_000, seed=3)
    print(dict(taken))
    assert {"join_malformed", "join_bad_point", "join_unknown_connection", "wrong_direction"} <= set(taken)
    assert "join_library" not in taken
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_a_million_mutated_join_frames(data_dir, site, capfd) -> None:
    taken = await fuzz_entrance(data_dir, site, 1_000_000, seed=int(time.time()))
    with capfd.disabled():
        print(dict(taken))
    assert "join_library" not in taken
