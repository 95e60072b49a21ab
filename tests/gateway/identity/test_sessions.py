"""Freshness: the replay window as a table, epochs, colliding addresses, and downlink counters that never repeat."""

import random
import sqlite3

import pytest

from drivers.link.frame import ACK, FULL, FrameError
from gateway.floors import Floors
from gateway.identity.nodes import Nodes
from gateway.identity.sessions import Opened, Refused, Session, Sessions
from gateway.tables import TABLES
from tests.gateway.link_node import LinkNode


class Bench:
    """Sessions over a database in memory; `restart` reads everything from it anew."""

    def __init__(self, data_dir, *nodes):
        for node in nodes:
            node.enrol(data_dir)
        self.data_dir = data_dir
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(TABLES)
        self.restart()

    def restart(self):
        nodes = Nodes(self.data_dir / "nodes")
        nodes.load()
        self.sessions = Sessions(nodes, Floors(self.data_dir))

    def take(self, frame, *, boot=1):
        """Open and, if it is good, accept and write down. Returns the refusal's reason or None."""
        opened = self.sessions.open(self.db, frame)
        if isinstance(opened, Refused):
            return opened.reason
        self.sessions.accept(self.db, opened, boot=boot, heard_at_s=0.0)
        self.sessions.flush(self.db)
        return None


@pytest.fixture
def node():
    return LinkNode(1)


@pytest.fixture
def bench(tmp_path, node):
    return Bench(tmp_path, node)


@pytest.mark.parametrize(
    "before, counter, is_fresh",
    [
        ([100], 100, False),
        ([100], 101, True),
        ([100], 5000, True),
        ([100], 36, True),  # 64 below: the last place of the window
        ([100], 35, False),  # 65 below
        ([100, 99], 99, False),
        ([100, 98], 99, True),
        ([100, 164], 100, False),
        ([100, 165], 100, False),  # fell out of the window: stale, though nobody remembers it
        ([100, 101, 102], 101, False),
        ([100, 200, 150], 150, False),
        ([100, 200, 150], 151, True),
        ([0xFFFFFFFE], 0xFFFFFFFF, True),
    ],
)
def test_window_tells_fresh_from_seen(before, counter, is_fresh):
    first, *rest = before
    session = Session(1, first, 0, 0, 0, 0.0)
    for one in rest:
        session.mark(one)
    assert session.is_fresh(counter) is is_fresh


def test_window_agrees_with_a_set_of_everything_seen():
    chance = random.Random(1)
    session, seen = Session(1, 1000, 0, 0, 0, 0.0), {1000}
    for _ in range(5000):
        counter = max(0, session.highest + chance.randint(-80, 3))
        expected = counter > max(seen) or (counter not in seen and max(seen) - counter <= 64)
        assert session.is_fresh(counter) is expected
        if expected:
            session.mark(counter)
            seen.add(counter)


def test_a_frame_is_opened_once_also_after_a_restart(bench, node):
    frames = [node.frame(0), node.frame(1, full=False), node.frame(2, full=False)]
    assert [bench.take(frame) for frame in frames] == [None, None, None]
    assert [bench.take(frame) for frame in frames] == ["replayed"] * 3
    bench.restart()
    assert [bench.take(frame) for frame in frames] == ["replayed"] * 3
    assert bench.take(node.frame(3, full=False)) is None


def test_opening_alone_moves_nothing(bench, node):
    frame = node.frame(0)
    assert isinstance(bench.sessions.open(bench.db, frame), Opened)
    assert isinstance(bench.sessions.open(bench.db, frame), Opened)


def test_a_short_counter_is_found_again_after_a_block_was_skipped(bench, node):
    assert bench.take(node.frame(0)) is None
    for jump in (256, 30_000, 64_000):
        node.counter += jump
        opened = bench.sessions.open(bench.db, node.frame(1, full=False))
        assert isinstance(opened, Opened)
        assert opened.counter == node.counter
        bench.sessions.accept(bench.db, opened, boot=None, heard_at_s=0.0)


def test_a_short_frame_without_a_session_asks_for_a_full_one(bench, node):
    assert bench.take(node.frame(0, full=False)) == "no_session"
    assert bench.take(node.frame(0)) is None


def test_a_later_epoch_opens_a_new_window_and_ends_the_old_one(bench, node):
    old = node.frame(0)
    assert bench.take(old) is None
    late = node.frame(1)
    node.epoch = 3
    opened = bench.sessions.open(bench.db, node.frame(0))
    assert isinstance(opened, Opened)
    assert (opened.epoch, opened.advances_from) == (3, 1)
    bench.sessions.accept(bench.db, opened, boot=2, heard_at_s=0.0)
    assert bench.take(late) == "stale_epoch"
    assert bench.take(old) == "stale_epoch"


