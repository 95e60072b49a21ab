"""What rules remember through a deep sleep: in RTC memory, behind the state of firmware/rtc. After a reset it is gone.

Layout, big-endian: "LPN1", u32 boot, u32 CRC-32 of the rules' configuration, u16 n, n times i64, u32 CRC-32 of all
before. There is one copy: it counts only after a deep sleep, and then it was written whole.
"""

import struct
from binascii import crc32

from drivers.constant import const
from firmware.rtc import COPY_LEN

_MAGIC = b"LPN1"
_HEAD = ">4sIIH"
_HEAD_LEN = const(14)
ROOM = 2048 - 2 * COPY_LEN - _HEAD_LEN - 4  # bytes for integers


def save(image, boot, mark, states):
    """Return `image`, the RTC memory so far, with the integers of all `states` behind it."""
    numbers = [number for state in states for number in state]
    data = struct.pack(_HEAD, _MAGIC, boot, mark, len(numbers)) + struct.pack(">%dq" % len(numbers), *numbers)
    whole = bytearray(image[: 2 * COPY_LEN])
    whole.extend(data)
    whole.extend(struct.pack(">I", crc32(data) & 0xFFFFFFFF))
    return whole


def restore(image, boot, mark, states):
    """Fill `states` with what this very boot carried. Returns False, and leaves them, if there is nothing of it."""
    data = bytes(image[2 * COPY_LEN :])
    count = sum(len(state) for state in states)
    end = _HEAD_LEN + 8 * count
    if len(data) < end + 4 or struct.unpack(_HEAD, data[:_HEAD_LEN]) != (_MAGIC, boot, mark, count):
        return False
    if crc32(data[:end]) & 0xFFFFFFFF != struct.unpack(">I", data[end : end + 4])[0]:
        return False
    numbers = struct.unpack(">%dq" % count, data[_HEAD_LEN:end])
    at = 0
    for state in states:
        state[:] = numbers[at : at + len(state)]
        at += len(state)
    return True
