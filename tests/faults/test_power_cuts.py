"""The power goes at thousands of moments, the disk forgets what was not synced: nothing acknowledged is lost.

The store is the shipped one; what is simulated lies below gateway.outbox.files and below SQLite's file layer. In one
thread the same seed does the same again; with the threads that the gateway has, what shares a commit is up to chance.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.one_thread import in_one_thread
from tests.faults.power_count import Count
from tests.faults.power_mutants import MUTANTS, ack_before_commit
from tests.faults.power_world import World

_CUTS_PER_DISK = 20


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The store complains of its disk, thousands of times."""
    caplog.set_level(logging.CRITICAL)


async def cut(folder: Path, *, cuts: int, seed: int, prepare: Callable[[World], None] | None = None) -> Count:
    """Lose the power so many times, on a new disk after every twentieth; stop when something is wrong."""
    total = Count()
    for number in range(-(-cuts // _CUTS_PER_DISK)):
        data_dir = Path(tempfile.mkdtemp(dir=folder))
        world = World(data_dir, seed * 10_000 + number)
        if prepare:
            prepare(world)
        for _ in range(min(_CUTS_PER_DISK, cuts - total.cuts)):
            await world.go_on()
            if world.count.problems:
                break
        total.add(await world.finish())
        shutil.rmtree(data_dir)
        if total.problems:
            print(f"\nseed {seed}, disk {number}")
            break
    print(f"\n{total}")
    return total


def test_nothing_acknowledged_is_lost_whenever_the_power_goes(tmp_path: Path) -> None:
    count = in_one_thread(cut(tmp_path, cuts=60, seed=1))
    assert not count.problems
    assert count.cuts == 60
    assert count.acknowledged > 500
    assert count.unsynced_writes > 100


async def test_nothing_acknowledged_is_lost_in_the_threads_of_the_gateway(tmp_path: Path) -> None:
    count = await cut(tmp_path, cuts=20, seed=4)
    assert not count.problems
    assert count.cuts == 20


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost_over_two_thousand_cuts(tmp_path: Path) -> None:
    count = in_one_thread(cut(tmp_path, cuts=2000, seed=2))
    assert not count.problems
    assert count.cuts == 2000


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_nothing_acknowledged_is_lost_over_a_thousand_cuts_in_threads(tmp_path: Path) -> None:
    count = await cut(tmp_path, cuts=1000, seed=5)
    assert not count.problems
    assert count.cuts == 1000


def test_the_same_seed_is_the_same_campaign(tmp_path: Path) -> None:
    first, again = (in_one_thread(cut(tmp_path, cuts=20, seed=6)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_campaign_notices_a_broken_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutant(monkeypatch)
    count = in_one_thread(cut(tmp_path, cuts=300, seed=3))
    assert count.problems, f"{mutant.__name__} went unnoticed"


async def test_the_campaign_notices_an_answer_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes two threads: the one that answers does not wait for the one that commits."""
    ack_before_commit(monkeypatch)
    assert (await cut(tmp_path, cuts=300, seed=3)).problems
