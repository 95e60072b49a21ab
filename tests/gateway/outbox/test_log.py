"""The log over crashes and damage: whole commits or none, nothing believed unsynced, flipped bits put right."""

import errno
import random
import sqlite3

import pytest

from gateway.outbox.entries import HEARD, Moved, State, Transaction
from gateway.outbox.files import Files
from gateway.outbox.log import Log, Position
from gateway.outbox.page import PAGE
from gateway.outbox.reader import Reader
from gateway.outbox.replay import replay
from gateway.reading import Reading, Report

SEGMENT = 64 << 10
START = Position(0, 0, 0)


def report(number, *, size=0):
    readings = (Reading(quantity="n", value=number), Reading(quantity="pad", value="x" * size))
    return Report(node="m", record_id=f"m/1/{number}", measured_at_s=1.0, readings=readings, epoch=1, seq=number)


def opened(folder, files=None):
    log = Log(folder, files or Files(), segment_bytes=SEGMENT)
    log.open()
    return log


def commit(log, *numbers, stream=2, size=0):
    frame = log.frame()
    for number in numbers:
        frame.put_record(report(number, size=size), stream, is_produced=False, now_s=100.0 + number)
    log.commit(frame)


def values(log, stream=2):
    found, unreadable = Reader(log, Moved()).read(stream, [(0, log.next[stream])], most=1 << 20)
    return [one.report.seq for one in found], unreadable


def test_what_was_committed_is_there_after_reopening_over_many_segments(tmp_path):
    log = opened(tmp_path)
    for at in range(0, 3000, 30):
        commit(log, *range(at, at + 30), size=20)
    assert len(log.segments) > 3
    log.close()
    log = opened(tmp_path)
    assert values(log) == (list(range(3000)), [])
    commit(log, 3000)
    assert values(log)[0][-1] == 3000
    log.close()


def test_streams_are_counted_apart(tmp_path):
    log = opened(tmp_path)
    for number in range(400):
        commit(log, number, stream=number % 4, size=100)
    log.close()
    log = opened(tmp_path)
    for stream in range(4):
        assert values(log, stream) == (list(range(stream, 400, 4)), [])
    log.close()


def test_any_runs_can_be_read(tmp_path):
    chance = random.Random(4)
    log = opened(tmp_path)
    while log.next[2] < 2000:
        commit(log, *range(log.next[2], log.next[2] + chance.choice([1, 1, 2, 3, 40])), size=chance.randint(0, 60))
    reader = Reader(log, Moved())
    for _ in range(200):
        cuts = sorted(chance.sample(range(2000), 2 * chance.randint(1, 20)))
        runs = list(zip(cuts[::2], cuts[1::2], strict=True))
        found, unreadable = reader.read(2, runs, most=5000)
        assert [one.report.seq for one in found] == [number for a, b in runs for number in range(a, b)]
        assert unreadable == []
    log.close()


@pytest.mark.parametrize("seed", range(30))
def test_a_torn_commit_is_there_as_a_whole_or_not_at_all_and_none_before_it_is_lost(tmp_path, seed):
    """The last commit's sectors reach the disk in any order, or not; the file may have been used before."""
    chance = random.Random(seed)
    sizes, done = [], 0
    for _ in range(chance.randint(3, 8)):
        log = opened(tmp_path)
        found, unreadable = values(log)
        assert unreadable == []
        assert len(found) in (done, *sizes)
        done = len(found)
        assert found == list(range(done))
        for _ in range(chance.randint(1, 6)):
            count = chance.randint(1, 60)
            commit(log, *range(done, done + count), size=chance.randint(0, 150))
            done += count
        count = chance.randint(1, 120)
        last = log.position
        commit(log, *range(done, done + count), size=100)
        sizes = [done + count]
        tear(log, last, chance)
        log.close()


def tear(log, last, chance):
    """Put some sectors of the last commit back to what could have been there before it."""
    segment = log.segments[-1]
    first = last.page if segment.number == last.segment else 0
    before = chance.choice([bytes(512), chance.randbytes(512)])
    for sector in range(first * 8, segment.end * 8):
        if chance.random() < 0.3:
            log.files.write(segment.fd, before, sector * 512)


