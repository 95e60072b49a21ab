"""Broken frames at the gateway's door: each is refused under a name, none is stored, none stops the next."""

import random
import sqlite3

import pytest

from drivers.link.frame import URGENT
from drivers.link.pack import JOURNAL_FULL
from drivers.link.reasons import REASONS
from gateway.core import Core
from gateway.intake import Uplink
from tests.campaign import MILLION, campaign
from tests.gateway.cores import NOW_S, running_core
from tests.gateway.link_node import LinkNode

NAMES = {*REASONS, "unknown_node", "no_session", "stale_epoch", "replayed", "too_many_holes"}


def seeds(node):
    """Frames of every form; each is authentic and not yet seen."""
    yield node.frame(0, 1, 2)
    yield node.frame(3, full=False)
    yield node.frame(4, full=False, kind=URGENT)
    yield node.frame(50, floor=40, floor_lost=(5, JOURNAL_FULL))
    yield node.frame(51, floor=51, epochs_opened=[(1, 7, True)])
    yield node.frame(8, other_epoch=2)


@pytest.mark.parametrize("count", [100_000, MILLION])
async def test_broken_frames_are_refused_under_a_name_and_change_nothing(tmp_path, count, capsys):
    chance = random.Random(255)
    node, other = LinkNode(1, epoch=3), LinkNode(2, address=0x1001)
    node.enrol(tmp_path)
    other.enrol(tmp_path)
    async with running_core(tmp_path) as core:
        first = node.frame(0)
        assert (await core.intake.submit(Uplink(frame=first, bearer="mqtt", received_at_s=NOW_S))).accepted
        good = [first, *seeds(node)]
        before = await core.store.read(everything), await core.outbox.audit()
        with campaign("frames", count, capsys) as outcomes:
            for _ in range(count // 1000):
                frames = [broken(good, chance) for _ in range(1000)]
                outcomes.update(await core.store.write(lambda tx, some=frames: [take(core, tx, one) for one in some]))
        assert set(outcomes) <= NAMES
        assert (await core.store.read(everything), await core.outbox.audit()) == before
        for frame in seeds(node):
            assert (await core.intake.submit(Uplink(frame=frame, bearer="mqtt", received_at_s=NOW_S))).accepted


async def test_authentic_frames_with_random_bodies_are_taken_or_refused_and_the_gateway_goes_on(tmp_path):
    """A node whose firmware has gone wrong holds a good key."""
    chance = random.Random(256)
    node = LinkNode(1)
    node.enrol(tmp_path)
    async with running_core(tmp_path, window_s=60) as core:
        taken = 0
        for _ in range(20):
            frames = [mad(node, chance) for _ in range(200)]
            reasons = await core.store.write(lambda tx, frames=frames: [take(core, tx, frame) for frame in frames])
            taken += reasons.count(None)
            assert set(reasons) - {None} <= NAMES
            await core.clockwork.tell_windows()
        assert taken > 100
        (row,) = await core.outbox.audit()
        assert row.holds
        assert len((await core.outbox.oldest("city", 1000)).records) > 0


def take(core: Core, tx: sqlite3.Connection, frame: bytes) -> str | None:
    """What the intake does within a commit, without waiting for one per frame."""
    uplink = Uplink(frame=frame, bearer="mqtt", received_at_s=NOW_S)
    return core.intake._uplinks.take(tx, uplink).reason


def everything(db):
    """All that a frame could change."""
    return [db.execute(f"SELECT * FROM {table}").fetchall() for table in ("sessions", "sequences", "boots")]


def broken(good, chance):
    frame = bytearray(chance.choice(good))
    what = chance.randrange(6)
    if what == 0:
        return chance.randbytes(chance.randrange(260))
    if what == 1:
        return bytes(frame[: chance.randrange(len(frame))])
    if what == 2:
        return bytes(frame) + chance.randbytes(chance.randint(1, 40))
    if what == 3:
        return bytes(frame[:3]) + chance.randbytes(chance.randrange(60))
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(8 * len(frame))
        frame[at // 8] ^= 1 << at % 8
    return bytes(frame) if bytes(frame) not in good else bytes(frame[:-1])


def mad(node, chance):
    """A random or a flipped body under a good seal."""
    full = chance.random() < 0.5
    if chance.random() < 0.5:
        body = chance.randbytes(chance.randint(1, 60))
    else:
        seq = chance.randrange(1 << 16)
        whole = bytearray(node.frame_body(seq, full=full, floor=max(0, seq - 100)))
        for _ in range(chance.randint(0, 3)):
            at = chance.randrange(8 * len(whole))
            whole[at // 8] ^= 1 << at % 8
        body = bytes(whole)
    return node.seal(body, full=full)
