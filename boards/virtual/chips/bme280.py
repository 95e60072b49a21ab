"""BME280 air sensor on I2C, at register level. Source: Bosch BST-BME280-DS002 (rev 1.6), sections named below.

In: the weather and a clock. Out: register bytes, as `write` (pointer, then data pairs) and `read` (auto-increment) see
them. The raw values are found by inverting the datasheet's double-precision formulas (appendix 8.1), so an integer
driver is checked against other arithmetic than its own.
"""

import threading
from dataclasses import dataclass
from typing import Protocol

from boards.virtual.chips.bme280_trimming import Trimming
from boards.virtual.clock import Clock
from boards.virtual.weather import Sample

_ID, _RESET, _CTRL_HUM, _STATUS, _CTRL_MEAS, _CONFIG, _DATA = 0xD0, 0xE0, 0xF2, 0xF3, 0xF4, 0xF5, 0xF7
_CHIP_ID = 0x60  # 5.4.1
_RESET_WORD = 0xB6  # 5.4.2
_STARTUP_US = 2_000  # table 1, t_startup
_TIMES = (0, 1, 2, 4, 8, 16, 16, 16)  # 5.4.3 and 5.4.5: oversampling codes
_STANDBY_US = (500, 62_500, 125_000, 250_000, 500_000, 1_000_000, 10_000, 20_000)  # table 27
_IIR = (1, 2, 4, 8, 16, 16, 16, 16)  # table 28
_SKIPPED_20, _SKIPPED_16 = 0x80000, 0x8000  # 5.4.7: what a measurement that is off reads as
_SLEEP, _NORMAL = 0, 3


class WeatherSource(Protocol):
    def at(self, t_s: float) -> Sample: ...


@dataclass(frozen=True)
class _Raw:
    """One finished measurement as the data registers show it; before the first, the reset values."""

    pressure: int = _SKIPPED_20
    temperature: int = _SKIPPED_20
    humidity: int = _SKIPPED_16

    def to_bytes(self) -> bytes:
        return (
            (self.pressure << 4).to_bytes(3, "big")
            + (self.temperature << 4).to_bytes(3, "big")
            + self.humidity.to_bytes(2, "big")
        )


