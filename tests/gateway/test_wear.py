"""Bytes per reading and GB a year, from what the kernel counts; tables with the sums done by hand."""

import pytest

from gateway.wear import Wear, written_bytes


class Disk:
    """What the kernel would say, and a clock."""

    def __init__(self) -> None:
        self.written: int | None = 1_000_000  # when the process had started
        self.readings = 0
        self.now_s = 50.0
        self.wear = Wear(lambda: self.readings, written=lambda: self.written, clock_s=lambda: self.now_s)

    def run(self, seconds: float, *, bytes_per_s: int, readings_per_s: int = 0) -> dict[str, object]:
        """Looked at every ten seconds, as the status file does more often."""
        seen: dict[str, object] = {}
        for _ in range(int(seconds / 10)):
            self.now_s += 10
            assert self.written is not None
            self.written += 10 * bytes_per_s
            self.readings += 10 * readings_per_s
            seen = self.wear.status()
        return seen


def test_bytes_per_reading_count_all_that_was_written_since_the_start() -> None:
    seen = Disk().run(100, bytes_per_s=20_000, readings_per_s=200)
    assert seen["bytes_per_reading"] == (1_000_000 + 100 * 20_000) / 20_000


@pytest.mark.parametrize(
    ("seconds", "bytes_per_s", "gb_per_year"),
    [
        (50, 1_000, None),  # too soon to say
        (1_200, 1_000, 31.54),  # 1,000 B/s x 31,536,000 s
        (1_200, 24_000, 756.86),
    ],
)
def test_gb_a_year_are_the_present_rate(seconds: float, bytes_per_s: int, gb_per_year: float | None) -> None:
    assert Disk().run(seconds, bytes_per_s=bytes_per_s)["gb_per_year"] == gb_per_year


def test_what_is_long_ago_does_not_count_for_the_present_rate() -> None:
    disk = Disk()
    disk.run(600, bytes_per_s=1_000_000)
    assert disk.run(700, bytes_per_s=1_000)["gb_per_year"] == 31.54


def test_a_kernel_that_does_not_tell_gives_no_figures() -> None:
    disk = Disk()
    disk.written, disk.readings = None, 5
    seen = disk.wear.status()
    assert seen["written_bytes"] is seen["bytes_per_reading"] is seen["gb_per_year"] is None


def test_this_kernel_tells_or_says_nothing() -> None:
    found = written_bytes()
    assert found is None or found >= 0
