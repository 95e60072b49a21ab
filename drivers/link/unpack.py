"""Bytes to reports: the gateway's half of the report body (docs/protocol.md, "Report body").

A node does not carry it: its memory is small, and it never reads a report.
"""

from drivers.link import order, window_reading
from drivers.link import schema as schemas
from drivers.link.cbor import decode
from drivers.link.frame import FrameError, nearest
from drivers.link.pack import (
    BOOT_BEGAN,
    EPOCHS_OPENED,
    FLOOR_RAISED,
    LONG_AGE,
    MAX_REPORTS,
    OLDER_BOOT,
    OTHER_EPOCH,
    PARTS,
    WIDE,
)

_KNOWN_EXTENSIONS = OTHER_EPOCH | OLDER_BOOT | FLOOR_RAISED | EPOCHS_OPENED | LONG_AGE | BOOT_BEGAN
_U32_MAX = 0xFFFFFFFF
_NAME_START = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"  # RFC 8428 section 4.5.1
_NAME_CHARACTERS = _NAME_START + "-:./_"
_NUDGES_S = (-1, 1, -2, 2)


class Body:
    """What one frame reports.

    boot, uptime_s  number and clock of the sending boot; None in a short frame
    epoch           the epoch of these reports if it is not the session's, else None
    older_boot      the boot that measured them if it is not the sending one, else None
    began_s         seconds since 1970 when the boot that measured them began, as a gateway told the node; else None
    seq             of the first report; its low 16 bits in a short frame until resolve()
    floor           oldest sequence the node holds; None in a short frame until resolve()
    floor_distance  seq - floor
    lost            so many reports just below the floor were given up, for lost_reason (None if lost is 0)
    epochs_opened   (epoch, end, is_known) of earlier epochs, oldest first
    age_s           of the first report at the start of the transmission; None with older_boot
    reports         list of Arrival
    """

    __slots__ = (
        "age_s",
        "began_s",
        "boot",
        "epoch",
        "epochs_opened",
        "floor",
        "floor_distance",
        "is_full",
        "lost",
        "lost_reason",
        "older_boot",
        "reports",
        "seq",
        "uptime_s",
    )

    def resolve(self, highest):
        """Make the sequences whole. Returns self.

        highest  highest sequence known of this node and epoch (not used for a FULL frame)
        Raises   FrameError("bad_sequence") if the floor or a sequence lies outside 0 to 2^32 - 1
        """
        if not self.is_full:
            self.seq = nearest(self.seq, highest)
        self.floor = self.seq - self.floor_distance
        if self.floor < 0 or self.lost > self.floor:
            raise FrameError("bad_sequence")
        offset = self.seq - self.reports[0].seq
        if self.reports[-1].seq + offset > _U32_MAX:
            raise FrameError("bad_sequence")
        for arrival in self.reports:
            arrival.seq += offset
        return self


class Arrival:
    """One report as it arrived.

    seq       0 for the first of the frame and counting from there, until Body.resolve()
    age_s     seconds between its measurement and the start of the transmission; None if an older boot measured it
    uptime_s  uptime at its measurement in the boot that measured it; None if the frame does not tell
    values    integers in the order of the schema, or (name, unit, exponent, mantissa) of each if self-describing
    """

    __slots__ = ("age_s", "schema", "seq", "uptime_s", "values")

    def __init__(self, seq, age_s, uptime_s, schema, values):
        self.seq = seq
        self.age_s = age_s
        self.uptime_s = uptime_s
        self.schema = schema
        self.values = values


