"""Orders and what came of them, the gateway's half (docs/protocol.md, "Command"). The node's half is firmware/obey.

An order: number u32 below 2^31, tag u16, code u8, arguments. Values of a report of schema 29: number, tag, outcome,
detail (why it was refused; for STALE the highest number that the node took up).
"""

from drivers.link.frame import FrameError

REPORT, OUTPUT, PACE, RESTART = 1, 2, 3, 4  # codes
DONE, REFUSED, UNKNOWN, STALE = 1, 2, 3, 4  # outcomes
NO_SUCH_ORDER, BAD_ARGUMENTS, NO_OUTPUT = 1, 2, 3  # why it was refused

LAST_NUMBER = 0x7FFFFFFF  # a node's journal keeps values in 31 bits
LONGEST_S = 604_800  # of an output's change
SHORTEST_PACE_S = 5
LONGEST_PACE_S = 86_400
OUTCOME_WIDTHS = (31, 16, 4, 31)  # drivers.link.pack writes them
_MOST_ARGUMENTS = 200


def pack_command(order, ack):
    """The plaintext of a COMMAND frame: `order` (pack_order), and the ack that an ACK frame would hold."""
    return bytes([len(order)]) + order + ack


def pack_order(number, tag, code, arguments=b""):
    """The order. Raises FrameError("out_of_range")."""
    if not 0 < number <= LAST_NUMBER or len(arguments) > _MOST_ARGUMENTS:
        raise FrameError("out_of_range")
    return number.to_bytes(4, "big") + tag.to_bytes(2, "big") + bytes([code]) + arguments


def output_arguments(output, for_s, level):
    """Of an OUTPUT order: 0 off, 1 on for so many seconds; 0 seconds: back to its safe state. Raises FrameError."""
    if not (0 <= output <= 255 and 0 <= for_s <= LONGEST_S and level in (0, 1)):
        raise FrameError("out_of_range")
    return bytes([output]) + for_s.to_bytes(3, "big") + bytes([level])


def pace_arguments(sample_s, report_s):
    """Of a PACE order; 0: as configured. Raises FrameError."""
    for seconds in (sample_s, report_s):
        if seconds and not SHORTEST_PACE_S <= seconds <= LONGEST_PACE_S:
            raise FrameError("out_of_range")
    return sample_s.to_bytes(3, "big") + report_s.to_bytes(3, "big")


def read_outcome(bits):
    """The values of one report of schema 29. `bits` is an unpack.BitReader. Raises FrameError."""
    values = tuple([bits.read(width) for width in OUTCOME_WIDTHS])
    if not DONE <= values[2] <= STALE or not values[0]:
        raise FrameError("out_of_range")
    return values


def readings(values):
    """List of (name, unit, exponent, mantissa)."""
    return [
        ("command/n", "", 0, values[0]),
        ("command/tag", "", 0, values[1]),
        ("command/outcome", "", 0, values[2]),
        ("command/detail", "", 0, values[3]),
    ]
