"""What a LoRa packet looks like on the air: symbol time, landmarks inside the packet, time on air.

Written from the SX1261/2 data sheet, sections 6.1.1 (modulation) and 6.1.4 (time on air), apart from the drivers.
All times are whole microseconds, exactly: every LoRa bandwidth is 500 kHz over a whole number, so a symbol lasts
2^(SF+1) * divisor microseconds.
"""

from dataclasses import dataclass

# Data sheet table 13-47: code of SetModulationParams -> 500 kHz divided by this
BANDWIDTH_DIVISORS = {0x06: 1, 0x05: 2, 0x04: 4, 0x03: 8, 0x0A: 12, 0x02: 16, 0x09: 24, 0x01: 32, 0x08: 48, 0x00: 64}
SYNC_SYMBOLS_X4 = 17  # two symbols of sync word and 2.25 of start-of-frame delimiter, in quarters of a symbol
HEADER_SYMBOLS = 8  # the first block is always coded 4/8


@dataclass(frozen=True, kw_only=True)
class Modulation:
    """What two radios must agree on to hear each other."""

    freq_hz: int
    spreading_factor: int
    bandwidth_divisor: int = 4  # of 500 kHz
    coding_rate: int = 1  # 1 to 4 for 4/5 to 4/8
    is_ldro: bool = False  # low data rate optimisation
    sync_word: int = 0x1424
    is_inverted: bool = False  # IQ

    @property
    def symbol_us(self) -> int:
        return (2 << self.spreading_factor) * self.bandwidth_divisor

    @property
    def bandwidth_hz(self) -> float:
        return 500_000 / self.bandwidth_divisor


@dataclass(frozen=True, kw_only=True)
class Packet:
    """How the bytes are wrapped."""

    payload: bytes
    preamble_symbols: int = 8
    is_explicit: bool = True  # has a header
    has_crc: bool = True


def payload_symbols(modulation: Modulation, packet: Packet) -> int:
    """Symbols after preamble, sync word and delimiter."""
    sf = modulation.spreading_factor
    bits = 8 * len(packet.payload) + 16 * packet.has_crc - 4 * sf + 20 * packet.is_explicit
    if sf > 6:
        bits += 8
    per_block = 4 * (sf - 2 * modulation.is_ldro) if sf > 6 else 4 * sf
    return HEADER_SYMBOLS + -(-max(bits, 0) // per_block) * (modulation.coding_rate + 4)


def preamble_us(modulation: Modulation, packet: Packet) -> int:
    """From the first chirp to the last programmed preamble symbol."""
    return packet.preamble_symbols * modulation.symbol_us


def header_us(modulation: Modulation, packet: Packet) -> int:
    """From the first chirp to the moment a receiver has read the header (or would have)."""
    return _sync_us(modulation, packet) + HEADER_SYMBOLS * modulation.symbol_us


def airtime_us(modulation: Modulation, packet: Packet) -> int:
    return _sync_us(modulation, packet) + payload_symbols(modulation, packet) * modulation.symbol_us


def _sync_us(modulation: Modulation, packet: Packet) -> int:
    quarters = 4 * packet.preamble_symbols + SYNC_SYMBOLS_X4
    if modulation.spreading_factor <= 6:
        quarters += 8  # 6.25 instead of 4.25 symbols
    return quarters * modulation.symbol_us // 4
