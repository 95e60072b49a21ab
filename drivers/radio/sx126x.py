"""The SX1261/2 LoRa radio: start, be on a channel, transmit, receive, sleep; and get a dead chip going again.

A Transceiver, which is all that a node needs, and what a gateway does beside: listen without end, transmit at an exact
moment, listen before talk. Source: Semtech SX1261/2 datasheet rev 2.1, chapters 9, 13 and 14.
"""

from drivers.constant import const
from drivers.radio.lora import RadioError
from drivers.radio.sx126x_chip import CONTINUOUS
from drivers.radio.sx126x_lifecycle import LISTENING
from drivers.radio.sx126x_transceiver import Transceiver

# pyright: reportOptionalMemberAccess=false

_RX_DONE = const(0x0002)
_PREAMBLE_DETECTED = const(0x0004)
_HEADER_VALID = const(0x0010)
_XOSC_TO_TX_US = const(105)
_POLL_MS = const(5)
_CHECK_MS = const(1000)  # how long a lost interrupt or a dead chip stays unnoticed while receiving
PREPARE_MS = 25  # how long before its moment transmit_at wants to be called: the chip is set up in that time


class TooLate(RadioError):
    """A frame's moment has passed; nothing was sent."""


class SX126x(Transceiver):
    """One radio. `counters` says what was dropped and repaired; `tx_done_us` (ticks) when the last frame sent ended."""

    async def transmit_at(self, payload, due_us, *, latest_us=5_000):
        """Like transmit, but the frame begins at `due_us` (ticks_us). Call it PREPARE_MS before, or a little earlier.

        Raises TooLate, with nothing sent, if it could only begin more than `latest_us` after its moment.
        """
        await self._prepare_transmission(payload)
        due_us = self._clock.ticks_add(due_us, -_XOSC_TO_TX_US)
        remaining_us = self._clock.ticks_diff(due_us, self._clock.ticks_us())
        if remaining_us > 3_000:
            await self._clock.sleep_ms((remaining_us - 2_000) // 1_000)
        while self._clock.ticks_diff(due_us, self._clock.ticks_us()) > 0:
            self._clock.pause_us(50)
        late_us = self._clock.ticks_diff(self._clock.ticks_us(), due_us)
        if late_us > latest_us:
            self._stand_by()
            raise TooLate("the frame would begin %d us after its moment; nothing was sent" % late_us)
        return await self._fire(len(payload))

    async def receive(self, buf, timeout_ms=None):
        """As Transceiver.receive; without `timeout_ms` it is `listen`."""
        if timeout_ms is None:
            return await self.listen(buf)
        return await super().receive(buf, timeout_ms)

    async def listen(self, buf, timeout_ms=None, *, poll_ms=_POLL_MS):
        """Like receive, but the chip goes on receiving, also between calls: for a gateway. None after `timeout_ms`.

        Between packets the processor asks one pin every `poll_ms`, and the chip itself once a second.
        """
        ends_ms = None if timeout_ms is None else self._ends_ms(timeout_ms)
        while True:
            if self._state != LISTENING or self._applied is not self.channel:
                await self._stand_ready()
                self._enter_rx(CONTINUOUS, _CHECK_MS)
                self._state = LISTENING
            packet = await self._take(buf) if self._is_due() else None
            if packet is not None:
                return packet
            if ends_ms is not None and self._is_past(ends_ms):
                return None
            await self._clock.sleep_ms(1 if self.is_receiving else poll_ms)

    async def quiet(self, threshold_dbm=-80, duration_ms=5):
        """Listen before talk: whether the channel stays below `threshold_dbm` for `duration_ms`, whatever is on it."""
        await self._stand_ready()
        self._enter_rx(CONTINUOUS, _CHECK_MS)
        await self._clock.sleep_ms(1)  # the receiver settles
        ends_ms = self._ends_ms(duration_ms)
        is_below = True
        while is_below and not self._is_past(ends_ms):
            is_below = self._chip.rssi_dbm() < threshold_dbm
            await self._clock.sleep_ms(1)
        self._stand_by()
        return is_below

    async def channel_free(self):
        """Whether neither a reception is under way nor a LoRa preamble on the channel."""
        if self._state == LISTENING and self._reception_under_way():
            return False  # a scan now would lose that packet
        return await super().channel_free()

    def _reception_under_way(self):
        if self.is_receiving:
            return True
        flags = self._chip.irq()
        if flags & _PREAMBLE_DETECTED:
            self._chip.clear_irq(_PREAMBLE_DETECTED)  # a false one must not block the channel for ever
        return bool(flags & (_PREAMBLE_DETECTED | _HEADER_VALID | _RX_DONE))
