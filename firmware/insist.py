"""Gets an alarm through air that others fill: more frames of it, close together. There while an alarm is told.

Where nobody else is heard one frame goes first, and more follow if it had no answer. Where somebody is, they all go
while the answer to the first is not due yet, each as the other one has just stopped: what drowns one spares another,
and one answer is enough.
"""

import os

from drivers.constant import const

_MORE = const(5)  # frames besides the first
_REPEAT_MS = const(1_600)  # for no longer: the first answer is due
_LOOKS = const(16)  # for others on the air, some 50 ms apart: the time until the window opens is free
_POLLS = const(20)  # for the end of what they send, some 15 ms apart


async def insist(bearer, radio, clock, take, again, first):
    """Repeat a frame that ended at `first`, and listen. Returns whether take(downlink) said yes to one.

    again   makes another frame, None if there is nothing to say any more
    Raises  RadioError
    """
    if await _is_quiet(radio, clock):
        if await bearer.listen(take, first, first):
            return True
        first = clock.ticks_ms()
    return await bearer.listen(take, first, await _repeat(bearer, radio, clock, again, first))


async def _is_quiet(radio, clock):
    """Whether nobody else is heard on the channel for a moment."""
    for _ in range(_LOOKS):
        if not await radio.channel_free():
            return False
        await clock.sleep_ms(40)
    return True


async def _repeat(bearer, radio, clock, again, first):
    """Send more frames. Returns when the last one ended."""
    last = first
    for _ in range(_MORE):
        await clock.sleep_ms(20 + (os.urandom(1)[0] >> 3))  # answers must not meet
        is_late = clock.ticks_diff(clock.ticks_ms(), first) > _REPEAT_MS
        frame = None if is_late or bearer.wait_s() else again()
        if frame is None:
            break
        await _wait_for_end(bearer, radio, clock)
        last = await bearer.transmit(frame)
    return last


async def _wait_for_end(bearer, radio, clock):
    """Until somebody has just stopped sending; not for long if nobody does."""
    await bearer.ready()  # which also puts the radio on the channel
    was_free = True
    for _ in range(_POLLS):
        is_free = await radio.channel_free()
        if is_free and not was_free:
            return
        was_free = is_free
        await clock.sleep_ms(4 + (os.urandom(1)[0] >> 5))
