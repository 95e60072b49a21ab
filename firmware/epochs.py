"""Closing an epoch, and opening the next: at a start that finds flash and NVS in disagreement, at an enrolment, and
when the frame keys have served long enough (turn). Loaded for that, and forgotten after. Rules: design "Freshness".
"""

import struct

from firmware.settings import KNOWN, MAX_CLOSED, TOLD


def close(settings, epoch, end, *, is_known):
    """Note that `epoch` is closed: no sequence from `end` on was issued; `is_known` if all below were."""
    closed = settings.closed
    if settings.closed_end(epoch) is not None:
        return
    closed.append([epoch, end, KNOWN if is_known else 0])
    closed.sort()
    while len(closed) > MAX_CLOSED:
        told = [entry for entry in closed if entry[2] & TOLD]
        closed.remove(told[0] if told else closed[0])
    settings.save_closed()


def open_epoch(settings, epoch):
    """Go on in `epoch`, from sequence 0. The one before must have been closed, so that a cut half-way shows."""
    note_turned(settings, settings.next_counter, 0)
    settings.write_u32("seq", 0)
    settings.write_u32("epoch", epoch)
    settings.epoch, settings.next_seq = epoch, 0


def note_turned(settings, counter, utc_s):
    """From which frame counter, and when, this epoch's keys are in use; utc_s 0: unknown."""
    settings.turned = counter, utc_s
    settings.write("set_blob", "turned", struct.pack(">II", counter, utc_s))
