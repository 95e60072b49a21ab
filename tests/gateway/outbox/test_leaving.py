"""Between who gives up and who hands out: nothing is told as missing that goes out all the same."""

from types import SimpleNamespace

import pytest

from gateway.outbox.leaving import Leaving
from gateway.outbox.ranges import Ranges


def records(*ordinals):
    return [SimpleNamespace(ordinal=ordinal) for ordinal in ordinals]


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
    kept = leaving.hand_over(2, records(3, 4, 5), gone=lambda: already, passed=passed.append)
    assert [one.ordinal for one in kept] == out
    assert (passed[-1] if passed else None) == position


def test_a_commit_that_failed_gives_nothing_up():
    leaving = Leaving()
    leaving.choose(2, lambda: [(0, 4)])
    assert not leaving.hand_over(2, records(3), gone=Ranges, passed=lambda _: None)
    leaving.clear()
    assert leaving.hand_over(2, records(3), gone=Ranges, passed=lambda _: None)
