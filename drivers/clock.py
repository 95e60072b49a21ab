"""Ticks and waits under the names MicroPython gives them, on both interpreters.

Ticks are integers that wrap: compare them with ticks_diff, move them with ticks_add, never with - and +. On CPython
they come from the monotonic clock and wrap at 2**30 as on an ESP32, so that code which forgets this fails there too.
`sleep_ms` is a coroutine (others run meanwhile); `pause_us` holds the processor and is for less than a millisecond.
"""

# The stubs know one interpreter only:
# pyright: reportAssignmentType=false, reportAttributeAccessIssue=false

try:
    from asyncio import sleep_ms
    from time import sleep_us as pause_us
    from time import ticks_add, ticks_diff, ticks_ms, ticks_us
except ImportError:  # CPython has none of these
    import asyncio
    import time

    _PERIOD = 1 << 30
    _HALF = _PERIOD >> 1

    def ticks_ms():
        """Milliseconds since some moment, modulo 2**30 (12.4 days)."""
        return time.monotonic_ns() // 1_000_000 % _PERIOD

    def ticks_us():
        """Microseconds since some moment, modulo 2**30 (17.9 minutes)."""
        return time.monotonic_ns() // 1_000 % _PERIOD

    def ticks_add(ticks, delta):
        """The ticks `delta` later (earlier if negative)."""
        return (ticks + delta) % _PERIOD

    def ticks_diff(later, earlier):
        """Signed distance; right as long as the two lie within half a period."""
        return (later - earlier + _HALF) % _PERIOD - _HALF

    async def sleep_ms(duration_ms):
        """Let others run for at least `duration_ms`."""
        await asyncio.sleep(max(duration_ms, 0) / 1000)

    def pause_us(duration_us):
        """Hold the processor for at least `duration_us`."""
        time.sleep(duration_us / 1_000_000)
