"""The weather is computable by anyone, differs from place to place, and moves by more than a sensor can miss."""

import itertools

import pytest

from boards.virtual.clock import ManualClock, WallClock
from boards.virtual.weather import QUANTITIES, Event, Weather

T0_S = 1_790_000_000.0
RESOLUTION = {"temperature_c": 0.01, "humidity_pct": 0.01, "pressure_pa": 1.0, "water_level_m": 0.001} | dict.fromkeys(
    ("pm1", "pm2_5", "pm10"), 1.0
)
RANGES = {
    "temperature_c": (-40, 85),  # BME280 datasheet table 1
    "humidity_pct": (0, 100),
    "pressure_pa": (30_000, 110_000),
    "pm1": (0, 1000),  # PMS5003 manual, effective range and maximum
    "pm2_5": (0, 1000),
    "pm10": (0, 1000),
    "water_level_m": (0, 5),
}


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_reports_three_seconds_apart_differ_by_more_than_the_resolution(quantity: str) -> None:
    for node in ("node-1", "node-2", "gw-1"):
        weather = Weather(7, node)
        values = [getattr(weather.at(T0_S + 3 * i), quantity) for i in range(400)]
        steps = [abs(b - a) / RESOLUTION[quantity] for a, b in itertools.pairwise(values)]
        assert sum(step > 1 for step in steps) >= 0.95 * len(steps)  # the few others lie at a turn


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_second_is_less_than_one_step_of_the_sensor(quantity: str) -> None:
    weather = Weather(7, "node-1")
    for i in range(2_000):
        a, b = (getattr(weather.at(T0_S + i * 11 + late_s), quantity) for late_s in (0, 1))
        assert abs(a - b) < RESOLUTION[quantity]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_values_stay_in_the_range_of_their_sensor_even_in_a_flood_of_events(quantity: str) -> None:
    low, high = RANGES[quantity]
    up = Weather(1, "n", events=[Event(quantity=quantity, amount=1e9, start_s=T0_S)])
    down = Weather(1, "n", events=[Event(quantity=quantity, amount=-1e9, start_s=T0_S)])
    assert getattr(up.at(T0_S + 30), quantity) == high
    assert getattr(down.at(T0_S + 30), quantity) == low


def test_same_seed_and_node_give_the_same_weather_and_any_other_gives_another() -> None:
    here = Weather(7, "node-1").at(T0_S)
    assert Weather(7, "node-1").at(T0_S) == here
    for other in (Weather(7, "node-2").at(T0_S), Weather(8, "node-1").at(T0_S)):
        assert all(getattr(other, quantity) != getattr(here, quantity) for quantity in QUANTITIES)


def test_fine_dust_is_never_more_than_coarse() -> None:
    weather = Weather(3, "node-4")
    for i in range(500):
        now = weather.at(T0_S + i)
        assert now.pm1 <= now.pm2_5 <= now.pm10


@pytest.mark.parametrize(
    "after_s, share", [(-1, 0.0), (0, 0.0), (5, 0.5), (10, 1.0), (69, 1.0), (75, 0.5), (80, 0.0), (1000, 0.0)]
)
def test_an_event_rises_stays_and_falls(after_s: float, share: float) -> None:
    event = Event(quantity="water_level_m", amount=2.0, start_s=T0_S, rise_s=10, hold_s=60, fall_s=10)
    plain, flooded = Weather(7, "n"), Weather(7, "n", events=[event])
    rise_m = flooded.at(T0_S + after_s).water_level_m - plain.at(T0_S + after_s).water_level_m
    assert rise_m == pytest.approx(2.0 * share)


def test_an_event_of_an_unknown_quantity_is_named() -> None:
    with pytest.raises(ValueError, match=r"event.quantity = 'watr'"):
        Event(quantity="watr", amount=1, start_s=0)


def test_clocks_only_go_forward() -> None:
    manual, wall = ManualClock(utc_s=100.0), WallClock(speed=1000)
    manual.advance_us(1_500_000)
    assert (manual.now_us(), manual.utc_s()) == (1_500_000, 101.5)
    with pytest.raises(ValueError, match="never goes back"):
        manual.advance_us(-1)
    before = wall.now_us()
    assert wall.now_us() >= before
