"""How a report is kept in a page: some fifty bytes, names by their place in the page's table.

    u16 node   u32 milliseconds from the page's time to its storing   u8 flags   u8 kind   f64 measured at
    u16 count of readings
    the id: 2 x u32 (epoch, sequence), or 16 bytes of hash, or u16 length and text
    u32 boot, u8 quality, f64 not before (NaN: none): while the time is pending, if its flag is set
    f64 error of the time, u16 subject, 2 x u32 epoch and sequence beside a text: each if its flag is set
    readings: u16 quantity, u16 unit (65,535: none), u8 tag, value, then sum and time if the tag says so

Knows nothing of pages beside the table of names. Source of the fields: gateway/reading.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import get_args

from gateway.reading import Assurance, Kind, Pending, Reading, Report, Single, TimeQuality, Value, record_id_of
from gateway.row import DIGEST, Row

_HEAD = struct.Struct("<HIBBdH")
_READING = struct.Struct("<HHB")
_FLOAT = struct.Struct("<HHBd")
_NUMBERS = struct.Struct("<II")
_F64 = struct.Struct("<d")
_I64 = struct.Struct("<q")
_U16 = struct.Struct("<H")
_HASH_HEAD = struct.Struct("<H4xB11xQ")  # node, flags, and of a hash the beginning
_MS = struct.Struct("<I")

QUALITIES: tuple[TimeQuality, ...] = get_args(TimeQuality)
ASSURANCES: tuple[Assurance, ...] = get_args(Assurance)
KINDS: tuple[Kind, ...] = get_args(Kind)
_QUALITY_CODES = {name: code for code, name in enumerate(QUALITIES)}
_ASSURANCE_CODES = {name: code << 2 for code, name in enumerate(ASSURANCES)}
_KIND_CODES = {name: code for code, name in enumerate(KINDS)}

_NUMBERED, _HASHED, _TEXT = 0x00, 0x10, 0x20  # the form of the id
_FORM = 0x30
_HAS_ERROR, _HAS_SUBJECT = 0x40, 0x80
_HAS_NUMBERS, _HAS_PENDING = 0x08, 0x10  # in the kind
_PENDING = struct.Struct("<IBd")
_NO_UNIT = 0xFFFF
_NONE, _REAL, _WHOLE, _TRUE, _FALSE, _STRING, _BYTES, _HUGE = range(8)
_HAS_TOTAL, _HAS_TIME = 0x08, 0x10
_HASH_BYTES = 16
_SINGLE_HEAD = struct.Struct("<HIBBdH16sHHB")
_SINGLE_BEGIN, _SINGLE_END = struct.Struct("<HIBB"), struct.Struct("<HHB")  # the same for many records
_SINGLE_REAL = struct.Struct("<8sd2s16s5sd")
_SINGLE_WHOLE = struct.Struct("<8sd2s16s5sq")
_ONE = _U16.pack(1)
_ONE_REAL, _ONE_WHOLE = struct.Struct("<HIBBdH16sHHBd"), struct.Struct("<HIBBdH16sHHBq")  # the same, of a row of one
SINGLE_BYTES = _SINGLE_REAL.size
_ASSURANCE_BITS = 0x0C  # with a good time, whose code is 0
_TELEMETRY = _KIND_CODES["telemetry"]
MOST_MS = 0xFFFFFFFF


class Names:
    """The table of one page: each name once."""

    __slots__ = ("places", "size")

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.size = 0  # bytes in the page, separators included

    def place(self, name: str) -> int:
        """Where `name` is. Raises ValueError for a name that no table can hold."""
        found = self.places.get(name)
        if found is None:
            if "\0" in name:
                raise ValueError("a name holds NUL")
            found = self.places[name] = len(self.places)
            self.size += len(name.encode()) + 1
        return found

    def shorten(self, count: int, size: int) -> None:
        """Be as it was with so many names, of so many bytes: take out those of an entry that does not go here."""
        for name in list(self.places)[count:]:
            del self.places[name]
        self.size = size


def encode(report: Report, names: Names, stored_ms: int) -> bytes:
    """The bytes of `report`. Raises ValueError for what no report can be."""
    places = names.places
    node_at = places.get(report.node)
    if node_at is None:
        node_at = names.place(report.node)
    form, identity = _identity(report)
    flags = _QUALITY_CODES[report.time_quality] | _ASSURANCE_CODES[report.assurance] | form
    kind = _KIND_CODES[report.kind]
    more = b""
    if report.pending is not None:
        kind |= _HAS_PENDING
        more = _pending(report.pending)
    if report.time_error_s is not None:
        flags |= _HAS_ERROR
        more += _F64.pack(report.time_error_s)
    if report.subject is not None:
        flags |= _HAS_SUBJECT
        more += _U16.pack(names.place(report.subject))
    if form != _NUMBERED and report.epoch is not None and report.seq is not None:
        kind |= _HAS_NUMBERS
        more += _NUMBERS.pack(report.epoch, report.seq)
    readings = report.readings
    if len(readings) == 1:
        more += _reading(readings[0], names)
    elif readings:
        more += b"".join([_reading(one, names) for one in readings])
    head = _HEAD.pack(node_at, min(max(stored_ms, 0), MOST_MS), flags, kind, report.measured_at_s, len(readings))
    return head + identity + more


def flags_of_row(assurance: Assurance) -> int:
    """What `encode_rows` puts into the flags: a good time, and an id that is a hash."""
    return _QUALITY_CODES["good"] | _ASSURANCE_CODES[assurance] | _HASHED


def encode_rows(
    rows: Sequence[Row],
    begun: tuple[int, int],
    names: Names,
    stored_ms: int,
    flags: int,
    *,
    most: int,
    room: int,
    each: int,
) -> tuple[list[bytes], tuple[int, int]]:
    """The same bytes as `encode` makes of such reports of telemetry, of as many as fit; and where it goes on.

    begun  the row and the place in it to begin with
    most   records at most
    room   bytes for them and their names, `each` of them beside names
    """
    written: list[bytes] = []
    places, (first, at) = names.places, begun
    for number in range(first, len(rows)):
        row = rows[number]
        node, quantity, unit, values, times, digests = row
        count, size = len(places), names.size
        node_at, unit_at = names.place(node), _NO_UNIT if unit is None else names.place(unit)
        quantity_at = names.place(quantity)
        left = min(most, (room - names.size) // each) - len(written)
        if left <= 0:
            names.shorten(count, size)
            return written, (number, at)
        is_real = values[0].__class__ is float
        tag = _REAL if is_real else _WHOLE
        if len(values) == 1:
            pack = _ONE_REAL.pack if is_real else _ONE_WHOLE.pack
            time_s, value = times[0], values[0]
            written.append(
                pack(node_at, stored_ms, flags, _TELEMETRY, time_s, 1, digests, quantity_at, unit_at, tag, value)
            )
            continue
        part = row if not at and len(values) <= left else row.part(at, at + left)
        head = _SINGLE_BEGIN.pack(node_at, stored_ms, flags, _TELEMETRY)
        written += _encode_several(part, head, _SINGLE_END.pack(quantity_at, unit_at, tag), is_real=is_real)
        at += len(part.values)
        if at < len(values):
            return written, (number, at)
        at = 0
    return written, (len(rows), 0)


def _encode_several(row: Row, head: bytes, tail: bytes, *, is_real: bool) -> list[bytes]:
    """Records that begin with `head` and have `tail` before their values."""
    pack = _SINGLE_REAL.pack if is_real else _SINGLE_WHOLE.pack
    columns = zip(row.values, row.times, DIGEST.iter_unpack(row.digests), strict=True)
    return [pack(head, time_s, _ONE, digest, tail, value) for value, time_s, (digest,) in columns]


def decode_single(payload: bytes, names: Sequence[str], at: int) -> Single | None:
    """What `encode_rows` made these bytes of; None if it did not. Raises IndexError or struct.error."""
    node, _, flags, kind, measured_at_s, count, digest, quantity, unit, tag = _SINGLE_HEAD.unpack_from(payload, at)
    if kind != _TELEMETRY or count != 1 or flags & ~_ASSURANCE_BITS != _HASHED or tag not in (_REAL, _WHOLE):
        return None
    (value,) = (_F64 if tag == _REAL else _I64).unpack_from(payload, at + _SINGLE_HEAD.size)
    return names[node], names[quantity], None if unit == _NO_UNIT else names[unit], value, measured_at_s, digest


def speaker_of(payload: bytes, at: int, names: Sequence[str]) -> tuple[str, Assurance]:
    """Who says it, and how that is known. Raises IndexError."""
    return names[payload[at] | payload[at + 1] << 8], ASSURANCES[payload[at + 6] >> 2 & 3]


def is_pending(payload: bytes, at: int) -> bool:
    """Whether its time is one of a boot."""
    return bool(payload[at + 7] & _HAS_PENDING)


def _pending(pending: Pending) -> bytes:
    not_before_s = math.nan if pending.not_before_s is None else pending.not_before_s
    return _PENDING.pack(pending.boot, _QUALITY_CODES[pending.quality], not_before_s)


def _identity(report: Report) -> tuple[int, bytes]:
    record_id, node, seq = report.record_id, report.node, report.seq
    if seq is not None and report.epoch is not None and record_id == f"{node}/{report.epoch}/{seq}":
        return _NUMBERED, _NUMBERS.pack(report.epoch, seq)
    at = len(node)
    if len(record_id) == at + 3 + 2 * _HASH_BYTES and record_id[at : at + 3] == "/h/" and record_id.startswith(node):
        try:
            digest = bytes.fromhex(record_id[at + 3 :])
        except ValueError:
            digest = b""
        if digest.hex() == record_id[at + 3 :]:
            return _HASHED, digest
    text = record_id.encode()
    return _TEXT, _U16.pack(len(text)) + text


def _reading(reading: Reading, names: Names) -> bytes:
    places = names.places
    unit = _NO_UNIT if reading.unit is None else places.get(reading.unit)
    if unit is None:
        unit = names.place(reading.unit or "")
    quantity = places.get(reading.quantity)
    if quantity is None:
        quantity = names.place(reading.quantity)
    if type(reading.value) is float and reading.total is None and reading.at_s is None:
        return _FLOAT.pack(quantity, unit, _REAL, reading.value)
    tag, value = _value(reading.value)
    if reading.total is not None:
        tag |= _HAS_TOTAL
        total_tag, total = _value(reading.total)
        value += bytes((total_tag,)) + total
    if reading.at_s is not None:
        tag |= _HAS_TIME
        value += _F64.pack(reading.at_s)
    return _READING.pack(quantity, unit, tag) + value


def _value(value: Value) -> tuple[int, bytes]:
    if value is None:
        return _NONE, b""
    if isinstance(value, bool):
        return (_TRUE if value else _FALSE), b""
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return _WHOLE, _I64.pack(value)
        return _HUGE, _sized(str(value).encode())
    if isinstance(value, float):
        return _REAL, _F64.pack(value)
    if isinstance(value, str):
        return _STRING, _sized(value.encode())
    return _BYTES, _sized(value)


def _sized(data: bytes) -> bytes:
    return _U16.pack(len(data)) + data


def stored_ms(payload: bytes, at: int = 0) -> int:
    """Milliseconds from the page's time to the storing of this record."""
    return int(_MS.unpack_from(payload, at + 2)[0])


