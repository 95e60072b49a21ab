"""esp32: NVS, and what wakes the board from deep sleep."""

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
