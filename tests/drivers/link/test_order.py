"""Orders and what came of them come out as they went in; what cannot be is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link import order as orders
from drivers.link.frame import FrameError
from drivers.link.pack import Report, pack
from drivers.link.schema import BATTERY, OUTCOME
from drivers.link.unpack import unpack

VALUES = st.tuples(
    st.integers(1, orders.LAST_NUMBER), st.integers(0, 0xFFFF), st.integers(1, 4), st.integers(0, orders.LAST_NUMBER)
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: orders.pack_order(0, 1, 1),
        lambda: orders.pack_order(orders.LAST_NUMBER + 1, 1, 1),
        lambda: orders.output_arguments(0, orders.LONGEST_S + 1, 1),
        lambda: orders.output_arguments(0, 1, 2),
        lambda: orders.pace_arguments(4, 60),
        lambda: orders.pace_arguments(60, 86_401),
    ],
)
def test_what_no_order_may_say_is_out_of_range(make) -> None:
    with pytest.raises(FrameError) as caught:
        make()
    assert caught.value.reason == "out_of_range"


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_outcomes_come_out_as_they_went_in_beside_others(many: list[tuple[int, ...]]) -> None:
    run = [Report(at, 1000, OUTCOME, values) for at, values in enumerate(many)]
    run += [Report(len(many), 1000, BATTERY, (3700,)), Report(len(many) + 1, 1000, BATTERY, (3701,))]
    body, count = pack(run, uptime_s=1000, floor=0, max_len=240)
    assert count == len(run)
    assert [arrival.values for arrival in unpack(body, full=False).resolve(0).reports] == [*many, (3700,), (3701,)]


@pytest.mark.parametrize("values", [(0, 1, 1, 0), (1, 1, 0, 0), (1, 1, 5, 0)])
def test_an_outcome_that_nothing_can_have_is_refused(values: tuple[int, ...]) -> None:
    body, _ = pack([Report(0, 0, OUTCOME, values)], uptime_s=0, floor=0, max_len=60)
    with pytest.raises(FrameError) as caught:
        unpack(body, full=False)
    assert caught.value.reason == "out_of_range"


@pytest.mark.parametrize("values", [(-1, 1, 1, 0), (1, 0x10000, 1, 0), (1 << 31, 1, 1, 0), (1, 1, 16, 0)])
def test_an_outcome_that_does_not_fit_is_not_written(values: tuple[int, ...]) -> None:
    with pytest.raises(FrameError) as caught:
        pack([Report(0, 0, OUTCOME, values)], uptime_s=0, floor=0, max_len=60)
    assert caught.value.reason == "out_of_range"
