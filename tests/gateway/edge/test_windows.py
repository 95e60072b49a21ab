"""What a declared window tells: by whom, when, revised, partial, withdrawn; and what becomes of it when it changes."""

import sqlite3

import pytest

from gateway.config import EdgeConfig
from gateway.config_edge import GroupConfig, WindowConfig
from gateway.counters import Counters
from gateway.edge import carried
from gateway.edge.engine import Edge
from gateway.edge.groups import Groups
from gateway.edge.privacy import Privacy
from gateway.reading import Reading
from gateway.tables import EDGE_TABLES
from tests.gateway.edge.machine import START_S, Commit, Machine, measured, values_of, windows

PARK = GroupConfig(name="park", nodes=("lamp-1", "lamp-2"))
NORTH = GroupConfig(name="north", kind="zone", nodes=("lamp-*",))
HOUR = WindowConfig(name="hour", length_s=3600, stats=("count", "mean"))


def test_a_declared_window_names_itself_and_its_kind():
    window = WindowConfig(name="w", kind="sliding", length_s=60, slide_s=30, quantiles=(0.5, 0.999))
    machine = Machine(window=(window,))
    machine.add(measured("a", START_S + 31, x=2.0))
    told = machine.tick(START_S + 200)
    assert [(one.subject, one.measured_at_s - START_S) for one in told] == [("a", 0), ("a", 30)]
    assert values_of(told[0]) == {
        "window": 60,
        "window/name": "w",
        "window/kind": "sliding",
        "x/count": 1,
        "x/mean": 2.0,
        "x/min": 2.0,
        "x/max": 2.0,
        "x/p50": 2.0,
        "x/p99.9": 2.0,
    }


@pytest.mark.parametrize(
    "by, nodes, expected",
    [
        ("node", ("lamp-1",), {"lamp-1": 1}),
        ("node", ("group:park",), {"lamp-1": 1, "lamp-2": 1}),
        ("node", ("zone:n*",), {"lamp-1": 1, "lamp-2": 1, "lamp-3": 1}),
        ("group", ("*",), {"group:park": 2}),
        ("zone", ("*",), {"zone:north": 3}),
        ("zone", ("group:park",), {"zone:north": 2}),
        ("node", ("nobody",), {}),
    ],
)
def test_windows_are_grouped_by_node_group_or_zone(by, nodes, expected):
    machine = Machine((PARK, NORTH), window=(WindowConfig(name="w", length_s=60, by=by, nodes=nodes),))
    for node in ("lamp-1", "lamp-2", "lamp-3", "pump"):
        machine.add(measured(node, START_S, x=1.0))
    told = windows(machine.tick(START_S + 100))
    assert {subject: values["x/count"] for (_, subject, _), values in told.items()} == expected


def test_only_quantities_that_a_pattern_names_go_in():
    machine = Machine(window=(WindowConfig(name="w", length_s=60, quantities=("air/*", "t?")),))
    report = measured("a", START_S, t1=1.0, temperature=2.0, flag=True, text="x")
    machine.add(report)
    machine.add(measured("a", START_S, **{"air/pm": 1}))
    (values,) = windows(machine.tick(START_S + 100)).values()
    assert {name for name in values if name.endswith("/count")} == {"t1/count", "air/pm/count"}


def test_a_late_reading_makes_a_revised_record_and_a_too_late_one_moves_a_counter():
    machine = Machine(window=(WindowConfig(name="w", length_s=60, lateness_s=120),))
    machine.add(measured("a", START_S + 5, x=1.0))
    assert machine.tick(START_S + 69) == []
    assert [values_of(one).get("revision") for one in machine.tick(START_S + 70)] == [None]
    machine.add(measured("a", START_S + 180, x=9.0))
    machine.add(measured("a", START_S + 6, x=3.0))
    (late, *_) = machine.tick(START_S + 260)
    assert (values_of(late)["revision"], values_of(late)["x/mean"]) == (1, 2.0)
    machine.now_s = START_S + 300
    machine.add(measured("a", START_S + 181, x=9.0))
    assert machine.counters["edge_too_late"] == 0
    machine.add(measured("a", START_S + 190, x=9.0))
    machine.add(measured("a", START_S + 7, x=3.0))
    assert machine.counters["edge_too_late"] == 1


