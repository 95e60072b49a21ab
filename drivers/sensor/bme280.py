"""BME280 temperature, humidity and pressure over I2C. Source: Bosch BST-BME280-DS002, 4.2.3, 5.3, 5.4, 9.1.

The compensation is the datasheet's integer version (64-bit pressure): single-precision floats would lose pascals.
"""

import struct

from drivers import clock
from drivers.constant import const
from drivers.sensor.errors import SensorAbsent, SensorGarbled

_REG_CALIBRATION_1 = b"\x88"  # T1..P9, reserved, H1
_REG_CALIBRATION_2 = b"\xe1"  # H2..H6
_REG_ID = b"\xd0"
_REG_STATUS = b"\xf3"
_REG_DATA = b"\xf7"
_SOFT_RESET = b"\xe0\xb6"
_CTRL_HUM_X1 = b"\xf2\x01"  # takes effect only with the next write of ctrl_meas: 5.4.3
_CTRL_MEAS_FORCED_X1 = b"\xf4\x25"  # temperature and pressure once, then back to sleep

_ID_BME280 = const(0x60)
_IDS_BMP280 = (0x56, 0x57, 0x58)
_STATUS_UPDATING = const(0x01)
_STATUS_MEASURING = const(0x08)
_START_UP_MS = const(2)
_CONVERSION_MS = const(10)  # 9.3 ms worst case at oversampling x1: 9.1
_PATIENCE_MS = const(50)
_SKIPPED_20_BIT = const(0x80000)  # what the data registers hold before the first conversion: 4.2.3 and table 18
_SKIPPED_16_BIT = const(0x8000)


class BME280:
    """One chip at one address. The first measurement, and one after a fault, resets it and reads its calibration."""

    def __init__(self, i2c, addr=0x76):
        """`i2c` has writeto(addr, bytes) and readfrom_into(addr, buf), as machine.I2C does. SDO high: addr 0x77."""
        self._i2c = i2c
        self._addr = addr
        self._calibration = None
        self._byte = bytearray(1)
        self._data = bytearray(8)

    async def measure(self):
        """Return (temperature_centi, humidity_centi, pressure_pa): 0.01 Cel, 0.01 %RH, Pa; all int.

        Raises SensorAbsent if the address does not answer, SensorGarbled if it answers nonsense or is another chip.
        """
        try:
            if self._calibration is None:
                self._calibration = await self._start()
            self._i2c.writeto(self._addr, _CTRL_HUM_X1)
            self._i2c.writeto(self._addr, _CTRL_MEAS_FORCED_X1)
            await clock.sleep_ms(_CONVERSION_MS)
            await self._wait_while(_STATUS_MEASURING)
            self._read(_REG_DATA, self._data)
        except OSError as error:
            self._calibration = None  # it may have lost power: start anew
            raise SensorAbsent(
                "no BME280 at I2C address 0x%02x (%s); check SDA, SCL, 3.3 V and the SDO strap (0x76 or 0x77)"
                % (self._addr, error)
            )
        except SensorGarbled:
            self._calibration = None
            raise
        return self._decode(self._calibration)

    async def _start(self):
        """Check who answers, reset it, wait until it has copied its calibration, and return that."""
        self._check_id()
        self._i2c.writeto(self._addr, _SOFT_RESET)
        await clock.sleep_ms(_START_UP_MS)
        await self._wait_while(_STATUS_UPDATING)
        first, second = bytearray(26), bytearray(7)
        self._read(_REG_CALIBRATION_1, first)
        self._read(_REG_CALIBRATION_2, second)
        calibration = unpack_calibration(first, second)
        if calibration[0] in (0, 0xFFFF) or calibration[3] in (0, 0xFFFF):
            raise SensorGarbled(
                "BME280 at 0x%02x: its calibration reads %d and %d, which no chip has; check the pull-ups"
                % (self._addr, calibration[0], calibration[3])
            )
        return calibration

    def _check_id(self):
        self._read(_REG_ID, self._byte)
        chip_id = self._byte[0]
        if chip_id in _IDS_BMP280:
            raise SensorGarbled(
                "the chip at 0x%02x is a BMP280 (id 0x%02x), which has no humidity; fit a BME280"
                % (self._addr, chip_id)
            )
        if chip_id != _ID_BME280:
            raise SensorGarbled(
                "the chip at 0x%02x has id 0x%02x, a BME280 has 0x60; check the address and the wiring"
                % (self._addr, chip_id)
            )

    async def _wait_while(self, flag):
        started = clock.ticks_ms()
        while True:
            self._read(_REG_STATUS, self._byte)
            if not self._byte[0] & flag:
                return
            if clock.ticks_diff(clock.ticks_ms(), started) > _PATIENCE_MS:
                raise SensorGarbled(
                    "BME280 at 0x%02x stays busy (status 0x%02x) for over %d ms; check its supply"
                    % (self._addr, self._byte[0], _PATIENCE_MS)
                )
            await clock.sleep_ms(1)

    def _read(self, register, buf):
        self._i2c.writeto(self._addr, register)
        self._i2c.readfrom_into(self._addr, buf)

    def _decode(self, calibration):
        data = self._data
        adc_p = data[0] << 12 | data[1] << 4 | data[2] >> 4
        adc_t = data[3] << 12 | data[4] << 4 | data[5] >> 4
        adc_h = data[6] << 8 | data[7]
        if adc_t == _SKIPPED_20_BIT or adc_p == _SKIPPED_20_BIT or adc_h == _SKIPPED_16_BIT or data == b"\xff" * 8:
            self._calibration = None
            raise SensorGarbled(
                "BME280 at 0x%02x has no reading (it restarted?): data registers %s; check its supply"
                % (self._addr, " ".join("%02x" % byte for byte in data))
            )
        t_fine = fine_temperature(calibration, adc_t)
        return (
            (t_fine * 5 + 128) >> 8,
            humidity_centi(calibration, t_fine, adc_h),
            pressure_pa(calibration, t_fine, adc_p),
        )


