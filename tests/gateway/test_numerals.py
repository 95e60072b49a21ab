"""Numbers written together have the digits that each has alone."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from gateway.numerals import number_text, reprs, shortest

NUMBERS = some.one_of(
    some.floats(allow_nan=False, allow_infinity=False),
    some.floats(-1e-3, 1e-3),
    some.floats(9e15, 2e16),
    some.integers(-(2**70), 2**70),
    some.integers(-10_000, 10_000).map(lambda number: number / 1_000),
)


@given(some.lists(NUMBERS, max_size=5))
@example([1e16, 1.0])
@example([9.9e-05])
@example([1.0000099])
@example([-0.0, 0.0, 10.0, 100])
def test_each_has_the_digits_of_repr(numbers):
    assert reprs(numbers) == [repr(number).encode() for number in numbers]
    assert shortest(numbers) == [number_text(number) for number in numbers]
    assert repr([float(text) for text in shortest(numbers)]) == repr([float(number) for number in numbers])
    json.loads(f"[{','.join(shortest(numbers))}]")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(number):
    assert reprs([1.5, number]) == [b"1.5", repr(number).encode()]
    with pytest.raises(ValueError, match="is no number in JSON"):
        shortest([1.5, number])
