"""After a start: does the flash agree with NVS, and is this a new boot or the rest of one that slept?

Runs once, before the application, and is then forgotten. Rules: design "Freshness"; docs/decisions/0002.
"""

import struct
from binascii import crc32

from drivers.constant import const
from firmware.archive import advance, drop_covered_loss
from firmware.epochs import close, open_epoch
from firmware.rtc import COPY_LEN, FIELDS, HEAD, MAGIC, STATE, STATE_LEN, RtcState
from firmware.settings import COUNTER_BLOCK

_CLOCK_SLACK_MS = const(60_000)
_HEAD_LEN = const(10)  # of a copy in RTC memory


def close_what_disagrees(settings, journal):
    """Compare flash with NVS, close what does not agree. Returns what happened, for the console, or ""."""
    current = journal.run(settings.epoch)
    end = current.end if current else 0
    newest = journal.runs[-1].epoch if journal.runs else 0
    told = ""
    if newest > settings.epoch:
        told = "flash holds epoch %d, above NVS's %d" % (newest, settings.epoch)
    elif settings.closed_end(settings.epoch) is not None:
        told = "closing epoch %d was cut short" % settings.epoch
    elif end != settings.next_seq:
        told = "journal of epoch %d ends at %d, %d are reserved" % (settings.epoch, end, settings.next_seq)
    if told:
        close(settings, settings.epoch, max(end, settings.next_seq), is_known=False)
    for run in journal.runs:
        if told or run is not current:
            close(settings, run.epoch, run.end, is_known=False)
    if told:
        open_epoch(settings, max(newest, settings.epoch) + 1)
        told += "; going on in epoch %d" % settings.epoch
    _finish_giving_up(settings, journal)
    return told


def load_state(memory):
    """Return (state, found): the newest whole copy; found is False, and everything zero, if there is none.

    memory  machine.RTC().memory: without an argument it returns what is there
    """
    state = RtcState(memory)
    stored = bytes(memory())
    if len(stored) > 2 * COPY_LEN:
        state.image = bytearray(len(stored))  # what rules carry lies behind it
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


def resume(settings, journal, state, slept_ms):
    """Go on where deep sleep left off. Returns the uptime in ms, or None if RTC memory is not of this very boot."""
    planned_ms = state.asleep_s * 1000
    if (state.epoch, state.boot, state.counter_end) != (settings.epoch, settings.boot, settings.counter_end):
        return None
    if not 0 <= slept_ms <= planned_ms + planned_ms // 8 + _CLOCK_SLACK_MS:
        return None  # RTC memory is older than it should be, or the clock was set
    if not settings.counter_end - COUNTER_BLOCK <= state.next_counter <= settings.counter_end:
        return None
    settings.next_counter = state.next_counter
    settings.look_at = (state.next_counter | 7) + 1  # not at each waking
    run = journal.run(settings.epoch)
    if run is not None and run.base <= state.acked_base <= run.end:
        run.base, run.bitmap = state.acked_base, state.acked_bitmap
    state.boot = 0  # no copy made while awake may ever be resumed: its counter would be an old one
    state.save()
    return state.uptime_s * 1000 + state.uptime_ms + slept_ms


def begin_boot(settings, journal, state):
    """Number a new boot, above all that NVS and journal have seen, and forget the last one's state but its airtime."""
    state.begin()
    settings.boot = max([settings.boot] + [run.last_boot for run in journal.runs]) + 1
    settings.write_u32("boot", settings.boot)


def _finish_giving_up(settings, journal):
    """After a cut between noting a loss and deleting the segment: delete it now."""
    drop_covered_loss(settings, journal)
    lost = settings.lost
    if lost is not None:
        run = journal.run(lost[0])
        advance(run, lost[2])
        journal.trim(run, run.base, keep_last=run.epoch == settings.epoch)


def _whole(copy):
    """(sequence, state) of a copy that is whole, else None."""
    if len(copy) < _HEAD_LEN + STATE_LEN + 4:
        return None
    magic, sequence, length = struct.unpack(HEAD, copy[:_HEAD_LEN])
    end = _HEAD_LEN + length
    if magic != MAGIC or length < STATE_LEN or end + 4 > len(copy):
        return None
    if crc32(copy[:end]) & 0xFFFFFFFF != struct.unpack(">I", copy[end : end + 4])[0]:
        return None
    return sequence, copy[_HEAD_LEN:end]