def unpack_calibration(first, second):
    """The 18 trimming values T1-T3, P1-P9, H1-H6 from the 26 bytes at 0x88 and the 7 at 0xE1 (table 16)."""
    values = struct.unpack("<HhhHhhhhhhhhBB", first)
    h2, h3 = struct.unpack("<hB", second[:3])
    h4 = _signed(second[3] << 4 | second[4] & 0x0F, 12)
    h5 = _signed(second[5] << 4 | second[4] >> 4, 12)
    return values[:12] + (values[13], h2, h3, h4, h5, _signed(second[6], 8))


def fine_temperature(calibration, adc_t):
    """t_fine of the datasheet, 1/5120 Cel: what pressure and humidity are compensated with."""
    t1, t2, t3 = calibration[:3]
    var1 = (((adc_t >> 3) - (t1 << 1)) * t2) >> 11
    half = (adc_t >> 4) - t1
    return var1 + (((half * half >> 12) * t3) >> 14)


def pressure_pa(calibration, t_fine, adc_p):
    """Pressure in whole pascals, rounded from the datasheet's Q24.8; 0 if the calibration would divide by zero."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = calibration[3:12]
    var1 = t_fine - 128000
    var2 = var1 * var1 * p6 + ((var1 * p5) << 17) + (p4 << 35)
    var1 = ((var1 * var1 * p3) >> 8) + ((var1 * p2) << 12)
    var1 = (((1 << 47) + var1) * p1) >> 33
    if var1 == 0:
        return 0
    numerator = (((1048576 - adc_p) << 31) - var2) * 3125
    p = abs(numerator) // abs(var1)  # C divides towards zero
    if (numerator < 0) != (var1 < 0):
        p = -p
    var1 = (p9 * (p >> 13) * (p >> 13)) >> 25
    var2 = (p8 * p) >> 19
    return (((p + var1 + var2) >> 8) + (p7 << 4) + 128) >> 8


def humidity_centi(calibration, t_fine, adc_h):
    """Relative humidity in 0.01 %RH, 0 to 10000, rounded from the datasheet's Q22.10."""
    h1, h2, h3, h4, h5, h6 = calibration[12:]
    v = t_fine - 76800
    wet = ((adc_h << 14) - (h4 << 20) - h5 * v + 16384) >> 15
    v = wet * ((((((v * h6) >> 10) * (((v * h3) >> 11) + 32768)) >> 10) + 2097152) * h2 + 8192 >> 14)
    v -= ((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4
    v = min(max(v, 0), 419430400)
    return ((v >> 12) * 100 + 512) >> 10


def _signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) else value
