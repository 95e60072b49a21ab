"""The outside of a frame: header, address, counter. The same bytes in a LoRa payload and in an MQTT message.

Goes in: a whole frame, or the numbers that a header carries. Comes out: a Frame, or header bytes and associated data.
Knows no key, no reading and no clock. Exact bytes: docs/protocol.md, "Frame".
Decoders of this package raise FrameError only; its reason is the name of the counter that moves (all: reasons.REASONS).
"""

VERSION = 1
FULL = 0x10  # header bit: epoch and the whole counter are on the wire

INVALID, REPORT, URGENT, ACK, JOIN, BEACON, FRAGMENT, COMMAND = range(8)
_SUPPORTED = (REPORT, URGENT, ACK, COMMAND)
_DOWN = (ACK, COMMAND)
_QUERY = VERSION << 6 | FULL | BEACON  # sealed: a node asks for the anchor of beacons, or is told it

TAG_LEN = 8
MAX_FRAME = 255  # one LoRa payload
UPLINK_OVERHEAD = 13
FULL_UPLINK_OVERHEAD = 19
DOWNLINK_OVERHEAD = 14
FULL_DOWNLINK_OVERHEAD = 16

COUNTER_SLACK = 1024  # frames may overtake each other by so many counters


class FrameError(Exception):
    """One frame is unusable: drop it, move the counter called `reason`, carry on."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Frame:
    """What the clear part of a frame says. The sealed part is frame[header_len:].

    kind, is_full, is_uplink, address (int)
    counter     whole if is_full, else its low 16 bits
    epoch       only in a full uplink, else None
    answers     low 8 bits of the answered uplink counter; None in an uplink
    head        the first three bytes, as the associated data wants them
    """

    __slots__ = ("address", "answers", "counter", "epoch", "head", "header_len", "is_full", "is_uplink", "kind")

    def __init__(self, kind, is_full, address, head):
        self.kind = kind
        self.is_full = is_full
        self.is_uplink = kind not in _DOWN
        self.address = address
        self.head = head
        self.counter = 0
        self.epoch = None
        self.answers = None
        self.header_len = 0


def parse(frame):
    """Read the clear part of `frame` (bytes-like, 1 to 255 bytes). Raises FrameError."""
    size = len(frame)
    if size == 0:
        raise FrameError("truncated")
    if size > MAX_FRAME:
        raise FrameError("oversized")
    first = frame[0]
    if first >> 5 != VERSION << 1:  # the reserved bit belongs to a later version
        raise FrameError("unknown_version")
    kind = first & 0x0F
    if kind not in _SUPPORTED and first != _QUERY:
        raise FrameError("unsupported_kind" if JOIN <= kind < COMMAND else "unknown_kind")
    is_full = bool(first & FULL)
    header_len = _header_len(kind, is_full)
    if size < header_len + TAG_LEN:
        raise FrameError("truncated")
    head = bytes(frame[:3])
    parsed = Frame(kind, is_full, head[1] << 8 | head[2], head)
    parsed.header_len = header_len
    if kind in _DOWN:
        parsed.answers = frame[3]
        parsed.counter = int.from_bytes(frame[4:header_len], "big")
    else:
        if is_full:
            parsed.epoch = int.from_bytes(frame[3:7], "big")  # pyright: ignore[reportAttributeAccessIssue]
        parsed.counter = int.from_bytes(frame[header_len - (4 if is_full else 2) : header_len], "big")
    return parsed


def parse_uplink(frame):
    """As parse, for a gateway: a downlink is FrameError("wrong_direction")."""
    parsed = parse(frame)
    if not parsed.is_uplink:
        raise FrameError("wrong_direction")
    return parsed


def parse_downlink(frame):
    """As parse, for a node: an uplink is FrameError("wrong_direction")."""
    parsed = parse(frame)
    if parsed.is_uplink:
        raise FrameError("wrong_direction")
    return parsed


def _header_len(kind, is_full):
    if kind in _DOWN:
        return 8 if is_full else 6
    return 11 if is_full else 5


def uplink_header(kind, address, counter, *, epoch=None):
    """Return the clear part of an uplink. An `epoch` makes it FULL; `counter` is the whole one either way."""
    if epoch is None:
        return _head(kind, 0, address) + (counter & 0xFFFF).to_bytes(2, "big")
    return _head(kind, FULL, address) + epoch.to_bytes(4, "big") + counter.to_bytes(4, "big")


def downlink_header(address, answers, counter, *, full=False, kind=ACK):
    """Return the clear part of a downlink that answers the uplink with counter `answers` (whole)."""
    answered = bytes([answers & 0xFF])
    if full:
        return _head(kind, FULL, address) + answered + counter.to_bytes(4, "big")
    return _head(kind, 0, address) + answered + (counter & 0xFFFF).to_bytes(2, "big")


def _head(kind, full_bit, address):
    return bytes([VERSION << 6 | full_bit | kind, address >> 8, address & 0xFF])


def aad_uplink(head, epoch, counter):
    """Associated data of an uplink: what is sealed although it is not, or not wholly, on the wire."""
    return head + epoch.to_bytes(4, "big") + counter.to_bytes(4, "big")


def aad_downlink(head, epoch, counter, answered_counter):
    """Associated data of a downlink; binds the whole counter of the uplink it answers."""
    return aad_uplink(head, epoch, counter) + answered_counter.to_bytes(4, "big")


def reconstruct_counter(low16, highest):
    """Return the whole counter: the first value from `highest` - 1024 on that ends in `low16`."""
    start = highest - COUNTER_SLACK
    if start < 0:
        start = 0
    return start + ((low16 - start) & 0xFFFF)


def nearest(low16, around):
    """Return the value that ends in `low16` and lies in [around - 32768, around + 32767]; never negative."""
    start = around - 0x8000
    value = start + ((low16 - start) & 0xFFFF)
    return value if value >= 0 else value + 0x10000
