"""One reading and one report, as everything behind the decoders sees them, whatever bearer they came by.

Goes in: values with quantity, unit and time. Comes out: the same, and the bytes that the outbox keeps of a report.
Knows neither frames nor SenML. Units are the primary ones of the SenML registry (RFC 8428 section 12.1).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Literal

Value = float | int | str | bool | bytes | None
TimeQuality = Literal["good", "bounded", "received", "untrusted"]
Assurance = Literal["aead", "mtls", "password", "none"]
Kind = Literal["telemetry", "alarm", "window", "gap", "event", "thinned"]
Stream = Literal["alarm", "event", "telemetry", "bulk"]

STREAMS: tuple[Stream, ...] = ("alarm", "event", "telemetry", "bulk")  # what matters most comes first
_STREAM_OF_KIND: dict[str, Stream] = {"alarm": "alarm", "event": "event", "gap": "event", "thinned": "bulk"}
_STEPS_PER_S = 8  # a time in eighths of a second adds and subtracts without rounding


# Not frozen, though nobody changes one: making a frozen one takes three times as long, and one is made per reading.
@dataclass(kw_only=True, slots=True, unsafe_hash=True)
class Reading:
    """One value of one quantity.

    value  None if the device sent only a sum
    total  SenML's sum, e.g. of an energy meter
    at_s   UTC of this reading, if it is not that of its report
    """

    quantity: str
    value: Value
    unit: str | None = None
    total: float | None = None
    at_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """The times of a report count from the start of a boot of the gateway whose UTC was not known yet.

    boot          its number; times below 2^28 s are seconds since it began (gateway/boot_times.py)
    quality       what the time is called once it is known
    not_before_s  UTC: the report was made between this and its time
    """

    boot: int
    quality: TimeQuality = "good"
    not_before_s: float | None = None


# Not frozen: one is made per record.
@dataclass(kw_only=True, slots=True, unsafe_hash=True)
class Report:
    """What one record id stands for: readings that were taken together.

    node           who made it: a node, a third-party device, or the gateway
    subject        whom a record of the gateway speaks of, e.g. the node of a window; else None
    measured_at_s  UTC seconds; while `pending`, seconds since that boot began, and time_quality is "untrusted"
    time_error_s   half the width of the interval the time lies in; None where nobody knows
    """

    node: str
    record_id: str
    measured_at_s: float
    readings: tuple[Reading, ...]
    epoch: int | None = None
    seq: int | None = None
    time_quality: TimeQuality = "good"
    time_error_s: float | None = None
    assurance: Assurance = "none"
    kind: Kind = "telemetry"
    subject: str | None = None
    pending: Pending | None = None


# A report of one number at a good time whose id is a hash: node, quantity, unit, value, UTC seconds, 16 bytes of hash.
# A tuple, because most records are so and an object of its own for each costs as much as writing it down.
Single = tuple[str, str, str | None, float | int, float, bytes]
DIGEST_BYTES = 16


def report_of(single: Single, assurance: Assurance) -> Report:
    """The same as a report."""
    node, quantity, unit, value, measured_at_s, digest = single
    return Report(
        node=node,
        record_id=record_id_of(node, digest),
        measured_at_s=measured_at_s,
        readings=(Reading(quantity=quantity, value=value, unit=unit),),
        assurance=assurance,
    )


def record_id_of(node: str, digest: bytes) -> str:
    """The record id of a device's record that has a time and no id of its own."""
    return record_id_head(node) + digest.hex()


def record_id_head(node: str) -> str:
    """What all such ids of a device begin with."""
    return f"{node}/h/"


def stream_of(kind: Kind) -> Stream:
    """The stream of the outbox in which records of this kind wait."""
    return _STREAM_OF_KIND.get(kind, "telemetry")


def exact_time_s(time_s: float) -> float:
    """The nearest eighth of a second: however a pack splits it into base and offset, the sum is the same float."""
    return round(time_s * _STEPS_PER_S) / _STEPS_PER_S


def to_bytes(report: Report) -> bytes:
    """The stored form: a JSON array, so that a technician can read it with the sqlite3 tool."""
    readings = [[r.quantity, r.unit, *_tagged(r.value), r.total, r.at_s] for r in report.readings]
    fields: list[Any] = [
        report.node,
        report.record_id,
        report.measured_at_s,
        report.epoch,
        report.seq,
        report.time_quality,
        report.time_error_s,
        report.assurance,
        report.kind,
        report.subject,
    ]
    if report.pending is not None:
        fields.append([report.pending.boot, report.pending.quality, report.pending.not_before_s])
    fields.append(readings)
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def from_bytes(stored: bytes) -> Report:
    """The report that to_bytes made these of. Raises ValueError if they are not such bytes."""
    try:
        *head, readings = json.loads(stored)
        node, record_id, measured_at_s, epoch, seq, quality, error_s, assurance, kind, subject, *more = head
        pending = Pending(*more[0]) if more else None
        parsed = tuple(_reading(*fields) for fields in readings)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a stored report: {error}") from error
    return Report(
        node=node,
        record_id=record_id,
        measured_at_s=measured_at_s,
        readings=parsed,
        epoch=epoch,
        seq=seq,
        time_quality=quality,
        time_error_s=error_s,
        assurance=assurance,
        kind=kind,
        subject=subject,
        pending=pending,
    )


def _tagged(value: Value) -> tuple[str, Any]:
    """Bytes are no JSON; everything else is."""
    return ("d", base64.b64encode(value).decode()) if isinstance(value, bytes) else ("v", value)


def _reading(quantity: str, unit: str | None, tag: str, value: Any, total: float | None, at_s: float | None) -> Reading:
    plain = base64.b64decode(value) if tag == "d" else value
    return Reading(quantity=quantity, value=plain, unit=unit, total=total, at_s=at_s)