class Bme280:
    def __init__(
        self, weather: WeatherSource, clock: Clock, *, trimming: Trimming | None = None, addr: int = 0x76
    ) -> None:
        """trimming  calibration words of this very chip; default is a well-known one, see Trimming.of(name)"""
        self.addr = addr
        self.trimming = trimming or Trimming()
        self._weather, self._clock = weather, clock
        self._lock = threading.Lock()
        self._power_on()

    def power_cycle(self) -> None:
        """All settings and data are lost, as when the rail is switched off and on."""
        with self._lock:
            self._power_on()

    def write(self, data: bytes) -> None:
        """Set the register pointer; further bytes are value, then (register, value) pairs (section 6.2.1)."""
        with self._lock:
            if not data:
                return
            self._settle()
            self._pointer = data[0]
            for register, value in zip(data[0::2], data[1::2], strict=False):
                self._write_register(register, value)

    def read(self, n: int) -> bytes:
        """The next `n` registers. The eight data registers are a shadow: one read never mixes two measurements (4)."""
        with self._lock:
            self._settle()
            values = bytes(self._register((self._pointer + i) & 0xFF) for i in range(n))
            self._pointer = (self._pointer + n) & 0xFF
            return values

    def _power_on(self) -> None:
        self._ready_us = self._clock.now_us() + _STARTUP_US
        self._pointer = 0
        self._ctrl_hum_written = self._ctrl_hum = self._ctrl_meas = self._config = 0
        self._shown = _Raw()
        self._filtered: dict[str, float] = {}
        self._cycle_us: int | None = None  # start of the running measurement, or of the last in normal mode
        self._cycle_t_s = 0.0

    def _is_up(self) -> bool:
        """False while the calibration words are copied from its memory, after power-on and reset (5.4.4, im_update)."""
        return self._clock.now_us() >= self._ready_us

    def _write_register(self, register: int, value: int) -> None:
        if register == _RESET and value == _RESET_WORD:
            self._power_on()
        elif register == _CTRL_HUM:
            self._ctrl_hum_written = value & 0x07  # 5.4.3: becomes effective after a write to ctrl_meas
        elif register == _CONFIG and self._ctrl_meas & 3 != _NORMAL:
            self._config = value & 0xFD  # 5.4.6: writes in normal mode may be ignored
        elif register == _CTRL_MEAS:
            self._ctrl_meas, self._ctrl_hum = value, self._ctrl_hum_written
            if value & 3 == _SLEEP:
                self._cycle_us = None
            else:
                self._start_cycle(self._clock.now_us())

    def _register(self, register: int) -> int:
        if 0x88 <= register <= 0xA1 or 0xE1 <= register <= 0xF0:
            return self.trimming.register(register) if self._is_up() else 0x00
        if _DATA <= register < _DATA + 8:
            return self._shown.to_bytes()[register - _DATA]
        fixed = {_ID: _CHIP_ID, _CTRL_HUM: self._ctrl_hum_written, _CTRL_MEAS: self._ctrl_meas, _CONFIG: self._config}
        if register == _STATUS:
            return (0x08 if self._is_measuring() else 0) | (0 if self._is_up() else 0x01)
        return fixed.get(register, 0x00)

    def _is_measuring(self) -> bool:
        return self._cycle_us is not None and self._clock.now_us() < self._cycle_us + self._conversion_us()

    def _conversion_us(self) -> int:
        """The longest a measurement takes (9.1): this chip is the slowest its maker allows."""
        osrs_t, osrs_p, osrs_h = self._oversampling()
        return 1_250 + 2_300 * osrs_t + sum(2_300 * osrs + 575 for osrs in (osrs_p, osrs_h) if osrs)

    def _oversampling(self) -> tuple[int, int, int]:
        return _TIMES[self._ctrl_meas >> 5], _TIMES[self._ctrl_meas >> 2 & 7], _TIMES[self._ctrl_hum & 7]

    def _start_cycle(self, at_us: int) -> None:
        self._cycle_us = at_us
        self._cycle_t_s = self._clock.utc_s() - (self._clock.now_us() - at_us) / 1e6

    def _settle(self) -> None:
        """Finish what the clock says has finished; in normal mode only the newest cycle leaves a trace."""
        now_us = self._clock.now_us()
        if self._cycle_us is None or now_us < self._cycle_us + self._conversion_us():
            return
        if self._ctrl_meas & 3 != _NORMAL:
            self._shown = self._convert()
            self._ctrl_meas &= ~3  # 3.3.3: forced mode returns to sleep
            self._cycle_us = None
            return
        period_us = self._conversion_us() + _STANDBY_US[self._config >> 5]
        done = (now_us - self._cycle_us - self._conversion_us()) // period_us
        self._start_cycle(self._cycle_us + done * period_us)
        self._shown = self._convert()
        self._start_cycle((self._cycle_us or 0) + period_us)

    def _convert(self) -> _Raw:
        """Measure the weather of the cycle's start with the resolution that the oversampling gives (3.4)."""
        osrs_t, osrs_p, osrs_h = self._oversampling()
        sample = self._weather.at(self._cycle_t_s)
        temperature = self.trimming.raw_temperature(sample.temperature_c)
        shown_t = self._resolve("t", temperature, osrs_t)
        t_fine = self.trimming.t_fine(shown_t if osrs_t else temperature)
        pressure = self.trimming.raw_pressure(sample.pressure_pa, t_fine)
        humidity = self.trimming.raw_humidity(sample.humidity_pct, t_fine)
        return _Raw(
            pressure=self._resolve("p", pressure, osrs_p),
            temperature=shown_t,
            humidity=round(humidity) if osrs_h else _SKIPPED_16,
        )

    def _resolve(self, channel: str, raw: float, oversampling: int) -> int:
        """16 bits with one sample and one bit more per doubling; all 20 with the IIR filter on (3.4.1, 3.4.4)."""
        if not oversampling:
            return _SKIPPED_20
        weight = _IIR[self._config >> 2 & 7]
        if weight == 1:
            self._filtered.pop(channel, None)
            step = 1 << (5 - oversampling.bit_length())
            return min(0xFFFFF, round(raw / step) * step)
        before = self._filtered.get(channel, raw)
        self._filtered[channel] = (before * (weight - 1) + raw) / weight
        return round(self._filtered[channel])
