"""esp32: NVS, the partitions, and what wakes the board from deep sleep."""

import struct

from _host import LINK
from micropython import const

WAKEUP_ALL_LOW = False
WAKEUP_ANY_HIGH = True

_WAKE_ON_PIN = const(0x0D)
_NVS_GET = const(0x20)
_NVS_SET = const(0x21)
_NVS_ERASE = const(0x22)
_NVS_COMMIT = const(0x23)
_NVS_PAGE_USED = const(0x24)
_NVS_PAGE_ERASE = const(0x25)
_NVS_PAGES = const(6)
_I32 = const(0x14)
_BLOB = const(0x42)
_INVALID_LENGTH = const(-0x110C)


def wake_on_ext0(pin=None, level=None):
    try:
        LINK.ask(_WAKE_ON_PIN, bytes([255 if pin is None else pin.number, 1 if level else 0]))
    except OSError:
        raise ValueError("invalid pin")


def wake_on_ext1(pins=(), level=WAKEUP_ANY_HIGH):
    """One pin is modelled."""
    if len(pins) > 1:
        raise OSError(95, "the virtual board wakes by one pin")
    wake_on_ext0(pins[0] if pins else None, level)


def gpio_deep_sleep_hold(enable):
    """Outputs go back to inputs in deep sleep; the model's NSS has a pull-up, so there is nothing to hold."""


def mcu_temperature():
    return 40


class NVS:
    """Integers and blobs of one namespace. OSError carries the code of ESP-IDF: -0x1102, there is no such key."""

    def __init__(self, namespace):
        self._namespace = _counted(namespace)

    def get_i32(self, key):
        return struct.unpack(">i", self._get(_I32, key))[0]

    def set_i32(self, key, value):
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise OverflowError("overflow converting long int to machine word")
        self._set(_I32, key, struct.pack(">i", value))

    def get_blob(self, key, buffer):
        value = self._get(_BLOB, key)
        if len(value) > len(buffer):
            raise OSError(_INVALID_LENGTH)
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key, value):
        self._set(_BLOB, key, value.encode() if isinstance(value, str) else bytes(value))

    def erase_key(self, key):
        LINK.ask(_NVS_ERASE, self._namespace + key.encode())

    def commit(self):
        LINK.ask(_NVS_COMMIT)

    def _get(self, kind, key):
        return LINK.ask(_NVS_GET, bytes([kind]) + self._namespace + key.encode())

    def _set(self, kind, key, value):
        LINK.ask(_NVS_SET, bytes([kind]) + self._namespace + _counted(key) + value)


def _counted(text):
    return bytes([len(text)]) + text.encode()


class Partition:
    """`find`, and the NVS partition as a block device: what a page holds is not shown, but whether it is erased."""

    TYPE_APP = 0
    TYPE_DATA = 1

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None, block_size=4096):
        from flashbdev import bdev

        both = (Partition(), bdev) if type == Partition.TYPE_DATA else ()
        return [one for one in both if label in (None, one.info()[4]) and subtype in (0xFF, one.info()[1])]

    def info(self):
        """(type, subtype, address, size, label, encrypted)"""
        return (1, 2, 0x9000, _NVS_PAGES * 4096, "nvs", False)

    def readblocks(self, block, buf, offset=0):
        value = 0 if LINK.ask(_NVS_PAGE_USED, bytes([block]))[0] else 0xFF
        for at in range(len(buf)):
            buf[at] = value

    def ioctl(self, operation, argument):
        if operation == 4:
            return _NVS_PAGES
        if operation == 5:
            return 4096
        if operation == 6:
            LINK.ask(_NVS_PAGE_ERASE, bytes([argument]))
        return 0
