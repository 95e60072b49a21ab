"""A window comes out of a body as it went in; one that cannot be is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.bits import BitWriter
from drivers.link.frame import FrameError
from drivers.link.pack import Report, pack
from drivers.link.schema import WINDOW, readings
from drivers.link.unpack import unpack
from drivers.link.window import CODES, write

PLACE = ((100, 16), (0b00, 2), (60, 7))
HEAD = ((0, 1), (30, 5), *PLACE)
MINUTE = ((0, 1), (60, 12), (0, 1))


@st.composite
def windows(draw) -> tuple[int, ...]:
    values = [draw(st.integers(1, 0x1FFFF)), draw(st.integers(0, 0x1FFFFF))]
    quantities = draw(st.integers(0 if values[1] else 1, 3))
    for _ in range(quantities):
        span = draw(st.sampled_from([0, 1, 2, 3]) | st.integers(0, 0x7FFFF))
        low = draw(st.integers(-0x80000, 0x7FFFF - span))
        mean, last = draw(st.integers(10 * low, 10 * (low + span))), draw(st.integers(low, low + span))
        code, count = draw(st.integers(0, len(CODES) - 1)), draw(st.integers(1, 0x1FFFFF))
        values += [code, count, low, low + span, mean, last]
    return tuple(values)


@given(st.lists(windows(), min_size=1, max_size=4))
def test_windows_come_out_as_they_went_in(many: list[tuple[int, ...]]) -> None:
    run = [Report(7 + at, 1000, WINDOW, values) for at, values in enumerate(many)]
    body, count = pack(run, uptime_s=1000, floor=7, max_len=240)
    assert count == len(run)
    assert [arrival.values for arrival in unpack(body, full=False).resolve(7).reports] == many


def test_the_longest_window_fits_a_frame_of_its_own() -> None:
    out = BitWriter(48)
    write(out, (0x1FFFF, 0x1FFFFF, *[8, 0x1FFFFF, -0x80000, 0x7FFFF, 10 * 0x7FFFF, 0x7FFFF] * 3))
    assert len(out.to_bytes()) == 48


@pytest.mark.parametrize(
    "values",
    [
        (0, 0, 0, 1, 0, 0, 0, 0),  # no length
        (0x20000, 0, 0, 1, 0, 0, 0, 0),
        (60, 0x200000),
        (60, 0, 0, 0, 0, 0, 0, 0),  # no sample
        (60, 0, 0, 0x200000, 0, 0, 0, 0),
        (60, 0, 0, 1, 5, 4, 50, 4),  # highest below lowest
        (60, 0, 0, 2, 4, 5, 51, 5, 0, 2, 4, 5, 39, 5),  # mean outside
        (60, 0, 0, 2, 4, 5, 45, 6),  # last outside
        (60, 0, 0, 1, -0x80001, -0x80001, -0x80001 * 10, -0x80001),
        (60, 0, *[0, 1, 0, 0, 0, 0] * 4),
    ],
)
def test_what_is_no_window_is_not_written(values: tuple[int, ...]) -> None:
    with pytest.raises(FrameError) as caught:
        write(BitWriter(80), values)
    assert caught.value.reason == "out_of_range"


@pytest.mark.parametrize(
    "fields, reason",
    [
        (((0, 1), (0, 12), (1, 1), (5, 21), (0, 2)), "out_of_range"),  # no length
        ((*MINUTE, (0, 2)), "out_of_range"),  # says nothing
        ((*MINUTE, (1, 2), (9, 4), (1, 11), (0, 25)), "out_of_range"),  # no such quantity
        ((*MINUTE, (1, 2), (0, 4), (0, 11), (0, 25)), "out_of_range"),  # no sample
        ((*MINUTE, (1, 2), (0, 4), (2, 11), (0xFFFFF, 20), (1, 5), (0, 4), (0, 1)), "out_of_range"),  # highest
        ((*MINUTE, (1, 2), (0, 4), (2, 11), (0, 20), (1, 5), (11, 4), (0, 1)), "out_of_range"),  # mean
        ((*MINUTE, (1, 2), (0, 4), (2, 11), (0, 20), (2, 5), (0, 1), (0, 5), (3, 2)), "out_of_range"),  # last
        ((*MINUTE, (1, 2), (0, 4), (1, 11)), "truncated"),
    ],
)
def test_what_is_no_window_is_refused_by_name(fields, reason: str) -> None:
    out = BitWriter(80)
    for value, width in (*HEAD, *fields):
        out.write(value, width)
    with pytest.raises(FrameError) as caught:
        unpack(out.to_bytes(), full=False)
    assert caught.value.reason == reason


def test_a_window_is_told_as_the_gateway_tells_its_own() -> None:
    assert readings(WINDOW, (60, 3, 6, 12, 1200, 1260, 12_312, 1259)) == [
        ("window", "s", 0, 60),
        ("held_back", "count", 0, 3),
        ("water_level/count", "count", 0, 12),
        ("water_level/mean", "m", -4, 12_312),
        ("water_level/min", "m", -3, 1200),
        ("water_level/max", "m", -3, 1260),
        ("water_level/last", "m", -3, 1259),
    ]
