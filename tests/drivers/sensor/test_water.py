"""Water level: straight lines between calibration points, and a broken wire told from a level."""

import pytest

from drivers.sensor.errors import SensorGarbled
from drivers.sensor.water import WaterLevel
from tests.peers.micropython import check_micropython

POINTS = ((400_000, 0), (1_200_000, 2_000), (2_000_000, 5_000))


class Adc:
    def __init__(self, *samples_uv):
        self.samples_uv = list(samples_uv)

    def read_uv(self):
        return self.samples_uv.pop(0)


@pytest.mark.parametrize(
    "uv, mm",
    [
        (400_000, 0),
        (800_000, 1_000),
        (1_200_000, 2_000),
        (1_600_000, 3_500),
        (2_000_000, 5_000),
        (2_040_000, 5_150),  # a little above the last point: the same line
        (380_000, -50),
        (400_199, 0),
        (400_200, 1),  # rounded to the nearest
    ],
)
def test_level(uv, mm):
    assert WaterLevel(None, POINTS).level_mm(uv) == mm


@pytest.mark.parametrize("uv", [0, 349_999, 2_050_001, 3_300_000])
def test_a_voltage_no_level_has_is_a_fault(uv):
    with pytest.raises(SensorGarbled, match="check the probe's cable"):
        WaterLevel(None, POINTS).level_mm(uv)


async def test_two_wild_samples_of_five_do_not_count():
    assert await WaterLevel(Adc(800_000, 3_300_000, 800_200, 0, 800_000), POINTS).measure() == 1_000


@pytest.mark.parametrize("points", [(), ((1, 2),), ((1, 2), (1, 3))])
def test_points_that_make_no_line_are_refused(points):
    with pytest.raises(ValueError, match="points"):
        WaterLevel(None, points)


def test_a_probe_mounted_upside_down_falls_with_the_voltage():
    assert WaterLevel(None, ((0, 3_000), (1_000_000, 0))).level_mm(250_000) == 2_250


def test_the_same_line_on_micropython():
    script = f"from drivers.sensor.water import WaterLevel\nprint(WaterLevel(None, {POINTS!r}).level_mm(1600000))"
    assert check_micropython(script).strip() == "3500"
