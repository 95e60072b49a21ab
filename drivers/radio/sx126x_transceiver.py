"""The SX1261/2 LoRa radio as a node uses it: start, be on a channel, transmit, receive in a window, sleep.

What only a gateway does is in sx126x: a node has no memory to spare for it. One task at a time uses a radio. A
cancelled call leaves the chip where it was; the next call takes it over. Everything that waits, waits for a bounded
time. Source: Semtech SX1261/2 datasheet rev 2.1, chapters 9, 13 and 14.
"""

from drivers.constant import const
from drivers.radio.lora import Packet
from drivers.radio.sx126x_chip import STEPS_PER_MS
from drivers.radio.sx126x_lifecycle import IN_WINDOW, STANDING_BY, Lifecycle

# _stand_ready refuses to go on without a channel:
# pyright: reportOptionalMemberAccess=false

_TX_DONE = const(0x0001)
_RX_DONE = const(0x0002)
_HEADER_VALID = const(0x0010)
_HEADER_ERROR = const(0x0020)
_CRC_ERROR = const(0x0040)
_CAD_DONE = const(0x0080)
_CAD_DETECTED = const(0x0100)
_TIMEOUT = const(0x0200)
_RX_END = const(0x0262)  # RxDone, HeaderErr, CrcErr, Timeout
_ALL_FLAGS = const(0x43FF)

_MODE_RX = const(5)
_MAX_WINDOW_MS = const(262_000)  # the chip's timer has 24 bits: a longer window is armed again, never wrapped
_POLL_MS = const(5)
_CHECK_MS = const(1000)  # how long a lost interrupt or a dead chip stays unnoticed while receiving
_MARGIN_MS = const(50)
_PHANTOM_LIMIT = const(20)


