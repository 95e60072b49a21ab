"""The stream to the host process, and what the host said at start."""

import struct

import _remote
from micropython import const

_STREAM_FD = const(3)
_HELLO = const(0x01)

LINK = _remote.Link(open(_STREAM_FD, "r+b"))
for _part in (_remote.Pin, _remote.SPI, _remote.I2C, _remote.UART, _remote.ADC):
    _part.link = LINK

(RESET_CAUSE, WAKE_REASON, FLAGS, SPEED, RTC_US, TICKS_MS, UNIQUE_ID, FLASH_LEN) = struct.unpack(
    ">BBBdqI6sI", LINK.ask(_HELLO)
)
STARTS_RAW = FLAGS & 1  # a soft reset in raw mode: boot.py runs, main.py does not
IS_INTERRUPTED = FLAGS & 2  # Ctrl-C ended the last run before the REPL was there: only the REPL now
