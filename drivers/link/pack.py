"""Reports to bytes: the node's half of the report body (docs/protocol.md, "Report body").

Goes in: reports, oldest first, and what the frame has to say about the journal. Comes out: the plaintext of a
REPORT or URGENT frame, and how many reports it holds. The gateway's half is unpack.
"""

from drivers.link import schema as schemas
from drivers.link.bits import BitWriter
from drivers.link.frame import FrameError

MAX_REPORTS = 64
JOURNAL_FULL, JOURNAL_DAMAGED, OPERATOR = 1, 2, 3  # why a floor was raised

OTHER_EPOCH, OLDER_BOOT, FLOOR_RAISED, EPOCHS_OPENED, LONG_AGE, BOOT_BEGAN = 1, 2, 4, 8, 16, 32  # extension mask
MAX_EPOCHS = 15
WIDE = 1023  # in place of a particle count: 16 bits follow

# What each schema is made of on the wire: climate, particles, water, battery or switch.
PARTS = {
    schemas.CLIMATE: "c",
    schemas.PARTICLES: "p",
    schemas.CLIMATE_PARTICLES: "cp",
    schemas.WATER: "w",
    schemas.CLIMATE_WATER: "cw",
    schemas.CLIMATE_PARTICLES_WATER: "cpw",
    schemas.BATTERY: "b",
    schemas.SWITCH: "b",
}


class Report:
    """One report. seq is its number in its epoch, time_s the uptime at its measurement in the boot that measured it."""

    __slots__ = ("schema", "seq", "time_s", "values")

    def __init__(self, seq, time_s, schema, values):
        self.seq = seq
        self.time_s = time_s
        self.schema = schema
        self.values = values


def pack(
    reports,
    *,
    uptime_s,
    floor,
    max_len,
    full=False,
    boot=0,
    other_epoch=None,
    older_boot=None,
    floor_lost=None,
    epochs_opened=(),
    began_s=None,
):
    """Pack as many of `reports` as fit into `max_len` bytes. Returns (body, how many).

    reports        iterable of Report of one epoch and one boot, ascending seq, times not going back; it is read no
                   further than one report beyond those packed. A gap of over 128 sequences ends the frame
    uptime_s       the sender's clock now, in boot number `boot`
    floor          oldest sequence still held (of `other_epoch` if given)
    full           the frame will be FULL: says boot, clock, whole sequence and floor
    other_epoch    epoch of the reports if it is not the session's; needs full
    older_boot     boot of the reports if it is not the sender's: their time_s is that boot's uptime
    floor_lost     (count, reason): so many reports just below the floor were given up
    epochs_opened  (epoch, end, is_known) of closed epochs whose end is not acked yet, oldest first, at most 15
    began_s        seconds since 1970 when the boot of these reports began, as a gateway told; None if none did
    Raises         FrameError: oversized if not even one report fits, out_of_range if one cannot be written
    """
    out = BitWriter(max_len)
    if full:
        out.write(boot, 32)
        out.write(uptime_s, 32)
    notices = (other_epoch, older_boot, floor_lost, epochs_opened, began_s)
    count, step_s, last = 0, 0, None
    for report in reports:
        if last is None:
            _write_first(out, report, uptime_s, floor, full, notices)
        elif not _can_follow(last, report, uptime_s if older_boot is None else None):
            break
        elif not _write_next(out, last, report, step_s):
            break
        else:
            step_s = report.time_s - last.time_s
        last = report
        count += 1
        if count == MAX_REPORTS:
            break
    if last is None:
        raise ValueError("pack() needs at least one report")
    return out.to_bytes(), count


def _write_first(out, report, uptime_s, floor, full, notices):
    older_boot = notices[1]
    age_s = None if older_boot is not None else uptime_s - report.time_s
    mask = _mask(age_s, *notices)
    out.write(1 if mask else 0, 1)
    out.write(report.schema, 5)
    if mask:
        out.write(mask, 8)
        _write_extensions(out, mask, report, age_s, notices)
    _write_place(out, report.seq, floor, None if mask & LONG_AGE else age_s, full)
    _write_raw(out, report)


