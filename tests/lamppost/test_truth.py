import pytest

from boards.virtual.weather import Weather
from lamppost.demo.arrivals import Measurement, Record
from lamppost.demo.truth import compare

NODE = "urn:dev:os:32473-aaaaaaaaaaaaaaaa"
AT_S = 1_800_000_000.0
WEATHER = Weather(7, "pole-1")


def record(value: float, *, name: str = "temperature", unit: str = "Cel", time_s: float = AT_S) -> Record:
    only = Measurement(name=f"{NODE}_{name}", unit=unit, value=value, time_s=time_s)
    return Record(record_id=f"{NODE}/1/0", lane="live", assurance="aead", measurements=(only,))


TRUE_C = round(WEATHER.at(AT_S).temperature_c, 2)
TRUE_PA = round(WEATHER.at(AT_S).pressure_pa)


@pytest.mark.parametrize(
    ("told", "is_right"),
    [
        (record(TRUE_C), True),
        (record(TRUE_C, time_s=AT_S + 1), True),  # the node counts whole seconds
        (record(TRUE_C + 0.05), False),
        (record(TRUE_C, time_s=AT_S + 60), False),  # a minute late
        (record(TRUE_C, unit="K"), False),
        (record(TRUE_PA + 2.5, name="pressure", unit="Pa"), True),  # one sample of 16 bits cannot say it better
        (record(TRUE_PA + 6, name="pressure", unit="Pa"), False),
        (record(TRUE_C, name="temperatur"), False),
    ],
)
def test_a_value_is_right_only_if_the_weather_had_it_then(told: Record, is_right: bool) -> None:
    assert (compare([told], {NODE: WEATHER.at}).off == ()) is is_right


def test_another_node_has_another_weather() -> None:
    assert compare([record(TRUE_C)], {NODE: Weather(7, "pole-2").at}).off != ()
