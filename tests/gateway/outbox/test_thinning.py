"""Thinning: which records become one, what that says, and what is left of it when it goes itself."""

import math
from dataclasses import replace

import pytest

from gateway.gaps import THINNED, Gap
from gateway.outbox.thinning import originals, thinned
from gateway.reading import Pending, Reading
from tests.gateway.cores import reading_values
from tests.gateway.test_outbox import made

HOUR_S = 3600.0
AT_S = 1.8e9  # a full hour


def numbered(reports):
    return [(ordinal, report, ()) for ordinal, report in enumerate(reports)]


def with_value(seq, value, **fields):
    return replace(made("a", seq), readings=(Reading(quantity="level", value=value, unit="m"),), **fields)


def test_records_of_one_node_and_hour_become_one_that_names_them_and_their_count_mean_min_and_max():
    (one,) = thinned(numbered(with_value(seq, seq / 2) for seq in range(10)), HOUR_S)
    assert one.ordinals == [*range(10)]
    assert (one.report.kind, one.report.subject, one.report.measured_at_s) == ("thinned", "a", AT_S)
    assert reading_values(one.report) == {
        "thinned/count": 10,
        "thinned/epoch": 1,
        "thinned/from": 0,
        "thinned/to": 9,
        "window": 9.0,
        "level/count": 10,
        "level/mean": 2.25,
        "level/min": 0.0,
        "level/max": 4.5,
    }


def test_sequences_that_are_not_among_them_show():
    reports = [with_value(seq, 1.0) for seq in (3, 4, 5, 9, 11, 12)]
    (one,) = thinned(numbered(reports), HOUR_S)
    assert reading_values(one.report)["thinned/spans"] == "3-5 9-9 11-12"


def test_each_node_epoch_hour_and_boot_of_the_gateway_is_thinned_for_itself():
    kinds = [
        {},
        {"node": "b"},
        {"epoch": 2},
        {"measured_at_s": AT_S + HOUR_S},
        {"pending": Pending(1), "measured_at_s": 5.0, "time_quality": "untrusted"},
        {"pending": Pending(2), "measured_at_s": 5.0, "time_quality": "untrusted"},
    ]
    reports = [with_value(seq, 1.0, **{"measured_at_s": AT_S} | kind) for seq in range(6) for kind in kinds]
    found = thinned(numbered(reports), HOUR_S)
    assert [one.ordinals for one in found] == [[*range(at, 36, 6)] for at in range(6)]
    assert [one.report.pending for one in found][4:] == [Pending(1), Pending(2)]


@pytest.mark.parametrize(
    "why, reports",
    [
        ("five take less room than one that stands for them", [with_value(seq, 1.0) for seq in range(5)]),
        ("texts have no mean", [with_value(seq, "text") for seq in range(20)]),
        ("nor have truths", [with_value(seq, True) for seq in range(20)]),
        ("nor what is no number", [with_value(seq, math.nan) for seq in range(20)]),
        ("alarms are not thinned", [with_value(seq, 1.0, kind="alarm") for seq in range(20)]),
        ("windows are thinned already", [with_value(seq, 1.0, kind="window") for seq in range(20)]),
        (
            "of a meter only the last sum counts",
            [
                replace(made("a", seq), readings=(Reading(quantity="energy", value=None, total=1.0),))
                for seq in range(20)
            ],
        ),
    ],
)
def test_what_is_left_as_it_is(why, reports):
    assert thinned(numbered(reports), HOUR_S) == [], why


def test_a_text_beside_a_number_is_counted():
    readings = (Reading(quantity="level", value=1, unit="m"), Reading(quantity="state", value="ok"))
    (one,) = thinned(numbered(replace(made("a", seq), readings=readings) for seq in range(6)), HOUR_S)
    values = reading_values(one.report)
    assert (values["level/mean"], values["state/count"]) == (1.0, 6)
    assert "state/mean" not in values


@pytest.mark.parametrize(
    "qualities, errors, expected",
    [
        (["good"] * 6, [1.0] * 5 + [2.0], ("good", 2.0)),
        (["good"] * 5 + ["bounded"], [1.0] * 6, ("bounded", 1.0)),
        (["received"] * 6, [None] * 6, ("received", None)),
        (["bounded"] * 5 + ["untrusted"], [1.0] * 5 + [None], ("untrusted", None)),
    ],
)
def test_its_time_is_as_good_as_the_worst_among_them(qualities, errors, expected):
    reports = [
        with_value(seq, 1.0, time_quality=quality, time_error_s=error_s)
        for seq, (quality, error_s) in enumerate(zip(qualities, errors, strict=True))
    ]
    (one,) = thinned(numbered(reports), HOUR_S)
    assert (one.report.time_quality, one.report.time_error_s) == expected


def test_records_without_numbers_are_told_by_node_time_and_count_and_leave_such_a_gap():
    reports = [replace(with_value(seq, 1.0), epoch=None, seq=None, record_id=f"a/h/{seq:032x}") for seq in range(6)]
    (one,) = thinned(numbered(reports), HOUR_S)
    assert "thinned/from" not in reading_values(one.report)
    assert originals(one.report) == Gap(node="a", reason=THINNED, count=6)


def test_what_it_stood_for_is_known_when_it_goes_itself():
    records = [(seq, with_value(seq, 1.0), ("one", "two")) for seq in range(4, 14)]
    (one,) = thinned(records, HOUR_S)
    gap = originals(one.report)
    assert gap == Gap(node="a", reason=THINNED, count=10, epoch=1, first=4, last=13, platforms=("one", "two"))


def test_what_one_platform_has_already_is_thinned_apart():
    records = [(seq, with_value(seq, 1.0), ("two",) if seq < 7 else ("one", "two")) for seq in range(14)]
    found = [reading_values(one.report) for one in thinned(records, HOUR_S)]
    assert [(values["thinned/platforms"], values["thinned/to"]) for values in found] == [("two", 6), ("one two", 13)]
