"""A thief replays a day of beacons, acks and answers and forges more: nothing trimmed wrongly, no wrong time."""

import pytest

from tests.peers.micropython import check_micropython, run_micropython

LIVES = """
from tests.firmware.beacon_day import live
{mutant}
for seed in {seeds}:
    live(seed, {quiet}, {attacked}, ppm=(80, -150, 190, 0)[seed % 4])
print("all lived")
"""
A_DAY = 24 * 3_600 // 64  # intervals

MUTANTS = {
    "a key that is out is as good as one that is not": """
from drivers.link import beacon
take_strictly = beacon.take
def take(memory, frame, *rest):
    chain, interval, *_ = beacon.parse(frame)
    return take_strictly(memory[:3] + (interval * memory[2], rest[1]) + memory[5:], frame, *rest)
beacon.take = take
""",
    "tags are not looked at": """
from drivers.link import beacon
beacon.tag_of = lambda signed, key: Anything()
class Anything:
    def __eq__(self, other):
        return True
""",
    "a beacon that waited is as good as one that came at once": """
from drivers.link import beacon
keep = beacon._keep
beacon._keep = lambda waiting, new, draw: keep(waiting, (new[0], new[1], 0), draw)
""",
}


def test_a_recorded_day_and_a_thief_change_no_time_and_no_reading() -> None:
    """0 wrong times, 0 trimmed wrongly; some 5,000 attacks."""
    script = LIVES.format(mutant="", seeds=[1], quiet=A_DAY, attacked=A_DAY)
    printed = check_micropython(script, heapsize="64m")
    print(printed)
    assert "all lived" in printed


@pytest.mark.parametrize("name", MUTANTS)
def test_the_day_notices_a_broken_rule(name: str) -> None:
    done = run_micropython(LIVES.format(mutant=MUTANTS[name], seeds=[1, 2, 3], quiet=200, attacked=200), heapsize="64m")
    assert "all lived" not in done.stdout
    assert "AssertionError" in done.stderr + done.stdout


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_a_week_of_recorded_days_and_thieves(capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(12):
        script = LIVES.format(mutant="", seeds=[seed], quiet=A_DAY, attacked=7 * A_DAY)
        printed = check_micropython(script, heapsize="256m", timeout_s=600)
        with capfd.disabled():
            print(printed)
        assert "all lived" in printed
