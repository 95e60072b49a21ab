"""One SX1261/2 between operations: start, standby, sleep, wake, the channel's settings, and whether it is still alive.

sx126x puts transmitting and receiving on top. Source: Semtech SX1261/2 datasheet rev 2.1, chapters 9, 13 and 14.
"""

from drivers import clock as system_clock
from drivers.constant import const
from drivers.radio.lora import Channel, RadioError
from drivers.radio.sx126x_chip import Chip

# A flag that is not in the mask never shows, not even in GetIrqStatus (13.3.1): each that sx126x asks for is here.
_IRQ_MASK = const(0x03F7)
_DIO1_MASK = const(0x02F3)  # all but preamble and CadDetected, which end nothing
_MAX_TICKS_MS = const(0x1FFFFFFF)

DOWN = 0
STANDING_BY = 1
LISTENING = 2
IN_WINDOW = 3
ASLEEP_WARM = 4
ASLEEP_COLD = 5


class Lifecycle:
    """What every operation of a radio begins and ends with."""

    def __init__(
        self,
        spi,
        nss,
        reset,
        busy,
        dio1,
        *,
        tcxo_v=None,
        dio2_rf_switch=False,
        rxen=None,
        txen=None,
        dcdc=True,
        rx_boosted=True,
        chip="sx1262",
        clock=system_clock,
    ):
        """`spi` and the pins have the method names of machine.SPI and machine.Pin; nothing is sent yet.

        nss, dio1   None where the bus drives NSS, or DIO1 is not wired (the chip is then asked over SPI)
        tcxo_v      supply of a TCXO on DIO3, 1.6 to 3.3; None for a crystal
        rxen, txen  pins of an antenna switch that the board has beside or instead of DIO2
        dcdc        whether the board has the inductor of the DC-DC converter
        Raises      ValueError, naming the argument
        """
        from drivers.radio.sx126x_bringup import TCXO_START_MS, TCXO_VOLTS

        if tcxo_v is not None and tcxo_v not in TCXO_VOLTS:
            raise ValueError("tcxo_v = %r: must be one of %s" % (tcxo_v, ", ".join(map(str, TCXO_VOLTS))))
        if chip not in ("sx1261", "sx1262"):
            raise ValueError("chip = %r: must be sx1261 or sx1262" % (chip,))
        start_ms = 0 if tcxo_v is None else TCXO_START_MS
        self._chip = Chip(spi, nss, reset, busy, clock, is_sx1261=chip == "sx1261", busy_limit_ms=20 + start_ms)
        self._clock = clock
        self._dio1 = dio1
        self._rxen = rxen
        self._txen = txen
        self._board = {"tcxo_v": tcxo_v, "dio2_rf_switch": dio2_rf_switch, "dcdc": dcdc, "rx_boosted": rx_boosted}
        self.channel = None
        self._applied = None  # the channel whose settings are in the chip
        self._image_freq_hz = 0
        self._state = DOWN
        self._receiving_until_ms = None  # a header was heard: when its packet must have ended
        self._look_at_ms = 0  # when to ask the chip although DIO1 is down
        self._phantoms = 0
        self.tx_done_us = 0
        self.counters = {
            "packets_received": 0,
            "packets_sent": 0,
            "crc_errors": 0,
            "crc_missing": 0,
            "header_errors": 0,
            "packets_oversized": 0,
            "interrupts_missed": 0,
            "failures": 0,
            "restarts": 0,
        }

    async def start(self):
        """Reset and set up the chip. Raises RadioError, which says what to check, if it is absent or not well."""
        self._state = DOWN
        await self._chip.reset()
        await self._set_up()

    def configure(self, *arguments, **named):
        """Be on the Channel of these arguments from the next operation on. Raises ValueError, naming one."""
        self.use(Channel(*arguments, **named))

    def use(self, channel):
        """Be on `channel` from the next operation on. Costs nothing by itself: going to and fro is for every packet."""
        self.channel = channel

    def sleep(self, *, warm=True):
        """Lowest current; settings are kept if `warm`. Any NSS edge wakes the chip: hold NSS high in deep sleep.

        Never raises: a chip that does not listen is counted as a failure and reset at its next use.
        """
        if self._state in (DOWN, ASLEEP_WARM, ASLEEP_COLD):
            return
        try:
            self._stand_by()
            self._chip.sleep(warm=warm)
        except RadioError:
            self._state = DOWN
            self.counters["failures"] += 1
        else:
            self._state = ASLEEP_WARM if warm else ASLEEP_COLD

    async def check(self):
        """Radio watchdog: True if the chip is as we left it; False if it was not and has been started anew.

        Raises RadioError if that fails. A sleeping chip is left asleep.
        """
        if self._state in (ASLEEP_WARM, ASLEEP_COLD):
            return True
        if self._state != DOWN and self._is_alive():
            return True
        await self._restart()
        return False

    async def _stand_ready(self):
        """From wherever the chip is to standby, with the channel's settings in it; started anew if it is not well."""
        if self.channel is None:
            raise RadioError("the radio has no channel; call configure or use first")
        if self._state == DOWN:
            await self.start()
        elif self._state in (ASLEEP_WARM, ASLEEP_COLD):
            await self._wake()
        if self._is_alive():
            self._stand_by()
        else:
            await self._restart()
        await self._apply(self.channel)

    def _is_alive(self):
        try:
            return self._chip.speaks_lora()
        except RadioError:  # BUSY is stuck: a reset may help
            return False

    async def _set_up(self):
        from drivers.radio.sx126x_bringup import bring_up  # a node forgets that module once the radio works

        self._applied = None
        self._image_freq_hz = 0
        self._phantoms = 0
        await bring_up(self._chip, irq_mask=_IRQ_MASK, dio1_mask=_DIO1_MASK, **self._board)
        self._stand_by()

    async def _wake(self):
        was_cold = self._state == ASLEEP_COLD
        self._state = DOWN
        self._chip.wake()
        await self._chip.wait_ready(50)
        if was_cold:
            await self._set_up()

    def _give_up(self, message):
        """The next use starts the chip anew."""
        self._state = DOWN
        self.counters["failures"] += 1
        raise RadioError(message)

    async def _restart(self):
        self.counters["restarts"] += 1
        await self.start()

    async def _apply(self, channel):
        """Send what differs from the settings in the chip."""
        chip, had = self._chip, self._applied
        if had is channel:
            return
        self._applied = None  # a failure half-way leaves a mixture
        if abs(channel.freq_hz - self._image_freq_hz) > 10_000_000:  # 9.2.1: anew when the band changes
            chip.calibrate_image(channel.freq_hz)
            await chip.wait_ready(100)
            self._image_freq_hz = channel.freq_hz
        chip.set_frequency(channel.freq_hz)
        if had is None or had.tx_power_dbm != channel.tx_power_dbm:
            chip.set_power(channel.tx_power_dbm)
        chip.set_modulation(channel)
        if had is None or had.sync_word != channel.sync_word:
            chip.set_sync_word(channel.sync_word)
        self._applied = channel

    def _stand_by(self, *, keep_oscillator=False):
        self._chip.stand_by(keep_oscillator=keep_oscillator)
        self._switch_antenna()
        self._state = STANDING_BY
        self._receiving_until_ms = None

    def _switch_antenna(self, *, rx=0, tx=0):
        if self._rxen is not None:
            self._rxen.value(rx)
        if self._txen is not None:
            self._txen.value(tx)

    async def _await_flags(self, wanted, earliest_ms, limit_ms):
        """Sleep through what is known to last, then poll. Return the flags, taken down; 0 if none came in time."""
        limit_ms = self._ends_ms(limit_ms)
        if earliest_ms > 1:
            await self._clock.sleep_ms(earliest_ms)
        while True:
            is_over = self._is_past(limit_ms)
            if is_over or self._dio1 is None or self._dio1.value():
                flags = self._chip.irq()
                if flags & wanted:
                    self._note_missed()
                    self._chip.clear_irq(flags)
                    return flags
                if is_over:
                    return 0
            await self._clock.sleep_ms(1)

    def _note_missed(self):
        """Flags are up that DIO1 should have shown: its wire, or its interrupt, is lost."""
        if self._dio1 is not None and not self._dio1.value():
            self.counters["interrupts_missed"] += 1

    def _ends_ms(self, duration_ms):
        if not 0 < duration_ms <= _MAX_TICKS_MS:
            raise ValueError("timeout_ms = %r: must be 1 to %d (6 days)" % (duration_ms, _MAX_TICKS_MS))
        return self._clock.ticks_add(self._clock.ticks_ms(), duration_ms)

    def _is_past(self, ticks_ms):
        return self._clock.ticks_diff(self._clock.ticks_ms(), ticks_ms) >= 0
