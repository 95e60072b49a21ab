"""The BME280 driver: Bosch's numbers on both interpreters, and what it says about a wrong, absent or garbled chip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sensor.bme280 import BME280, fine_temperature, humidity_centi, pressure_pa
from drivers.sensor.errors import SensorAbsent, SensorGarbled
from tests.drivers.sensor import bme280_checks
from tests.drivers.sensor.bme280_checks import ADC_P, ADC_T, CALIBRATION
from tests.peers.micropython import check_micropython


@pytest.mark.parametrize("check", bme280_checks.CHECKS, ids=lambda check: check.__name__)
def test_compensation(check):
    check()


def test_compensation_on_micropython():
    script = (
        "from tests.drivers.sensor.bme280_checks import CHECKS\nfor check in CHECKS:\n    check()\nprint(len(CHECKS))"
    )
    assert check_micropython(script).strip() == str(len(bme280_checks.CHECKS))


def float_temperature(c, adc_t):
    """BST-BME280-DS002 appendix 8.1, double precision. Returns (t_fine, Cel)."""
    var1 = (adc_t / 16384 - c[0] / 1024) * c[1]
    var2 = (adc_t / 131072 - c[0] / 8192) ** 2 * c[2]
    return var1 + var2, (var1 + var2) / 5120


def float_pressure_pa(c, t_fine, adc_p):
    """The same appendix."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = c[3:12]
    var1 = t_fine / 2 - 64000
    var2 = var1 * var1 * p6 / 32768 + var1 * p5 * 2
    var2 = var2 / 4 + p4 * 65536
    var1 = (p3 * var1 * var1 / 524288 + p2 * var1) / 524288
    var1 = (1 + var1 / 32768) * p1
    p = (1048576 - adc_p - var2 / 4096) * 6250 / var1
    return p + (p9 * p * p / 2147483648 + p * p8 / 32768 + p7) / 16


def float_humidity_pct(c, t_fine, adc_h):
    """The same appendix."""
    h1, h2, h3, h4, h5, h6 = c[12:]
    h = t_fine - 76800
    h = (adc_h - (h4 * 64 + h5 / 16384 * h)) * (h2 / 65536 * (1 + h6 / 67108864 * h * (1 + h3 / 67108864 * h)))
    return min(max(h * (1 - h1 * h / 524288), 0), 100)


@given(adc_t=st.integers(400_000, 600_000), adc_p=st.integers(250_000, 450_000), adc_h=st.integers(20_000, 45_000))
def test_integers_stay_within_the_resolution_of_the_double_precision_formula(adc_t, adc_p, adc_h):
    t_fine = fine_temperature(CALIBRATION, adc_t)
    exact_fine, temperature_c = float_temperature(CALIBRATION, adc_t)
    assert abs(((t_fine * 5 + 128) >> 8) / 100 - temperature_c) <= 0.011
    assert abs(pressure_pa(CALIBRATION, t_fine, adc_p) - float_pressure_pa(CALIBRATION, exact_fine, adc_p)) <= 1.5
    assert (
        abs(humidity_centi(CALIBRATION, t_fine, adc_h) / 100 - float_humidity_pct(CALIBRATION, exact_fine, adc_h))
        <= 0.05
    )


class Registers:
    """An I2C address with registers and the pointer of BST-BME280-DS002 6.2."""

    def __init__(self, *, chip_id=0x60, present=True, data=None, status=0):
        first, second = bme280_checks.registers(CALIBRATION)
        self.bytes = bytearray(256)
        self.bytes[0x88:0xA2], self.bytes[0xE1:0xE8] = first, second
        self.bytes[0xD0], self.bytes[0xF3] = chip_id, status
        reading = bytes(
            [ADC_P >> 12, ADC_P >> 4 & 255, (ADC_P & 15) << 4, ADC_T >> 12, ADC_T >> 4 & 255, (ADC_T & 15) << 4]
        )
        self.bytes[0xF7:0xFF] = data or reading + (28000).to_bytes(2, "big")
        self.present, self.pointer, self.writes = present, 0, []

    def writeto(self, addr, data):
        if not self.present or addr != 0x76:
            raise OSError(19, "ENODEV")
        self.pointer = data[0]
        if len(data) > 1:
            self.writes.append((data[0], data[1]))

    def readfrom_into(self, addr, buf):
        if not self.present or addr != 0x76:
            raise OSError(19, "ENODEV")
        buf[:] = self.bytes[self.pointer : self.pointer + len(buf)]


async def test_a_measurement_gives_the_datasheet_example():
    temperature_centi, humidity_centi_pct, pressure = await BME280(Registers()).measure()
    assert (temperature_centi, pressure) == (2508, 100653)
    assert 0 < humidity_centi_pct < 10000


async def test_humidity_control_is_written_before_the_measurement_starts():
    i2c = Registers()
    await BME280(i2c).measure()
    assert i2c.writes == [
        (0xE0, 0xB6),
        (0xF2, 0x01),
        (0xF4, 0x25),
    ]  # 5.4.3: ctrl_hum is taken over by a write to ctrl_meas


@pytest.mark.parametrize(
    "chip, error, said",
    [
        (Registers(present=False), SensorAbsent, "no BME280 at I2C address 0x76.*check SDA"),
        (Registers(chip_id=0x58), SensorGarbled, "BMP280.*no humidity"),
        (Registers(chip_id=0x61), SensorGarbled, "id 0x61.*BME280 has 0x60"),  # a BME680
        (Registers(chip_id=0xFF), SensorGarbled, "id 0xff"),
        (Registers(data=b"\x80\x00\x00\x80\x00\x00\x80\x00"), SensorGarbled, "no reading"),
        (Registers(data=b"\xff" * 8), SensorGarbled, "no reading"),
        (Registers(status=0x08), SensorGarbled, "stays busy"),
    ],
    ids=["absent", "bmp280", "bme680", "floating", "skipped", "all ones", "busy"],
)
async def test_a_fault_is_named_with_the_next_step(chip, error, said):
    with pytest.raises(error, match=said):
        await BME280(chip).measure()


async def test_a_garbled_calibration_is_refused():
    chip = Registers()
    chip.bytes[0x88:0xA2] = bytes(26)
    with pytest.raises(SensorGarbled, match="calibration"):
        await BME280(chip).measure()


async def test_a_sensor_plugged_in_again_is_read_again():
    chip = Registers()
    sensor = BME280(chip)
    await sensor.measure()
    chip.present = False
    with pytest.raises(SensorAbsent):
        await sensor.measure()
    chip.present = True
    assert (await sensor.measure())[0] == 2508
