"""A commit that failed at the end of a segment is never believed, whatever became of the segment that says so."""

import errno

import pytest

from gateway.outbox.entries import HEARD, State
from gateway.outbox.files import Files
from gateway.outbox.reader import Reader
from gateway.outbox.reclaim import reclaim
from tests.gateway.outbox.test_log import commit, opened, values


class FailingSync(Files):
    """Writes, and says that it did not."""

    fails = False

    def sync(self, fd):
        super().sync(fd)
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")


def event(log):
    frame = log.frame()
    frame.put_event(HEARD, b"")
    log.commit(frame)


def failing(log, files, what):
    files.fails = True
    with pytest.raises(OSError):
        what()
    files.fails = False


def with_a_failed_commit_behind(tmp_path):
    """Three segments: what failed lies at the end of the first; the second, without records, says where that ends."""
    files = FailingSync()
    log = opened(tmp_path, files)
    commit(log, 0, 1, 2)
    failing(log, files, lambda: commit(log, 100, 101, 102))
    event(log)
    failing(log, files, lambda: event(log))
    commit(log, 3, 4, 5)
    assert [segment.is_abandoned for segment in log.segments] == [True, True, False]
    return log


def test_the_segment_that_says_where_another_ends_stays_as_long_as_that(tmp_path):
    log = with_a_failed_commit_behind(tmp_path)
    commit(log, *range(6, 400), size=100)  # a fourth segment: the newest two stay anyway
    numbers = [segment.number for segment in log.segments]
    assert len(numbers) == 4
    state = State()
    state.ledger.ends = log.next
    state.ledger.gone[2].add(3, log.next[2])
    reclaim(log, state, Reader(log, state.moved), history=1)
    assert [segment.number for segment in log.segments] == numbers
    log.close()
    log = opened(tmp_path)
    assert values(log) == (list(range(400)), [])
    state.ledger.gone[2].add(0, 3)
    reclaim(log, state, Reader(log, state.moved), history=1)
    assert [segment.number for segment in log.segments] == numbers[2:]
    log.close()


def test_what_failed_is_not_believed_though_an_older_version_gave_back_who_said_so(tmp_path):
    log = with_a_failed_commit_behind(tmp_path)
    log.release(log.segments[1])
    assert values(log) == ([0, 1, 2, 3, 4, 5], [])
    log.close()
    log = opened(tmp_path)
    assert values(log) == ([0, 1, 2, 3, 4, 5], [])
    log.close()
