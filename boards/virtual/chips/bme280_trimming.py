"""Calibration words of one BME280, where they lie in its registers, and the raw values that stand for a given weather.

Source: BST-BME280-DS002 table 16 (layout) and appendix 8.1 (double-precision compensation, here run backwards).
The default words for temperature and pressure are the worked example of BST-BMP280-DS001 section 3.12; those for
humidity are of a size that is common in the field.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

_VARIED = ("t1", "t2", "p1", "p2", "p7", "h2", "h4")  # what differs most between chips
_VARIATION = 0.015


@dataclass(frozen=True, kw_only=True)
class Trimming:
    t1: int = 27504
    t2: int = 26435
    t3: int = -1000
    p1: int = 36477
    p2: int = -10685
    p3: int = 3024
    p4: int = 2855
    p5: int = 140
    p6: int = -7
    p7: int = 15500
    p8: int = -14600
    p9: int = 6000
    h1: int = 75
    h2: int = 362
    h3: int = 0
    h4: int = 324
    h5: int = 50
    h6: int = 30

    @classmethod
    def of(cls, chip: str) -> "Trimming":
        """The words burnt into the chip of that name: the same for ever, another chip has others."""
        draw = Random(f"bme280/{chip}")
        usual = cls()
        return replace(
            usual,
            **{name: round(getattr(usual, name) * draw.uniform(1 - _VARIATION, 1 + _VARIATION)) for name in _VARIED},
        )

    def register(self, address: int) -> int:
        """The byte at one of 0x88 to 0xA1 and 0xE1 to 0xF0; what table 16 does not name reads as 0."""
        return self._image().get(address, 0)

    def t_fine(self, raw: float) -> float:
        part = raw / 16384 - self.t1 / 1024
        rest = raw / 131072 - self.t1 / 8192
        return part * self.t2 + rest * rest * self.t3

    def raw_temperature(self, air_c: float) -> float:
        return _solve(lambda raw: self.t_fine(raw) / 5120, air_c, bits=20)

    def raw_pressure(self, pressure_pa: float, t_fine: float) -> float:
        return _solve(lambda raw: -self._pressure_pa(raw, t_fine), -pressure_pa, bits=20)

    def raw_humidity(self, humidity_pct: float, t_fine: float) -> float:
        return _solve(lambda raw: self._humidity_pct(raw, t_fine), humidity_pct, bits=16)

    def _pressure_pa(self, raw: float, t_fine: float) -> float:
        heat = t_fine / 2 - 64000
        offset = (heat * heat * self.p6 / 32768 + heat * self.p5 * 2) / 4 + self.p4 * 65536
        scale = (1 + (self.p3 * heat * heat / 524288 + self.p2 * heat) / 524288 / 32768) * self.p1
        rough = (1048576 - raw - offset / 4096) * 6250 / scale
        return rough + (self.p9 * rough * rough / 2147483648 + rough * self.p8 / 32768 + self.p7) / 16

    def _humidity_pct(self, raw: float, t_fine: float) -> float:
        heat = t_fine - 76800
        slope = self.h2 / 65536 * (1 + self.h6 / 67108864 * heat * (1 + self.h3 / 67108864 * heat))
        rough = (raw - (self.h4 * 64 + self.h5 / 16384 * heat)) * slope
        return rough * (1 - self.h1 * rough / 524288)

    def _image(self) -> dict[int, int]:
        words = (self.t1, self.t2, self.t3, self.p1, self.p2, self.p3, self.p4, self.p5, self.p6, self.p7, self.p8)
        image: dict[int, int] = {}
        for index, word in enumerate((*words, self.p9)):
            image[0x88 + 2 * index], image[0x89 + 2 * index] = word & 0xFF, word >> 8 & 0xFF
        image[0xA1] = self.h1
        image[0xE1], image[0xE2] = self.h2 & 0xFF, self.h2 >> 8 & 0xFF
        image[0xE3] = self.h3
        image[0xE4] = self.h4 >> 4 & 0xFF
        image[0xE5] = (self.h4 & 0x0F) | (self.h5 & 0x0F) << 4
        image[0xE6] = self.h5 >> 4 & 0xFF
        image[0xE7] = self.h6 & 0xFF
        return image


def _solve(rising: Callable[[float], float], wanted: float, *, bits: int) -> float:
    """Where in 0 to 2^bits - 1 the rising function takes the wanted value; the nearer end if it never does."""
    low, high = 0.0, float((1 << bits) - 1)
    for _ in range(bits + 8):
        middle = (low + high) / 2
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
