"""Ranges against a plain set of numbers."""

import itertools

from hypothesis import given
from hypothesis import strategies as some

from gateway.outbox.ranges import Ranges, joined_runs, runs_of

RUNS = some.lists(some.tuples(some.integers(0, 60), some.integers(0, 12)).map(lambda run: (run[0], run[0] + run[1])))


def filled(runs):
    ranges, numbers = Ranges(), set()
    for first, end in runs:
        if first < end:
            assert ranges.add(first, end) == len(set(range(first, end)) - numbers)
            numbers |= set(range(first, end))
    return ranges, numbers


def numbers_of(runs):
    return {number for first, end in runs for number in range(first, end)}


@given(RUNS, some.integers(0, 80), some.integers(0, 80))
def test_ranges_say_what_a_set_says(runs, first, end):
    ranges, numbers = filled(runs)
    assert numbers_of(ranges) == numbers
    assert [number in ranges for number in range(90)] == [number in numbers for number in range(90)]
    assert all(a < b for a, b in ranges)
    assert all(b < c for (_, b), (c, _) in zip(list(ranges), list(ranges)[1:], strict=False))
    assert ranges.base == next(number for number in range(100) if number not in numbers)
    span = set(range(first, end))
    assert numbers_of(ranges.missing(first, end)) == span - numbers
    if first <= end:
        assert ranges.count(first, end) == len(span & numbers)


@given(RUNS, RUNS)
def test_what_is_common_is_the_intersection(mine, theirs):
    (one, ones), (other, others) = filled(mine), filled(theirs)
    assert numbers_of(one.common(other)) == ones & others


@given(some.sets(some.integers(0, 100)))
def test_runs_of_numbers_are_those_numbers(numbers):
    assert numbers_of(runs_of(numbers)) == numbers


@given(some.lists(some.tuples(some.integers(0, 40), some.integers(1, 6)).map(lambda run: (run[0], sum(run)))))
def test_joined_runs_are_the_same_numbers_apart(runs):
    joined = joined_runs(runs)
    assert numbers_of(joined) == set().union(*(range(*run) for run in runs))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(joined))
