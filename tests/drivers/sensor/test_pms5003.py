"""The PMS5003 driver: its parser on both interpreters, the driver on a wire that speaks, stutters or stays silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sensor.errors import SensorAbsent, SensorGarbled
from drivers.sensor.pms5003 import PMS5003
from tests.drivers.sensor import pms5003_checks
from tests.drivers.sensor.pms5003_checks import feed, frame
from tests.peers.micropython import check_micropython


@pytest.mark.parametrize("check", pms5003_checks.CHECKS, ids=lambda check: check.__name__)
def test_parser(check):
    check()


def test_parser_on_micropython():
    script = (
        "from tests.drivers.sensor.pms5003_checks import CHECKS\nfor check in CHECKS:\n    check()\nprint(len(CHECKS))"
    )
    assert check_micropython(script).strip() == str(len(pms5003_checks.CHECKS))


@given(st.lists(st.one_of(st.binary(max_size=80), st.just(frame())), max_size=8))
def test_any_bytes_leave_the_parser_ready_for_two_good_frames(chunks):
    _, parser = feed(b"".join(chunks))
    readings, _ = feed(frame(1, 2, 3) + frame(4, 5, 6), parser)
    assert readings[-1] == (4, 5, 6)


class Wire:
    """A UART that gives `chunks` one after the other; what was waiting before the first `any()` is stale."""

    def __init__(self, *chunks, waiting=b""):
        self.chunks, self.buffer, self.written = list(chunks), bytearray(waiting), []

    def any(self):
        if not self.buffer and self.chunks:
            self.buffer += self.chunks.pop(0)
            return 0
        return len(self.buffer)

    def read(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data or None

    def write(self, data):
        self.written.append(bytes(data))


async def test_a_frame_in_pieces_is_read():
    whole = frame(5, 12, 20)
    assert await PMS5003(Wire(b"", whole[:7], whole[7:20], whole[20:])).measure() == (5, 12, 20)


async def test_a_frame_that_waited_is_not_taken_for_a_new_reading():
    assert await PMS5003(Wire(frame(4, 5, 6), waiting=frame(1, 2, 3))).measure() == (4, 5, 6)


async def test_passive_mode_asks():
    wire = Wire(frame(4, 5, 6))
    assert await PMS5003(wire, passive=True).measure() == (4, 5, 6)
    assert wire.written == [bytes.fromhex("424de100000170"), bytes.fromhex("424de200000171")]  # manual, appendix II


async def test_silence_is_absence():
    with pytest.raises(SensorAbsent, match=r"no byte from the PMS5003.*check 5 V"):
        await PMS5003(Wire(), timeout_ms=60).measure()


async def test_noise_is_garbled_and_bounded():
    class Noise(Wire):
        def any(self):
            return 32

        def read(self, n):
            return b"\x42" * n

    with pytest.raises(SensorGarbled, match="no good PMS5003 frame"):
        await PMS5003(Noise(), timeout_ms=60).measure()


async def test_checksum_faults_are_counted():
    bad = bytearray(frame())
    bad[31] ^= 1
    sensor = PMS5003(Wire(bytes(bad)), timeout_ms=120)
    with pytest.raises(SensorGarbled, match="1 with a wrong checksum"):
        await sensor.measure()
    assert sensor.frames_garbled == 1
