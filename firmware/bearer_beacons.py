"""The LoRa bearer of a node that listens to beacons, between its reports. Loaded if configured; else it is bearer_lora.

A beacon is missed rather than a report late: windows are some 0.3 s long, and an alarm waits for no longer than that.
"""

from drivers.constant import const
from drivers.link.beacon import is_beacon
from drivers.radio.lora import RadioError
from firmware.bearer_error import BearerError
from firmware.bearer_lora import LoraBearer

_LONGEST_DOWNLINK = const(255)
_NEAR_MS = const(250)  # the report task looks in every 200 ms
_DETECT_SYMBOLS = const(13)


class BeaconBearer(LoraBearer):
    """As LoraBearer; `beacons` is set once the keys are there."""

    beacons = None

    def __init__(self, radio, lora, uptime, clock, state):
        super().__init__(radio, lora, uptime, clock, state, limit=_LONGEST_DOWNLINK)
        self._detect_ms = _DETECT_SYMBOLS * self._down.symbol_us() // 1000

    async def exchange(self, frame, take):
        """As LoraBearer's; a beacon that comes in the window is taken on the way."""

        def take_either(downlink):
            if is_beacon(downlink) and self.beacons is not None:
                self._take_beacon(downlink)
                return False
            return take(downlink)

        return await super().exchange(frame, take_either)

    async def rest(self):
        """Ask for the anchor if one is needed, or hear the beacon that is due within a moment."""
        beacons = self.beacons
        window = beacons.window() if beacons is not None else None
        try:
            if window is not None and window[0] - beacons.now_ms() <= _NEAR_MS:
                await self._hear(*window)
            elif beacons is not None and beacons.must_ask() and not self.wait_s():
                await self.ready()
                await self.exchange(beacons.ask(), beacons.take_answer)
        except BearerError as error:
            print("lamppost:", error)  # the next report finds out more

    async def _hear(self, opens_ms, listen_ms):
        beacons = self.beacons
        await self._clock.sleep_ms(max(opens_ms - beacons.now_ms(), 0))
        closes_ms = opens_ms + listen_ms + self._detect_ms
        try:
            self._radio.use(self._down)
            while closes_ms > beacons.now_ms():
                packet = await self._radio.receive(self._buf, closes_ms - beacons.now_ms())
                if packet is not None and self._is_ours(bytes(memoryview(self._buf)[: packet.length])):
                    return
            beacons.missed()
        except RadioError as error:
            raise BearerError(str(error))
        finally:
            self._radio.sleep()

    def _is_ours(self, downlink):
        return is_beacon(downlink) and self._take_beacon(downlink)

    def _take_beacon(self, downlink):
        return self.beacons.take_beacon(downlink, self._down.airtime_us(len(downlink)) // 1000)
