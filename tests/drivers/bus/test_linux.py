"""The Linux side of the bus contract: what it says when something is missing, and a real serial port (a PTY).

spidev, lgpio and smbus2 need hardware: recorders with their call signatures stand in, and docs/unproven.md says so.
"""

import builtins
import os
import pty
import select
import sys
import tty
from types import SimpleNamespace

import pytest

from drivers.bus import linux


@pytest.mark.parametrize(
    "package, module, make",
    [
        ("spidev", "spidev", lambda: linux.SPI(0, 0)),
        ("lgpio", "lgpio", lambda: linux.Pin(17)),
        ("smbus2", "smbus2", lambda: linux.I2C(1)),
        ("pyserial", "serial", lambda: linux.UART("/dev/null")),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, package, module, make):
    monkeypatch.setitem(sys.modules, module, None)  # what an import of an absent package does
    with pytest.raises(linux.BusError, match=rf"{package} is missing.*pip install 'lamppost\[pi\]'"):
        make()


def test_importing_the_module_needs_no_package(monkeypatch):
    asked = []
    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: asked.append(name) or real_import(name, *rest))
    monkeypatch.delitem(sys.modules, "drivers.bus.linux")
    import drivers.bus.linux  # noqa: F401

    assert not {"spidev", "lgpio", "smbus2", "serial"} & set(asked)


def test_a_missing_serial_port_is_named():
    with pytest.raises(linux.BusError, match=r"/dev/lamppost-none is not usable.*enable_uart=1"):
        linux.UART("/dev/lamppost-none")


def test_a_serial_port_carries_bytes_both_ways():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    try:
        port = linux.UART(os.ttyname(theirs), 9600)
        assert (port.any(), port.read(8)) == (0, None)
        os.write(ours, b"\x42\x4d\x00")
        assert select.select([port._port], [], [], 5)[0], "nothing arrived"
        assert port.any() == 3
        assert port.read(2) == b"\x42\x4d"
        port.write(b"\xe2")
        assert os.read(ours, 8) == b"\xe2"
        port.deinit()
    finally:
        os.close(ours)
        os.close(theirs)


class SpiDev:
    """py-spidev's calls; `fault` is what open() raises."""

    fault = None
    refuses_no_cs = False

    def __init__(self):
        self.sent = []

    def __setattr__(self, name, value):
        if name == "no_cs" and self.refuses_no_cs:
            raise OSError(22, "Invalid argument")
        object.__setattr__(self, name, value)

    def open(self, bus, device):
        if self.fault:
            raise self.fault

    def xfer2(self, values):
        return [value ^ 0xFF for value in values]

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    "fault, said",
    [
        (PermissionError(13, "Permission denied"), r"no permission for /dev/spidev0.0.*usermod -aG spi"),
        (FileNotFoundError(2, "No such file"), r"/dev/spidev0.0 is not usable.*dtparam=spi=on"),
    ],
)
def test_an_unusable_spi_bus_is_named(monkeypatch, fault, said):
    monkeypatch.setitem(sys.modules, "spidev", SimpleNamespace(SpiDev=type("Faulty", (SpiDev,), {"fault": fault})))
    with pytest.raises(linux.BusError, match=said):
        linux.SPI(0, 0)


@pytest.mark.parametrize("refuses", [False, True])
def test_spi_transfers_in_place(monkeypatch, refuses):
    monkeypatch.setitem(
        sys.modules, "spidev", SimpleNamespace(SpiDev=type("Kernel", (SpiDev,), {"refuses_no_cs": refuses}))
    )
    buf = bytearray(b"\x00\x0f\xff\xaa")
    window = memoryview(buf)[:3]
    linux.SPI(0, 0).write_readinto(window, window)
    assert buf == b"\xff\xf0\x00\xaa"