def test_a_reading_from_the_future_does_not_move_the_watermark_past_the_clock():
    machine = Machine(window=(WindowConfig(name="w", length_s=60, lateness_s=60),))
    machine.add(measured("a", START_S + 3500, x=1.0))
    machine.add(measured("a", START_S + 1, x=2.0))
    assert machine.counters["edge_too_late"] == 0


def test_a_window_in_which_its_node_changed_gateway_says_partial():
    machine = Machine((PARK,), window=(HOUR, WindowConfig(name="park", length_s=60, by="group")))
    for node in ("lamp-1", "lamp-2"):
        machine.add(measured(node, START_S, x=1.0))
    machine.now_s = START_S + 30
    machine.move("lamp-1")
    machine.add(measured("lamp-1", START_S + 70, x=1.0))
    told = windows(machine.tick(START_S + 4000))
    partial = {(name, subject, start - START_S) for (name, subject, start), one in told.items() if one.get("partial")}
    assert partial == {("hour", "lamp-1", 0), ("park", "group:park", 0)}


def test_a_window_that_was_told_is_told_again_as_partial():
    machine = Machine(window=(HOUR,))
    machine.add(measured("a", START_S, x=1.0))
    machine.tick(START_S + 4000)
    machine.edge.node_moved(machine.db, "a", at_s=START_S + 100)
    (again,) = machine.tick()
    assert values_of(again)["partial"] is True
    assert values_of(again)["revision"] == 1


def test_sessions_end_after_a_gap_and_a_late_reading_joins_two():
    machine = Machine(window=(WindowConfig(name="w", kind="session", gap_s=30, stats=("count",)),))
    for at_s in (0, 20, 100, 110):
        machine.now_s = START_S + at_s
        machine.add(measured("a", START_S + at_s, x=1.0))
    told = windows(machine.tick(START_S + 200))
    assert {start - START_S: (one["window"], one["x/count"]) for (*_, start), one in told.items()} == {
        0: (20, 2),
        100: (10, 2),
    }
    machine.add(measured("a", START_S + 45, x=1.0))
    machine.add(measured("a", START_S + 72, x=1.0))
    told = windows(machine.tick(START_S + 300))
    joined, withdrawn = told["w", "a", START_S], told["w", "a", START_S + 100]
    assert (joined["window"], joined["x/count"], joined["revision"]) == (110, 6, 1)
    assert withdrawn["withdrawn"] is True
    assert "x/count" not in withdrawn


def test_a_changed_definition_tells_what_the_old_one_held_and_begins_anew():
    machine = Machine(window=(HOUR,))
    machine.add(measured("a", START_S, x=1.0))
    machine.reconfigure(window=(WindowConfig(name="hour", length_s=1800, stats=("count",)),))
    machine.add(measured("a", START_S + 1, x=5.0))
    (old,) = machine.tick(START_S + 5)
    assert (values_of(old)["window"], values_of(old)["x/count"], values_of(old)["partial"]) == (3600, 1, True)
    (new,) = machine.tick(START_S + 2000)
    assert (values_of(new)["window"], values_of(new)["x/count"]) == (1800, 1)
    machine.tick(START_S + 3000)
    machine.checkpoint()
    kept = machine.db.execute("SELECT count(*) FROM edge_state WHERE owner LIKE 'hour#%' AND kind = 'pane'")
    assert kept.fetchone()[0] == 1


def test_an_unchanged_definition_keeps_its_windows_over_a_reload():
    machine = Machine(window=(HOUR,))
    machine.add(measured("a", START_S, x=1.0))
    machine.reconfigure(window=(HOUR,), window_s=60)
    machine.add(measured("a", START_S + 1, x=3.0))
    told = windows(machine.tick(START_S + 4000))
    assert (told["hour", "a", START_S]["x/count"], told["", "a", START_S]["x/count"]) == (2, 1)


