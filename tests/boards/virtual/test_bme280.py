"""BME280 model: its registers and timing as in BST-BME280-DS002, seen over the bus as any driver would."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.virtual.chips.bme280 import Bme280
from boards.virtual.chips.bme280_trimming import Trimming
from boards.virtual.clock import ManualClock
from boards.virtual.weather import Sample, Weather

MEASURE_X16 = 1_250 + 2_300 * 16 + 2 * (2_300 * 16 + 575)  # us, section 9.1, longest


class Still:
    """Weather that does not change, with chosen values."""

    def __init__(self, temperature_c: float, humidity_pct: float, pressure_pa: float) -> None:
        self.sample = Sample(
            temperature_c=temperature_c,
            humidity_pct=humidity_pct,
            pressure_pa=pressure_pa,
            pm1=0,
            pm2_5=0,
            pm10=0,
            water_level_m=0,
        )

    def at(self, t_s: float) -> Sample:
        return self.sample


def started(chip: Bme280, clock: ManualClock) -> Bme280:
    clock.advance_us(2_000)
    return chip


def register(chip: Bme280, address: int, n: int = 1) -> bytes:
    chip.write(bytes((address,)))
    return chip.read(n)


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def compensate(chip: Bme280) -> tuple[int, int, int]:
    """(centi-degree, Q22.10 %RH, Q24.8 Pa) by the integer formulas of section 4.2.3, from what the bus gives."""
    low, high = register(chip, 0x88, 26), register(chip, 0xE1, 7)
    word = [int.from_bytes(low[i : i + 2], "little") for i in range(0, 24, 2)]
    t1, p1 = word[0], word[3]
    t2, t3 = signed(word[1], 16), signed(word[2], 16)
    p2, p3, p4, p5, p6, p7, p8, p9 = (signed(w, 16) for w in word[4:])
    h1, h2, h3 = low[25], signed(int.from_bytes(high[:2], "little"), 16), high[2]
    h4, h5 = signed(high[3] << 4 | high[4] & 15, 12), signed(high[5] << 4 | high[4] >> 4, 12)
    h6 = signed(high[6], 8)
    data = register(chip, 0xF7, 8)
    adc_p, adc_t = int.from_bytes(data[0:3], "big") >> 4, int.from_bytes(data[3:6], "big") >> 4
    adc_h = int.from_bytes(data[6:8], "big")

    v1 = (((adc_t >> 3) - (t1 << 1)) * t2) >> 11
    v2 = (((((adc_t >> 4) - t1) * ((adc_t >> 4) - t1)) >> 12) * t3) >> 14
    fine = v1 + v2
    centi_c = (fine * 5 + 128) >> 8

    v1 = fine - 128000
    v2 = v1 * v1 * p6
    v2 = v2 + ((v1 * p5) << 17)
    v2 = v2 + (p4 << 35)
    v1 = ((v1 * v1 * p3) >> 8) + ((v1 * p2) << 12)
    v1 = (((1 << 47) + v1) * p1) >> 33
    p = 1048576 - adc_p
    p = (((p << 31) - v2) * 3125) // v1
    v1 = (p9 * (p >> 13) * (p >> 13)) >> 25
    v2 = (p8 * p) >> 19
    p = ((p + v1 + v2) >> 8) + (p7 << 4)

    v = fine - 76800
    v = (((adc_h << 14) - (h4 << 20) - (h5 * v) + 16384) >> 15) * (
        ((((((v * h6) >> 10) * (((v * h3) >> 11) + 32768)) >> 10) + 2097152) * h2 + 8192) >> 14
    )
    v = v - (((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4)
    v = max(0, min(v, 419430400))
    return centi_c, v >> 12, p


def measure(chip: Bme280, clock: ManualClock) -> None:
    chip.write(b"\xf2\x05")  # humidity x16
    chip.write(b"\xf4\xb5")  # temperature x16, pressure x16, forced
    clock.advance_us(MEASURE_X16)


@pytest.mark.parametrize("name", ["", "node-1", "node-2", "node-3"])
@pytest.mark.parametrize(
    "air_c, humidity_pct, pressure_pa",
    [(-40, 0, 30_000), (-10.37, 95.12, 98_765), (0, 50, 101_325), (21.53, 44.44, 100_001), (85, 100, 110_000)],
)
def test_integer_compensation_gives_the_weather_within_the_resolution(
    name: str, air_c: float, humidity_pct: float, pressure_pa: float
) -> None:
    clock = ManualClock()
    trimming = Trimming.of(name) if name else None
    chip = started(Bme280(Still(air_c, humidity_pct, pressure_pa), clock, trimming=trimming), clock)
    measure(chip, clock)
    centi_c, humidity_q10, pressure_q8 = compensate(chip)
    assert centi_c / 100 == pytest.approx(air_c, abs=0.01)
    assert humidity_q10 / 1024 == pytest.approx(humidity_pct, abs=0.01)
    assert pressure_q8 / 256 == pytest.approx(pressure_pa, abs=0.7)


def test_the_worked_example_of_the_bmp280_datasheet_holds() -> None:
    """BST-BMP280-DS001 section 3.12: adc_T 519888 is 25.08 Cel, adc_P 415148 is 100653.27 Pa."""
    trimming = Trimming()
    fine = trimming.t_fine(519888)
    assert fine == pytest.approx(128422, abs=1)
    assert trimming.raw_temperature(25.08) == pytest.approx(519888, abs=16)
    assert trimming.raw_pressure(100653.27, fine) == pytest.approx(415148, abs=1)


@pytest.mark.parametrize("osrs, time_us", [(1, 1_250 + 2_300 * 3 + 1_150), (5, MEASURE_X16)])
def test_measuring_bit_stands_for_the_whole_conversion_and_then_forced_mode_sleeps(osrs: int, time_us: int) -> None:
    clock = ManualClock()
    chip = started(Bme280(Weather(1, "n"), clock), clock)
    chip.write(bytes((0xF2, osrs)))
    chip.write(bytes((0xF4, osrs << 5 | osrs << 2 | 1)))
    clock.advance_us(time_us - 1)
    assert register(chip, 0xF3)[0] & 0x08
    assert register(chip, 0xF4)[0] & 0x03 == 1
    clock.advance_us(1)
    assert register(chip, 0xF3)[0] & 0x08 == 0
    assert register(chip, 0xF4)[0] & 0x03 == 0  # 3.3.3
    assert register(chip, 0xF7, 8) != b"\x80\x00\x00\x80\x00\x00\x80\x00"


def test_ctrl_hum_counts_only_after_a_write_to_ctrl_meas() -> None:
    """Section 5.4.3."""
    clock = ManualClock()
    chip = started(Bme280(Weather(1, "n"), clock), clock)
    chip.write(b"\xf4\x25\xf2\x01")  # one transaction, ctrl_meas first: this measurement has no humidity
    clock.advance_us(100_000)
    assert register(chip, 0xFD, 2) == b"\x80\x00"
    chip.write(b"\xf4\x25")
    clock.advance_us(100_000)
    assert register(chip, 0xFD, 2) != b"\x80\x00"


def test_what_is_not_measured_reads_as_skipped() -> None:
    """Table 24 and following: oversampling 000 sets the output to 0x80000 (0x8000 for humidity)."""
    clock = ManualClock()
    chip = started(Bme280(Weather(1, "n"), clock), clock)
    chip.write(b"\xf4\x21")  # temperature only
    clock.advance_us(100_000)
    data = register(chip, 0xF7, 8)
    assert data[0:3] == b"\x80\x00\x00"
    assert data[6:8] == b"\x80\x00"
    assert data[3:6] != b"\x80\x00\x00"


@pytest.mark.parametrize("osrs, step", [(1, 16), (2, 8), (3, 4), (4, 2), (5, 1)])
def test_more_oversampling_resolves_more_bits(osrs: int, step: int) -> None:
    """Section 3.4.1: 16 bits at x1, one more for each doubling."""
    clock = ManualClock()
    chip = started(Bme280(Weather(1, "n"), clock), clock)
    grain = 0
    for _ in range(40):
        chip.write(bytes((0xF4, osrs << 5 | osrs << 2 | 1)))
        clock.advance_us(1_000_000)
        grain |= int.from_bytes(register(chip, 0xF7, 3), "big") >> 4
    assert grain & (step - 1) == 0
    assert grain & step


def test_a_reset_forgets_settings_and_reads_calibration_again() -> None:
    clock = ManualClock()
    chip = started(Bme280(Weather(1, "n"), clock), clock)
    chip.write(b"\xf2\x03\xf4\x27\xe0\xb6")
    assert register(chip, 0xF3)[0] & 0x01  # im_update, 5.4.4
    assert register(chip, 0x88, 2) == b"\x00\x00"
    clock.advance_us(2_000)  # table 1, start-up time
    assert register(chip, 0xF2, 5)[:1] + register(chip, 0xF4) == b"\x00\x00"
    assert register(chip, 0x88, 2) == (27504).to_bytes(2, "little")
    assert register(chip, 0xD0) == b"\x60"


def test_normal_mode_goes_on_measuring() -> None:
    clock = ManualClock()
    chip = started(Bme280(Weather(1, "n"), clock), clock)
    chip.write(b"\xf5\x20\xf2\x01\xf4\x27")  # 62.5 ms standby, all x1, normal
    seen = set()
    for _ in range(5):
        clock.advance_us(20_000_000)
        seen.add(register(chip, 0xF7, 8))
    assert len(seen) == 5
    assert register(chip, 0xF4)[0] & 0x03 == 3


def test_iir_filter_follows_slowly() -> None:
    """Section 3.4.4: filtered = (old * (coefficient - 1) + new) / coefficient."""
    clock = ManualClock()
    weather = Still(20, 50, 100_000)
    chip = started(Bme280(weather, clock), clock)
    chip.write(b"\xf5\x08")  # coefficient 4
    measure(chip, clock)
    assert compensate(chip)[2] / 256 == pytest.approx(100_000, abs=1)
    weather.sample = Still(20, 50, 101_000).sample
    found = []
    for _ in range(3):
        measure(chip, clock)
        found.append(compensate(chip)[2] / 256)
    assert found == pytest.approx([100_250, 100_437, 100_578], abs=5)


STEP = st.tuples(st.binary(max_size=12), st.integers(0, 300), st.integers(0, 10_000_000))


@settings(max_examples=100)
@given(steps=st.lists(STEP, max_size=20))
def test_no_bytes_crash_the_chip_and_a_reset_always_helps(steps: list[tuple[bytes, int, int]]) -> None:
    clock = ManualClock()
    chip = started(Bme280(Still(21.5, 50, 100_000), clock), clock)
    for written, wanted, passes_us in steps:
        chip.write(written)
        clock.advance_us(passes_us)
        assert len(chip.read(wanted)) == wanted
    chip.write(b"\xe0\xb6")
    clock.advance_us(2_000)
    measure(chip, clock)
    assert compensate(chip)[0] == pytest.approx(2150, abs=1)
