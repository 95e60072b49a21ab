"""Water level in mm from the voltage of a submersible or ultrasonic probe, calibrated by points. Integers only."""

from drivers import clock
from drivers.constant import const
from drivers.sensor.errors import SensorGarbled

_SAMPLES = const(5)  # the median of five throws away two wild ones
_SPACING_MS = const(10)


class WaterLevel:
    """One probe on one ADC pin."""

    def __init__(self, adc, points, *, fault_margin_uv=50_000):
        """`adc` has read_uv(), as machine.ADC does.

        points           (microvolts, millimetres) pairs measured at the site, two or more, no voltage twice
        fault_margin_uv  further than this outside the points means a broken wire or a short, not a level
        """
        self._adc = adc
        self._points = sorted(tuple(point) for point in points)
        self._fault_margin_uv = fault_margin_uv
        if len(self._points) < 2 or any(low[0] == high[0] for low, high in zip(self._points, self._points[1:])):
            raise ValueError(
                "points = %r: must be two or more (microvolts, millimetres) pairs, no voltage twice" % (points,)
            )

    async def measure(self):
        """Return the level in mm, interpolated. Raises SensorGarbled for a voltage that is no level."""
        samples = []
        for _ in range(_SAMPLES):
            samples.append(self._adc.read_uv())
            await clock.sleep_ms(_SPACING_MS)
        return self.level_mm(sorted(samples)[_SAMPLES // 2])

    def level_mm(self, uv):
        """The level for a voltage, rounded to the nearest millimetre."""
        low_uv, high_uv = self._points[0][0], self._points[-1][0]
        if not low_uv - self._fault_margin_uv <= uv <= high_uv + self._fault_margin_uv:
            raise SensorGarbled(
                "water probe reads %d mV, its calibration covers %d to %d mV; check the probe's cable and supply"
                % (uv // 1_000, low_uv // 1_000, high_uv // 1_000)
            )
        at = 1
        while at < len(self._points) - 1 and uv > self._points[at][0]:
            at += 1
        (uv_0, mm_0), (uv_1, mm_1) = self._points[at - 1], self._points[at]
        span = uv_1 - uv_0
        return mm_0 + ((uv - uv_0) * (mm_1 - mm_0) * 2 + span) // (2 * span)
