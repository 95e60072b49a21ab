"""time as on the ESP32: seconds since 2000 from the RTC, ticks of 30 bits from each start; the host may scale them."""

from _host import RTC_US, SPEED, TICKS_MS
from micropython import const
from utime import gmtime as _gmtime
from utime import mktime as _mktime
from utime import sleep as _sleep
from utime import sleep_us as _sleep_us
from utime import ticks_us as _now_us

_MASK = const((1 << 30) - 1)
_HALF = const(1 << 29)
_1970_TO_2000_S = const(946_684_800)
_started_us = _now_us()
_rtc_us = RTC_US  # what the RTC showed at _started_us

if SPEED == 1:

    def _elapsed_us():
        return _now_us() - _started_us

    sleep = _sleep
    sleep_us = _sleep_us

    def sleep_ms(duration_ms):
        _sleep_us(duration_ms * 1000)

else:

    def _elapsed_us():
        return int((_now_us() - _started_us) * SPEED)

    def sleep(duration_s):
        _sleep(duration_s / SPEED)

    def sleep_ms(duration_ms):
        _sleep_us(int(duration_ms * 1000 / SPEED))

    def sleep_us(duration_us):
        _sleep_us(int(duration_us / SPEED))


def ticks_ms():
    return (_elapsed_us() // 1000 + TICKS_MS) & _MASK


def ticks_us():
    return (_elapsed_us() + TICKS_MS * 1000) & _MASK


ticks_cpu = ticks_us


def ticks_add(ticks, delta):
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return (ticks + delta) & _MASK


def ticks_diff(later, earlier):
    return ((later - earlier + _HALF) & _MASK) - _HALF


def time():
    return (_rtc_us + _elapsed_us()) // 1_000_000


def time_ns():
    return (_rtc_us + _elapsed_us()) * 1000


def gmtime(seconds=None):
    return _gmtime((time() if seconds is None else seconds) + _1970_TO_2000_S)[:8]


localtime = gmtime


def mktime(date):
    return int(_mktime((tuple(date) + (0, 0, 0))[:9])) - _1970_TO_2000_S


def rtc_us():
    """For machine.RTC: microseconds since 2000."""
    return _rtc_us + _elapsed_us()


def set_rtc_us(us):
    """For machine.RTC."""
    global _rtc_us
    _rtc_us = us - _elapsed_us()
