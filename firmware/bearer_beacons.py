"""The LoRa bearer of a node that listens to beacons, between its reports. Loaded if configured; else it is bearer_lora.

What is heard is looked at by firmware/beacons, which is there for that moment only: 128 KiB do not hold it beside the
application, and hardly more names, so that some here are those of other modules. A beacon is missed rather than a
report late: windows are some 0.5 s long, and an alarm waits no longer. Times are milliseconds of uptime.
"""

import gc
import os

from drivers.constant import const
from drivers.radio.lora import RadioError
from firmware.bearer_error import BearerError
from firmware.bearer_lora import LoraBearer
from firmware.forget import forget

_LONGEST_DOWNLINK = const(255)
_NEAR_MS = const(250)  # the report task looks in every 200 ms
_BEACON = const(0x45)  # the first byte of one, and of the answer to who asks for its anchor
_ANSWER = const(0x55)
_FIRST_QUERY_MS = const(30_000)
_EARLY_MS = const(30)  # a window opens so long before its beacon: two clocks, the chip's start
_DRIFT = const(5_000)  # 1 in so many, as in drivers.link.beacon
_MOST_HELD = const(3)
_MOST_FAILURES = const(4)
_LAST = const(1)  # of drivers.link.beacon's memory of a chain: its last interval, the length of one
_LENGTH = const(2)


class BeaconBearer(LoraBearer):
    """As LoraBearer.

    keys      (settings, up, down) once the start has them; up and down are (Ccm, iv)
    memory    what is known of the chain (drivers.link.beacon); None before an anchor was told
    sent      counter and beginning of a query that was not answered
    at        when to ask for an anchor
    wait      how long after that to ask again
    next      the interval whose beacon is waited for
    started   when interval 0 began at the earliest, how much later at most, and when that was found
    failures  windows in a row in which nothing of the chain came
    time      (uptime, earliest and latest UTC then), once a beacon told it
    """

    keys = memory = sent = time = None
    wait = next = failures = 0
    started = 0, 0, 0

    def __init__(self, radio, lora, uptime, clock, state):
        super().__init__(radio, lora, uptime, clock, state, limit=_LONGEST_DOWNLINK)
        self.at = self.now() + random_below(_FIRST_QUERY_MS)
        self.counters = radio.counters
        self._entries = []  # (beacon or answer, when it began and ended), to be looked at in peace

    def now(self):
        seconds, ms = self._uptime.split()
        return 1000 * seconds + ms

    def count(self, reason):
        self.counters[reason] = self.counters.get(reason, 0) + 1

    async def exchange(self, frame, take, again=None):
        """As LoraBearer's; a beacon that comes in the window is held."""

        def take_on(downlink):
            return False if downlink[0] == _BEACON and self._remember(downlink) else take(downlink)

        return await super().exchange(frame, take_on, again)

    async def rest(self):
        """Look at what was heard; or hear the beacon that is due in a moment; or ask for an anchor, if it is time."""
        try:
            opens = self.window()
            if self._entries:
                self._take()
            elif opens is not None and opens[0] - self.now() <= _NEAR_MS:
                await self._receive_once(*opens)
            elif self._state.is_acked and self.now() >= self.at and not self.wait_s():
                await self._query()
        except BearerError as error:
            print("lamppost:", error)  # the next report finds out more
        except MemoryError:
            self.count("beacons_no_memory")  # a beacon is not worth a crash
            _forget()

    def window(self):
        """(when to begin to listen, for how long) for the next beacon; None while there is no chain."""
        if self.memory is None:
            return None
        started, width, at = self.started
        now = self.now()
        while self.next <= self.memory[_LAST]:
            doubt = (now - at) // _DRIFT + _EARLY_MS
            start = started + self.next * self.memory[_LENGTH] - doubt
            if start >= now:
                return start, width + 2 * doubt
            self.next += 1  # busy with something else meanwhile
        self._give_up()
        return None

    def fail(self):
        """The window is over and nothing of our chain came: the next one is wider."""
        self.next += 1
        self.failures += 1
        wider = _EARLY_MS << self.failures
        started, width, at = self.started
        self.started = started - wider, width + 2 * wider, at
        if self.failures > _MOST_FAILURES:
            self._give_up()

    def _give_up(self):
        """Ask for another anchor; others lost the chain too, and must not all ask at once."""
        self.at = self.now() + random_below(10 * self.memory[_LENGTH])
        self.memory = None

    def _remember(self, downlink):
        if len(self._entries) < _MOST_HELD:
            now = self.now()
            self._entries.append((downlink, now - self._down.airtime_us(len(downlink)) // 1000, now))
        return True

    def _take(self):
        """Look at what was heard. Returns whether anything of it was our gateway's."""
        gc.collect()
        from firmware.beacons import take

        entries, self._entries = self._entries, []
        is_ours = [take(self, self._state, *entry) for entry in entries]
        take = None
        _forget()
        return any(is_ours)

    async def _query(self):
        gc.collect()
        from firmware.beacons import query

        await self.ready()
        frame = query(self)
        query = None
        _forget()

        def take(downlink):
            if downlink[0] == _ANSWER:
                self._remember(downlink)
            return False  # whether it is the answer is looked at later, so listen on

        await self.exchange(frame, take)

    async def _receive_once(self, start, width):
        await self._clock.sleep_ms(max(start - self.now(), 0))
        end = start + width + self._window_ms
        try:
            self._radio.use(self._down)
            while end > self.now() and len(self._entries) < _MOST_HELD:
                packet = await self._radio.receive(self._buf, end - self.now())
                if packet is not None and self._buf[0] == _BEACON:
                    self._remember(bytes(memoryview(self._buf)[: packet.length]))
        except RadioError as error:
            raise BearerError(str(error))
        finally:
            self._radio.sleep()
        if not self._entries or not self._take():
            self.fail()


def random_below(limit):
    """A whole number from 0 to limit - 1."""
    return int.from_bytes(os.urandom(4), "big") % limit


def _forget():
    forget("firmware.beacons", "drivers.link.beacon", "drivers.link.keys")
