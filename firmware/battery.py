"""The node's own battery, measured through the board's divider."""

import machine

from drivers import clock
from drivers.constant import const

_SETTLE_MS = const(10)  # a divider of some 100 kOhm into the ADC


class Battery:
    """Battery voltage behind a divider, which some boards connect only while it is measured."""

    def __init__(self, battery):
        """`battery`: that section of the board's data."""
        self._adc = machine.ADC(machine.Pin(battery["pin"]))
        self._ratio_permille = round(battery["ratio"] * 1000)
        self._on_level = battery.get("enable_level", 0)
        enable = battery.get("enable")
        self._enable = None if enable is None else machine.Pin(enable, machine.Pin.OUT, value=1 - self._on_level)

    async def measure(self):
        """Return millivolts."""
        if self._enable is not None:
            self._enable.value(self._on_level)
            await clock.sleep_ms(_SETTLE_MS)
        uv = self._adc.read_uv()
        if self._enable is not None:
            self._enable.value(1 - self._on_level)
        return uv * self._ratio_permille // 1_000_000
