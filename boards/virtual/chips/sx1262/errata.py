"""The four known limitations of the SX1262 (data sheet chapter 15), and what a driver that ignores one gets.

The data sheet says that each one hurts, not always how much: the amounts here are ours, large enough to fail a test.
"""

from boards.virtual.chips.sx1262.registers import (
    EVENT_MASK,
    IQ_POLARITY,
    RTC_CONTROL,
    TX_CLAMP,
    TX_MODULATION,
    Registers,
)
from boards.virtual.waveform import Modulation

MODULATION_LOSS_DB = 12.0  # 15.1 "some sensitivity degradation"
CLAMP_LOSS_DB = 5.5  # 15.2 "typically 5 to 6 dB less output power than expected"
LONGEST_SAFE_LEN = 16  # 15.4 "packet losses ... for longer packets": here all longer ones fail their CRC

_BIT_2 = 0x04
_CLAMP_BITS = 0x1E


def modulation_loss_db(registers: Registers, modulation: Modulation) -> float:
    """15.1: before every transmission bit 2 of 0x0889 must be 0 for LoRa at 500 kHz and 1 for everything else."""
    wanted = 0 if modulation.bandwidth_divisor == 1 else _BIT_2
    return 0.0 if registers.read(TX_MODULATION) & _BIT_2 == wanted else MODULATION_LOSS_DB


def clamp_loss_db(registers: Registers) -> float:
    """15.2: bits 4 to 1 of 0x08D8 must be set after power-on and cold start, or the clamp cuts the power."""
    return 0.0 if registers.read(TX_CLAMP) & _CLAMP_BITS == _CLAMP_BITS else CLAMP_LOSS_DB


def has_wrong_iq_bit(registers: Registers, is_inverted: bool) -> bool:
    """15.4: bit 2 of 0x0736 must be 0 for inverted IQ and 1 for standard."""
    return bool(registers.read(IQ_POLARITY) & _BIT_2) == is_inverted


def spoil_iq_bit(registers: Registers) -> None:
    """SetPacketParams sets bit 2 back, so that the work-around is needed after each one, not only after a change."""
    registers.write(IQ_POLARITY, registers.read(IQ_POLARITY) | _BIT_2)


class StrayTimer:
    """15.3: after a timed reception with implicit header the timer runs on, and fires in whatever comes next.

    Writing 0 to 0x0902 stops it but leaves its event pending; bit 1 of 0x0944 clears the event.
    """

    def __init__(self) -> None:
        self.fires_us: int | None = None
        self._is_pending = False

    def leave_running(self, deadline_us: int) -> None:
        self.fires_us, self._is_pending = deadline_us, False

    def disarm(self) -> None:
        """The timer was stopped or programmed anew by the chip itself."""
        self.fires_us, self._is_pending = None, False

    def register_written(self, address: int, value: int) -> None:
        if address == RTC_CONTROL and value == 0 and self.fires_us is not None:
            self.fires_us, self._is_pending = None, True
        elif address == EVENT_MASK and value & 0x02:
            self._is_pending = False

    def resume(self, now_us: int) -> None:
        """A mode that does not program the timer begins: an event left pending shows at once."""
        if self._is_pending:
            self.fires_us, self._is_pending = now_us, False
