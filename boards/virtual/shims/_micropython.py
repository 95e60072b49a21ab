"""micropython, whose kbd_intr(-1) lets a Ctrl-C byte through as data, as on a board."""

import termios

from micropython import *
from micropython import const

_ISIG = const(0x01)


def kbd_intr(character):
    """-1: none; else Ctrl-C interrupts (another character is not modelled)."""
    attributes = termios.tcgetattr(0)
    attributes[3] = attributes[3] & ~_ISIG if character < 0 else attributes[3] | _ISIG
    termios.tcsetattr(0, termios.TCSANOW, attributes)
