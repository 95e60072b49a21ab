"""BME280 compensation on the numbers Bosch prints, and registers laid out by table 16. Runs on both interpreters."""

import struct

from drivers.sensor.bme280 import fine_temperature, humidity_centi, pressure_pa, unpack_calibration

# Worked example of the BMP280 datasheet (BST-BMP280-DS001, 3.12), whose temperature and pressure formulas the BME280
# shares: t_fine 128422, 25.08 Cel, 100653.27 Pa. Bosch prints no example for humidity: its trimming here is a plausible
# one, and test_bme280 compares with the datasheet's double-precision formula.
DATASHEET_T = (27504, 26435, -1000)
DATASHEET_P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
HUMIDITY_TRIMMING = (75, 370, 0, 313, 50, 30)
CALIBRATION = DATASHEET_T + DATASHEET_P + HUMIDITY_TRIMMING
ADC_T, ADC_P = 519888, 415148


def registers(calibration):
    """The calibration as the chip holds it: 26 bytes from 0x88, 7 bytes from 0xE1 (table 16)."""
    h1, h2, h3, h4, h5, h6 = calibration[12:]
    first = struct.pack("<HhhHhhhhhhhhBB", *(calibration[:12] + (0, h1)))  # noqa: RUF005 - MicroPython
    second = struct.pack("<hBBBBb", h2, h3, (h4 >> 4) & 0xFF, (h5 & 0xF) << 4 | (h4 & 0xF), (h5 >> 4) & 0xFF, h6)
    return first, second


def the_datasheet_example_comes_out():
    t_fine = fine_temperature(CALIBRATION, ADC_T)
    assert t_fine == 128422, t_fine
    assert (t_fine * 5 + 128) >> 8 == 2508
    assert pressure_pa(CALIBRATION, t_fine, ADC_P) == 100653


def registers_unpack_to_the_trimming_they_hold():
    negative = CALIBRATION[:12] + (75, -370, 255, -313, -50, -30)  # noqa: RUF005 - MicroPython
    for calibration in (CALIBRATION, negative):
        assert unpack_calibration(*registers(calibration)) == calibration, calibration


def humidity_stays_within_0_and_100_percent():
    t_fine = fine_temperature(CALIBRATION, ADC_T)
    assert humidity_centi(CALIBRATION, t_fine, 0) == 0
    assert humidity_centi(CALIBRATION, t_fine, 0xFFFF) == 10000
    assert 0 < humidity_centi(CALIBRATION, t_fine, 28000) < 10000


def a_calibration_that_divides_by_zero_gives_no_traceback():
    calibration = list(CALIBRATION)
    calibration[3] = 0
    assert pressure_pa(calibration, 128422, ADC_P) == 0


CHECKS = (
    the_datasheet_example_comes_out,
    registers_unpack_to_the_trimming_they_hold,
    humidity_stays_within_0_and_100_percent,
    a_calibration_that_divides_by_zero_gives_no_traceback,
)