def test_a_torn_commit_leaves_nothing_that_a_later_one_could_be_mistaken_for(tmp_path):
    log = opened(tmp_path)
    commit(log, 0)
    place = log.position
    commit(log, *range(1, 90), size=100)
    segment = log.segments[-1]
    log.files.write(segment.fd, bytes(PAGE), place.page * PAGE)  # its first page never came
    for _ in range(3):
        log.close()
        log = opened(tmp_path)
        assert values(log) == ([0], [])
    commit(log, 1)
    log.close()
    log = opened(tmp_path)
    assert values(log) == ([0, 1], [])
    log.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_anywhere_loses_nothing(tmp_path, seed):
    log = opened(tmp_path)
    for at in range(0, 900, 30):
        commit(log, *range(at, at + 30), size=40)
    log.close()
    chance = random.Random(seed)
    paths = sorted(tmp_path.glob("*.seg"))
    for _ in range(60):
        path = chance.choice(paths)
        whole = path.read_bytes()
        bit = chance.randrange(len(whole) * 8)
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        log = opened(tmp_path)
        assert values(log) == (list(range(900)), []), (path, bit)
        log.close()
        path.write_bytes(whole)


@pytest.mark.parametrize("seed", range(10))
def test_heavier_damage_loses_the_damaged_records_alone(tmp_path, seed):
    log = opened(tmp_path)
    for at in range(0, 600, 30):
        commit(log, *range(at, at + 30), size=40)
    commit(log, 600)  # what is damaged in the very last commit looks as if it was torn
    log.close()
    chance = random.Random(seed)
    path = sorted(tmp_path.glob("*.seg"))[0]
    content = bytearray(path.read_bytes())
    at = content.index(b"x" * 40, chance.randrange(PAGE, len(content) // 2))
    content[at : at + 4] = b"abcd"
    path.write_bytes(content)
    log = opened(tmp_path)
    found, unreadable = values(log)
    assert len(found) == 600
    assert sum(end - first for first, end in unreadable) == 1
    assert sorted(found) == found
    log.close()


def test_a_page_that_is_gone_costs_what_was_on_it(tmp_path):
    log = opened(tmp_path)
    for number in range(40):
        commit(log, 2 * number, 2 * number + 1)
    segment = log.segments[0]
    log.files.write(segment.fd, bytes(PAGE), 7 * PAGE)
    log.close()
    log = opened(tmp_path)
    found, unreadable = values(log)
    assert sorted(set(range(80)) - set(found)) == [12, 13]
    assert unreadable == [(12, 14)]
    state = State()
    state.ledger.set_cities(["city"])
    assert replay(log, START, None, state) == 2
    (row,) = state.ledger.audit()
    assert (row.accepted, row.damaged, row.stored, row.holds) == (80, 2, 78, True)
    log.close()


class Failing(Files):
    """Fails the next syncs, though what was written may reach the disk."""

    def __init__(self):
        self.failures = 0

    def sync(self, fd):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)


@pytest.mark.parametrize("failures", [1, 3])
def test_after_a_failed_sync_the_data_is_written_anew_elsewhere_and_counts_once(tmp_path, failures):
    disk = Failing()
    log = opened(tmp_path, disk)
    commit(log, 0, 1)
    for _ in range(failures):
        disk.failures = 1
        with pytest.raises(OSError, match="Input"):
            commit(log, 2, 3)
    commit(log, 2, 3)
    commit(log, 4)
    assert len(log.segments) == 2
    for _ in range(2):
        assert values(log) == ([0, 1, 2, 3, 4], [])
        log.close()
        log = opened(tmp_path)
    log.close()


def test_a_released_segment_is_used_again_and_its_old_pages_never_come_back(tmp_path):
    log = opened(tmp_path)
    for at in range(0, 2000, 40):
        commit(log, *range(at, at + 40), size=40)
    assert len(log.segments) > 3
    first = log.segments[0]
    begin = first.ends[2]
    log.release(first)
    assert [path.name for path in tmp_path.glob("spare*")] == [f"spare-{1:010}"]
    last = log.segments[-1].number
    while log.segments[-1].number == last:
        commit(log, log.next[2], size=100)
    assert not list(tmp_path.glob("spare*"))
    log.close()
    log = opened(tmp_path)
    end = log.next[2]
    found, unreadable = Reader(log, Moved()).read(2, [(begin, end)], most=1 << 20)
    assert [one.ordinal for one in found] == list(range(begin, end))
    assert unreadable == []
    log.close()


def test_a_replay_does_what_the_transactions_did(tmp_path):
    log, live = opened(tmp_path), State()

    def make(*steps):
        tx = Transaction(None, live, log.frame())
        for step in steps:
            step(tx)
        log.commit(tx.frame)
        live.heard.keep()

    make(lambda tx: tx.set_cities(["one", "two"]))
    for at in range(0, 200, 20):
        make(*(lambda tx, n=n: tx.put(report(n), n % 4, is_produced=n % 3 == 0, now_s=1.0) for n in range(at, at + 20)))
    make(lambda tx: tx.settle("one", 2, "delivered", [(0, 5), (9, 11)]), lambda tx: tx.hear(77, 78))
    make(lambda tx: tx.settle("one", 2, "unheard", [(3, 20)]), lambda tx: tx.give_up(2, "evicted", [(10, 30)]))
    make(lambda tx: tx.settle("two", 0, "refused", [(0, 50)]), lambda tx: tx.set_cities(["two", "three"]))
    again = State()
    assert replay(log, START, None, again) == 0
    assert again.ledger.to_json() == live.ledger.to_json()
    assert all(row.holds for row in again.ledger.audit())
    assert 77 in again.heard
    assert HEARD == 5  # written on disks out there
    log.close()


class FailingOnce(Files):
    """Makes no file while `is_full`."""

    is_full = False

    def open(self, path, *, make=False):
        if make and self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().open(path, make=make)


def nearly_full(log):
    while log.segments[-1].room > 2 if log.segments else True:
        commit(log, log.next[2])
    return log.next[2]


def test_after_a_rotation_that_failed_what_still_fits_is_found_again(tmp_path):
    disk = FailingOnce()
    log = opened(tmp_path, disk)
    done = nearly_full(log)
    disk.is_full = True
    with pytest.raises(OSError, match="No space"):
        commit(log, *range(done, done + 200), size=100)
    commit(log, done)  # smaller: it fits into the old file
    disk.is_full = False
    log.close()
    log = opened(tmp_path)
    assert values(log) == (list(range(done + 1)), [])
    log.close()


def test_nothing_is_written_behind_the_end_that_a_footer_tells(tmp_path):
    """The power went between footer and new file, or the first commit of the new file failed."""
    disk = Failing()
    log = opened(tmp_path, disk)
    done = nearly_full(log)
    log._seal(log.segments[-1])
    log.close()
    for number in range(3):
        log = opened(tmp_path, disk)
        commit(log, done + number)
        log.close()
    log = opened(tmp_path)
    assert values(log) == (list(range(done + 3)), [])
    log.close()


class FailingFolder(Files):
    """Syncs neither its folder nor files, and removes nothing, while `fails`."""

    fails = False

    def sync_dir(self, folder):
        if self.fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().sync_dir(folder)

    def unlink(self, path):
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")
        super().unlink(path)

    def sync(self, fd):
        super().sync(fd)
        if self.fails and self.size(fd) == SEGMENT and any(self.read(fd, PAGE, 0)):
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("is_used", [False, True])
def test_a_file_of_a_failed_commit_that_could_not_be_removed_never_counts(tmp_path, is_used):
    disk = FailingFolder()
    log = opened(tmp_path, disk)
    commit(log, 0, 1)
    disk.fails = True
    with pytest.raises(OSError, match="Input"):
        commit(log, 2, 3)  # may be on the disk
    if is_used:
        disk.sync_dir = lambda folder: None
    with pytest.raises(OSError, match=r"Input|No space"):
        commit(log, 2, 3)  # leaves a second file, empty or with this in it
    disk.fails = False
    commit(log, 4)
    commit(log, 5)
    for _ in range(2):
        assert values(log) == ([0, 1, 4, 5], [])
        log.close()
        log = opened(tmp_path)
    log.close()


def test_a_statement_whose_names_are_damaged_is_passed_over(tmp_path):
    log = opened(tmp_path)
    tx = Transaction(sqlite3.connect(":memory:"), State(), log.frame())
    tx.execute("CREATE TABLE seen (name TEXT)")
    log.commit(tx.frame)
    commit(log, 0)
    segment = log.segments[0]
    raw = log.files.read(segment.fd, PAGE, PAGE)
    log.files.write(segment.fd, b"abcd", PAGE + raw.index(b"CREATE TABLE"))
    db = sqlite3.connect(":memory:")
    assert replay(log, START, db, State()) == 0
    assert db.execute("SELECT name FROM sqlite_master").fetchall() == []
    db.close()
    log.close()
