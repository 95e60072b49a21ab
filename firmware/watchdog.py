"""The watchdog: fed only while every part of the application keeps its promise to come back.

A hung radio, a socket that never returns or a task that died looks the same from outside: the promise runs out, feeding
stops, and the chip resets. It cannot be stopped once started, so it is relaxed when a technician takes over.
"""

_RELAXED_S = 3600


class Watchdog:
    """Feeds one hardware watchdog."""

    def __init__(self, make_wdt, clock, timeout_s):
        """make_wdt: machine.WDT. timeout_s must outlast the longest blocking call (littlefs may stall for 12 s)."""
        self._make_wdt = make_wdt
        self._clock = clock
        self._promises = {}  # name -> (ticks when given, ms)
        self._wdt = make_wdt(timeout=timeout_s * 1000)

    def promise(self, name, within_s):
        """`name` will be heard of again within so many seconds."""
        self._promises[name] = (self._clock.ticks_ms(), within_s * 1000)

    def feed(self):
        """Feed, if nobody is overdue. Returns the name of the first that is, else None."""
        now = self._clock.ticks_ms()
        for name, (given, within_ms) in self._promises.items():
            if self._clock.ticks_diff(now, given) > within_ms:
                return name
        self._wdt.feed()
        return None

    def relax(self):
        """Give a technician an hour at the REPL before it bites."""
        self._make_wdt(timeout=_RELAXED_S * 1000).feed()
