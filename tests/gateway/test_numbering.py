"""What must outlive a database: floors, numbers, counters, and which time is certainly wrong."""

import sqlite3

import pytest

from gateway.boots import Boots
from gateway.clock import RELEASED_AT_S, ClockTrust
from gateway.counters import Counters
from gateway.floors import Floors
from gateway.gaps import gaps_of, spans_of
from gateway.numbering import Numbering
from gateway.reading import Report
from gateway.tables import TABLES

NOW_S = RELEASED_AT_S + 1000


@pytest.fixture
def db():
    made = sqlite3.connect(":memory:", isolation_level=None)
    made.executescript(TABLES)
    return made


def floors_in(folder):
    floors = Floors(folder)
    floors.load(now_s=NOW_S)
    return floors


def own(numbering, db):
    report = Report(node="", record_id="", measured_at_s=0, readings=())
    return numbering.number(db, report).record_id


def test_a_new_database_gets_a_new_epoch_and_counters_above_all_that_were_used(tmp_path, db):
    numbering = Numbering("gw-1")
    assert numbering.begin(db, floors_in(tmp_path)) == 0
    assert [own(numbering, db) for _ in range(2)] == ["gw-1/1/0", "gw-1/1/1"]
    floors_in(tmp_path).cover(100)
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    fresh.executescript(TABLES)
    again = Numbering("gw-1")
    assert again.begin(fresh, floors_in(tmp_path)) >= 100
    assert own(again, fresh) == "gw-1/2/0"


def test_a_number_of_a_commit_that_failed_is_given_again_and_one_of_a_commit_is_not(tmp_path, db):
    numbering = Numbering("gw-1")
    numbering.begin(db, floors_in(tmp_path))
    assert own(numbering, db) == "gw-1/1/0"
    numbering.forget()
    assert own(numbering, db) == "gw-1/1/0"
    numbering.flush(db)
    numbering.forget()
    assert own(numbering, db) == "gw-1/1/1"


def test_lost_floors_are_made_anew_from_the_database(tmp_path, db):
    numbering = Numbering("gw-1")
    numbering.begin(db, floors_in(tmp_path))
    db.execute("INSERT INTO sessions VALUES ('n', 1, 0, x'00', 512, 0, 0)")
    (tmp_path / "floors.json").unlink()
    floors = floors_in(tmp_path)
    Numbering("gw-1").begin(db, floors)
    assert floors.epoch == 1
    assert floors_in(tmp_path).downlink >= 512


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"epoch": 1}', b'{"epoch": "x", "downlink": 1}', b"\xff"])
def test_unreadable_floors_go_on_by_the_clock(tmp_path, content):
    (tmp_path / "floors.json").write_bytes(content)
    floors = floors_in(tmp_path)
    assert (floors.epoch, floors.downlink) == (1000, 1000)


def test_the_floor_is_written_seldom(tmp_path):
    floors = floors_in(tmp_path)
    floors.cover(1)
    written = (tmp_path / "floors.json").stat().st_mtime_ns
    for counter in range(2, 60_000, 256):
        floors.cover(counter)
    assert (tmp_path / "floors.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "now_s, floor_s, is_trusted",
    [
        (0.0, 0.0, False),  # a Pi without a battery
        (RELEASED_AT_S - 1, 0.0, False),
        (RELEASED_AT_S, 0.0, True),
        (RELEASED_AT_S + 10, RELEASED_AT_S + 60, False),  # set back below what has passed
    ],
)
def test_a_time_below_what_has_passed_is_not_trusted(now_s, floor_s, is_trusted):
    assert ClockTrust(floor_s=floor_s, wall=lambda: now_s).is_trusted is is_trusted


def test_the_floor_of_the_clock_only_rises():
    clock = ClockTrust(wall=lambda: NOW_S)
    clock.raise_floor(NOW_S + 5)
    clock.raise_floor(NOW_S - 5)
    assert clock.floor_s == NOW_S + 5
    assert not clock.is_trusted


def test_counters_are_kept_at_most_every_ten_seconds_and_go_on(db):
    counters = Counters()
    counters.add("a", 2)
    counters.save(db, now_s=100.0)
    counters.add("a")
    counters.save(db, now_s=105.0)
    again = Counters()
    again.load(db)
    assert again.snapshot() == {"a": 2}
    again.add("a")
    counters.save(db, now_s=111.0)
    assert dict(db.execute("SELECT name, value FROM counters")) == {"a": 3}


def test_very_many_spans_are_told_as_one_gap_with_the_exact_count():
    spans = [(n, n + 1) for n in range(0, 100, 2)]
    (gap,) = gaps_of("n", 1, spans, "evicted")
    assert (gap.first, gap.last, gap.count) == (0, 98, 50)
    assert [(g.first, g.last, g.count) for g in gaps_of("n", 1, spans[:2], "evicted")] == [(0, 0, 1), (2, 2, 1)]


def test_spans_are_the_runs_of_what_is_given():
    assert spans_of([]) == []
    assert spans_of([5, 1, 2, 3, 9]) == [(1, 4), (5, 6), (9, 10)]


def test_a_late_full_frame_does_not_move_a_boots_start_and_an_earlier_one_does(db):
    boots = Boots()
    for started_at_s in (100.0, 130.0, 99.0):
        boots.note(db, "n", 1, 7, started_at_s=started_at_s, is_trusted=True, heard_at_s=200.0)
    moment = boots.resolve(db, "n", 1, 7, 10, not_before_s=0.0, now_s=1e9)
    assert (moment.at_s, moment.is_point) == (109.0, True)


def test_a_start_by_an_untrusted_clock_gives_no_point_and_is_replaced(db):
    boots = Boots()
    boots.note(db, "n", 1, 7, started_at_s=5.0, is_trusted=False, heard_at_s=9.0)
    moment = boots.resolve(db, "n", 1, 7, 10, not_before_s=1000.0, now_s=2000.0)
    assert (moment.at_s, moment.error_s, moment.is_point) == (1505.0, 495.0, False)
    boots.note(db, "n", 1, 7, started_at_s=1500.0, is_trusted=True, heard_at_s=1600.0)
    assert boots.resolve(db, "n", 1, 7, 10, not_before_s=1000.0, now_s=2000.0).at_s == 1510.0


def test_a_node_in_a_crash_loop_does_not_fill_the_table_of_boots(db):
    boots = Boots()
    for boot in range(400):
        boots.note(db, "n", 1, boot, started_at_s=float(boot), is_trusted=True, heard_at_s=float(boot))
    assert db.execute("SELECT count(*), min(boot) FROM boots").fetchone() == (256, 144)