def test_a_forged_later_epoch_does_not_end_the_session(bench, node):
    assert bench.take(node.frame(0)) is None
    node.epoch = 9
    forged = bytearray(node.frame(1))
    forged[-1] ^= 1
    assert bench.take(bytes(forged)) == "bad_tag"
    node.epoch = 1
    assert bench.take(node.frame(1, full=False)) is None


def test_enrolment_sets_the_lowest_epoch(tmp_path, node):
    bench = Bench(tmp_path, node)
    node.enrol(tmp_path, epoch=4)
    bench.restart()
    assert bench.take(node.frame(0)) == "stale_epoch"
    node.epoch = 4
    assert bench.take(node.frame(0)) is None


def test_colliding_addresses_are_told_apart_by_the_tag(tmp_path):
    nodes = [LinkNode(number, address=0x4242) for number in (1, 2, 3)]
    bench = Bench(tmp_path, *nodes)
    stranger = LinkNode(4, address=0x4242)
    for node in nodes:
        opened = bench.sessions.open(bench.db, node.frame(0))
        assert isinstance(opened, Opened)
        assert opened.node.id == node.id
    assert bench.take(stranger.frame(0)) == "bad_tag"


@pytest.mark.parametrize(
    "mend, reason",
    [
        (lambda f: b"", "truncated"),
        (lambda f: f[:18], "truncated"),
        (lambda f: f + bytes(256 - len(f)), "oversized"),
        (lambda f: bytes([f[0] & 0x3F | 0x80]) + f[1:], "unknown_version"),
        (lambda f: bytes([f[0] | 0x20]) + f[1:], "unknown_version"),
        (lambda f: bytes([f[0] & 0xF0 | 9]) + f[1:], "unknown_kind"),
        (lambda f: bytes([f[0] & 0xF0]) + f[1:], "unknown_kind"),
        (lambda f: bytes([f[0] & 0xF0 | 4]) + f[1:], "unsupported_kind"),
        (lambda f: bytes([f[0] & 0xF0 | ACK]) + f[1:], "wrong_direction"),
        (lambda f: f[:1] + b"\xff\xff" + f[3:], "unknown_node"),
        (lambda f: f[:-1] + bytes([f[-1] ^ 1]), "bad_tag"),
        (lambda f: f[:4] + bytes([f[4] ^ 1]) + f[5:], "bad_tag"),  # another epoch is another key
        (lambda f: bytes([f[0] ^ 3]) + f[1:], "bad_tag"),  # a report made urgent on the way
        (lambda f: bytes([f[0] & ~FULL]) + f[1:], "no_session"),
    ],
)
def test_each_refusal_has_its_name(bench, node, mend, reason):
    assert bench.take(mend(node.frame(0))) == reason


def test_every_flipped_bit_is_refused(bench, node):
    frame = node.frame(0)
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(bench.sessions.open(bench.db, bytes(flipped)), Refused)


def test_a_downlink_counter_seals_one_frame_and_comes_never_again(bench, node):
    used = set()
    for _ in range(5):
        for _ in range(100):
            opened = bench.sessions.open(bench.db, node.frame(0))
            assert isinstance(opened, Opened)
            bench.sessions.accept(bench.db, opened, boot=1, heard_at_s=0.0)
            reply = bench.sessions.reply_to(bench.db, opened)
            bench.sessions.flush(bench.db)
            used.add(int.from_bytes(reply.seal(b"\x00\x00\x00\x00\x00")[4:8], "big"))
        bench.restart()
    assert len(used) == 500
    with pytest.raises(RuntimeError):
        reply.seal(b"")


def test_counters_of_a_commit_that_failed_are_not_used(bench, node):
    opened = bench.sessions.open(bench.db, node.frame(0))
    bench.sessions.accept(bench.db, opened, boot=1, heard_at_s=0.0)
    bench.sessions.reply_to(bench.db, opened)
    bench.sessions.forget()  # the commit failed
    assert isinstance(bench.sessions.open(bench.db, node.frame(0)), Opened)
    assert bench.sessions.of(bench.db, node.id) is None


def test_an_ack_opens_only_for_the_uplink_that_it_answers(bench, node):
    opened = bench.sessions.open(bench.db, node.frame(0))
    bench.sessions.accept(bench.db, opened, boot=1, heard_at_s=0.0)
    downlink = bench.sessions.reply_to(bench.db, opened).seal(b"\x02\x00\x00\x00\x01\x00\x00")
    assert node.open(downlink).base == 1
    with pytest.raises(FrameError, match="bad_tag"):
        node.open(downlink, answered=node.counter + 256)


def test_keys_of_many_epochs_do_not_pile_up(bench, node):
    from gateway.identity import sessions

    for epoch in range(2, sessions._KEYS_CACHED + 50):
        node.epoch = epoch
        frame = bytearray(node.frame(0))
        frame[-1] ^= 1
        assert bench.take(bytes(frame)) == "bad_tag"
    assert len(bench.sessions._keys) == sessions._KEYS_CACHED
