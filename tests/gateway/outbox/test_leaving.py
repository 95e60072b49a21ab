"""Between who gives up and who hands out: nothing is told as missing that goes out all the same."""

import pytest

from gateway.outbox.leaving import Leaving
from gateway.outbox.ranges import Ranges
from gateway.outbox.stored import Stored, each_of
from gateway.reading import STREAMS, Report
from gateway.row import Row


def records(*ordinals):
    report = Report(node="a", record_id="a/1", measured_at_s=0.0, readings=())
    return [Stored.of(ordinal * len(STREAMS) + 2, report) for ordinal in ordinals]


def row_of_records(first, end):
    values = range(first, end)
    return [Stored.in_row(2, first, Row("a", "t", None, values, values, bytes(16 * len(values))), "none", 0.0)]


@pytest.mark.parametrize(
    ("chosen", "gone", "out", "position"),
    [
        ([], [], [3, 4, 5], 6),
        ([(0, 4)], [], [], None),  # the very first is leaving: wait for the commit
        ([(5, 9)], [], [3, 4], 5),  # what comes before it may go
        ([(0, 4)], [(0, 4)], [4, 5], 6),  # the commit is over, and it is gone
        ([], [(0, 6)], [], 6),
    ],
)
def test_what_is_leaving_is_not_handed_over(chosen, gone, out, position):
    leaving, already, passed = Leaving(), Ranges(), []
    assert leaving.choose(2, lambda: chosen) == chosen
    for run in gone:
        already.add(*run)
    for found in (records(3, 4, 5), row_of_records(3, 6)):
        passed.clear()
        kept = leaving.hand_over(2, found, gone=lambda: already, passed=passed.append)
        assert [one.ordinal for one in each_of(kept)] == out
        assert (passed[-1] if passed else None) == position


def test_a_commit_that_failed_gives_nothing_up():
    leaving = Leaving()
    leaving.choose(2, lambda: [(0, 4)])
    assert not leaving.hand_over(2, records(3), gone=Ranges, passed=lambda _: None)
    leaving.clear()
    assert leaving.hand_over(2, records(3), gone=Ranges, passed=lambda _: None)
