"""Holds the values at the city against the scripted weather of each node.

A node's clock counts whole seconds, so a record's time may be off by one; a value is right if the weather had it,
within the sensor's resolution, at some moment within that tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from boards.virtual.weather import Sample
from lamppost.demo.arrivals import Measurement, Record
from lamppost.demo.report import Deviation

TIME_TOLERANCE_S = 1.5
_MOMENTS = 31  # looked at within the tolerance: a tenth of a second apart

# SenML name -> (unit, the sensor's resolution in that unit, the weather's value in that unit)
_QUANTITIES: dict[str, tuple[str, float, Callable[[Sample], float]]] = {
    "temperature": ("Cel", 0.01, lambda s: s.temperature_c),
    "humidity": ("%RH", 0.01, lambda s: s.humidity_pct),
    "pressure": ("Pa", 2.62, lambda s: s.pressure_pa),  # of one sample, 16 bits: BST-BME280-DS002 section 3.4
    "pm1": ("kg/m3", 1e-9, lambda s: s.pm1 * 1e-9),
    "pm2_5": ("kg/m3", 1e-9, lambda s: s.pm2_5 * 1e-9),
    "pm10": ("kg/m3", 1e-9, lambda s: s.pm10 * 1e-9),
    "water_level": ("m", 0.001, lambda s: s.water_level_m),
}

WeatherAt = Callable[[float], Sample]


def compare(records: Iterable[Record], weather: Mapping[str, WeatherAt]) -> Deviation:
    """weather: node id -> what a perfect sensor there measures at a UTC second. Records of others are passed over."""
    compared, worst, off = 0, 0.0, []
    for record in records:
        if record.node not in weather:
            continue
        for measurement in record.measurements:
            steps = _steps_off(measurement, record.node, weather[record.node])
            compared += 1
            worst = max(worst, steps)
            if steps > 1.0:
                off.append(f"{record.record_id} {measurement.name.rsplit('_', 1)[-1]} is {steps:.1f} steps off")
    return Deviation(compared=compared, worst_steps=worst, off=tuple(off))


def _steps_off(measurement: Measurement, node: str, at: WeatherAt) -> float:
    quantity = measurement.name.removeprefix(f"{node}_")
    if quantity not in _QUANTITIES or not isinstance(measurement.value, int | float):
        return float("inf")
    unit, resolution, value_of = _QUANTITIES[quantity]
    if measurement.unit != unit:
        return float("inf")
    moments = (measurement.time_s + TIME_TOLERANCE_S * (2 * i / (_MOMENTS - 1) - 1) for i in range(_MOMENTS))
    return min(abs(measurement.value - value_of(at(moment))) for moment in moments) / resolution
