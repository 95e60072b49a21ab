"""Pins and buses lead to the chips that are wired there, and to nothing else; no interrupt mixes up answers."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from boards import data
from boards.virtual.board import VirtualBoard
from boards.virtual.loop import Loop
from boards.virtual.socket_board import SocketBoard
from boards.virtual.street import Street
from boards.virtual.wiring import Chips
from drivers.bus.remote import RemoteBoard
from tests.boards.virtual.running import boot_with, printed_by
from tests.boards.virtual.stand_ins import EchoRadio, Loopback, Registers

MakeBoard = Callable[..., VirtualBoard]

_HEADER = """
import machine
from machine import Pin
spi = machine.SPI(1, sck=Pin(9), mosi=Pin(10), miso=Pin(11))
nss = Pin(8, Pin.OUT, value=1)
buf = bytearray(3)
def frame(spi):
    nss.value(0)
    spi.write_readinto(b"abc", buf)
    nss.value(1)
    return bytes(buf)
"""


def test_spi_reaches_the_radio_while_nss_is_low_and_on_its_own_pins_only(make_virtual_board: MakeBoard) -> None:
    radio = EchoRadio()
    radio.irq = 1
    board = make_virtual_board(chips=Chips(radio=radio))
    source = """
print(frame(spi), Pin(14, Pin.IN).value(), Pin(13, Pin.IN).value())
spi.write_readinto(b"abc", buf)
print(bytes(buf))
wrong = machine.SPI(1, sck=Pin(9), mosi=Pin(11), miso=Pin(10))
print(frame(wrong))
Pin(12, Pin.OUT, value=0).value(1)
"""
    assert printed_by(board, _HEADER + source) == [
        "b'bcd' 1 0",
        "b'\\xff\\xff\\xff'",  # nobody is selected
        "b'\\xff\\xff\\xff'",  # MOSI and MISO crossed
    ]
    assert radio.frames == 2
    assert radio.resets >= 1


def test_i2c_answers_where_a_chip_is_and_enodev_elsewhere(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board(chips=Chips(i2c=[Registers(0x76)]))
    source = """
from machine import I2C, Pin
i2c = I2C(0, sda=Pin(41), scl=Pin(42))
i2c.writeto_mem(0x76, 0x10, b"xyz")
print(i2c.scan(), i2c.readfrom_mem(0x76, 0x0f, 5))
try:
    i2c.readfrom(0x77, 1)
except OSError as error:
    print(error.errno)
print(I2C(0, sda=Pin(1), scl=Pin(42)).scan())
"""
    assert printed_by(board, source) == ["[118] b'\\x0fxyz\\x13'", "19", "[]"]


def test_uart_is_heard_at_the_chips_speed_only(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board(chips=Chips(uart=Loopback()))
    source = """
from machine import UART
uart = UART(1, 9600, tx=47, rx=48)
uart.write(b"hello")
print(uart.any(), uart.read(2), uart.read(), uart.read())
uart = UART(1, 115200, tx=47, rx=48)
uart.write(b"hello")
print(uart.any())
"""
    assert printed_by(board, source) == ["5 b'he' b'llo' None", "0"]


def test_a_chip_on_vext_answers_once_the_rail_is_on(make_virtual_board: MakeBoard) -> None:
    chip = Registers()
    board = make_virtual_board(chips=Chips(i2c=[chip], on_vext=[chip]))
    source = """
from machine import I2C, Pin
i2c = I2C(0)
before = i2c.scan()
vext = Pin(36, Pin.OUT, value=0)
print(before, i2c.scan())
vext.value(1)
print(i2c.scan())
"""
    assert printed_by(board, source) == ["[] [118]", "[]"]
    assert chip.power_cycles >= 1


def test_adc_and_button_read_what_the_host_says(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board(chips=Chips(analog={2: lambda: 1_234_000}))
    source = """
from machine import ADC, Pin
print(ADC(Pin(2)).read_uv(), ADC(3).read_uv(), Pin(0, Pin.IN, Pin.PULL_UP).value())
"""
    assert printed_by(board, source) == ["1234000 0 1"]
    board.press_button()
    assert printed_by(board, source) == ["1234000 0 0"]


def test_a_storm_of_ctrl_c_never_mixes_up_answers(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board(chips=Chips(radio=EchoRadio()))
    source = """
count = 0
while count < 25:
    try:
        print("round", count, ".")
        while True:
            out = bytes((n & 0x7f, 7, 9)) if (n := globals().get("n", 0) + 1) else b""
            nss.value(0)
            spi.write_readinto(out, buf)
            nss.value(1)
            if bytes(buf) != bytes((out[0] + 1, 8, 10)):
                print("mixed up", out, buf)
    except KeyboardInterrupt:
        count += 1
print("survived")
"""
    start = boot_with(board, _HEADER + source)
    for count in range(25):
        start = board.wait_for_console(f"round {count} .", after=start)
        board.type(b"\x03")
    board.wait_for_console("survived", after=start)
    assert "mixed up" not in board.console()


@pytest.mark.soak  # a slow machine is no fault of the code
@pytest.mark.serial
def test_one_question_takes_less_than_200_microseconds(make_virtual_board: MakeBoard) -> None:
    source = """
import time
from machine import Pin
pin = Pin(13, Pin.IN)
took = []
for _ in range(2000):
    start = time.ticks_us()
    pin.value()
    took.append(time.ticks_diff(time.ticks_us(), start))
print(sorted(took)[1000])
"""
    (median_us,) = printed_by(make_virtual_board(chips=Chips(radio=EchoRadio())), source)
    assert int(median_us) <= 200


def test_a_gateway_reaches_the_street_chips_by_a_socket(street: Street) -> None:
    remote = RemoteBoard(street.gateway_radio_path)
    board = remote.board()
    assert board["radio"]["chip"] == "sx1262"
    assert remote.I2C(0).readfrom_mem(0x76, 0xD0, 1) == b"\x60"  # BME280's id
    remote.close()


def test_chips_behind_a_socket_keep_their_state_between_clients(tmp_path: Path) -> None:
    loop = Loop()
    loop.start()
    chip = Registers()
    host = SocketBoard(loop, tmp_path / "s", data.load("heltec_v3"), Chips(i2c=[chip]))
    loop.call(host.start)
    first = RemoteBoard(str(host.path))
    first.I2C(0).writeto_mem(0x76, 1, b"!")
    first.close()
    second = RemoteBoard(str(host.path))
    assert second.I2C(0).readfrom_mem(0x76, 1, 1) == b"!"
    second.close()
    loop.call(host.close)
    loop.close()
    assert not os.path.exists(host.path)


def test_a_missing_street_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no virtual board answers at .*/none\.sock"):
        RemoteBoard(str(tmp_path / "none.sock"))
