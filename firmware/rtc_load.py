"""Reads RTC memory at a start, whatever it holds. Needed once: the application runs without it. Layout: rtc."""

import struct
from binascii import crc32

from firmware.rtc import COPY_LEN, FIELDS, HEAD, HEAD_LEN, MAGIC, STATE, STATE_LEN, RtcState


def load_state(memory):
    """Return (state, found): the newest whole copy; found is False, and everything zero, if there is none.

    memory  machine.RTC().memory: without an argument it returns what is there
    """
    state = RtcState(memory)
    stored = bytes(memory())[: 2 * COPY_LEN]
    state.image[: len(stored)] = stored
    newest = None
    for at in (0, COPY_LEN):
        copy = _whole(bytes(state.image[at : at + COPY_LEN]))
        if copy is not None and (newest is None or copy[0] > newest[0]):
            newest = copy
    if newest is None:
        return state, False
    state.sequence, values = newest
    for name, value in zip(FIELDS, struct.unpack(STATE, values[:STATE_LEN])):
        setattr(state, name, value)
    state.airtime = values[STATE_LEN:]
    return state, True


def _whole(copy):
    """(sequence, state) of a copy that is whole, else None."""
    if len(copy) < HEAD_LEN + STATE_LEN + 4:
        return None
    magic, sequence, length = struct.unpack(HEAD, copy[:HEAD_LEN])
    end = HEAD_LEN + length
    if magic != MAGIC or length < STATE_LEN or end + 4 > len(copy):
        return None
    if crc32(copy[:end]) & 0xFFFFFFFF != struct.unpack(">I", copy[end : end + 4])[0]:
        return None
    return sequence, copy[HEAD_LEN:end]
