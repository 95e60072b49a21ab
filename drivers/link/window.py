"""Windows on the wire: what a node has aggregated over a span of its time (docs/protocol.md, "Schemas", schema 30).

Values of such a report: length_s, held_back, then CODES index, count, lowest, highest, mean, last of up to three
quantities. The mean is in tenths of the quantity's resolution. Loaded only where a node has windows; the reader is
window_reading.
"""

from drivers.link.frame import FrameError

CODES = ("temperature", "humidity", "pressure", "pm1", "pm2_5", "pm10", "water_level", "battery", "switch")
FIELDS = 6
MOST = 3  # quantities in one report
LOWEST = -0x80000  # a value has 20 bits
LENGTH_BITS = (12, 17)
COUNT_BITS = (10, 21)
HELD_BITS = 21


def write(out, values):
    """Append the values of one report. Raises FrameError: out_of_range, oversized."""
    length_s, held_back, quantities = values[0], values[1], (len(values) - 2) // FIELDS
    if not 1 <= length_s < 1 << LENGTH_BITS[1] or not 0 <= held_back < 1 << HELD_BITS or quantities > MOST:
        raise FrameError("out_of_range")
    _write_number(out, length_s, LENGTH_BITS)
    if held_back:
        out.write(1, 1)
        out.write(held_back, HELD_BITS)
    else:
        out.write(0, 1)
    out.write(quantities, 2)
    for at in range(2, len(values), FIELDS):
        _write_quantity(out, *values[at : at + FIELDS])


def _write_quantity(out, code, count, low, high, mean, last):
    if not (LOWEST <= low <= last <= high < -LOWEST and 10 * low <= mean <= 10 * high and 1 <= count < 1 << 21):
        raise FrameError("out_of_range")
    out.write(code, 4)
    _write_number(out, count, COUNT_BITS)
    out.write(low - LOWEST, 20)
    width = bits_of(high - low)
    out.write(width, 5)
    if width:
        out.write(high - low, width - 1)  # the highest bit is always one
    out.write(mean - 10 * low, bits_of(10 * (high - low)))
    out.write(last - low, width)


def _write_number(out, number, widths):
    """In the shorter form if it fits."""
    is_long = number >= 1 << widths[0]
    out.write(1 if is_long else 0, 1)
    out.write(number, widths[is_long])


def bits_of(number):
    """How many bits a number of 0 or more has."""
    bits = 0
    while number >> bits:
        bits += 1
    return bits
