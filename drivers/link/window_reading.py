"""Windows from the wire: the gateway's half of drivers/link/window."""

from drivers.link import schema as schemas
from drivers.link.frame import FrameError
from drivers.link.window import CODES, COUNT_BITS, FIELDS, HELD_BITS, LENGTH_BITS, LOWEST, MOST, bits_of


def read(bits):
    """Return the values of one report, as drivers.link.window.write takes them. `bits` is an unpack.BitReader.

    Raises  FrameError: truncated; out_of_range for a window that holds nothing, or that cannot be
    """
    length_s = _read_number(bits, LENGTH_BITS)
    held_back = bits.read(HELD_BITS) if bits.read(1) else 0
    quantities = bits.read(2)
    values = [length_s, held_back]
    for _ in range(quantities):
        values += _read_quantity(bits)
    if not length_s or quantities > MOST or not (quantities or held_back):
        raise FrameError("out_of_range")
    return tuple(values)


def readings(values):
    """List of (name, unit, exponent, mantissa), as the gateway tells its own windows."""
    found = [("window", "s", 0, values[0])]
    if values[1]:
        found.append(("held_back", "count", 0, values[1]))
    for at in range(2, len(values), FIELDS):
        code, count, low, high, mean, last = values[at : at + FIELDS]
        name = CODES[code]
        unit, exponent = schemas.QUANTITIES[name]
        found.append((name + "/count", "count", 0, count))
        found.append((name + "/mean", unit, exponent - 1, mean))
        found.append((name + "/min", unit, exponent, low))
        found.append((name + "/max", unit, exponent, high))
        found.append((name + "/last", unit, exponent, last))
    return found


def _read_quantity(bits):
    code = bits.read(4)
    count = _read_number(bits, COUNT_BITS)
    low = bits.read(20) + LOWEST
    width = bits.read(5)
    span = 1 << (width - 1) | bits.read(width - 1) if width else 0
    mean = 10 * low + bits.read(bits_of(10 * span))
    last = low + bits.read(width)
    high = low + span
    if code >= len(CODES) or not count or high >= -LOWEST or mean > 10 * high or last > high:
        raise FrameError("out_of_range")
    return code, count, low, high, mean, last


def _read_number(bits, widths):
    return bits.read(widths[bits.read(1)])
