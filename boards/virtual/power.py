"""Power of one board: on or off, why it started, its flash operations, and the cut that comes at one of them."""

import enum
import random
from collections.abc import Callable

from boards.virtual.rpc import AskerGone


class ResetCause(enum.IntEnum):
    """As machine.reset_cause() says it on the ESP32."""

    POWER_ON = 1
    HARD = 2
    WATCHDOG = 3
    DEEP_SLEEP = 4
    SOFT = 5


class WakeReason(enum.IntEnum):
    """As machine.wake_reason() says it on the ESP32."""

    NONE = 0
    PIN = 2
    TIMER = 4


class PowerCut(AskerGone):
    """The supply failed in the middle of a flash operation: the interpreter is gone, nothing is answered."""


class FlashWear:
    """Counts every program, erase and NVS write of a board, and cuts the power at a chosen one."""

    def __init__(self, cut: Callable[[], None], *, seed: int = 0) -> None:
        """cut   ends the interpreter; called after the operation was left torn or whole"""
        self.operations = 0
        self.random = random.Random(seed)  # what survives of unfinished writes, the same in each run
        self._cut = cut
        self._cut_at: int | None = None
        self._is_torn = True

    def cut_at(self, n: int, *, torn: bool = True) -> None:
        """Cut at the n-th operation from now (1: the next). Torn: half of it is done, else all, but never answered."""
        if n < 1:
            raise ValueError(f"n = {n}: the next operation is 1")
        self._cut_at = self.operations + n
        self._is_torn = torn

    def cancel(self) -> None:
        """No cut after all."""
        self._cut_at = None

    def perform(self, whole: Callable[[], None], torn: Callable[[], None]) -> None:
        """Do one operation, or its torn half and the cut. Raises PowerCut then."""
        self.operations += 1
        if self.operations != self._cut_at:
            whole()
            return
        self._cut_at = None
        (torn if self._is_torn else whole)()
        self._cut()
        raise PowerCut
