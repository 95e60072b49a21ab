"""Ten thousand cycles leave the heap as it was."""

from tests.peers.micropython import check_micropython


def test_the_heap_does_not_grow_over_ten_thousand_cycles() -> None:
    printed = check_micropython("from tests.firmware.cycles import run\nrun(10_000)", heapsize="2m")
    heaps = [int(line.split()[1]) for line in printed.splitlines() if line.startswith("heap")]
    assert len(heaps) == 10
    assert max(heaps[1:]) <= heaps[0]
    assert printed.splitlines()[-1].endswith("True")  # and most frames were acknowledged
