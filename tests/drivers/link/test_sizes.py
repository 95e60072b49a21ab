"""One report of BME280 and PMS5003 takes at most 28 bytes of PHY payload, ten at most 120, whatever their values.

Longer are only frames with the whole counter, an older boot or epoch or a raised floor, and the rare ones that
test_only_frames_outside_the_promise_are_longer lists. `pytest -rP` on this file prints the table.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.link.pack import WIDE, Report
from drivers.link.schema import LIMITS, SCHEMAS
from tests.drivers.link.sizes import NOW_S, ONE_MAX, SEQ, TEN_MAX, calm, lines, phy_len, table

ON_SCALE = st.tuples(
    *[st.integers(low, min(high, WIDE - 1) if name.startswith("pm") else high) for name in SCHEMAS[3]
      for low, high in [LIMITS[name]]]
)  # fmt: skip
PLACES = (
    st.tuples(st.integers(0, 1023), st.integers(0, 4095))
    | st.tuples(st.integers(0, 15), st.integers(0, 262_143))
    | st.tuples(st.integers(0, 16_383), st.integers(0, 127))
)


@settings(max_examples=2000)
@given(ON_SCALE, PLACES)
def test_one_report_takes_at_most_28_bytes(values, place) -> None:
    distance, age_s = place
    assert phy_len([Report(SEQ, NOW_S - age_s, 3, values)], floor=SEQ - distance) <= ONE_MAX


@settings(max_examples=500)
@given(
    st.lists(ON_SCALE, min_size=10, max_size=10),
    st.integers(0, 26_000),
    st.integers(0, 28_000),
    st.integers(0, 16_383),
)
def test_ten_reports_of_one_schedule_take_at_most_120_bytes(values, step_s, youngest_s, distance) -> None:
    times = [NOW_S - youngest_s - (9 - i) * step_s for i in range(10)]
    reports = [Report(SEQ + i, times[i], 3, values[i]) for i in range(10)]
    assert phy_len(reports, floor=SEQ - distance) <= TEN_MAX


@settings(max_examples=500)
@given(st.lists(ON_SCALE, min_size=10, max_size=10), st.lists(st.integers(-1, 1), min_size=10, max_size=10))
def test_a_clock_that_jitters_by_a_second_takes_no_more(values, jitter_s) -> None:
    reports = [Report(SEQ + i, NOW_S - 4000 + 60 * i + (jitter_s[i] > 0), 3, values[i]) for i in range(10)]
    assert phy_len(reports, floor=SEQ - 15) <= TEN_MAX


def test_ten_reports_of_ordinary_weather_take_much_less() -> None:
    assert phy_len(calm(10)) <= 80


def test_only_frames_outside_the_promise_are_longer() -> None:
    print("\n".join(lines()))
    longer = {name for name, one, ten in table() if one > ONE_MAX or ten > TEN_MAX}
    reasons = ("FULL", "older boot", "raised floor", "all that a frame can say")
    promised = {name for name in longer if any(reason in name for reason in reasons)}
    assert longer - promised == {
        "worst values, no two steps alike (below 256 s)",
        "worst values, no two steps alike (an hour and more)",
        "far above the floor and old (16383, 3 days)",
        "older than 3 days, of this boot",
        "particles off the scale (all above 1022 ug/m3)",
    }


@pytest.mark.parametrize("schema, body_bits", [(1, 44), (2, 30), (3, 74), (4, 16), (5, 60), (6, 90), (7, 16)])
def test_raw_values_of_a_schema_have_the_documented_width(schema: int, body_bits: int) -> None:
    lowest = tuple(LIMITS[name][0] for name in SCHEMAS[schema])
    header_bits = 1 + 5 + 16 + 9
    assert phy_len([Report(SEQ, NOW_S, schema, lowest)]) == 13 + (header_bits + body_bits + 7) // 8
