"""The four frames of a join, and what their external authorization data says. docs/protocol.md, "Join".

A frame's fourth byte holds the number of the message and the connection identifier of whom it is for; the rest is
EDHOC's. Knows no key.
"""

from drivers.link.frame import JOIN, MAX_FRAME, VERSION, FrameError

OVERHEAD = 4
MAX_MESSAGE = MAX_FRAME - OVERHEAD
SHOW = 11  # EAD_1: show your entry; value: u8, the generation of the site's key that the node holds
SITE = 12  # EAD_2 and EAD_4: something that the site signed (drivers.link.site)
STATE = 13  # EAD_3: epoch u32 (0: none), version u16 of the gateway list, generation u8
GRANT = 14  # EAD_4: the epoch to go on in, u32; then, from a gateway that trusts its clock, seconds since 1970, u32
ROOT_LABEL = 32768  # of the exporter, the first one for private use
ROOT_CONTEXT = b"lamppost v1 root"
ROOT_LEN = 32


class JoinFrame:
    """`number` 1 to 4, `address`, `connection` (one byte, as RFC 9528 section 3.3.2 has it), `message`."""

    __slots__ = ("address", "connection", "message", "number")

    def __init__(self, number, address, connection, message):
        self.number = number
        self.address = address
        self.connection = connection
        self.message = message


def is_join(frame):
    """Whether these bytes are meant for this module."""
    return len(frame) > 0 and frame[0] == VERSION << 6 | JOIN


def begins_join(frame):
    """Whether it is a message 1, which anybody can make."""
    return is_join(frame) and len(frame) > 3 and frame[3] >> 6 == 0


def pack_join(number, address, connection, message):
    """Return a frame. `connection`: one byte, as an int; 0 in message 1, which nobody chose one for."""
    if len(message) > MAX_MESSAGE:
        raise FrameError("oversized")
    return bytes([VERSION << 6 | JOIN, address >> 8, address & 0xFF, number - 1 << 6 | connection]) + message


def parse_join(frame):
    """Read a frame of which is_join is true. Raises FrameError."""
    if len(frame) <= OVERHEAD:
        raise FrameError("truncated")
    if len(frame) > MAX_FRAME:
        raise FrameError("oversized")
    number, connection = (frame[3] >> 6) + 1, frame[3] & 0x3F
    if connection & 0x1F > 0x17 or (number == 1 and connection):
        raise FrameError("unknown_connection")
    return JoinFrame(number, frame[1] << 8 | frame[2], connection, bytes(frame[OVERHEAD:]))


def pack_state(epoch, list_version, generation):
    """The value of STATE."""
    return epoch.to_bytes(4, "big") + list_version.to_bytes(2, "big") + bytes([generation])


def read_state(value):
    """(epoch, list version, generation); None if it is not one."""
    if value is None or len(value) != 7:
        return None
    return int.from_bytes(value[:4], "big"), int.from_bytes(value[4:6], "big"), value[6]


def pack_grant(epoch, utc_s):
    """The value of GRANT; `utc_s` None if the clock is not trusted."""
    return epoch.to_bytes(4, "big") + (b"" if utc_s is None else utc_s.to_bytes(4, "big"))


def read_grant(value):
    """(epoch, UTC seconds or None); None if it is not one."""
    if value is None or len(value) not in (4, 8) or not any(value[:4]):
        return None
    return int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big") if len(value) == 8 else None
