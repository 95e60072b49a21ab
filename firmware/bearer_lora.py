"""The LoRa bearer: one frame up, then one receive window, within the region's share of the hour.

A bearer has `max_frame`, `scan_ms` (what is_clear takes), `async start()`, `wait_s()`, `async ready()`, `async
is_clear()`, `async exchange(frame, take, again)`, `async rest()`.
The gateway answers 2.0 s after the end of the uplink, on another frequency and with inverted IQ (docs/protocol.md).
"""

import os

from drivers.constant import const
from drivers.radio.duty import Meter
from drivers.radio.lora import Channel, RadioError
from firmware.bearer_error import BearerError

_WINDOW_OPENS_MS = const(1_980)  # the gateway transmits at 2,000: 20 ms for two clocks and the chip to start
_PREAMBLE_SYMBOLS = const(8)
_DETECT_SYMBOLS = const(13)  # a preamble of 8 and its sync word, 12.25 symbols
_LONGEST_DOWNLINK = const(64)
_SCANS = const(16)
_SCAN_SYMBOLS = const(6)
_WAKES_MS = const(20)
_LEAVES_MS = const(1_500)  # until so long after a report an alarm takes its place: it must not meet the answer
_LOOK_MS = const(100)


class LoraBearer:
    """Sends sealed frames by radio. The duty meter is told before each frame, so that no reset hides airtime.

    is_hurried  set by the node when an alarm was raised: a window that is not open yet is given up for it
    """

    is_hurried = False

    def __init__(self, radio, lora, uptime, clock, state, limit=_LONGEST_DOWNLINK):
        """lora: that section of the configuration. state: the RtcState, which keeps the airtime through resets.

        limit  bytes of the longest downlink
        """
        self._radio = radio
        self._clock = clock
        self._uptime = uptime
        self._state = state
        modulation = (lora.spreading_factor, lora.bandwidth_hz, 1, lora.tx_power_dbm, _PREAMBLE_SYMBOLS)
        self._up = Channel(lora.freq_hz, *modulation)
        self._meter = _restore_meter(lora.allowance_us, state.airtime, uptime.seconds())
        self._down = Channel(lora.downlink_freq_hz, *modulation, invert_iq=True)
        self._window_ms = 20 + lora.listen_ms + _DETECT_SYMBOLS * self._down.symbol_us() // 1000
        self.scan_ms = _WAKES_MS + _SCAN_SYMBOLS * self._up.symbol_us() // 1000
        self._buf = bytearray(limit)
        self.max_frame = lora.max_frame
        self.counters = radio.counters

    async def start(self):
        """Wake the radio. Raises BearerError, which says what to check."""
        try:
            await self._radio.start()
        except RadioError as error:
            raise BearerError(str(error))
        self._radio.sleep()

    def wait_s(self):
        """Seconds until the region allows the longest frame, 0 if now."""
        return self._meter.wait_s(self._up.airtime_us(self.max_frame), self._uptime.seconds())

    async def ready(self):
        """Wait, within limits, until nobody else is heard sending on our channel. Raises BearerError."""
        for _ in range(_SCANS):
            if await self.is_clear():
                return
            await self._clock.sleep_ms(20 + (os.urandom(1)[0] >> 1))

    async def is_clear(self):
        """Whether nobody else is heard sending on our channel now. Raises BearerError."""
        self._radio.use(self._up)
        try:
            return await self._radio.channel_free()
        except RadioError as error:
            raise BearerError(str(error))

    async def exchange(self, frame, take, again=None):
        """Transmit, then listen in the window. Returns whether take(downlink) said yes to one. Raises BearerError.

        again  makes another frame of an alarm, for firmware/insist
        """
        clock = self._clock
        try:
            ended = await self.transmit(frame)
            if again is not None:
                return await self._insist(take, again, ended)
            while clock.ticks_diff(clock.ticks_ms(), ended) < _LEAVES_MS:
                if self.is_hurried:
                    return False
                await clock.sleep_ms(_LOOK_MS)
            return await self.listen(take, ended, ended)
        except RadioError as error:
            raise BearerError(str(error))
        finally:
            self._radio.sleep()

    async def _insist(self, take, again, ended):
        try:
            from firmware.insist import insist
        except MemoryError:
            return await self.listen(take, ended, ended)
        answered = await insist(self, self._radio, self._clock, take, again, ended)
        insist = None
        from firmware.forget import forget

        forget("firmware.insist", "firmware.forget")
        return answered

    async def transmit(self, frame):
        """Returns when the frame ended, in ticks of ms. Its airtime is noted before."""
        self._meter.record(self._up.airtime_us(len(frame)), self._uptime.seconds())
        self._state.airtime = self._meter.to_bytes()
        self._state.save()
        self._radio.use(self._up)
        await self._radio.transmit(frame)
        since_us = self._clock.ticks_diff(self._clock.ticks_us(), self._radio.tx_done_us)
        return self._clock.ticks_add(self._clock.ticks_ms(), -(since_us // 1000))

    async def rest(self):
        """Nothing to keep up between frames."""

    async def listen(self, take, first, last):
        """Take packets until one is accepted, or the window is over that answers frames which ended then."""
        clock = self._clock
        await clock.sleep_ms(max(_WINDOW_OPENS_MS - clock.ticks_diff(clock.ticks_ms(), first), 0))
        closes = clock.ticks_add(last, _WINDOW_OPENS_MS + self._window_ms)
        self._radio.use(self._down)
        while True:
            left_ms = clock.ticks_diff(closes, clock.ticks_ms())
            packet = await self._radio.receive(self._buf, left_ms) if left_ms > 0 else None
            if packet is None:
                return False
            if take(bytes(memoryview(self._buf)[: packet.length])):
                return True


def _restore_meter(allowance_us, saved, now_s):
    """The duty meter from RTC memory; after a power loss one that takes three quarters of the hour as spent just now.

    All of it would silence a node for an hour after each brown-out; nothing would let a loose contact transmit without
    limit.
    """
    meter = Meter(allowance_us, now_s)
    try:
        meter.restore(saved, now_s)
    except ValueError:
        meter.record(allowance_us // 4 * 3, now_s)
    return meter