def _write_next(out, last, report, step_before_s):
    """Append a further report. Returns False, and leaves `out` as it was, if it does not fit."""
    mark = out.position
    try:
        _write_link(out, last, report, step_before_s)
        _write_values(out, last, report)
    except FrameError as error:
        if error.reason != "oversized":
            raise
        out.rewind(mark)
        return False
    return True


def _mask(age_s, other_epoch, older_boot, floor_lost, epochs_opened, began_s):
    mask = 0
    if other_epoch is not None:
        mask |= OTHER_EPOCH
    if older_boot is not None:
        mask |= OLDER_BOOT
    elif age_s >= 1 << 18:
        mask |= LONG_AGE
    if floor_lost is not None:
        mask |= FLOOR_RAISED
    if epochs_opened:
        mask |= EPOCHS_OPENED
    if began_s is not None:
        mask |= BOOT_BEGAN
    return mask


def _write_extensions(out, mask, report, age_s, notices):
    other_epoch, older_boot, floor_lost, epochs_opened, began_s = notices
    if mask & OTHER_EPOCH:
        out.write(other_epoch, 32)
    if mask & OLDER_BOOT:
        out.write(older_boot, 32)
        out.write(report.time_s, 32)
    if mask & FLOOR_RAISED:
        lost, reason = floor_lost
        out.write(lost, 32)
        out.write(reason, 4)
    if mask & EPOCHS_OPENED:
        out.write(len(epochs_opened), 4)
        for epoch, end, is_known in epochs_opened:
            out.write(epoch, 32)
            out.write(end, 32)
            out.write(1 if is_known else 0, 1)
    if mask & LONG_AGE:
        out.write(age_s, 32)
    if mask & BOOT_BEGAN:
        out.write(began_s, 32)


def _write_place(out, seq, floor, age_s, full):
    """Sequence, floor and age of the first report; age_s is None where an extension says the time."""
    distance = seq - floor
    if distance < 0 or (age_s is not None and age_s < 0):
        raise FrameError("out_of_range")
    if full:
        out.write(seq, 32)
        out.write(floor, 32)
        if age_s is not None:
            _write_age(out, age_s)
        return
    if distance >= 1 << 14:
        raise FrameError("out_of_range")
    out.write(seq & 0xFFFF, 16)
    if age_s is not None:
        _write_distance_and_age(out, distance, age_s)
    elif distance == 0:
        out.write(0, 1)
    else:
        out.write(1, 1)
        out.write(distance, 14)


def _write_age(out, age_s):
    if age_s < 1 << 7:
        out.write(age_s, 8)
    elif age_s < 1 << 12:
        out.write(0b10 << 12 | age_s, 14)
    else:
        out.write(0b11 << 18 | age_s, 20)


def _write_distance_and_age(out, distance, age_s):
    """Together in 24 bits, except where a report is old and far above the floor: then in 35."""
    if distance == 0 and age_s < 1 << 7:
        out.write(age_s, 9)
    elif distance < 1 << 10 and age_s < 1 << 12:
        out.write(0b01 << 10 | distance, 12)
        out.write(age_s, 12)
    elif distance < 1 << 4:
        out.write(0b10 << 4 | distance, 6)
        out.write(age_s, 18)
    elif age_s < 1 << 7:
        out.write(0b110 << 14 | distance, 17)
        out.write(age_s, 7)
    else:
        out.write(0b111 << 14 | distance, 17)
        out.write(age_s, 18)


def _can_follow(last, report, uptime_s):
    gap = report.seq - last.seq
    if gap < 1 or gap > 129 or report.time_s < last.time_s:
        return False
    return uptime_s is None or report.time_s <= uptime_s


