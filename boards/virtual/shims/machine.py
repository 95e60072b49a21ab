"""machine as on the ESP32-S3: resets, sleep, RTC, watchdog; pins and buses lead to the chips in the host process."""

import struct
import time

from _host import LINK, RESET_CAUSE, UNIQUE_ID, WAKE_REASON
from _remote import ADC, I2C, SPI, UART, Pin  # noqa: F401
from micropython import const
from umachine import PinBase, mem8, mem16, mem32, soft_reset  # noqa: F401

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
PIN_WAKE = 2
EXT0_WAKE = 2
EXT1_WAKE = 3
TIMER_WAKE = 4

_RESET = const(0x04)
_DEEP_SLEEP = const(0x06)
_WDT_START = const(0x07)
_WDT_FEED = const(0x08)
_RTC_GET = const(0x09)
_RTC_SET = const(0x0A)
_RTC_MEMORY_GET = const(0x0B)
_RTC_MEMORY_SET = const(0x0C)
_FOR_EVER = const(0xFFFFFFFFFFFFFFFF)
_freq_hz = 160_000_000


def reset_cause():
    return RESET_CAUSE


def wake_reason():
    return WAKE_REASON


def reset():
    LINK.ask(_RESET)


def bootloader():
    raise OSError(95, "the virtual board has no ROM bootloader")


def deepsleep(time_ms=None):
    LINK.ask(_DEEP_SLEEP, struct.pack(">Q", _FOR_EVER if time_ms is None else time_ms * 1000))


def lightsleep(time_ms=None):
    if time_ms is None:
        raise OSError(95, "the virtual board wakes from light sleep by its timer only; give a time")
    time.sleep_ms(time_ms)


def unique_id():
    return UNIQUE_ID


def freq(hz=None):
    global _freq_hz
    if hz is None:
        return _freq_hz
    _freq_hz = hz


def idle():
    time.sleep_us(100)


def disable_irq():
    return 0


def enable_irq(state):
    pass


class RTC:
    def datetime(self, date=None):
        """(year, month, day, weekday, hours, minutes, seconds, microseconds)"""
        if date is None:
            us = time.rtc_us()
            year, month, day, hour, minute, second, weekday, _ = time.gmtime(us // 1_000_000)
            return (year, month, day, weekday, hour, minute, second, us % 1_000_000)
        year, month, day, _, hour, minute, second, us = date
        us += time.mktime((year, month, day, hour, minute, second, 0, 0)) * 1_000_000
        LINK.ask(_RTC_SET, struct.pack(">q", us))
        time.set_rtc_us(us)

    init = datetime

    def memory(self, data=None):
        """2048 bytes that survive all but a power cut."""
        if data is None:
            return bytes(LINK.ask(_RTC_MEMORY_GET))
        if len(data) > 2048:
            raise ValueError("buffer too long")
        LINK.ask(_RTC_MEMORY_SET, bytes(data))


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        LINK.ask(_WDT_START, struct.pack(">I", timeout))

    def feed(self):
        LINK.ask(_WDT_FEED)


class Timer:
    def __init__(self, *arguments, **settings):
        raise OSError(95, "the virtual board has no timer interrupts; use asyncio")
