"""The timers of an SX1262: reception or transmission time-out, symbol time-out, and the stray one of erratum 15.3."""

from boards.virtual.chips.sx1262.errata import StrayTimer
from boards.virtual.chips.sx1262.modes import timer_us


class Timers:
    """Moments at which a timer will end what the chip is doing; None while it does not run."""

    def __init__(self) -> None:
        self.deadline_us: int | None = None
        self.symbols_us: int | None = None
        self.stray = StrayTimer()

    def start(self, from_us: int, steps: int) -> None:
        """Begin a timed mode, or with 0 steps one without time-out, in which only a stray timer can go off."""
        if steps:
            self.deadline_us = from_us + timer_us(steps)
            self.stray.disarm()
        else:
            self.stray.resume(from_us)

    def start_symbols(self, from_us: int, count: int, symbol_us: int) -> None:
        """SetLoRaSymbNumTimeout: give up if no preamble is found in so many symbols; 0 waits on."""
        self.symbols_us = from_us + count * symbol_us if count else None

    def preamble_found(self, *, stops: bool) -> None:
        self.symbols_us = None
        if stops:
            self.deadline_us = None

    def header_read(self) -> None:
        self.deadline_us = None

    def packet_received(self, *, is_explicit: bool) -> None:
        """Erratum 15.3: without a header nothing has stopped the timer, and nothing does now."""
        if self.deadline_us is not None and not is_explicit:
            self.stray.leave_running(self.deadline_us)

    def stop(self) -> None:
        """The chip leaves the mode; a stray timer runs on."""
        self.deadline_us = self.symbols_us = None

    def ends_us(self) -> int | None:
        """When the running mode will be cut off."""
        return min(
            (moment for moment in (self.deadline_us, self.symbols_us, self.stray.fires_us) if moment is not None),
            default=None,
        )
