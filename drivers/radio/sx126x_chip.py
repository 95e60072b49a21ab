"""The SX1261/2 seen from its SPI: BUSY, commands, registers, and the work-arounds of datasheet chapter 15.

Knows how to say one thing to the chip; what to say when is sx126x's. Source: Semtech SX1261/2 datasheet rev 2.1:
8 (SPI, BUSY), 11 and 13 (commands), 12 (registers), 15 (known limitations).
"""

from drivers.constant import const
from drivers.radio.airtime import needs_ldro
from drivers.radio.lora import RadioError

_SET_SLEEP = const(0x84)
_SET_STANDBY = const(0x80)
_SET_TX = const(0x83)
_SET_RX = const(0x82)
_SET_CAD = const(0xC5)
_SET_CAD_PARAMS = const(0x88)
_SET_RF_FREQUENCY = const(0x86)
_SET_PA_CONFIG = const(0x95)
_SET_TX_PARAMS = const(0x8E)
_SET_MODULATION_PARAMS = const(0x8B)
_SET_PACKET_PARAMS = const(0x8C)
_CALIBRATE_IMAGE = const(0x98)
_GET_PACKET_TYPE = const(0x11)
_GET_STATUS = const(0xC0)
_GET_IRQ_STATUS = const(0x12)
_CLEAR_IRQ_STATUS = const(0x02)
_GET_RX_BUFFER_STATUS = const(0x13)
_GET_PACKET_STATUS = const(0x14)
_GET_RSSI = const(0x15)
_READ_BUFFER = const(0x1E)
_READ_REGISTER = const(0x1D)
_WRITE_BUFFER = const(0x0E)
_WRITE_REGISTER = const(0x0D)

_REG_IQ_POLARITY = const(0x0736)
_REG_SYNC_WORD = const(0x0740)
_REG_HEADER_CRC = const(0x076B)
_REG_TX_MODULATION = const(0x0889)
_REG_TX_CLAMP = const(0x08D8)
_REG_OVER_CURRENT = const(0x08E7)
_REG_RTC_CONTROL = const(0x0902)  # printed as 0x0920 in one datasheet edition
_REG_EVENT_MASK = const(0x0944)

STEPS_PER_MS = 64  # the chip's timers count 15.625 us, in 24 bits
CONTINUOUS = 0xFFFFFF
_NSS_TO_WAKE_US = const(20)
_LEAST_POLLS = const(20)  # a processor that was away for long must not take that for a stuck BUSY
_RAMP_200_US = const(4)
_CAD_4_SYMBOLS = const(2)

_BANDWIDTH_CODES = {
    7_800: 0x00,
    10_400: 0x08,
    15_600: 0x01,
    20_800: 0x09,
    31_250: 0x02,
    41_700: 0x0A,
    62_500: 0x03,
    125_000: 0x04,
    250_000: 0x05,
    500_000: 0x06,
}
# Table 9-2: frequencies up to -> the two bytes of CalibrateImage.
_IMAGE_BANDS = (
    (430_000_000, 440_000_000, 0x6B, 0x6F),
    (470_000_000, 510_000_000, 0x75, 0x81),
    (779_000_000, 787_000_000, 0xC1, 0xC5),
    (863_000_000, 870_000_000, 0xD7, 0xDB),
    (902_000_000, 928_000_000, 0xE1, 0xE9),
)
# Table 13-21, most efficient setting per output power: dBm -> (paDutyCycle, hpMax, power in SetTxParams).
_SX1262_OPTIMAL = {22: (4, 7, 22), 20: (3, 5, 22), 17: (2, 3, 22), 14: (2, 2, 22)}
_SX1261_OPTIMAL = {15: (6, 0, 14), 14: (4, 0, 14), 10: (1, 0, 13)}
_OVER_CURRENT_SX1262 = const(0x38)  # 140 mA in steps of 2.5 mA
_OVER_CURRENT_SX1261 = const(0x18)  # 60 mA