class Lgpio:
    """lgpio's calls on chips with the given labels."""

    SET_PULL_UP, SET_PULL_DOWN = 32, 64
    error = type("error", (Exception,), {})

    def __init__(self, labels, *, busy=()):
        self.labels, self.busy, self.levels, self.open = labels, busy, {}, set()

    def gpiochip_open(self, number):
        self.open.add(number)
        return number

    def gpiochip_close(self, handle):
        self.open.discard(handle)

    def gpio_get_chip_info(self, handle):
        return [0, 54, f"gpiochip{handle}", self.labels[handle]]

    def gpio_claim_output(self, handle, number, level):
        if number in self.busy:
            raise self.error("'GPIO busy'")
        self.levels[handle, number] = level

    def gpio_claim_input(self, handle, number, flags):
        self.levels[handle, number] = int(flags == self.SET_PULL_UP)

    def gpio_read(self, handle, number):
        return self.levels[handle, number]

    def gpio_write(self, handle, number, level):
        self.levels[handle, number] = level


@pytest.fixture
def chips(monkeypatch):
    """Install an lgpio with these chips."""

    def install(labels, **options):
        lgpio = Lgpio(labels, **options)
        monkeypatch.setitem(sys.modules, "lgpio", lgpio)
        monkeypatch.setattr(linux.glob, "glob", lambda pattern: [f"/dev/gpiochip{at}" for at in labels])
        return lgpio

    return install


@pytest.mark.parametrize(
    "labels, expected",
    [
        ({0: "pinctrl-bcm2711", 1: "raspberrypi-exp-gpio"}, 0),  # Pi 4
        ({0: "gpio-brcmstb@107d508500", 3: "gpio-brcmstb@107d517c20", 4: "pinctrl-rp1"}, 4),  # Pi 5, kernel 6.6.20
        ({0: "pinctrl-rp1", 10: "gpio-brcmstb@107d508500", 13: "gpio-brcmstb@107d517c20"}, 0),  # Pi 5, kernel 6.6.47
        ({11: "gpio-brcmstb@107d508500", 15: "pinctrl-rp1"}, 15),  # Pi 5, two digits: Adafruit_Blinka#1119
    ],
)
def test_the_header_is_found_by_label(chips, labels, expected):
    lgpio = chips(labels)
    pin = linux.Pin(18, linux.Pin.OUT, value=1)
    assert lgpio.levels == {(expected, 18): 1}
    pin.value(0)
    assert (pin.value(), pin()) == (0, 0)
    assert lgpio.open == {expected}  # the others were closed again


def test_a_machine_without_a_header_is_named_with_what_it_has(chips):
    chips({0: "INT34C5:00"})
    with pytest.raises(linux.BusError, match=r"/dev/gpiochip0: INT34C5:00.*group gpio"):
        linux.Pin(18)


def test_a_pin_in_use_is_named(chips):
    chips({0: "pinctrl-rp1"}, busy=(8,))
    with pytest.raises(linux.BusError, match=r"GPIO 8 is not to be had: 'GPIO busy'.*gpioinfo"):
        linux.Pin(8, linux.Pin.OUT)


def test_i2c_writes_and_reads_whole_messages(monkeypatch):
    class Message(bytearray):
        @classmethod
        def write(cls, addr, data):
            return ("write", addr, bytes(data))

        @classmethod
        def read(cls, addr, length):
            return cls(length)

    sent = []

    class Bus:
        def __init__(self, bus):
            assert bus == 1

        def i2c_rdwr(self, message):
            sent.append(message)
            if isinstance(message, Message):
                message[:] = b"\x60" * len(message)

    monkeypatch.setitem(sys.modules, "smbus2", SimpleNamespace(SMBus=Bus, i2c_msg=Message))
    i2c, buf = linux.I2C(1), bytearray(2)
    i2c.writeto(0x76, b"\xd0")
    i2c.readfrom_into(0x76, buf)
    assert sent[0] == ("write", 0x76, b"\xd0")
    assert buf == b"\x60\x60"
