"""Submersible water-level transmitter: 0 to 5 m of water as 0.5 to 2.5 V, for an analogue input.

The usual two-wire pressure transmitter behind a shunt; a wire that is broken reads 0 V, below the lowest level.
"""

from typing import Protocol

from boards.virtual.clock import Clock
from boards.virtual.weather import Sample

ZERO_UV = 500_000
UV_PER_M = 400_000


class WeatherSource(Protocol):
    def at(self, t_s: float) -> Sample: ...


class WaterLevel:
    def __init__(self, weather: WeatherSource, clock: Clock) -> None:
        self._weather, self._clock = weather, clock
        self.is_broken = False

    def read_uv(self) -> int:
        """Microvolts at this moment."""
        if self.is_broken:
            return 0
        return ZERO_UV + round(self._weather.at(self._clock.utc_s()).water_level_m * UV_PER_M)
