"""Which wall clock is believed, by what is known and by what speaks for it; and what a step of it moves."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from gateway.boot_times import Boot, age_at_least_s, bounded, resolved
from gateway.clock import RELEASED_AT_S, ClockTrust, Learnt, Word, since_boot_s
from gateway.reading import Pending, Reading, Report, from_bytes, to_bytes
from gateway.time_evidence import KernelTime, Machine, kernel_time, machine_boot_id, rtc_time_s
from tests.gateway.machines import DAY_S, NEVER_SET, TRUE_S, YEAR_S, ScriptedMachine

NTP = Word("ntp", 0.05)
RTC = Word("rtc", 5.0)


@pytest.mark.parametrize(
    "wall_s, floor_s, word, is_trusted",
    [
        (TRUE_S, 0.0, NTP, True),
        (TRUE_S, 0.0, None, False),  # nothing speaks for it
        (100.0, 0.0, NTP, False),  # a time server that says 1970
        (100.0, 0.0, RTC, False),  # an empty battery
        (TRUE_S + 10 * YEAR_S, TRUE_S, RTC, False),
        (TRUE_S + 10 * YEAR_S, TRUE_S, NTP, False),
        (TRUE_S + 10 * YEAR_S, 0.0, RTC, False),  # its first start
        (TRUE_S + YEAR_S, TRUE_S, RTC, True),  # a winter in the depot
        (TRUE_S + 3 * YEAR_S, TRUE_S, RTC, False),
        (TRUE_S + 3 * YEAR_S, TRUE_S, NTP, True),
        (TRUE_S - 7 * DAY_S, TRUE_S, NTP, False),  # it has passed
        (float("inf"), 0.0, NTP, False),
        (-1e15, 0.0, NTP, False),
    ],
)
def test_a_clock_is_trusted_if_something_speaks_for_it_and_it_is_plausible(wall_s, floor_s, word, is_trusted):
    clock = ClockTrust(floor_s=floor_s, wall=lambda: wall_s, monotonic=lambda: 50.0, witness=lambda _: word)
    assert clock.is_trusted is is_trusted
    assert (clock.trusted_s() is None) is not is_trusted
    assert bool(clock.doubt) is not is_trusted


@pytest.mark.parametrize(
    "policy, kernel_off_s, sync_error_s, rtc_off_s, is_hosted, source",
    [
        ("ntp", 0.0, 0.02, None, False, "ntp"),
        ("ntp", 0.0, None, 0.0, True, None),
        ("rtc", 0.0, None, 0.0, True, "rtc"),
        ("rtc", 0.0, None, None, True, None),
        ("auto", 0.0, None, 0.0, False, "rtc"),
        ("auto", 0.0, None, None, True, "host"),
        ("auto", 0.0, None, None, False, None),  # a Pi with neither battery nor network
        ("auto", 0.0, None, 3600.0, False, None),  # its two clocks contradict each other
        ("auto", 0.0, None, 3600.0, True, None),
        ("auto", 7 * DAY_S, 0.02, 0.0, True, None),  # this process is shown another time than the kernel has
    ],
)
def test_what_speaks_for_a_clock_under_each_policy(policy, kernel_off_s, sync_error_s, rtc_off_s, is_hosted, source):
    witness = Machine(
        policy,
        kernel=lambda: KernelTime(TRUE_S + kernel_off_s, sync_error_s),
        rtc=lambda: None if rtc_off_s is None else TRUE_S + rtc_off_s,
        hosted=lambda: is_hosted,
    )
    word = witness(TRUE_S)
    assert (word and word.source) == source


def test_this_kernel_says_the_time_that_python_says_and_names_its_boot():
    kernel = kernel_time()
    assert kernel is not None
    assert abs(kernel.now_s - time.time()) < 5.0
    assert kernel.error_s is None or kernel.error_s >= 0
    assert machine_boot_id() == machine_boot_id()
    assert since_boot_s() > 0


@pytest.mark.parametrize(
    "files, expected",
    [
        ({}, None),
        ({"rtc0": ("1", "1795600000")}, TRUE_S),
        ({"rtc0": ("0", "5"), "rtc1": ("1", "1795600000")}, TRUE_S),  # the kernel took the second one
        ({"rtc0": ("0", "1795600000")}, None),
        ({"rtc0": ("1", "no time")}, None),
        ({"rtc0": ("1", None)}, None),  # reading it fails: its battery was empty
    ],
)
def test_the_hardware_clock_that_set_the_time_is_read(tmp_path, files, expected):
    for name, (hctosys, since_epoch) in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "hctosys").write_text(f"{hctosys}\n")
        if since_epoch is not None:
            (tmp_path / name / "since_epoch").write_text(f"{since_epoch}\n")
    assert rtc_time_s(tmp_path) == expected
    assert rtc_time_s(tmp_path / "none") is None


@pytest.mark.parametrize("by_s", [-7 * DAY_S, 40 * DAY_S, NEVER_SET, 10 * YEAR_S, -3600.0, 30.0])
def test_a_step_moves_nothing_and_is_told(by_s):
    machine = ScriptedMachine()
    machine.reach_time_server()
    clock = machine.clock()
    assert clock.now_s() == pytest.approx(machine.true_s)
    machine.live(600)
    clock.observe()
    machine.step(by_s)
    for _ in range(5):
        machine.live(10)
        assert clock.now_s() == pytest.approx(machine.true_s, abs=0.01)
    assert clock.is_good
    assert (clock.steps, round(clock.step.by_s)) == (1, round(by_s))
    machine.reach_time_server()
    machine.live(10)
    assert clock.now_s() == pytest.approx(machine.true_s, abs=0.1)
    assert clock.doubt == ""


@pytest.mark.parametrize("off_s", [-7 * DAY_S, 40 * DAY_S])
def test_a_time_server_that_contradicts_what_we_know_must_insist(off_s):
    machine = ScriptedMachine()
    clock = machine.clock()
    clock.raise_floor(TRUE_S - 30 * DAY_S)
    machine.reach_time_server()
    assert clock.is_trusted
    machine.reach_time_server(off_s=off_s)
    for _ in range(14):
        machine.live(60)
        assert clock.now_s() == pytest.approx(machine.true_s, abs=1.0)
    for _ in range(3):
        machine.live(60)
        clock.observe()
    assert clock.now_s() == pytest.approx(machine.true_s + off_s, abs=1.0)


def test_without_a_time_server_the_error_grows_as_fast_as_the_crystal_may_run_and_a_day_is_still_good():
    machine = ScriptedMachine(drift=90e-6)
    machine.reach_time_server()
    clock = machine.clock()
    assert clock.is_trusted
    machine.lose_time_server()
    for hour in range(24 * 14):
        machine.live(3600)
        assert abs(clock.now_s() - machine.true_s) <= clock.error_s
        if hour < 24:
            assert clock.is_good
    assert not clock.is_good  # after two weeks it is an interval
    assert clock.is_trusted


def test_the_error_of_a_hardware_clock_grows_with_the_time_it_was_alone():
    machine = ScriptedMachine(policy="rtc", rtc_off_s=0.0)
    fresh, stored = machine.clock(), machine.clock()
    fresh.raise_floor(TRUE_S - DAY_S)
    stored.raise_floor(TRUE_S - 300 * DAY_S)
    assert fresh.is_good
    assert stored.is_trusted
    assert not stored.is_good


def test_while_it_is_not_trusted_now_is_a_time_that_has_passed_and_a_stamp_counts_from_the_boot():
    machine = ScriptedMachine(wall_off_s=10 * YEAR_S)
    clock = machine.clock()
    clock.raise_floor(TRUE_S - 5 * DAY_S)
    clock.number = 7
    machine.live(100)
    assert TRUE_S - 5 * DAY_S < clock.now_s() <= machine.true_s
    stamp_s = clock.stamp_s()
    assert clock.place(stamp_s) == (machine.up_s, 7)
    heard_s = machine.true_s
    machine.live(50)
    machine.reach_time_server()
    at_s, boot = clock.place(stamp_s)  # taken before, used after
    assert (round(at_s - heard_s, 3), boot) == (0.0, None)


def report(at_s: float, *, kind="telemetry", quality="good", not_before_s=None, error_s=1.0) -> Report:
    return Report(
        node="n",
        record_id="n/1/1",
        measured_at_s=at_s,
        readings=(Reading(quantity="temperature", value=21.5, unit="Cel"),),
        time_quality="untrusted",
        time_error_s=error_s,
        kind=kind,
        pending=Pending(3, quality, not_before_s),
    )


EVEN_S = 7 / 16  # with the rounding of times makes half a second
KNOWN = Boot(number=3, boot_id="b", after_s=TRUE_S - 500, start_s=TRUE_S, error_s=EVEN_S, quality="good")
BOUNDED = Boot(number=3, boot_id="b", after_s=TRUE_S - 500, start_s=TRUE_S, error_s=400 - 1 / 16, quality="bounded")
RELEASED = Boot(number=3, boot_id="b", after_s=TRUE_S - 500, released={"telemetry": 90.0, "alarm": 10.0})
RELEASED_THEN_KNOWN = Boot(
    number=3,
    boot_id="b",
    after_s=TRUE_S - 500,
    released={"telemetry": 90.0},
    start_s=TRUE_S,
    error_s=EVEN_S,
    quality="good",
)


@pytest.mark.parametrize(
    "one, boot, expected",
    [
        (report(60.0), KNOWN, (TRUE_S + 60, "good", 1.506)),  # by its crystal since the boot began
        (report(60.0), replace(KNOWN, known_up_s=86_460.0), (TRUE_S + 60, "good", 10.14)),
        (report(-30.0), KNOWN, (TRUE_S - 30, "good", 1.503)),  # a node's report from before our boot
        (report(60.0, quality="received", error_s=None), KNOWN, (TRUE_S + 60, "received", 0.506)),
        (report(60.0), BOUNDED, (TRUE_S + 60, "bounded", 401.006)),
        (report(60.0, not_before_s=TRUE_S - 340), KNOWN, (TRUE_S - 139.25, "bounded", 200.753)),
        (report(60.0), RELEASED, (TRUE_S - 440, "untrusted", None)),
        (report(90.0), RELEASED, (TRUE_S - 410, "untrusted", None)),
        (report(60.0, not_before_s=TRUE_S - 400), RELEASED, (TRUE_S - 400, "untrusted", None)),
        (report(91.0), RELEASED, None),
        (report(60.0, kind="alarm"), RELEASED, None),  # each stream has a mark of its own
        (report(60.0), RELEASED_THEN_KNOWN, (TRUE_S - 440, "untrusted", None)),  # it may have been sent so
        (report(91.0), RELEASED_THEN_KNOWN, (TRUE_S + 91, "good", 1.509)),
    ],
)
def test_a_stored_report_and_the_table_of_boots_say_when_it_was(one, boot, expected):
    known = resolved(from_bytes(to_bytes(one)), {3: boot})
    told = known and (known.measured_at_s, known.time_quality, known.time_error_s)
    assert told == (expected and (pytest.approx(expected[0], abs=0.125), *expected[1:]))
    assert known is None or known.pending is None
    assert Boot.from_json(boot.to_json()) == boot


def test_a_report_of_a_boot_that_nobody_remembers_is_untrusted():
    other = Boot(number=9, boot_id="b", after_s=TRUE_S)
    known = resolved(report(60.0), {9: other})
    assert (known.time_quality, known.measured_at_s) == ("untrusted", RELEASED_AT_S + 60)


def test_bounds_hold_whatever_happened_and_times_to_live_never_run_fast():
    """Random lives of a gateway that learns the time in its last boot."""
    chance = random.Random(5)
    for _ in range(300):
        now_s = TRUE_S
        truth, boots = [], []
        for number in range(1, chance.randint(2, 6)):
            began_s = now_s + chance.uniform(0, 5 * DAY_S)
            seen_up_s = chance.uniform(0, DAY_S)
            truth.append(began_s)
            boots.append(Boot(number=number, boot_id=str(number), after_s=TRUE_S, seen_up_s=seen_up_s))
            now_s = began_s + seen_up_s * chance.uniform(1, 1.5)
        last_s = now_s + chance.uniform(0, DAY_S)
        settled = bounded(boots, last_s)
        for began_s, boot in zip(truth, settled, strict=True):
            assert abs(boot.start_s - began_s) <= boot.error_s + 1e-6
            assert boot.quality == "bounded"
        last = Boot(number=99, boot_id="x", after_s=TRUE_S, start_s=last_s, error_s=0.0, quality="good")
        for table in (boots, settled):
            known = {boot.number: boot for boot in [*table, last]}
            age_s = age_at_least_s(known, (99, 50.0), (1, 0.0))
            assert 0 <= age_s <= last_s + 50.0 - truth[0] + 1e-6


@pytest.mark.parametrize(
    "rows, now, stored, age_s",
    [
        ([("a", 1000.0), ("a", 1001.0)], (2, 1001.0), (1, 1000.0), 1.0),  # the gateway was started again, no boot
        ([("a", 1000.0), ("a", 1400.0), ("b", 20.0)], (3, 20.0), (1, 900.0), 520.0),
        ([("a", 1000.0), ("b", 300.0), ("b", 700.0), ("c", 20.0)], (4, 20.0), (1, 900.0), 820.0),
        ([("a", 50.0), ("b", 5.0)], (2, 5.0), (1, 100.0), 0.0),  # stored after the boot was last seen
    ],
)
def test_an_age_counts_each_boot_once_however_often_the_gateway_was_started_in_it(rows, now, stored, age_s):
    boots = {
        number: Boot(number=number, boot_id=boot_id, after_s=TRUE_S, seen_up_s=seen_up_s)
        for number, (boot_id, seen_up_s) in enumerate(rows, 1)
    }
    assert age_at_least_s(boots, now, stored) == age_s


def test_what_a_time_server_taught_is_gone_on_with_by_the_next_process():
    clock = ClockTrust(wall=lambda: 5.0, monotonic=lambda: 300.0, witness=lambda _: None, boot_id="b")
    clock.resume(Learnt(TRUE_S, 0.1, 250.0, "ntp"))
    assert clock.now_s() == TRUE_S + 300
    assert clock.is_good


def test_the_release_is_the_first_floor():
    assert ClockTrust().floor_s == RELEASED_AT_S
