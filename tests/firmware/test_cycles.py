"""Ten thousand cycles leave the heap as it was."""

from tests.peers.micropython import check_micropython

RULES = {
    "windows": [{"quantities": ["temperature", "humidity", "pressure"], "length_s": 60}],
    "exceptions": [{"quantities": ["temperature"], "dead_band": 0.5}],
}
ALARMS = [{"quantity": "pressure", "rate_above": 5}]


def test_the_heap_does_not_grow_over_ten_thousand_cycles_with_rules() -> None:
    script = f"from tests.firmware.cycles import run\nrun(10_000, {RULES!r}, {ALARMS!r})"
    printed = check_micropython(script, heapsize="2m", timeout_s=110)
    heaps = [int(line.split()[1]) for line in printed.splitlines() if line.startswith("heap")]
    assert len(heaps) == 10
    assert max(heaps[1:]) <= heaps[0] + 512  # how many reports wait differs; a byte per cycle would be 9,000


def test_the_heap_does_not_grow_over_ten_thousand_cycles() -> None:
    printed = check_micropython("from tests.firmware.cycles import run\nrun(10_000)", heapsize="2m")
    heaps = [int(line.split()[1]) for line in printed.splitlines() if line.startswith("heap")]
    assert len(heaps) == 10
    assert max(heaps[1:]) <= heaps[0]
    assert printed.splitlines()[-1].endswith("True")  # and most frames were acknowledged