def _write_link(out, last, report, step_before_s):
    """How a further report follows the one before: plain, nudged or explicit."""
    gap = report.seq - last.seq
    step_s = report.time_s - last.time_s
    change_s = step_s - step_before_s
    if gap == 1 and report.schema == last.schema and -2 <= change_s <= 2:
        if change_s == 0:
            out.write(0b10, 2)
        else:
            out.write(0b110, 3)
            out.write((0b10, 0b00, 0, 0b01, 0b11)[change_s + 2], 2)
        return
    out.write(0b111, 3)
    if gap == 1:
        out.write(0, 1)
    else:
        out.write(0x80 | (gap - 2), 8)
    if report.schema == last.schema:
        out.write(0, 1)
    else:
        out.write(0x20 | report.schema, 6)
    _write_step(out, step_s, change_s)


def _write_step(out, step_s, change_s):
    if change_s == 0:
        out.write(0, 1)
    elif step_s < 1 << 8:
        out.write(0b10 << 8 | step_s, 10)
    elif step_s < 1 << 20:
        out.write(0b110, 3)
        out.write(step_s, 20)
    else:
        out.write(0b111, 3)
        out.write(step_s, 32)


def _write_values(out, last, report):
    if report.schema != last.schema or report.schema >= schemas.OUTCOME:
        _write_raw(out, report)
        return
    if not schemas.in_range(report.schema, report.values):
        raise FrameError("out_of_range")
    if _delta_bits(last.values, report.values) < _raw_bits(report):
        out.write(1, 1)
        for i in range(len(report.values)):
            _write_delta(out, report.values[i] - last.values[i])
    else:
        out.write(0, 1)
        _write_raw(out, report)


def _write_raw(out, report):
    values = report.values
    if report.schema == schemas.SELF_DESCRIBING:
        from drivers.link.cbor import encode  # rare: not worth a node's memory at other times

        text = encode(values)
        if len(text) > 255:
            raise FrameError("out_of_range")
        out.write(len(text), 8)
        for byte in text:
            out.write(byte, 8)
        return
    if report.schema == schemas.WINDOW:
        from drivers.link.window import write  # only where the configuration asks for windows

        write(out, values)
        return
    if report.schema == schemas.OUTCOME:
        for value, width in zip(values, (31, 16, 4, 31)):
            if value >> width:
                raise FrameError("out_of_range")
            out.write(value, width)
        return
    if not schemas.in_range(report.schema, values):
        raise FrameError("out_of_range")
    at = 0
    for part in PARTS[report.schema]:
        if part == "c":
            out.write((values[at] + 4000) * 10001 + values[at + 1], 27)
            out.write(values[at + 2] - 30000, 17)
            at += 3
        elif part == "p":
            for i in range(at, at + 3):
                _write_particles(out, values[i])
            at += 3
        else:
            out.write(values[at] + (0x8000 if part == "w" else 0), 16)
            at += 1


def _write_particles(out, value):
    if value < WIDE:
        out.write(value, 10)
    else:
        out.write(WIDE, 10)
        out.write(value, 16)


def _raw_bits(report):
    bits = at = 0
    for part in PARTS[report.schema]:
        if part == "c":
            bits += 44
            at += 3
        elif part == "p":
            bits += 30
            for i in range(at, at + 3):
                if report.values[i] >= WIDE:
                    bits += 16
            at += 3
        else:
            bits += 16
            at += 1
    return bits


def _zigzag(difference):
    return 2 * difference if difference >= 0 else -2 * difference - 1


def _delta_bits(before, values):
    bits = 0
    for i in range(len(values)):
        z = _zigzag(values[i] - before[i])
        bits += 4 if z < 8 else 8 if z < 72 else 13 if z < 1096 else 21
    return bits


def _write_delta(out, difference):
    z = _zigzag(difference)
    if z < 8:
        out.write(z, 4)
    elif z < 72:
        out.write(0b10 << 6 | (z - 8), 8)
    elif z < 1096:
        out.write(0b110 << 10 | (z - 72), 13)
    else:
        out.write(0b111 << 18 | z, 21)
