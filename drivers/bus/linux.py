"""SPI, Pin, I2C and UART of a Linux board under the names of `machine`: spidev, lgpio, smbus2 and pyserial.

Each library is imported when first needed, so that a gateway without a radio of its own needs none of them. What is
missing (package, device file, permission) is said as BusError with the next step. Not for MicroPython.
"""

# pyright: reportMissingImports=false

import glob

# The 40-pin header of a Pi 5, 4, and 0 to 3. On a Pi 5 its number has changed with the kernel (raspberrypi/linux#6144),
# and gpiozero opens a fixed one (gpiozero#1166): so lgpio directly, and the label.
HEADER_CHIPS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
_INSTALL = "install it with: pip install 'lamppost[pi]'"


class BusError(Exception):
    """A bus of this machine is not usable: the message says which, and the next step."""


class SPI:
    """One SPI bus, e.g. /dev/spidev0.0."""

    def __init__(self, bus=0, device=0, *, baudrate=2_000_000, drives_nss=False):
        """drives_nss: the kernel's own CE line is the chip's NSS (then the radio gets nss=None); else a Pin is."""
        try:
            import spidev
        except ImportError as error:
            raise BusError(_missing("spidev", error)) from error
        path = "/dev/spidev%d.%d" % (bus, device)
        self._spi = spidev.SpiDev()
        try:
            self._spi.open(bus, device)
            self._spi.mode = 0
            self._spi.max_speed_hz = baudrate
        except OSError as error:
            raise BusError(_unusable(path, error, "spi", "SPI: dtparam=spi=on")) from error
        if not drives_nss:
            try:
                self._spi.no_cs = True
            except OSError:
                pass  # this controller cannot leave its CE line alone; it is not wired to the chip, so that is harmless

    def write_readinto(self, out, back):
        """Full duplex."""
        back[:] = bytes(self._spi.xfer2(list(out)))

    def deinit(self):
        """Give the bus back."""
        self._spi.close()


class Pin:
    """One GPIO of the header, by its BCM number."""

    IN = 0
    OUT = 1
    PULL_UP = 1
    PULL_DOWN = 2

    def __init__(self, number, mode=IN, pull=None, *, value=0, chip_labels=HEADER_CHIPS):
        """chip_labels: the header's GPIO chip by label, as its number differs between boards and kernels (Pi 5)."""
        try:
            import lgpio
        except ImportError as error:
            raise BusError(_missing("lgpio", error)) from error
        self._lgpio = lgpio
        self._number = number
        self._handle = _open_chip(lgpio, chip_labels)
        try:
            if mode == self.OUT:
                lgpio.gpio_claim_output(self._handle, number, value)
            else:
                flags = {None: 0, self.PULL_UP: lgpio.SET_PULL_UP, self.PULL_DOWN: lgpio.SET_PULL_DOWN}[pull]
                lgpio.gpio_claim_input(self._handle, number, flags)
        except lgpio.error as error:
            lgpio.gpiochip_close(self._handle)
            raise BusError(
                "GPIO %d is not to be had: %s; see who holds it with gpioinfo, and check the pins of the board file"
                % (number, error)
            ) from error

    def value(self, level=None):
        """The level now, or set it."""
        if level is None:
            return self._lgpio.gpio_read(self._handle, self._number)
        self._lgpio.gpio_write(self._handle, self._number, 1 if level else 0)
        return None

    __call__ = value

    def deinit(self):
        """Give the pin back."""
        self._lgpio.gpio_free(self._handle, self._number)
        self._lgpio.gpiochip_close(self._handle)


class I2C:
    """One I2C bus, e.g. /dev/i2c-1."""

    def __init__(self, bus=1):
        try:
            import smbus2
        except ImportError as error:
            raise BusError(_missing("smbus2", error)) from error
        self._message = smbus2.i2c_msg
        try:
            self._bus = smbus2.SMBus(bus)
        except OSError as error:
            raise BusError(_unusable("/dev/i2c-%d" % bus, error, "i2c", "I2C: dtparam=i2c_arm=on")) from error

    def writeto(self, addr, data):
        """Raises OSError if nobody answers."""
        self._bus.i2c_rdwr(self._message.write(addr, data))

    def readfrom_into(self, addr, buf):
        """Fill `buf`. Raises OSError if nobody answers."""
        message = self._message.read(addr, len(buf))
        self._bus.i2c_rdwr(message)
        buf[:] = bytes(message)

    def deinit(self):
        """Give the bus back."""
        self._bus.close()


class UART:
    """One serial port, 8N1."""

    def __init__(self, path="/dev/serial0", baudrate=9600):
        try:
            import serial
        except ImportError as error:
            raise BusError(_missing("pyserial", error)) from error
        try:
            self._port = serial.Serial(path, baudrate, timeout=0)
        except OSError as error:  # SerialException is one
            raise BusError(_unusable(path, error, "dialout", "the UART: enable_uart=1")) from error

    def any(self):
        """Bytes waiting."""
        return self._port.in_waiting

    def read(self, n):
        """Up to `n` bytes, or None if none wait."""
        return self._port.read(n) or None

    def write(self, data):
        """Send all of `data`."""
        return self._port.write(data)

    def deinit(self):
        """Give the port back."""
        self._port.close()


def _open_chip(lgpio, labels):
    """A handle to the first GPIO chip with one of `labels`. Raises BusError naming the labels found instead."""
    found = []
    for path in sorted(glob.glob("/dev/gpiochip*")):
        try:
            handle = lgpio.gpiochip_open(int(path[len("/dev/gpiochip") :]))
        except lgpio.error as error:
            found.append("%s: %s" % (path, error))
            continue
        label = lgpio.gpio_get_chip_info(handle)[3]
        if label in labels:
            return handle
        lgpio.gpiochip_close(handle)
        found.append("%s: %s" % (path, label))
    raise BusError(
        "no GPIO chip of a Raspberry Pi header (%s) among: %s; if permission is refused, add the user to group gpio"
        % (", ".join(labels), "; ".join(found) or "no /dev/gpiochip* at all")
    )


def _missing(package, error):
    return "the Python package %s is missing (%s); %s" % (package, error, _INSTALL)


def _unusable(path, error, group, switch):
    if getattr(error, "errno", None) == 13:
        return "no permission for %s; add the user to it with: sudo usermod -aG %s $USER, then log in again" % (
            path,
            group,
        )
    return "%s is not usable (%s); enable %s in /boot/firmware/config.txt, then reboot" % (path, error, switch)
