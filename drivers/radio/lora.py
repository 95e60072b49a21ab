"""What every LoRa radio driver shares: a channel to be on, a received packet, what can go wrong. No chip, no I/O."""

from drivers.radio import airtime


class RadioError(Exception):
    """The radio does not do what it was told: the message says what to check. The driver resets it at the next use."""


class Channel:
    """Where and how to be on the air. Checked once, then trusted; make one per purpose and keep it."""

    __slots__ = (
        "bandwidth_hz",
        "coding_rate",
        "crc",
        "freq_hz",
        "implicit_len",
        "invert_iq",
        "preamble_symbols",
        "spreading_factor",
        "sync_word",
        "tx_power_dbm",
    )

    def __init__(
        self,
        freq_hz,
        spreading_factor,
        bandwidth_hz,
        coding_rate,
        tx_power_dbm,
        preamble_symbols=8,
        sync_word=0x12,
        invert_iq=False,
        crc=True,
        implicit_len=None,
    ):
        """Raises ValueError, naming the argument.

        coding_rate   1 to 4, for 4/5 to 4/8
        tx_power_dbm  at the chip's output, -9 to 22; what a region allows is region's business
        sync_word     0x12 private, 0x34 public
        invert_iq     a downlink is sent and received inverted, so that nodes do not hear each other
        implicit_len  payload length of frames without a header, None for frames with one
        """
        if not 150_000_000 <= freq_hz <= 960_000_000:
            raise ValueError("freq_hz = %r: must be 150 to 960 MHz, in Hz" % (freq_hz,))
        if not -9 <= tx_power_dbm <= 22:
            raise ValueError("tx_power_dbm = %r: must be -9 to 22" % (tx_power_dbm,))
        if not 1 <= preamble_symbols <= 65535:
            raise ValueError("preamble_symbols = %r: must be 1 to 65535" % (preamble_symbols,))
        if not 0 <= sync_word <= 0xFF:
            raise ValueError("sync_word = %r: must be one byte, e.g. 0x12" % (sync_word,))
        self.freq_hz = freq_hz
        self.spreading_factor = spreading_factor
        self.bandwidth_hz = bandwidth_hz
        self.coding_rate = coding_rate
        self.tx_power_dbm = tx_power_dbm
        self.preamble_symbols = preamble_symbols
        self.sync_word = sync_word
        self.invert_iq = invert_iq
        self.crc = crc
        self.implicit_len = implicit_len
        self.airtime_us(0 if implicit_len is None else implicit_len)  # refuses what airtime refuses

    def airtime_us(self, payload_len, chip=airtime.SX126X):
        """Time on air of a frame with `payload_len` bytes, in microseconds."""
        return airtime.airtime_us(
            self.spreading_factor,
            self.bandwidth_hz,
            self.coding_rate,
            self.preamble_symbols,
            payload_len,
            explicit_header=self.implicit_len is None,
            crc=self.crc,
            chip=chip,
        )

    def header_us(self):
        """From the first preamble symbol to the end of the header: until then a receive window must stay open."""
        return airtime.airtime_us(
            self.spreading_factor,
            self.bandwidth_hz,
            self.coding_rate,
            self.preamble_symbols,
            0,
            explicit_header=False,
            crc=False,
        )

    def symbol_us(self):
        """Duration of one symbol in microseconds."""
        return airtime.symbol_us(self.spreading_factor, self.bandwidth_hz)


class Packet:
    """One frame whose CRC was right. Its bytes are in the buffer that was given to `receive`."""

    __slots__ = ("done_us", "length", "rssi_dbm", "snr_db")

    def __init__(self, length, rssi_dbm, snr_db, done_us):
        self.length = length
        self.rssi_dbm = rssi_dbm
        self.snr_db = snr_db
        self.done_us = done_us  # ticks_us at which its end was seen, up to one poll after the end itself
