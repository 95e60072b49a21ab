"""How long a change waits for company: at each rate, when the rate changes, and after bursts. The clock is told."""

import pytest

from gateway.outbox.frame import Frame
from gateway.window import Window

ENTRY = 60  # bytes of one reading in a page


class Arrivals:
    """Readings that come evenly, and a store that commits them when the window says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.window = Window(1.5, clock_s=lambda: self.now_s)

    def commit(self, readings: int, after_s: float) -> None:
        self.now_s += after_s
        frame = Frame((0, 0, 0, 0))
        for _ in range(readings):
            frame.put_event(2, bytes(ENTRY - 8))
        self.window.note(frame, readings)

    def come(self, per_s: float, seconds: float) -> float:
        """At this rate for so long. Returns how long the last one that began a commit waited."""
        end_s, wait_s = self.now_s + seconds, 0.0
        while self.now_s < end_s:
            wait_s = min(self.window.wait_s(None), self.window.changes_per_page / per_s)
            self.commit(max(1, round(wait_s * per_s)), wait_s + 1 / per_s)
        return wait_s


@pytest.mark.parametrize(
    ("per_s", "shortest_s", "longest_s"),
    [(1, 1.5, 1.5), (10, 1.5, 1.5), (50, 0.6, 0.8), (200, 0.19, 0.2), (2_000, 0.03, 0.04)],
)
def test_a_change_waits_for_half_a_page_but_not_too_long(per_s: float, shortest_s: float, longest_s: float) -> None:
    assert shortest_s <= Arrivals().come(per_s, 60) <= longest_s


def test_a_rate_that_rises_is_known_within_a_second() -> None:
    arrivals = Arrivals()
    arrivals.come(10, 60)
    assert arrivals.come(200, 1.0) <= 0.2


def test_a_rate_that_falls_is_known_with_the_second_commit() -> None:
    """Half a minute of five commits a second would cost more flash than ten minutes of what comes then."""
    arrivals = Arrivals()
    arrivals.come(20_000, 10)
    assert arrivals.come(10, 3.5) == 1.5


def test_a_burst_alone_is_no_rate() -> None:
    """A node sends its journal: what comes after it slowly still waits for company."""
    arrivals = Arrivals()
    arrivals.come(1, 60)
    arrivals.commit(40, 1.5)
    assert arrivals.window.wait_s(None) == 1.5


def test_two_alarms_in_a_row_are_no_rate() -> None:
    arrivals = Arrivals()
    arrivals.come(1, 60)
    for _ in range(2):
        arrivals.commit(1, 0.002)
    assert arrivals.window.wait_s(None) == 1.5


def test_what_a_slow_disk_adds_is_taken_off_the_wait_but_not_all_of_it() -> None:
    arrivals = Arrivals()
    quick_s = arrivals.come(200, 10)
    for late_s, less_s in ((0.02, 0.02), (0.5, 0.06)):
        for _ in range(100):
            arrivals.window.note_late(late_s)
        assert arrivals.window.wait_s(None) == pytest.approx(quick_s - less_s, abs=0.002)


def test_who_cannot_wait_says_so() -> None:
    assert Arrivals().window.wait_s(0.1) == 0.1
