"""Orders and what came of them come out as they went in; what cannot be is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link import order as orders
from drivers.link import order_sending as sending
from drivers.link.ack import pack_ack
from drivers.link.frame import FrameError
from drivers.link.pack import Report, pack
from drivers.link.schema import BATTERY, OUTCOME
from drivers.link.unpack import unpack

NUMBERS, TAGS = st.integers(1, orders.LAST_NUMBER), st.integers(0, 0xFFFF)
VALUES = st.tuples(NUMBERS, TAGS, st.integers(1, 4), st.integers(0, orders.LAST_NUMBER))


@given(NUMBERS, TAGS, st.integers(0, 255), st.binary(max_size=20))
def test_an_order_is_read_as_it_was_packed_and_an_ack_follows(number: int, tag: int, code: int, rest: bytes) -> None:
    ack = pack_ack(7, 3, wide=True)
    plain = sending.pack_command(sending.pack_order(number, tag, code, rest), ack)
    order = orders.Order(plain[1 : plain[0] + 1])
    assert (order.number, order.tag, order.code, order.arguments) == (number, tag, code, rest)
    assert plain[plain[0] + 1 :] == ack


@given(st.integers(0, 255), st.integers(0, orders.LONGEST_S), st.integers(0, 1))
def test_output_arguments_are_read_as_they_were_packed(output: int, for_s: int, level: int) -> None:
    assert orders.read_output(sending.output_arguments(output, for_s, level)) == (output, for_s, level)


@given(*[st.just(0) | st.integers(5, 86_400)] * 2)
def test_pace_arguments_are_read_as_they_were_packed(sample_s: int, report_s: int) -> None:
    assert orders.read_pace(sending.pace_arguments(sample_s, report_s)) == (sample_s, report_s)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sending.pack_order(0, 1, 1),
        lambda: sending.pack_order(orders.LAST_NUMBER + 1, 1, 1),
        lambda: sending.output_arguments(0, orders.LONGEST_S + 1, 1),
        lambda: sending.output_arguments(0, 1, 2),
        lambda: sending.pace_arguments(4, 60),
        lambda: sending.pace_arguments(60, 86_401),
        lambda: orders.Order(b"\x80" + bytes(6)),
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


@pytest.mark.parametrize("values", [(1, 1, 1), (-1, 1, 1, 0), (1, 0x10000, 1, 0), (1 << 31, 1, 1, 0), (1, 1, 16, 0)])
def test_an_outcome_that_does_not_fit_is_not_written(values: tuple[int, ...]) -> None:
    with pytest.raises(FrameError) as caught:
        pack([Report(0, 0, OUTCOME, values)], uptime_s=0, floor=0, max_len=60)
    assert caught.value.reason == "out_of_range"
