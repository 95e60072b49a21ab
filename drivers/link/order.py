"""Orders, the node's half: what a COMMAND frame tells it to do, and the report of what came of it (docs/protocol.md,
"Command").

Plaintext of a COMMAND: length of the order u8, the order, then an ack as in an ACK frame. An order: number u32 below
2^31, tag u16, code u8, arguments. A node loads this for as long as it obeys; the gateway's half is order_sending.
"""

from drivers.constant import const
from drivers.link.frame import FrameError

REPORT, OUTPUT, PACE, RESTART = 1, 2, 3, 4  # codes
DONE, REFUSED, UNKNOWN, STALE = 1, 2, 3, 4  # outcomes
NO_SUCH_ORDER, BAD_ARGUMENTS, NO_OUTPUT, FAILED = 1, 2, 3, 4  # why it was refused

HEAD_LEN = 7
LAST_NUMBER = 0x7FFFFFFF  # a journal keeps values in 31 bits
LONGEST_S = 604_800  # of an output's change
SHORTEST_PACE_S = const(5)
LONGEST_PACE_S = const(86_400)
OUTCOME_WIDTHS = (31, 16, 4, 31)


class Order:
    """number, tag: which order it is; code: what is to be done; arguments: bytes."""

    def __init__(self, octets):
        """Raises FrameError: truncated, out_of_range."""
        if len(octets) < HEAD_LEN:
            raise FrameError("truncated")
        self.number = int.from_bytes(octets[:4], "big")
        if self.number > LAST_NUMBER:
            raise FrameError("out_of_range")
        self.tag = int.from_bytes(octets[4:6], "big")
        self.code = octets[6]
        self.arguments = bytes(octets[HEAD_LEN:])


def read_output(arguments):
    """(output, seconds, level) of an OUTPUT order; seconds 0: back to its safe state. None if it is none."""
    if len(arguments) != 5 or arguments[4] > 1:
        return None
    for_s = int.from_bytes(arguments[1:4], "big")
    return (arguments[0], for_s, arguments[4]) if for_s <= LONGEST_S else None


def read_pace(arguments):
    """(sample_s, report_s) of a PACE order; 0: as configured. None if it is none, or out of bounds."""
    if len(arguments) != 6:
        return None
    pace = int.from_bytes(arguments[:3], "big"), int.from_bytes(arguments[3:], "big")
    for seconds in pace:
        if seconds and not SHORTEST_PACE_S <= seconds <= LONGEST_PACE_S:
            return None
    return pace


def write_outcome(out, values):
    """Append the values of one report of schema 29: number, tag, outcome, detail. Raises FrameError."""
    if len(values) != 4:
        raise FrameError("out_of_range")
    for value, width in zip(values, OUTCOME_WIDTHS):
        if value < 0 or value >> width:
            raise FrameError("out_of_range")
        out.write(value, width)
