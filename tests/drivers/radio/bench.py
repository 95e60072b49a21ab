"""Radios on one air: our driver on the SX1262 model, wired as on a board, on a clock that the test turns."""

from __future__ import annotations

from typing import Any

from boards.virtual.air import Air
from boards.virtual.chips.sx1262.chip import Sx1262
from drivers.radio.sx126x import SX126x
from tests.drivers.radio.virtual_time import VirtualTime

PIN_US = 2  # what a pin or a transfer costs on a fast board; a round trip to a virtual one takes some 200
SPI_US_PER_BYTE = 1


class ChipPin:
    """A pin of the chip: reads by calling `read`, sets by calling `write`."""

    def __init__(self, time: VirtualTime, cost_us: int, *, read: Any = None, write: Any = None) -> None:
        self._time, self._cost_us, self._read, self._write = time, cost_us, read, write

    def value(self, level: int | None = None) -> int:
        self._time.clock.advance_us(self._cost_us)
        if level is not None:
            self._write(level)
            return level
        return int(self._read())


class Wiring:
    """SPI and pins between a board and one chip, each access taking its time."""

    def __init__(self, chip: Sx1262, time: VirtualTime, cost_us: int) -> None:
        self._chip, self._time, self._cost_us = chip, time, cost_us
        self.nss = ChipPin(time, cost_us, write=chip.select)
        self.reset = ChipPin(time, cost_us, write=chip.reset)
        self.busy = ChipPin(time, cost_us, read=chip.busy)
        self.dio1 = ChipPin(time, cost_us, read=chip.dio1)
        self.sent: list[bytes] = []

    def write_readinto(self, out: memoryview, back: memoryview) -> None:
        mosi = bytes(out)
        self.sent.append(mosi)
        self._time.clock.advance_us(self._cost_us + len(mosi) * SPI_US_PER_BYTE)
        back[:] = self._chip.transfer(mosi)


class Bench:
    """Makes radios that hear each other."""

    def __init__(self, *, seed: int = 1, loss: float = 0.0, start_us: int = 0) -> None:
        self.time = VirtualTime(start_us=start_us)
        self.air = Air(self.time.clock, seed, loss=loss)

    def radio(
        self,
        name: str,
        *,
        at_m: tuple[float, float] = (0.0, 0.0),
        cost_us: int = PIN_US,
        driver: type = SX126x,
        **options: Any,
    ) -> SX126x:
        """A driver on a chip at `at_m`; `wiring` and `chip` are kept as its attributes for the test to look at."""
        chip = Sx1262(self.air, self.time.clock, name=name, position_m=at_m)
        wiring = Wiring(chip, self.time, cost_us)
        options = {"tcxo_v": 1.8, "dio2_rf_switch": True, **options}
        radio = driver(wiring, wiring.nss, wiring.reset, wiring.busy, wiring.dio1, clock=self.time, **options)
        radio.wiring, radio.model = wiring, chip
        return radio
