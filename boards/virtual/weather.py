"""The weather on the street: what a perfect sensor at one node would measure at a given UTC second.

A pure function of seed, node name and time, so that anyone can compute the value a report should carry. Every quantity
climbs and falls on straight lines, by 0.4 to 0.9 of its sensor's resolution per second: reports a few seconds
apart differ, and a time-stamp that is one second off moves the expected value by less than one step of the sensor.
Scripted events (a flood, a smoke plume) are added on top; nothing ever leaves the range of its sensor.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

QUANTITIES = ("temperature_c", "humidity_pct", "pressure_pa", "pm1", "pm2_5", "pm10", "water_level_m")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the air and the water are like at one place and second; pm in ug/m3."""

    temperature_c: float
    humidity_pct: float
    pressure_pa: float
    pm1: float
    pm2_5: float
    pm10: float
    water_level_m: float


@dataclass(frozen=True, kw_only=True)
class Event:
    """Adds `amount` to one quantity: rises for `rise_s` from `start_s` (UTC), stays `hold_s`, falls in `fall_s`."""

    quantity: str
    amount: float
    start_s: float
    rise_s: float = 5.0
    hold_s: float = 60.0
    fall_s: float = 5.0

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise ValueError(f"event.quantity = {self.quantity!r}: must be one of {', '.join(QUANTITIES)}")

    def at(self, t_s: float) -> float:
        rising = (t_s - self.start_s) / self.rise_s if self.rise_s else float(t_s >= self.start_s)
        left_s = self.start_s + self.rise_s + self.hold_s + self.fall_s - t_s
        falling = left_s / self.fall_s if self.fall_s else float(left_s > 0)
        return self.amount * max(0.0, min(1.0, rising, falling))


@dataclass(frozen=True)
class _Course:
    """How one quantity wanders. `floor` differs per node by up to `spread`; `period_s` by up to a tenth.

    Courses of one `family` rise and fall together: fine dust is a part of the coarse.
    """

    family: str
    floor: float
    spread: float
    swing: float
    period_s: float
    low: float
    high: float


# The swing over half a period gives the slope: 0.4 to 0.9 resolution steps per second (0.01 Cel, 0.01 %RH, 1 Pa,
# 1 ug/m3, 1 mm). Limits: BME280 datasheet table 1 and 2 (operating range), PMS5003 manual (0 to 1000 ug/m3).
_COURSES = {
    "temperature_c": _Course("temperature", 6.0, 6.0, 12.0, 3_600.0, -40.0, 85.0),
    "humidity_pct": _Course("humidity", 35.0, 15.0, 14.0, 3_900.0, 0.0, 100.0),
    "pressure_pa": _Course("pressure", 99_800.0, 400.0, 1_400.0, 4_200.0, 30_000.0, 110_000.0),
    "pm1": _Course("dust", 6.0, 6.0, 40.0, 185.0, 0.0, 1_000.0),
    "pm2_5": _Course("dust", 9.0, 9.0, 60.0, 185.0, 0.0, 1_000.0),
    "pm10": _Course("dust", 12.0, 12.0, 80.0, 185.0, 0.0, 1_000.0),
    "water_level_m": _Course("water", 0.30, 0.15, 0.30, 900.0, 0.0, 5.0),
}


class Weather:
    def __init__(self, seed: int, node: str, *, events: Sequence[Event] = ()) -> None:
        """seed    one per street; the same seed gives the same weather everywhere
        node    name of the place; another name, another weather
        """
        self._tracks = {quantity: _Track(course, seed, node) for quantity, course in _COURSES.items()}
        self._events = tuple(events)

    def at(self, t_s: float) -> Sample:
        """The weather at UTC second `t_s` (since 1970)."""
        return Sample(**{quantity: self._value(quantity, t_s) for quantity in QUANTITIES})

    def _value(self, quantity: str, t_s: float) -> float:
        extra = sum(event.at(t_s) for event in self._events if event.quantity == quantity)
        course = _COURSES[quantity]
        return min(course.high, max(course.low, self._tracks[quantity].at(t_s) + extra))


class _Track:
    """One quantity at one node: a triangle wave whose floor, period and phase come from seed, name and family."""

    def __init__(self, course: _Course, seed: int, node: str) -> None:
        draw = hashlib.sha256(f"{seed}/{node}/{course.family}".encode()).digest()
        floor, period, phase = (int.from_bytes(draw[i : i + 8], "big") / 2**64 for i in (0, 8, 16))
        self._floor = course.floor + floor * course.spread
        self._swing = course.swing
        self._period_s = course.period_s * (1 + 0.1 * period)
        self._phase = phase

    def at(self, t_s: float) -> float:
        turn = (t_s / self._period_s + self._phase) % 1.0
        return self._floor + self._swing * (1 - abs(2 * turn - 1))
