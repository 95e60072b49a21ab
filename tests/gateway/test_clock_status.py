"""What `gateway status` says of the clock, by what happened to it."""

from __future__ import annotations

import sqlite3

import pytest

from gateway.boots import Boots
from gateway.clock_status import clock_status, line, notes
from tests.gateway.machines import DAY_S, NEVER_SET, TRUE_S, YEAR_S, ScriptedMachine


def never_set() -> ScriptedMachine:
    return ScriptedMachine(wall_off_s=NEVER_SET)


def years_ahead() -> ScriptedMachine:
    return ScriptedMachine(wall_off_s=10 * YEAR_S, policy="auto", is_hosted=True)


def unspoken_for() -> ScriptedMachine:
    return ScriptedMachine()


@pytest.mark.parametrize(
    "machine, said",
    [
        (unspoken_for(), "no time server"),
        (never_set(), "no time server"),
        (years_ahead(), "the clock says 2036-11-2"),
        (ScriptedMachine(wall_off_s=-YEAR_S, policy="auto", is_hosted=True), "but 2026-01-01 has passed"),
    ],
)
def test_a_clock_that_is_not_trusted_says_why(machine, said):
    status = clock_status(machine.clock())
    assert (status["is_trusted"], status["is_good"], status["source"], status["since_s"]) == (False, False, None, None)
    assert said in line(status)
    (note,) = notes(status)
    assert said in note


def test_a_clock_that_is_trusted_says_by_what_since_when_and_when_it_was_set_last():
    machine = ScriptedMachine()
    machine.reach_time_server()
    clock = machine.clock()
    assert line(clock_status(clock)) == "clock: ntp, within 0.1 s"
    machine.live(100)
    machine.step(-7 * DAY_S)
    machine.live(10)
    status = clock_status(clock)
    assert (status["source"], status["since_s"], status["learnt_ago_s"]) == ("ntp", TRUE_S, 110.0)
    assert (status["steps"], status["step_s"]) == (1, -7 * DAY_S)
    assert line(status) == "clock: ntp, within 0.1 s; it was set 1 times, last by -604800 s"
    assert list(notes(status)) == []
    machine.live(2 * DAY_S)
    (note,) = notes(clock_status(clock))
    assert "nothing has spoken for the clock for 2 d" in note
    assert "may be off by 17 s" in note


def test_the_table_of_an_earlier_version_learns_of_our_boots():
    db = sqlite3.connect(":memory:")
    db.execute(
        "CREATE TABLE boots (node TEXT, epoch INTEGER, boot INTEGER, started_at_s REAL NOT NULL,"
        " is_trusted INTEGER NOT NULL, heard_at_s REAL NOT NULL, PRIMARY KEY (node, epoch, boot)) WITHOUT ROWID"
    )
    db.execute("INSERT INTO boots VALUES ('n', 1, 7, 100.0, 1, 150.0)")
    for _ in range(2):
        Boots().begin(db)
    assert Boots().resolve(db, "n", 1, 7, 10, not_before_s=0.0, now_s=1e9).at_s == 110.0
