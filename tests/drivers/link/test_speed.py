"""A gateway reads thousands of frames per second on one core: the link is not what limits it."""

from __future__ import annotations

import time

import pytest

from drivers.link.frame import REPORT, aad_uplink, parse_uplink, uplink_header
from drivers.link.keys import UP, derive, nonce
from drivers.link.pack import pack
from drivers.link.unpack import unpack
from tests.drivers.link.boxes import openssl_ccm
from tests.drivers.link.sizes import NOW_S, SEQ, calm

FRAMES = 2000
FRAMES_PER_S_MIN = 3000  # half or less of what a slow core was seen to do with ten reports each


@pytest.mark.soak  # a slow machine is no fault of the code
@pytest.mark.serial
@pytest.mark.parametrize("reports", [1, 10])
def test_gateway_opens_and_reads_thousands_of_frames_per_second(reports: int) -> None:
    key, iv = derive(bytes(32), 1, UP)
    box = openssl_ccm(key)
    body, _ = pack(calm(reports), uptime_s=NOW_S, floor=SEQ, max_len=242)
    header = uplink_header(REPORT, 7, 5)
    frame = header + box.encrypt(nonce(iv, 5), body, aad_uplink(header[:3], 1, 5))
    start_s = time.process_time()
    for _ in range(FRAMES):
        parsed = parse_uplink(frame)
        aad = aad_uplink(parsed.head, 1, parsed.counter)
        plaintext = box.decrypt(nonce(iv, parsed.counter), frame[parsed.header_len :], aad)
        unpack(plaintext, full=False).resolve(SEQ)
    per_s = round(FRAMES / (time.process_time() - start_s))
    print(f"{per_s} frames of {reports} reports per second")
    assert per_s >= FRAMES_PER_S_MIN