def unpack(body, *, full):
    """Return the Body that a plaintext holds; `full` is what the frame's header said. Raises FrameError."""
    bits = BitReader(body)
    parsed = Body()
    parsed.is_full = full
    parsed.boot = bits.read(32) if full else None
    parsed.uptime_s = bits.read(32) if full else None
    has_extensions = bits.read(1)
    schema = _known(bits.read(5))
    measured_s = _read_extensions(bits, parsed, bits.read(8) if has_extensions else None)
    _read_place(bits, parsed)
    if measured_s is None and full:
        measured_s = parsed.uptime_s - parsed.age_s
        if measured_s < 0:
            raise FrameError("bad_time")
    first = Arrival(0, parsed.age_s, measured_s, schema, _read_raw(bits, schema))
    parsed.reports = [first]
    _read_further(bits, parsed.reports)
    _check_padding(bits)
    return parsed


def _known(schema):
    if schema not in PARTS and schema < schemas.OUTCOME:
        raise FrameError("unknown_schema")
    return schema


def _read_extensions(bits, parsed, mask):
    """Fill in what the extensions say. Returns the uptime of the first report in an older boot, else None."""
    parsed.epoch = parsed.older_boot = parsed.age_s = parsed.lost_reason = parsed.began_s = None
    parsed.lost = 0
    parsed.epochs_opened = ()
    if mask is None:
        return None
    if mask & ~_KNOWN_EXTENSIONS:
        raise FrameError("unknown_extension")
    if mask == 0 or (mask & OTHER_EPOCH and not parsed.is_full) or (mask & OLDER_BOOT and mask & LONG_AGE):
        raise FrameError("bad_extension")
    measured_s = None
    if mask & OTHER_EPOCH:
        parsed.epoch = bits.read(32)
    if mask & OLDER_BOOT:
        parsed.older_boot = bits.read(32)
        measured_s = bits.read(32)
    if mask & FLOOR_RAISED:
        parsed.lost = bits.read(32)
        parsed.lost_reason = bits.read(4)
    if mask & EPOCHS_OPENED:
        count = bits.read(4)
        if count == 0:
            raise FrameError("bad_extension")
        parsed.epochs_opened = tuple([(bits.read(32), bits.read(32), bool(bits.read(1))) for _ in range(count)])
    if mask & LONG_AGE:
        parsed.age_s = bits.read(32)
    if mask & BOOT_BEGAN:
        parsed.began_s = bits.read(32)
    return measured_s


def _read_place(bits, parsed):
    has_age_field = parsed.age_s is None and parsed.older_boot is None
    if parsed.is_full:
        parsed.seq = bits.read(32)
        parsed.floor = bits.read(32)
        parsed.floor_distance = parsed.seq - parsed.floor
        if parsed.floor_distance < 0:
            raise FrameError("bad_sequence")
        if has_age_field:
            parsed.age_s = _read_age(bits)
        return
    parsed.floor = None
    parsed.seq = bits.read(16)
    if has_age_field:
        parsed.floor_distance, parsed.age_s = _read_distance_and_age(bits)
    else:
        parsed.floor_distance = bits.read(14) if bits.read(1) else 0


def _read_age(bits):
    if not bits.read(1):
        return bits.read(7)
    return bits.read(18) if bits.read(1) else bits.read(12)


def _read_distance_and_age(bits):
    form = bits.read(2)
    if form == 0b00:
        return 0, bits.read(7)
    if form == 0b01:
        return bits.read(10), bits.read(12)
    if form == 0b10:
        return bits.read(4), bits.read(18)
    is_old = bits.read(1)
    return bits.read(14), bits.read(18 if is_old else 7)


def _read_further(bits, arrivals):
    last = arrivals[0]
    step_s = 0
    while bits.left and bits.read(1):
        if len(arrivals) == MAX_REPORTS:
            raise FrameError("too_many_reports")
        gap = 1
        schema = last.schema
        if bits.read(1):
            if bits.read(1):
                gap = bits.read(7) + 2 if bits.read(1) else 1
                schema = _known(bits.read(5)) if bits.read(1) else schema
                step_s = _read_step(bits, step_s)
            else:
                step_s += _NUDGES_S[bits.read(2)]
        last = _next_arrival(last, gap, step_s, schema, _read_values(bits, last, schema))
        arrivals.append(last)


