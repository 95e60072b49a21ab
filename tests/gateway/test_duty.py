"""Airtime over restarts: what was sent stays sent."""

from pathlib import Path

import pytest

from gateway.duty import DutyBook

FREQ_HZ = 869_525_000  # 10 %: 360 s per hour
SECOND_US = 1_000_000


class Clock:
    """Seconds since boot, set by the test."""

    now_s = 1_000

    def __call__(self) -> int:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def book(path: Path, clock: Clock, *, boot_id: str = "boot-a") -> DutyBook:
    made = DutyBook(path / "duty.bin", freq_hz=FREQ_HZ, bandwidth_hz=125_000, now_s=clock, boot_id=boot_id)
    made.load()
    return made


def spend(made: DutyBook, seconds: int) -> None:
    for _ in range(seconds):
        made.record(SECOND_US)


def test_restart_does_not_give_airtime_back(tmp_path: Path, clock: Clock) -> None:
    spend(book(tmp_path, clock), 350)
    assert book(tmp_path, clock).status()["spent_ms"] == 350_000


def test_last_fifth_is_for_urgent_frames(tmp_path: Path, clock: Clock) -> None:
    made = book(tmp_path, clock)
    spend(made, 288)
    assert not made.allows(SECOND_US, is_urgent=False)
    assert made.allows(SECOND_US, is_urgent=True)
    spend(made, 72)
    assert not made.allows(SECOND_US, is_urgent=True)


def test_hour_gives_it_back(tmp_path: Path, clock: Clock) -> None:
    made = book(tmp_path, clock)
    spend(made, 360)
    clock.now_s += 3_600 + 180
    assert made.allows(SECOND_US, is_urgent=False)


def test_after_a_reboot_time_stood_still_and_half_a_minute_more_was_sent(tmp_path: Path, clock: Clock) -> None:
    spend(book(tmp_path, clock), 100)
    clock.now_s = 20
    assert book(tmp_path, clock, boot_id="boot-b").status()["spent_ms"] == 130_000


def test_unreadable_file_counts_as_most_of_the_hour_spent(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "duty.bin").write_bytes(b"boot-a\nrubbish")
    assert book(tmp_path, clock).status()["spent_ms"] == 270_000


def test_joins_get_a_fifth_of_the_allowance_however_many_ask(tmp_path: Path, clock: Clock) -> None:
    made = book(tmp_path, clock)
    spent_us = 0
    for _ in range(3_600):
        clock.now_s += 1
        for _ in range(10):
            if made.begin_join() and made.take_join_share(100_000):
                spent_us += 100_000
    assert 60 * SECOND_US < spent_us <= 72 * SECOND_US  # of 360 s


def test_a_join_that_has_begun_can_end(tmp_path: Path, clock: Clock) -> None:
    made = book(tmp_path, clock)
    while made.begin_join():
        assert made.take_join_share(250_000)
        assert not made.begin_join()  # and alarms get a word in between
        clock.now_s += 2
    assert made.take_join_share(400_000)