def hashes_of(records: Iterable[tuple[bytes, int]]) -> list[tuple[int, int]]:
    """(place of the node, first 64 bits of the hash) of each record, a buffer and where in it, whose id is a hash."""
    read, form, hashed = _HASH_HEAD.unpack_from, _FORM, _HASHED
    return [
        (node_at, digest)
        for data, at in records
        for node_at, flags, digest in (read(data, at),)
        if flags & form == hashed
    ]


def decode(payload: bytes, names: Sequence[str], at: int = 0) -> Report:
    """The report that `encode` made these bytes of. Raises ValueError, IndexError or struct.error for other bytes."""
    node_at, _, flags, kind, measured_at_s, count = _HEAD.unpack_from(payload, at)
    node = names[node_at]
    record_id, epoch, seq, at = _read_identity(payload, at + _HEAD.size, node, flags & _FORM)
    pending, at = _read_pending(payload, at) if kind & _HAS_PENDING else (None, at)
    error_s: float | None = None
    if flags & _HAS_ERROR:
        (error_s,) = _F64.unpack_from(payload, at)
        at += _F64.size
    subject: str | None = None
    if flags & _HAS_SUBJECT:
        subject = names[_U16.unpack_from(payload, at)[0]]
        at += _U16.size
    if kind & _HAS_NUMBERS:
        epoch, seq = _NUMBERS.unpack_from(payload, at)
        at += _NUMBERS.size
    return Report(
        node=node,
        record_id=record_id,
        measured_at_s=measured_at_s,
        readings=_read_readings(payload, at, names, count),
        epoch=epoch,
        seq=seq,
        time_quality=QUALITIES[flags & 3],
        time_error_s=error_s,
        assurance=ASSURANCES[flags >> 2 & 3],
        kind=KINDS[kind & 7],
        subject=subject,
        pending=pending,
    )