def _read_step(bits, before_s):
    if not bits.read(1):
        return before_s
    if not bits.read(1):
        return bits.read(8)
    return bits.read(32) if bits.read(1) else bits.read(20)


def _next_arrival(last, gap, step_s, schema, values):
    age_s = last.age_s if last.age_s is None else last.age_s - step_s
    uptime_s = last.uptime_s if last.uptime_s is None else last.uptime_s + step_s
    if step_s < 0 or (age_s is not None and age_s < 0) or (uptime_s is not None and uptime_s > _U32_MAX):
        raise FrameError("bad_time")
    return Arrival(last.seq + gap, age_s, uptime_s, schema, values)


def _read_values(bits, last, schema):
    if schema == last.schema and schema < schemas.OUTCOME and bits.read(1):
        values = tuple([before + _read_delta(bits) for before in last.values])
        if not schemas.in_range(schema, values):
            raise FrameError("out_of_range")
        return values
    return _read_raw(bits, schema)


def _read_delta(bits):
    if not bits.read(1):
        z = bits.read(3)
    elif not bits.read(1):
        z = bits.read(6) + 8
    elif not bits.read(1):
        z = bits.read(10) + 72
    else:
        z = bits.read(18)
    return -((z + 1) >> 1) if z & 1 else z >> 1


def _read_raw(bits, schema):
    if schema == schemas.SELF_DESCRIBING:
        return _read_self_describing(bits)
    if schema == schemas.WINDOW:
        return window_reading.read(bits)
    if schema == schemas.OUTCOME:
        return order.read_outcome(bits)
    values = []
    for part in PARTS[schema]:
        if part == "c":
            both = bits.read(27)
            values.append(both // 10001 - 4000)
            values.append(both % 10001)
            values.append(bits.read(17) + 30000)
        elif part == "p":
            for _ in range(3):
                count = bits.read(10)
                values.append(bits.read(16) if count == WIDE else count)
        else:
            values.append(bits.read(16) - (0x8000 if part == "w" else 0))
    if not schemas.in_range(schema, values):
        raise FrameError("out_of_range")
    return tuple(values)


def _read_self_describing(bits):
    size = bits.read(8)
    items = decode(bits.read(8 * size).to_bytes(size, "big"))
    if not isinstance(items, list) or not items:
        raise FrameError("bad_cbor")
    return [_described(item) for item in items]


def _described(item):
    """Return a value of a self-describing report as a tuple, if it is one: [name, unit, exponent, mantissa]."""
    if not isinstance(item, list) or len(item) != 4:
        raise FrameError("bad_cbor")
    name, unit, exponent, mantissa = item
    if not (isinstance(name, str) and isinstance(unit, str) and _is_int(exponent) and _is_int(mantissa)):
        raise FrameError("bad_cbor")
    if not name or name[0] not in _NAME_START or any(c not in _NAME_CHARACTERS for c in name):
        raise FrameError("bad_cbor")
    if not -18 <= exponent <= 18 or not -(1 << 63) <= mantissa < 1 << 63:
        raise FrameError("bad_cbor")
    return name, unit, exponent, mantissa


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _check_padding(bits):
    """Between the last report and the end lie at most 7 bits, all zero, the one that ended the loop included."""
    if bits.left >= 7 or bits.rest():
        raise FrameError("bad_padding")


class BitReader:
    """Reads fields from the front. Past the end it raises FrameError("truncated")."""

    def __init__(self, data):
        self._value = int.from_bytes(data, "big")
        self.left = len(data) * 8  # bits not read yet

    def read(self, width):
        left = self.left - width
        if left < 0:
            raise FrameError("truncated")
        self.left = left
        return (self._value >> left) & ((1 << width) - 1)

    def rest(self):
        """Return all bits not read yet as one integer, without reading them."""
        return self._value & ((1 << self.left) - 1)
