"""Ten days of recorded acks and orders against a node. Its short form is in obey_checks."""

import pytest

from tests.peers.micropython import check_micropython


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_thousands_of_recorded_downlinks_trim_no_reading_and_repeat_no_order() -> None:
    script = "from tests.firmware.obey_checks import play_back\nplay_back(2_880)"
    printed = check_micropython(script, heapsize="64m", timeout_s=850)
    print(printed.splitlines()[-1])
    assert printed.splitlines()[-1].endswith("0 trimmed, 0 done")