def _read_identity(payload: bytes, at: int, node: str, form: int) -> tuple[str, int | None, int | None, int]:
    """The record id, its epoch and sequence if it is made of them, and the position behind."""
    if form == _HASHED:
        end = at + _HASH_BYTES
        return record_id_of(node, payload[at:end]), None, None, end
    if form == _NUMBERED:
        epoch, seq = _NUMBERS.unpack_from(payload, at)
        return f"{node}/{epoch}/{seq}", epoch, seq, at + _NUMBERS.size
    text, at = _text(payload, at)
    return text, None, None, at


def _read_pending(payload: bytes, at: int) -> tuple[Pending, int]:
    boot, quality, not_before_s = _PENDING.unpack_from(payload, at)
    pending = Pending(boot, QUALITIES[quality], None if math.isnan(not_before_s) else not_before_s)
    return pending, at + _PENDING.size


def _read_readings(payload: bytes, at: int, names: Sequence[str], count: int) -> tuple[Reading, ...]:
    if count == 1:
        return (_read_reading(payload, at, names)[0],)
    found = []
    for _ in range(count):
        reading, at = _read_reading(payload, at, names)
        found.append(reading)
    return tuple(found)


def _read_reading(payload: bytes, at: int, names: Sequence[str]) -> tuple[Reading, int]:
    quantity, unit, tag = _READING.unpack_from(payload, at)
    value: Value
    if tag == _REAL:
        value = _F64.unpack_from(payload, at + 5)[0]
        return Reading(quantity=names[quantity], value=value, unit=None if unit == _NO_UNIT else names[unit]), at + 13
    value, at = _read_value(payload, at + 5, tag & 7)
    total: float | None = None
    at_s: float | None = None
    if tag & _HAS_TOTAL:
        number, at = _read_value(payload, at + 1, payload[at])
        if isinstance(number, (int, float)):
            total = number
    if tag & _HAS_TIME:
        (at_s,) = _F64.unpack_from(payload, at)
        at += 8
    made = Reading(
        quantity=names[quantity], value=value, unit=None if unit == _NO_UNIT else names[unit], total=total, at_s=at_s
    )
    return made, at


def _read_value(payload: bytes, at: int, tag: int) -> tuple[Value, int]:
    if tag == _NONE:
        return None, at
    if tag == _REAL:
        return _F64.unpack_from(payload, at)[0], at + 8
    if tag == _WHOLE:
        return _I64.unpack_from(payload, at)[0], at + 8
    if tag in (_TRUE, _FALSE):
        return tag == _TRUE, at
    if tag == _BYTES:
        (length,) = _U16.unpack_from(payload, at)
        return payload[at + 2 : at + 2 + length], at + 2 + length
    text, at = _text(payload, at)
    return (int(text) if tag == _HUGE else text), at


def _text(payload: bytes, at: int) -> tuple[str, int]:
    (length,) = _U16.unpack_from(payload, at)
    end = at + 2 + length
    return payload[at + 2 : end].decode(), end