def test_windows_that_no_reading_reaches_leave_the_table():
    machine = Machine(window=(WindowConfig(name="w", length_s=60, lateness_s=300),))
    for at_s in range(0, 6000, 30):
        machine.now_s = START_S + at_s
        machine.add(measured("a", machine.now_s, x=1.0))
        machine.tick()
        machine.checkpoint()
    assert machine.db.execute("SELECT count(*) FROM edge_state WHERE kind = 'pane'").fetchone()[0] < 25
    assert len(windows(machine.produced)) > 95


def test_what_overflows_is_left_out_of_the_record():
    machine = Machine(window=(WindowConfig(name="w", length_s=60, stats=("count", "mean", "max")),))
    for _ in range(3):
        machine.add(measured("a", START_S, x=1e308))
    (values,) = windows(machine.tick(START_S + 100)).values()
    assert (values["x/count"], values["x/max"], values.get("x/mean")) == (3, 1e308, None)


def test_windows_of_the_first_version_are_carried_over():
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(
        """CREATE TABLE windows (
            subject TEXT, start_s INTEGER, length_s INTEGER, state TEXT NOT NULL,
            revision INTEGER NOT NULL, is_open INTEGER NOT NULL, touched_at_s REAL NOT NULL,
            PRIMARY KEY (subject, start_s, length_s)) WITHOUT ROWID;
        CREATE TABLE window_floors (
            subject TEXT, length_s INTEGER, start_s INTEGER NOT NULL, PRIMARY KEY (subject, length_s)) WITHOUT ROWID;
        INSERT INTO windows VALUES ('a', 1800000000, 60, '[["x","V",2,4.0,1.0,3.0]]', 0, 1, 1800000001.0);
        INSERT INTO windows VALUES ('a', 1799999940, 60, '[["x","V",1,4.0,4.0,4.0]]', 1, 0, 1800000000.0);
        INSERT INTO window_floors VALUES ('a', 60, 1799999880);"""
    )
    groups, counters = Groups(), Counters()
    edge = Edge(EdgeConfig(), groups, Privacy((), groups, key=b"", count=counters.add), counters)
    edge.begin(Commit(db))
    for at_s in (2, -59, -121):
        report = measured("a", START_S + at_s)
        volts = (Reading(quantity="x", value=5.0, unit="V"),)
        edge.add(db, type(report)(node="a", record_id="", measured_at_s=START_S + at_s, readings=volts), now_s=START_S)
    told = windows(edge.tick(db, now_s=START_S + 100))
    found = {start - START_S: (one["x/count"], one["x/max"], one.get("revision")) for (*_, start), one in told.items()}
    assert found == {0: (3, 5.0, None), -60: (2, 5.0, 1)}
    assert counters["edge_too_late"] == 1


def test_a_clock_that_was_ahead_for_a_while_does_not_make_later_readings_too_late():
    machine = Machine(window=(WindowConfig(name="w", length_s=60, lateness_s=0),))
    machine.add(measured("a", START_S, x=1.0))
    machine.now_s = START_S + 40 * 86_400
    machine.add(measured("a", machine.now_s, x=2.0))
    machine.tick(machine.now_s + 100)
    machine.now_s = START_S + 70
    machine.add(measured("a", START_S + 70, x=3.0))
    assert machine.counters["edge_too_late"] == 0
    told = windows(machine.tick(START_S + 200))
    assert told["w", "a", START_S + 60]["x/mean"] == 3.0


def test_a_table_in_the_order_of_an_earlier_version_is_put_in_order_once():
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(EDGE_TABLES.replace("owner, at_s, subject)", "owner, subject, at_s)"))
    rows = [("pane", "o", subject, float(at_s), at_s % 2, "[]") for subject in "ab" for at_s in range(3)]
    db.executemany("INSERT INTO edge_state VALUES (?, ?, ?, ?, ?, ?)", rows)
    asked = []
    for _ in range(2):
        tx = Commit(db)
        carried.begin(tx)
        tx.release()
        asked.append(tx.wants_checkpoint)
    assert asked == [True, False]
    assert db.execute("SELECT * FROM edge_state ORDER BY subject, at_s").fetchall() == rows
    (plan,) = db.execute("EXPLAIN QUERY PLAN SELECT 1 FROM edge_state WHERE kind = 'pane' AND owner = 'o' AND at_s < 1")
    assert "at_s<?" in plan[3]