class Transceiver(Lifecycle):
    """One radio. `counters` says what was dropped and repaired; `tx_done_us` (ticks) when the last frame sent ended."""

    @property
    def is_receiving(self):
        """Whether a header was heard whose packet has not ended: leaving reception now loses that packet."""
        return self._receiving_until_ms is not None

    async def transmit(self, payload):
        """Send one frame and return its time on air in microseconds, when it has ended.

        Raises ValueError if `payload` is longer than 255 bytes, RadioError if the chip does not finish in time.
        """
        await self._prepare_transmission(payload)
        return await self._fire(len(payload))

    async def receive(self, buf, timeout_ms):
        """Wait for one packet: return a Packet with its bytes in `buf`, or None after `timeout_ms`; then stand by.

        Frames with a wrong CRC or header are counted and the window goes on. A frame whose header has arrived before
        the end of the window is received to its end. Raises RadioError.
        """
        ends_ms = self._ends_ms(timeout_ms)
        await self._stand_ready()
        window_ms = timeout_ms
        while window_ms > 0:
            packet = await self._receive_once(buf, min(window_ms, _MAX_WINDOW_MS))
            if packet is not None:
                return packet
            window_ms = self._clock.ticks_diff(ends_ms, self._clock.ticks_ms())
        return None

    async def channel_free(self):
        """Whether there is no LoRa preamble on the channel (channel activity detection)."""
        await self._stand_ready()
        self._expect_any_packet()  # a preamble has its IQ polarity, too
        self._chip.start_cad(self.channel.spreading_factor)
        scan_ms = 6 * self.channel.symbol_us() // 1_000
        flags = await self._await_flags(_CAD_DONE, scan_ms, scan_ms + _MARGIN_MS)
        if not flags:
            self._give_up("the radio did not end a channel scan of %d ms; it is reset at its next use" % scan_ms)
        self._stand_by()
        return not flags & _CAD_DETECTED

    async def _prepare_transmission(self, payload):
        """Everything but SetTx, with the oscillator left running."""
        if len(payload) > 255:
            raise ValueError("payload of %d bytes: a LoRa frame holds 255" % len(payload))
        await self._stand_ready()
        self._stand_by(keep_oscillator=True)
        self._chip.write_buffer(payload)
        self._chip.set_packet(self.channel, len(payload))
        self._chip.fix_tx_modulation(self.channel)
        self._chip.clear_irq(_ALL_FLAGS)
        self._switch_antenna(tx=1)

    async def _fire(self, payload_len):
        airtime_us = self.channel.airtime_us(payload_len)
        airtime_ms = airtime_us // 1_000
        self._chip.start_tx(airtime_ms + _MARGIN_MS)
        flags = await self._await_flags(_TX_DONE | _TIMEOUT, airtime_ms - 1, airtime_ms + 2 * _MARGIN_MS)
        self.tx_done_us = self._clock.ticks_us()
        if not flags & _TX_DONE:
            self._give_up(
                "the radio did not end a frame of %d ms; it is reset at its next use, check its supply" % airtime_ms
            )
        self._stand_by()
        self.counters["packets_sent"] += 1
        return airtime_us

    def _enter_rx(self, steps, look_after_ms):
        self._expect_any_packet()
        self._chip.start_rx(steps)
        self._look_at_ms = self._ends_ms(look_after_ms)

    def _expect_any_packet(self):
        """Ready to receive on the applied channel: packets of the implicit length, or up to 255 bytes."""
        implicit_len = self.channel.implicit_len
        self._chip.set_packet(self.channel, 255 if implicit_len is None else implicit_len)
        self._chip.clear_irq(_ALL_FLAGS)
        self._switch_antenna(rx=1)

    async def _receive_once(self, buf, window_ms):
        """One reception with the chip's own time-out. None when it ends without a packet."""
        self._enter_rx(window_ms * STEPS_PER_MS, min(window_ms + _MARGIN_MS, _CHECK_MS))
        self._state = IN_WINDOW
        # The chip stops its timer when a header arrives, so a packet may end a whole frame after the window.
        ends_ms = self._ends_ms(window_ms + self._longest_ms() + _MARGIN_MS)
        packet = None
        while self._state == IN_WINDOW and packet is None:
            is_over = self._is_past(ends_ms)
            if is_over or self._is_due():
                packet = await self._take(buf)
            if is_over:
                break
            await self._clock.sleep_ms(1 if self.is_receiving else _POLL_MS)
        self._stand_by()
        if self.channel.implicit_len is not None:
            self._chip.fix_implicit_timeout()
        return packet

    def _is_due(self):
        """Whether to ask the chip: DIO1 is up (its level, so that a missed edge is harmless), or it is time to look."""
        if self._dio1 is None or self._dio1.value():
            return True
        until_ms = self._receiving_until_ms
        return self._is_past(self._look_at_ms) or (until_ms is not None and self._is_past(until_ms))

    async def _take(self, buf):
        """See what the chip has while receiving: a Packet, or None after counting, restarting or nothing."""
        now_us = self._clock.ticks_us()
        flags = self._chip.irq()
        mode = self._chip.mode()
        self._look_at_ms = self._ends_ms(_CHECK_MS)
        self._receiving_until_ms = None
        if not flags & (_RX_END | _HEADER_VALID):
            await self._look_after(mode)
            return None
        self._phantoms = 0
        self._note_missed()
        self._chip.clear_irq(flags)
        if not flags & _RX_END:
            self._receiving_until_ms = self._ends_ms(self._longest_ms() + _MARGIN_MS)
            return None
        if self._state == IN_WINDOW:
            self._state = STANDING_BY  # the chip ended the window by itself
        if flags & _HEADER_ERROR:
            self.counters["header_errors"] += 1
        elif flags & _CRC_ERROR:
            self.counters["crc_errors"] += 1
        elif flags & _RX_DONE and self._lacks_crc():
            self.counters["crc_missing"] += 1
        elif flags & _RX_DONE:
            return self._read_packet(buf, now_us)
        return None

    async def _look_after(self, mode):
        """Nothing was flagged. A chip that left RX by itself, or holds DIO1 up for nothing, is started anew."""
        self._phantoms = self._phantoms + 1 if self._dio1 is not None and self._dio1.value() else 0
        if mode != _MODE_RX or self._phantoms > _PHANTOM_LIMIT:
            await self._restart()

    def _lacks_crc(self):
        channel = self.channel
        return channel.crc and channel.implicit_len is None and not self._chip.header_announced_crc()

    def _read_packet(self, buf, done_us):
        """A packet in `buf`, or None if it does not fit."""
        length, start = self._chip.received()
        if self.channel.implicit_len is not None:
            length = self.channel.implicit_len
        if length > len(buf):
            self.counters["packets_oversized"] += 1
            return None
        rssi_dbm, snr_db = self._chip.signal()
        self._chip.read_buffer_into(buf, start, length)
        self.counters["packets_received"] += 1
        return Packet(length, rssi_dbm, snr_db, done_us)

    def _longest_ms(self):
        implicit_len = self.channel.implicit_len
        return self.channel.airtime_us(255 if implicit_len is None else implicit_len) // 1_000