class Chip:
    """One chip on one SPI bus. Every call that returned has been taken in full by the chip's SPI side."""

    def __init__(self, spi, nss, reset, busy, clock, *, is_sx1261=False, busy_limit_ms=20):
        """`spi` has write_readinto; the pins have value(); nss is None where the SPI bus drives it by itself."""
        self._spi = spi
        self._nss = nss
        self._reset = reset
        self._busy = busy
        self._clock = clock
        self._is_sx1261 = is_sx1261
        self._busy_limit_ms = busy_limit_ms
        self.bytes = bytearray(260)  # kept: what goes out and, in the same places, what came back
        self._view = memoryview(self.bytes)

    async def reset(self):
        """Pulse NRST and wait for the chip. Raises RadioError if BUSY does not fall."""
        if self._nss is not None:
            self._nss.value(1)
        self._reset.value(0)
        await self._clock.sleep_ms(1)  # 100 us at least: 8.1
        self._reset.value(1)
        await self._clock.sleep_ms(5)
        await self.wait_ready(100)

    async def wait_ready(self, limit_ms):
        """Let others run until BUSY falls: for calibration and cold starts, which take milliseconds."""
        started, polls = self._clock.ticks_ms(), 0
        while self._busy.value():
            polls += 1
            self._require_patience(started, polls, limit_ms)
            await self._clock.sleep_ms(1)

    def command(self, opcode, *parameters):
        """Send one command."""
        out = self.bytes
        out[0] = opcode
        at = 1
        for parameter in parameters:
            out[at] = parameter & 0xFF
            at += 1
        self._transfer(at)

    def query(self, opcode, answer_len):
        """Send a get command. Its status byte is then in `bytes[1]`, its answer in `bytes[2:2 + answer_len]`."""
        for at in range(1, 2 + answer_len):
            self.bytes[at] = 0
        self.bytes[0] = opcode
        self._transfer(2 + answer_len)

    def read_register(self, address):
        """One byte of a register."""
        out = self.bytes
        out[0], out[1], out[2], out[3], out[4] = _READ_REGISTER, address >> 8, address & 0xFF, 0, 0
        self._transfer(5)
        return out[4]

    def write_register(self, address, *values):
        """Bytes into consecutive registers."""
        self.command(_WRITE_REGISTER, address >> 8, address, *values)

    def write_buffer(self, payload):
        """`payload` to the start of the data buffer."""
        self.bytes[0], self.bytes[1] = _WRITE_BUFFER, 0
        self.bytes[2 : 2 + len(payload)] = payload
        self._transfer(2 + len(payload))

    def read_buffer_into(self, buf, start, length):
        """`length` bytes of the data buffer from `start` on (it wraps at 256) into `buf`."""
        self.bytes[0], self.bytes[1], self.bytes[2] = _READ_BUFFER, start, 0
        self._transfer(3 + length)
        buf[:length] = self._view[3 : 3 + length]

    def irq(self):
        """Flags that are up. The chip's mode of that moment is then `mode()`."""
        self.query(_GET_IRQ_STATUS, 2)
        return self.bytes[2] << 8 | self.bytes[3]

    def mode(self):
        """Mode in the status byte of the last query: 2 STDBY_RC, 3 STDBY_XOSC, 4 FS, 5 RX, 6 TX.

        GetStatus itself right after SetRx is said to throw the chip into endless TX (micropython-lib), hence this way.
        """
        return self.bytes[1] >> 4 & 7

    def clear_irq(self, flags):
        """Take down `flags`, and only those: one that rose since stays."""
        self.command(_CLEAR_IRQ_STATUS, flags >> 8, flags)

    def stand_by(self, *, keep_oscillator=False):
        """STDBY_RC, or STDBY_XOSC with the crystal or TCXO left running."""
        self.command(_SET_STANDBY, 1 if keep_oscillator else 0)

    def start_tx(self, limit_ms):
        """Send what is in the buffer."""
        steps = min(limit_ms * STEPS_PER_MS, CONTINUOUS - 1)
        self.command(_SET_TX, steps >> 16, steps >> 8, steps)

    def start_rx(self, steps):
        """Receive for `steps` of 15.625 us (24 bits: the caller keeps to it), or CONTINUOUS."""
        self.command(_SET_RX, steps >> 16, steps >> 8, steps)

    def start_cad(self, spreading_factor):
        """Look for a preamble over four symbols, then stand by. Thresholds: Semtech AN1200.48."""
        self.command(_SET_CAD_PARAMS, _CAD_4_SYMBOLS, max(22, spreading_factor + 13), 10, 0, 0, 0, 0)
        self.command(_SET_CAD)

    def speaks_lora(self):
        """False after a brown-out (the chip is back at GFSK) and on a broken wire (all zeros or ones)."""
        self.query(_GET_PACKET_TYPE, 1)
        return self.bytes[2] == 1

    def received(self):
        """Where the last packet lies: (length, start)."""
        self.query(_GET_RX_BUFFER_STATUS, 2)
        return self.bytes[2], self.bytes[3]

    def header_announced_crc(self):
        """Of the last packet. A header corrupted into "no CRC" would else pass any bytes as good (RadioLib #200)."""
        return bool(self.read_register(_REG_HEADER_CRC) & 0x10)

    def signal(self):
        """Of the last packet: (rssi_dbm, snr_db)."""
        self.query(_GET_PACKET_STATUS, 3)
        snr = self.bytes[3]
        return -self.bytes[2] / 2, (snr - 256 if snr > 127 else snr) / 4

    def rssi_dbm(self):
        """What is on the channel now."""
        self.query(_GET_RSSI, 1)
        return -self.bytes[2] / 2

    def sleep(self, *, warm):
        """Only from standby. The chip wakes at the next falling NSS, not to come within 500 us (13.1.1)."""
        self.command(_SET_SLEEP, 0x04 if warm else 0x00)
        self._clock.pause_us(500)

    def wake(self):
        """An NSS edge wakes the chip, whose BUSY is high while it sleeps, so here NSS falls without waiting."""
        self.bytes[0], self.bytes[1] = _GET_STATUS, 0
        self._exchange(2, _NSS_TO_WAKE_US)

    def set_frequency(self, freq_hz):
        """Carrier in steps of 32 MHz / 2^25, to the nearest."""
        steps = ((freq_hz << 14) + 7812) // 15625
        self.command(_SET_RF_FREQUENCY, steps >> 24, steps >> 16, steps >> 8, steps)

    def calibrate_image(self, freq_hz):
        """For the band around `freq_hz` (9.2.1). Give it `wait_ready` afterwards."""
        first, second = freq_hz // 4_000_000 - 1, freq_hz // 4_000_000 + 1  # for a band outside the table: 4 MHz steps
        for low_hz, high_hz, band_first, band_second in _IMAGE_BANDS:
            if low_hz <= freq_hz <= high_hz:
                first, second = band_first, band_second
        self.command(_CALIBRATE_IMAGE, first, second)

    def set_power(self, tx_power_dbm):
        """Output power: the datasheet's efficient setting where it has one, else the full PA turned down."""
        if self._is_sx1261:
            duty, hp_max, power = _SX1261_OPTIMAL.get(tx_power_dbm, (4, 0, min(max(tx_power_dbm, -17), 14)))
        else:
            duty, hp_max, power = _SX1262_OPTIMAL.get(tx_power_dbm, (4, 7, tx_power_dbm))
        self.command(_SET_PA_CONFIG, duty, hp_max, 1 if self._is_sx1261 else 0, 1)
        # SetPaConfig rewrites the over-current limit, so it comes after (5.1.5).
        self.write_register(_REG_OVER_CURRENT, _OVER_CURRENT_SX1261 if self._is_sx1261 else _OVER_CURRENT_SX1262)
        self.command(_SET_TX_PARAMS, power, _RAMP_200_US)

    def set_modulation(self, channel):
        """Spreading factor, bandwidth, coding rate and low data rate optimisation of `channel`."""
        self.command(
            _SET_MODULATION_PARAMS,
            channel.spreading_factor,
            _BANDWIDTH_CODES[channel.bandwidth_hz],
            channel.coding_rate,
            1 if needs_ldro(channel.spreading_factor, channel.bandwidth_hz) else 0,
        )

    def set_sync_word(self, sync_word):
        """0xYZ becomes 0xY4 0xZ4: table 12-1."""
        self.write_register(_REG_SYNC_WORD, sync_word & 0xF0 | 4, (sync_word << 4) & 0xF0 | 4)

    def sync_word(self):
        """The two register bytes as one number."""
        return self.read_register(_REG_SYNC_WORD) << 8 | self.read_register(_REG_SYNC_WORD + 1)

    def set_packet(self, channel, payload_len):
        """Preamble, header, length, CRC and IQ of `channel`. 15.4 must follow each time."""
        self.command(
            _SET_PACKET_PARAMS,
            channel.preamble_symbols >> 8,
            channel.preamble_symbols,
            0 if channel.implicit_len is None else 1,
            payload_len,
            1 if channel.crc else 0,
            1 if channel.invert_iq else 0,
        )
        self.fix_iq_polarity(channel)

    def fix_tx_modulation(self, channel):
        """15.1, before every transmission: at 500 kHz the modulator needs bit 2 of 0x0889 clear, else set."""
        value = self.read_register(_REG_TX_MODULATION)
        self.write_register(_REG_TX_MODULATION, value & ~0x04 if channel.bandwidth_hz == 500_000 else value | 0x04)

    def fix_antenna_mismatch(self):
        """15.2, after power-on and cold start: the SX1262's clamp gives way too early on a bad antenna."""
        if not self._is_sx1261:
            self.write_register(_REG_TX_CLAMP, self.read_register(_REG_TX_CLAMP) | 0x1E)

    def fix_implicit_timeout(self):
        """15.3, after receiving without header and with time-out: the timer runs on and would end a later operation."""
        self.write_register(_REG_RTC_CONTROL, 0x00)
        self.write_register(_REG_EVENT_MASK, self.read_register(_REG_EVENT_MASK) | 0x02)

    def fix_iq_polarity(self, channel):
        """15.4, after every SetPacketParams: bit 2 of 0x0736 clear for inverted IQ, set for standard."""
        value = self.read_register(_REG_IQ_POLARITY)
        self.write_register(_REG_IQ_POLARITY, value & ~0x04 if channel.invert_iq else value | 0x04)

    def _transfer(self, length):
        """BUSY must be low BEFORE NSS falls: waiting with NSS low blocks every other chip on the bus."""
        if self._busy.value():
            self._spin_until_ready()
        self._exchange(length, 0)

    def _exchange(self, length, hold_us):
        window = self._view[:length]
        if self._nss is None:
            self._spi.write_readinto(window, window)
            return
        self._nss.value(0)
        try:
            if hold_us:
                self._clock.pause_us(hold_us)
            self._spi.write_readinto(window, window)
        finally:
            self._nss.value(1)

    def _spin_until_ready(self):
        started, polls = self._clock.ticks_ms(), 0
        while self._busy.value():
            polls += 1
            self._require_patience(started, polls, self._busy_limit_ms)
            self._clock.pause_us(20)

    def _require_patience(self, started, polls, limit_ms):
        if polls > _LEAST_POLLS and self._clock.ticks_diff(self._clock.ticks_ms(), started) > limit_ms:
            raise RadioError(
                "the radio holds BUSY high for over %d ms; check the busy and reset pins of the board file, "
                "and the radio's supply rail" % limit_ms
            )
