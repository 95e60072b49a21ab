"""How long a LoRa frame is on the air: exact to the microsecond, integers only, for both chip families.

Knows no radio and no region. Bandwidths are those of the chips, each an exact fraction of 500 kHz, so every result is
a whole number of microseconds. Sources: SX1261/2 datasheet 6.1.4 (SF5 and SF6 too), Semtech AN1200.13 (SX1272/6).
"""

from drivers.constant import const

SX126X = "sx126x"
SX127X = "sx127x"

# Nominal bandwidth in Hz -> what 500 kHz is divided by. 7.8 kHz is 7812.5 Hz in truth, hence the divisor.
_DIVISORS = {
    7_800: 64,
    10_400: 48,
    15_600: 32,
    20_800: 24,
    31_250: 16,
    41_700: 12,
    62_500: 8,
    125_000: 4,
    250_000: 2,
    500_000: 1,
}
BANDWIDTHS_HZ = tuple(sorted(_DIVISORS))
_LDRO_FROM_US = const(16_000)  # a symbol this long drifts within itself: datasheet 6.1.1.4
MAX_PAYLOAD = 255


def symbol_us(spreading_factor, bandwidth_hz):
    """Duration of one symbol in microseconds. Raises ValueError for a bandwidth or spreading factor no chip has."""
    if not 5 <= spreading_factor <= 12:
        raise ValueError("spreading_factor = %r: must be 5 to 12" % (spreading_factor,))
    if bandwidth_hz not in _DIVISORS:
        raise ValueError("bandwidth_hz = %r: must be one of %s" % (bandwidth_hz, ", ".join(map(str, BANDWIDTHS_HZ))))
    return (2 << spreading_factor) * _DIVISORS[bandwidth_hz]


def needs_ldro(spreading_factor, bandwidth_hz):
    """Whether low data rate optimisation must be on (symbols of 16 ms and more)."""
    return symbol_us(spreading_factor, bandwidth_hz) >= _LDRO_FROM_US


def airtime_us(
    spreading_factor,
    bandwidth_hz,
    coding_rate,
    preamble_symbols,
    payload_len,
    *,
    explicit_header=True,
    crc=True,
    chip=SX126X,
):
    """Time on air of one frame in microseconds.

    coding_rate       1 to 4, for 4/5 to 4/8
    preamble_symbols  as programmed (8 for LoRa's default), without the 4.25 or 6.25 symbols the chip adds
    payload_len       bytes given to the chip, 0 to 255
    Raises            ValueError, naming the argument
    """
    if not 1 <= coding_rate <= 4:
        raise ValueError("coding_rate = %r: must be 1 to 4, for 4/5 to 4/8" % (coding_rate,))
    if not 0 <= payload_len <= MAX_PAYLOAD:
        raise ValueError("payload_len = %r: must be 0 to 255" % (payload_len,))
    one_symbol_us = symbol_us(spreading_factor, bandwidth_hz)
    quarters = 4 * (
        preamble_symbols
        + 8
        + _payload_symbols(
            spreading_factor,
            one_symbol_us >= _LDRO_FROM_US,
            coding_rate,
            8 * payload_len + (16 if crc else 0),
            20 if explicit_header else 0,
            chip,
        )
    )
    quarters += 25 if _is_short(spreading_factor, chip) else 17  # sync word: 6.25 or 4.25 symbols
    return quarters * (one_symbol_us >> 2)


def _is_short(spreading_factor, chip):
    """SX126x frames at SF5 and SF6 have a longer sync part and no 8 spare header bits; SX127x knows no such case."""
    if chip == SX127X:
        if spreading_factor < 6:
            raise ValueError("spreading_factor = %r: SX127x chips begin at 6" % (spreading_factor,))
        return False
    if chip != SX126X:
        raise ValueError("chip = %r: must be sx126x or sx127x" % (chip,))
    return spreading_factor < 7


def _payload_symbols(spreading_factor, ldro, coding_rate, payload_bits, header_bits, chip):
    """Symbols after the first eight; those carry as many bits as fit at the lowest rate."""
    bits = payload_bits + header_bits - 4 * spreading_factor + (0 if _is_short(spreading_factor, chip) else 8)
    per_block = 4 * (spreading_factor - (2 if ldro else 0))
    return (max(bits, 0) + per_block - 1) // per_block * (coding_rate + 4)
