"""The SX1262 as a board sees it: NSS and SPI bytes, BUSY, DIO1, reset, power, and the antenna switch pins.

In: levels and MOSI bytes. Out: MISO bytes with the status in every place where the data sheet has it. A command that
comes while BUSY is high is lost and counted. Source: data sheet chapter 8 (interface) and 10.3 (SPI).
"""

from collections import Counter
from collections.abc import Callable

from boards.virtual.air import Air
from boards.virtual.chips.sx1262 import modes
from boards.virtual.chips.sx1262.commands import GET_STATUS, READS, WRITES
from boards.virtual.chips.sx1262.front_end import Fitting
from boards.virtual.chips.sx1262.modes import CommandStatus, Mode
from boards.virtual.chips.sx1262.radio import NotPossibleError, RadioCore
from boards.virtual.clock import Clock


class Sx1262:
    def __init__(
        self,
        air: Air,
        clock: Clock,
        *,
        name: str,
        position_m: tuple[float, float] = (0.0, 0.0),
        fitting: Fitting | None = None,
    ) -> None:
        """air    must go by the same clock
        name   the sender in the air's records, and the seed of this receiver's luck
        """
        self.name = name
        self._lock = air.lock
        self._clock = clock
        self._radio = RadioCore(air, clock, name, position_m, fitting or Fitting())
        self._is_powered, self._reset_since_us = True, -1
        self._nss, self._frame = 1, _Frame()
        air.join(self)

    # --- pins --------------------------------------------------------------------------------------------------------

    def select(self, level: int) -> None:
        """NSS: a falling edge wakes a sleeping chip, a rising edge carries the command out."""
        with self._lock:
            self.settle()
            before, self._nss = self._nss, level
            if not self._runs() or bool(level) == bool(before):
                return
            if level:
                self._end_frame()
            else:
                self._begin_frame()

    def transfer(self, mosi: bytes) -> bytes:
        """Clock bytes through while NSS is low; may be called several times per command."""
        with self._lock:
            self.settle()
            if self._nss or not self._runs():
                return bytes(len(mosi))
            return bytes(self._exchange(byte) for byte in mosi)

    def busy(self) -> int:
        with self._lock:
            self.settle()
            return int(self._is_powered and (self._reset_since_us >= 0 or self._radio.is_busy))

    def dio1(self) -> int:
        with self._lock:
            self.settle()
            return int(self._runs() and bool(self._radio.irq & self._radio.settings.dio1_mask))

    def reset(self, level: int) -> None:
        """NRESET: low for at least 100 us, then the chip starts as from power-on (data sheet 8.1)."""
        with self._lock:
            self.settle()
            if not level and self._reset_since_us < 0:
                self._reset_since_us = self._clock.now_us()
            elif level and self._reset_since_us >= 0:
                is_long = self._clock.now_us() - self._reset_since_us >= modes.RESET_PULSE_US
                self._reset_since_us = -1
                if is_long:
                    self._restart()
                else:
                    self.counters["short_resets"] += 1

    def power(self, level: int) -> None:
        """The supply of the chip. Off, it is silent and its pins are low; on, it starts from nothing."""
        with self._lock:
            self.settle()
            if not level and self._is_powered:
                self._radio.power_on()  # stops whatever it was doing
            elif level and not self._is_powered:
                self._restart()
            self._is_powered = bool(level)

    def power_cycle(self) -> None:
        self.power(0)
        self.power(1)

    def rxen(self, level: int) -> None:
        with self._lock:
            self._radio.front_end.rxen = level

    def txen(self, level: int) -> None:
        with self._lock:
            self._radio.front_end.txen = level

    # --- for tests and the live view ---------------------------------------------------------------------------------

    @property
    def counters(self) -> Counter[str]:
        """Faults of the driver: busy_violations, unknown_commands, wrong_parameters, refused_commands, short_resets,
        early_wakes, pa_overdriven; and stray_timeouts, of erratum 15.3.
        """
        return self._radio.counters

    @property
    def mode(self) -> Mode:
        with self._lock:
            self.settle()
            return self._radio.mode

    @property
    def last_fault(self) -> str:
        """The newest command that was refused, and why; empty if there was none."""
        return self._frame.fault

    def settle(self) -> None:
        with self._lock:
            if self._is_powered:
                self._radio.settle()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _runs(self) -> bool:
        return self._is_powered and self._reset_since_us < 0

    def _restart(self) -> None:
        self._frame = _Frame()
        self._radio.power_on()

    def _begin_frame(self) -> None:
        fault = self._frame.fault
        self._frame = _Frame(fault)
        if self._radio.mode is Mode.SLEEP or self._radio.is_dozing:
            self._frame.is_ignored = True  # these bytes only wake it
            self._wake()

    def _wake(self) -> None:
        if self._radio.mode is Mode.SLEEP:
            self._radio.wake()
        else:
            self._radio.standby(Mode.STDBY_RC)
            self._radio.busy_until_us = self._clock.now_us() + modes.WARM_START_US

    def _exchange(self, byte: int) -> int:
        frame = self._frame
        if not frame.mosi and not frame.is_ignored and self._radio.is_busy:
            frame.is_ignored = True
            self.counters["busy_violations"] += 1
        if frame.is_ignored:
            return 0x00
        frame.mosi.append(byte)
        return self._answer(len(frame.mosi) - 1)

    def _answer(self, index: int) -> int:
        """MISO byte number `index` of this command."""
        mosi = self._frame.mosi
        read = READS.get(mosi[0])
        if read is None or index <= read.params + 1:
            return self._status_byte(mosi[0])
        if self._frame.data is None:
            try:
                self._frame.data = read.answer(self._radio, bytes(mosi[1 : 1 + read.params]))
            except NotPossibleError as error:
                self._refuse("refused_commands", CommandStatus.EXECUTION_FAILURE, str(error))
                self._frame.data = lambda _: 0x00
        return self._frame.data(index - read.params - 2)

    def _status_byte(self, opcode: int) -> int:
        """Bit 7 is reserved; a real chip shows it set except in GetStatus (traces in RadioLib issue 740)."""
        status = self._radio.mode.status_code << 4 | self._radio.status << 1
        return status if opcode == GET_STATUS else status | 0x80

    def _end_frame(self) -> None:
        if self._frame.is_ignored or not self._frame.mosi:
            return
        opcode, params = self._frame.mosi[0], bytes(self._frame.mosi[1:])
        if opcode in READS:
            if not self._frame.was_refused:
                self._radio.status = CommandStatus.IDLE
            return
        self._radio.status = CommandStatus.IDLE
        try:
            self._run(opcode, params)
        except ValueError as error:
            self._refuse("wrong_parameters", CommandStatus.PROCESSING_ERROR, str(error))
        except NotPossibleError as error:
            self._refuse("refused_commands", CommandStatus.EXECUTION_FAILURE, str(error))

    def _run(self, opcode: int, params: bytes) -> None:
        write = WRITES.get(opcode)
        if write is None:
            self._refuse("unknown_commands", CommandStatus.PROCESSING_ERROR, f"opcode 0x{opcode:02x}: unknown")
            return
        if not write.fewest <= len(params) <= write.most:
            raise ValueError(f"{write.name} with {len(params)} parameters: needs {write.fewest}")
        if self._radio.mode in modes.ACTIVE and not write.while_active:
            raise NotPossibleError(f"{write.name}: not while in {self._radio.mode.name}")
        write.run(self._radio, params)

    def _refuse(self, counter: str, status: CommandStatus, fault: str) -> None:
        self.counters[counter] += 1
        self._radio.status = status
        self._frame.fault, self._frame.was_refused = fault, True


class _Frame:
    """The bytes between two edges of NSS."""

    def __init__(self, fault: str = "") -> None:
        self.mosi = bytearray()
        self.data: Callable[[int], int] | None = None
        self.is_ignored = self.was_refused = False
        self.fault = fault
