"""Modes of the SX1262 and how long it is BUSY between them.

Source: data sheet table 8-2 and STM32WL RM0453 table 33 (the same radio core); status codes data sheet table 13-76.
"""

from enum import Enum, IntEnum


class Mode(Enum):
    """The value is what the status byte shows in bits 6:4."""

    SLEEP = 0
    STDBY_RC = 2
    STDBY_XOSC = 3
    FS = 4
    RX = 5
    TX = 6
    CAD = 5.5  # shows as RX

    @property
    def status_code(self) -> int:
        return int(self.value)


class CommandStatus(IntEnum):
    """Bits 3:1 of the status byte. 1 is reserved in the data sheet and what an idle chip shows."""

    IDLE = 1
    DATA_AVAILABLE = 2
    TIMEOUT = 3
    PROCESSING_ERROR = 4  # no such opcode, wrong number of parameters, parameter out of range
    EXECUTION_FAILURE = 5  # understood, but not possible now
    TX_DONE = 6


class Irq(IntEnum):
    """Bits of the interrupt register, data sheet table 13-29."""

    TX_DONE = 0x0001
    RX_DONE = 0x0002
    PREAMBLE_DETECTED = 0x0004
    SYNC_WORD_VALID = 0x0008
    HEADER_VALID = 0x0010
    HEADER_ERR = 0x0020
    CRC_ERR = 0x0040
    CAD_DONE = 0x0080
    CAD_DETECTED = 0x0100
    TIMEOUT = 0x0200


class DeviceError(IntEnum):
    """Bits of GetDeviceErrors, data sheet table 13-85."""

    XOSC_START = 0x0020
    PLL_LOCK = 0x0040


STANDBY = (Mode.STDBY_RC, Mode.STDBY_XOSC)
ACTIVE = (Mode.RX, Mode.TX, Mode.CAD)

COLD_START_US = 3_500
WARM_START_US = 340
CALIBRATION_US = 3_500
IMAGE_CALIBRATION_US = 1_000  # no figure in the data sheet; a part of the whole calibration
RESET_PULSE_US = 100  # data sheet 8.1
SLEEP_SETTLE_US = 500  # data sheet 13.1.1: no NSS edge this soon after SetSleep
TIMER_STEP_X8 = 125  # 15.625 us, in eighths

_SWITCH_US = {
    (Mode.STDBY_RC, Mode.STDBY_XOSC): 31,
    (Mode.STDBY_RC, Mode.FS): 50,
    (Mode.STDBY_RC, Mode.RX): 83,
    (Mode.STDBY_RC, Mode.TX): 126,
    (Mode.STDBY_XOSC, Mode.FS): 40,
    (Mode.STDBY_XOSC, Mode.RX): 62,
    (Mode.STDBY_XOSC, Mode.TX): 105,
    (Mode.FS, Mode.RX): 41,
    (Mode.FS, Mode.TX): 76,
    (Mode.RX, Mode.FS): 15,
    (Mode.RX, Mode.TX): 92,
}


def switch_us(before: Mode, after: Mode) -> int:
    """Microseconds that BUSY is high; carrier detection takes as long as reception."""
    before, after = (Mode.RX if mode is Mode.CAD else mode for mode in (before, after))
    return _SWITCH_US.get((before, after), 0)


def timer_us(steps: int) -> int:
    """Length of a 24-bit timer. More bits than 24 cannot be sent, so a longer time wraps in the driver, not here."""
    return steps * TIMER_STEP_X8 // 8
