"""PMS5003 model: frames, commands and timing of the Plantower manual V2.3, seen through a UART."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.virtual.chips.pms5003 import BYTE_US, Pms5003
from boards.virtual.clock import ManualClock
from boards.virtual.weather import Weather

# Command bytes as published for the PMSx003 family (allsensing Document-Center, "UART command").
PASSIVE, ACTIVE = bytes.fromhex("424de100000170"), bytes.fromhex("424de100010171")
READ = bytes.fromhex("424de200000171")
SLEEP, WAKE = bytes.fromhex("424de400000173"), bytes.fromhex("424de400010174")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def chip(clock: ManualClock) -> Pms5003:
    return Pms5003(Weather(7, "n"), clock)


def quiet(chip: Pms5003, clock: ManualClock) -> None:
    """Passive, with nothing left on the wire."""
    chip.write(PASSIVE)
    clock.advance_us(100_000)
    chip.read(256)


def values(frame: bytes) -> list[int]:
    assert frame[:4] == b"\x42\x4d\x00\x1c"
    assert len(frame) == 32
    assert sum(frame[:30]) == int.from_bytes(frame[30:], "big")
    return [int.from_bytes(frame[i : i + 2], "big") for i in range(4, 28, 2)]


def test_frame_carries_the_weather_outside(chip: Pms5003, clock: ManualClock) -> None:
    quiet(chip, clock)
    asked = Weather(7, "n").at(clock.utc_s())
    chip.write(READ)
    clock.advance_us(32 * BYTE_US)
    outside = values(chip.read(32))[3:6]
    assert outside == [round(asked.pm1), round(asked.pm2_5), round(asked.pm10)]


def test_bytes_arrive_at_the_speed_of_9600_baud(chip: Pms5003, clock: ManualClock) -> None:
    quiet(chip, clock)
    chip.write(READ)
    assert chip.any() == 0
    clock.advance_us(10 * BYTE_US)
    assert chip.any() == 10
    clock.advance_us(21 * BYTE_US)
    assert (chip.any(), len(chip.read(5)), chip.any()) == (31, 5, 26)
    clock.advance_us(BYTE_US)
    assert chip.any() == 27


def test_active_mode_sends_by_itself_and_passive_only_when_asked(chip: Pms5003, clock: ManualClock) -> None:
    clock.advance_us(10_000_000)
    frame = chip.read(32)
    assert values(frame)
    quiet(chip, clock)
    clock.advance_us(10_000_000)
    assert chip.any() == 0
    chip.write(ACTIVE)
    clock.advance_us(8 * BYTE_US)
    assert chip.read(8) == bytes.fromhex("424d0004e1010175")  # head, length, command, argument, sum
    clock.advance_us(1_000_000)
    assert chip.any() == 32


def test_an_answer_ends_the_change_to_passive(chip: Pms5003, clock: ManualClock) -> None:
    chip.write(PASSIVE)
    clock.advance_us(8 * BYTE_US)
    assert chip.read(32) == bytes.fromhex("424d0004e1000174")  # as recorded by the pms-7003 crate


def test_asleep_it_hears_only_the_wake_command(chip: Pms5003, clock: ManualClock) -> None:
    quiet(chip, clock)
    chip.write(SLEEP)
    clock.advance_us(100_000)
    assert chip.read(256) == bytes.fromhex("424d0004e4000177")
    chip.write(READ + PASSIVE)
    clock.advance_us(20_000_000)
    assert chip.any() == 0
    chip.write(WAKE)
    clock.advance_us(1_500_000 + 32 * BYTE_US)  # back in active mode
    assert values(chip.read(32))


def test_the_first_readings_after_a_sleep_are_low_for_half_a_minute(chip: Pms5003, clock: ManualClock) -> None:
    chip.write(SLEEP)
    clock.advance_us(60_000_000)
    chip.read(256)
    chip.write(WAKE)
    clock.advance_us(2_000_000)
    quiet(chip, clock)
    shares = []
    for _ in range(2):
        true = Weather(7, "n").at(clock.utc_s()).pm10
        chip.write(READ)
        clock.advance_us(40 * BYTE_US)
        shares.append(values(chip.read(32))[5] / true)
        clock.advance_us(30_000_000)
    assert shares[0] < 0.5
    assert shares[1] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "junk, is_bad",
    [
        (b"\x42" + READ, True),
        (READ[:3] + READ, True),
        (READ[:-1] + b"\x00" + READ, True),  # wrong checksum
        (bytes(40) + READ, True),
        (READ, False),
    ],
)
def test_a_command_is_found_behind_junk(chip: Pms5003, clock: ManualClock, junk: bytes, is_bad: bool) -> None:
    quiet(chip, clock)
    chip.write(junk)
    clock.advance_us(32 * BYTE_US)
    assert values(chip.read(64))
    assert bool(chip.counters["bad_commands"]) == is_bad


def test_a_full_receive_buffer_loses_the_newest_bytes(chip: Pms5003, clock: ManualClock) -> None:
    clock.advance_us(3_600_000_000)
    assert chip.any() == 256
    assert chip.counters["overruns"] > 0
    assert values(chip.read(32))


def test_junk_can_be_put_on_the_wire(chip: Pms5003, clock: ManualClock) -> None:
    quiet(chip, clock)
    chip.put_on_wire(b"\x42\x4d\xff\xff")
    clock.advance_us(4 * BYTE_US)
    assert chip.read(99) == b"\x42\x4d\xff\xff"


def test_pins_sleep_and_reset(chip: Pms5003, clock: ManualClock) -> None:
    chip.set(0)
    clock.advance_us(10_000_000)
    assert chip.any() == 0
    chip.set(1)
    clock.advance_us(1_600_000)
    assert chip.any() == 32
    quiet(chip, clock)
    chip.reset(0)
    chip.reset(1)
    clock.advance_us(1_600_000)
    assert chip.any() == 32  # active again


COMMAND = st.one_of(st.binary(max_size=20), st.sampled_from([PASSIVE, ACTIVE, READ, SLEEP, WAKE, READ[:4]]))


@settings(max_examples=100)
@given(steps=st.lists(st.tuples(COMMAND, st.integers(0, 90_000_000)), max_size=20))
def test_no_bytes_crash_the_chip_and_waking_it_always_helps(steps: list[tuple[bytes, int]]) -> None:
    clock = ManualClock()
    chip = Pms5003(Weather(7, "n"), clock)
    for command, passes_us in steps:
        chip.write(command)
        clock.advance_us(passes_us)
        chip.read(chip.any())
    chip.write(bytes(7) + WAKE)  # zeros: a command begun before is complete, and wrong
    clock.advance_us(2_000_000)
    quiet(chip, clock)
    chip.write(READ)
    clock.advance_us(40 * BYTE_US)
    assert values(chip.read(32))
