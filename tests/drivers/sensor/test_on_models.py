"""The sensor drivers on the chip models: what a driver measures is the weather within the resolution."""

import pytest

from boards.virtual.chips.bme280 import Bme280
from boards.virtual.chips.bme280_trimming import Trimming
from boards.virtual.chips.pms5003 import Pms5003
from boards.virtual.chips.water import UV_PER_M, ZERO_UV
from boards.virtual.chips.water import WaterLevel as WaterProbe
from boards.virtual.clock import WallClock
from boards.virtual.weather import Weather
from drivers.sensor.bme280 import BME280
from drivers.sensor.errors import SensorAbsent, SensorError, SensorGarbled
from drivers.sensor.pms5003 import PMS5003
from drivers.sensor.water import WaterLevel


class I2C:
    """A bus with some chips on it."""

    def __init__(self, *chips):
        self.chips = {chip.addr: chip for chip in chips}

    def writeto(self, addr, data):
        self._chip(addr).write(data)

    def readfrom_into(self, addr, buf):
        buf[:] = self._chip(addr).read(len(buf))

    def _chip(self, addr):
        if addr not in self.chips:
            raise OSError(19, "ENODEV")
        return self.chips[addr]


@pytest.mark.parametrize("name", ["n-1", "n-2", "n-3", "n-4"])
async def test_bme280_measures_the_weather(name):
    clock, weather = WallClock(), Weather(7, name)
    chip = Bme280(weather, clock, trimming=Trimming.of(name))
    temperature_centi, humidity_centi, pressure_pa = await BME280(I2C(chip)).measure()
    truth = weather.at(clock.utc_s())
    assert temperature_centi == pytest.approx(truth.temperature_c * 100, abs=1.5)
    assert humidity_centi == pytest.approx(truth.humidity_pct * 100, abs=3)
    assert pressure_pa == pytest.approx(truth.pressure_pa, abs=2)


async def test_bme280_is_set_up_again_after_its_rail_was_off():
    clock, weather = WallClock(), Weather(7, "n-1")
    chip = Bme280(weather, clock)
    sensor = BME280(I2C(chip))
    await sensor.measure()
    chip.power_cycle()
    temperature_centi, _, _ = await sensor.measure()
    assert temperature_centi == pytest.approx(weather.at(clock.utc_s()).temperature_c * 100, abs=1.5)


async def test_bme280_at_the_other_address_is_absent():
    with pytest.raises(SensorAbsent, match="0x77"):
        await BME280(I2C(Bme280(Weather(7, "n-1"), WallClock())), addr=0x77).measure()


@pytest.mark.parametrize("passive", [False, True])
async def test_pms5003_measures_the_weather(passive):
    clock, weather = WallClock(speed=10), Weather(7, "n-1")
    values = await PMS5003(Pms5003(weather, clock), passive=passive).measure()
    truth = weather.at(clock.utc_s())
    for value, expected in zip(values, (truth.pm1, truth.pm2_5, truth.pm10), strict=True):
        assert value == pytest.approx(expected, abs=5)  # ten seconds of weather pass in one of ours


async def test_pms5003_finds_its_frame_after_noise():
    clock, weather = WallClock(speed=10), Weather(7, "n-1")
    chip = Pms5003(weather, clock)
    chip.put_on_wire(b"\x42\x4d\x00\x1c" + bytes(20) + b"\x42")
    assert await PMS5003(chip).measure()


async def test_pms5003_asleep_is_silent_and_can_be_woken():
    chip = Pms5003(Weather(7, "n-1"), WallClock(speed=10))
    sensor = PMS5003(chip, timeout_ms=700)
    sensor.sleep()
    with pytest.raises(SensorError):
        await sensor.measure()  # hears at most the answer to the command
    with pytest.raises(SensorAbsent):
        await sensor.measure()
    sensor.wake()
    assert await sensor.measure()


async def test_water_level_is_the_weathers():
    clock, weather = WallClock(), Weather(7, "n-1")
    probe = WaterProbe(weather, clock)
    sensor = WaterLevel(probe, ((ZERO_UV, 0), (ZERO_UV + 5 * UV_PER_M, 5_000)))
    assert await sensor.measure() == pytest.approx(weather.at(clock.utc_s()).water_level_m * 1_000, abs=1.1)
    probe.is_broken = True
    with pytest.raises(SensorGarbled, match="water probe reads 0 mV"):
        await sensor.measure()
