"""What is soldered to which pin: leads the board's pins, SPI, I2C, UART and ADC to the chip models.

A chip answers only on the pins of the board's data file. Inputs that nothing drives read their pull; a chip select that
nobody drives is held high by the pull-up that modules have.
"""

import errno
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from boards import data
from boards.data import Board
from boards.virtual import rpc

NO_PIN = 255
PULL_UP = 2
MODE_IN = 1
MODE_OUT = 3


class RadioChip(Protocol):
    def select(self, level: int) -> None: ...
    def transfer(self, mosi: bytes) -> bytes: ...
    def busy(self) -> int: ...
    def dio1(self) -> int: ...
    def reset(self, level: int) -> None: ...


class I2cChip(Protocol):
    addr: int

    def write(self, data: bytes) -> None: ...
    def read(self, n: int) -> bytes: ...


class UartChip(Protocol):
    def write(self, data: bytes) -> None: ...
    def read(self, n: int) -> bytes: ...
    def any(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Chips:
    """What is on a board. `analog`: microvolts by pin. `on_vext`: those of the chips that Vext supplies."""

    radio: RadioChip | None = None
    i2c: Sequence[I2cChip] = ()
    uart: UartChip | None = None
    uart_baudrate: int = 9600
    analog: Mapping[int, Callable[[], int]] = field(default_factory=dict)
    on_vext: Sequence[object] = ()


class Wiring:
    def __init__(self, board: Board, chips: Chips) -> None:
        self._board, self._chips = board, chips
        self._modes: dict[int, int] = {}
        self._pulls: dict[int, int] = {}
        self._levels: dict[int, int] = {}
        self._is_pressed = self._is_closed = False
        self._is_spi_right = self._is_i2c_right = self._is_uart_right = False
        self._inputs: dict[int, Callable[[], int]] = {}
        self._outputs: dict[int, Callable[[int], None]] = {}
        self._connect_radio()
        if board.button is not None:
            self._inputs[board.button] = lambda: 0 if self._is_pressed else 1
        if board.vext is not None:
            self._outputs[board.vext.pin] = self._switch_vext
        self._is_vext_on = False
        self._was_cut = False

    def handlers(self) -> dict[int, rpc.Handler]:
        return {
            rpc.BOARD: lambda _: self._board.to_json().encode(),
            rpc.PIN_INIT: self._pin_init,
            rpc.PIN_GET: lambda question: bytes([self.level(question[0])]),
            rpc.PIN_SET: self._pin_set,
            rpc.ADC_READ_UV: self._adc_read_uv,
            rpc.SPI_INIT: self._spi_init,
            rpc.SPI_TRANSFER: self._spi_transfer,
            rpc.I2C_INIT: self._i2c_init,
            rpc.I2C_WRITE: self._i2c_write,
            rpc.I2C_READ: self._i2c_read,
            rpc.UART_INIT: self._uart_init,
            rpc.UART_WRITE: self._uart_write,
            rpc.UART_READ: self._uart_read,
            rpc.UART_ANY: self._uart_any,
        }

    def press(self, is_pressed: bool) -> None:
        """Hold the button down, or let it go."""
        self._is_pressed = is_pressed

    def close_switch(self, is_closed: bool) -> None:
        """Connect the pin of the board's switch to ground, or let it go: then its pull decides."""
        self._is_closed = is_closed

    def can_wake(self, pin: int) -> bool:
        """Whether the chip has this pin in its RTC domain."""
        return pin in data.RTC_PINS.get(self._board.mcu, ())

    def pull(self, pin: int) -> int:
        return self._pulls.get(pin, 0)

    def hold_pull(self, pin: int, pull: int) -> None:
        """EXT0 keeps the RTC domain powered in deep sleep, and with it the pull of its pin."""
        self._pulls[pin] = pull

    def level(self, pin: int) -> int:
        """What is measured at a pin."""
        if self._modes.get(pin) == MODE_OUT:
            return self._levels.get(pin, 0)
        if self._is_closed and self._board.switch is not None and pin == self._board.switch.pin:
            return 0
        if pin in self._inputs:
            return self._inputs[pin]()
        return 1 if self._pulls.get(pin) == PULL_UP else 0

    def float_pins(self) -> None:
        """After every reset all pins are inputs; chips keep their supply and their state."""
        driven = [pin for pin, mode in self._modes.items() if mode == MODE_OUT]
        self._modes.clear()
        self._pulls.clear()
        self._levels.clear()
        self._is_spi_right = self._is_i2c_right = self._is_uart_right = False
        for pin in driven:
            if pin in self._outputs:
                self._outputs[pin](1)

    def power(self, *, is_on: bool) -> None:
        """The supply of the board, and so of its chips, comes or goes. New chips have just got theirs."""
        self.float_pins()
        if is_on and not self._was_cut:
            return
        self._was_cut = not is_on
        for chip in (self._chips.radio, self._chips.uart, *self._chips.i2c):
            power = getattr(chip, "power", None)
            if power is not None:
                power(int(is_on))
            elif is_on:
                _power_cycle(chip)

    def _connect_radio(self) -> None:
        chip, pins = self._chips.radio, self._board.radio
        if chip is None:
            return
        if pins.nss is not None:
            self._outputs[pins.nss] = chip.select
        self._outputs[pins.reset] = chip.reset
        if pins.busy is not None:
            self._inputs[pins.busy] = chip.busy
        if pins.dio1 is not None:
            self._inputs[pins.dio1] = chip.dio1
        for name, pin in (("rxen", pins.rxen), ("txen", pins.txen)):
            if pin is not None and hasattr(chip, name):
                self._outputs[pin] = getattr(chip, name)

    def _switch_vext(self, level: int) -> None:
        assert self._board.vext is not None
        is_on = level == self._board.vext.on_level
        if is_on and not self._is_vext_on:
            for chip in self._chips.on_vext:
                _power_cycle(chip)
        self._is_vext_on = is_on

    def _is_powered(self, chip: object) -> bool:
        return self._is_vext_on or not any(chip is other for other in self._chips.on_vext)

    # --- pins ---

    def _pin_init(self, question: bytes) -> None:
        pin, mode, pull = question[:3]
        if mode:
            self._modes[pin] = mode
        self._pulls[pin] = pull
        if len(question) > 3:
            self._drive(pin, question[3])
        elif mode == MODE_OUT and pin not in self._levels:
            self._drive(pin, 0)

    def _pin_set(self, question: bytes) -> None:
        self._drive(question[0], question[1])

    def _drive(self, pin: int, level: int) -> None:
        self._levels[pin] = level
        if self._modes.get(pin) == MODE_OUT and pin in self._outputs:
            self._outputs[pin](level)

    def _adc_read_uv(self, question: bytes) -> bytes:
        source = self._chips.analog.get(question[0])
        return struct.pack(">i", 0 if source is None else source())

    # --- SPI: MISO floats high unless a selected chip drives it ---

    def _spi_init(self, question: bytes) -> None:
        wired = self._board.spi
        self._is_spi_right = _is_wired(question, wired.id, (wired.sck, wired.mosi, wired.miso))

    def _spi_transfer(self, question: bytes) -> bytes:
        mosi, chip, nss = question[1:], self._chips.radio, self._board.radio.nss
        is_selected = nss is None or (self._modes.get(nss) == MODE_OUT and self._levels.get(nss) == 0)
        if chip is None or not self._is_spi_right or not is_selected:
            return b"\xff" * len(mosi)
        if nss is not None:
            return chip.transfer(mosi)
        chip.select(0)  # the bus drives NSS
        miso = chip.transfer(mosi)
        chip.select(1)
        return miso

    # --- I2C ---

    def _i2c_init(self, question: bytes) -> None:
        wired = self._board.i2c
        self._is_i2c_right = wired is not None and _is_wired(question, wired.id, (wired.sda, wired.scl))

    def _i2c_chip(self, addr: int) -> I2cChip:
        for chip in self._chips.i2c:
            if chip.addr == addr and self._is_i2c_right and self._is_powered(chip):
                return chip
        raise OSError(errno.ENODEV, f"nothing answers at 0x{addr:02x}")

    def _i2c_write(self, question: bytes) -> None:
        self._i2c_chip(question[1]).write(question[2:])

    def _i2c_read(self, question: bytes) -> bytes:
        _, addr, length = struct.unpack(">BBH", question)
        return self._i2c_chip(addr).read(length)

    # --- UART ---

    def _heard(self) -> UartChip | None:
        """The chip at the port's other end, if port and chip understand each other."""
        chip = self._chips.uart
        return chip if chip is not None and self._is_uart_right and self._is_powered(chip) else None

    def _uart_init(self, question: bytes) -> None:
        wired, chip = self._board.uart, self._chips.uart
        port, tx, rx, baudrate = struct.unpack(">BBBI", question)
        self._is_uart_right = (
            wired is not None
            and chip is not None
            and baudrate == self._chips.uart_baudrate
            and _is_wired(bytes([port, tx, rx]), wired.id, (wired.tx, wired.rx))
        )
        if chip is not None:
            chip.read(chip.any())  # the port starts with an empty buffer

    def _uart_write(self, question: bytes) -> None:
        chip = self._heard()
        if chip is not None:
            chip.write(question[1:])

    def _uart_read(self, question: bytes) -> bytes:
        _, length = struct.unpack(">BH", question)
        chip = self._heard()
        return b"" if chip is None else chip.read(length)

    def _uart_any(self, _: bytes) -> bytes:
        chip = self._heard()
        return struct.pack(">H", 0 if chip is None else chip.any())


def _is_wired(question: bytes, number: int, pins: tuple[int, ...]) -> bool:
    """Whether a bus was opened on the board's pins: named, or left out with the board's own bus number."""
    asked = tuple(question[1:])
    if all(pin == NO_PIN for pin in asked):
        return question[0] == number
    return asked == pins


def _power_cycle(chip: object) -> None:
    power_cycle = getattr(chip, "power_cycle", None)
    if power_cycle is not None:
        power_cycle()
