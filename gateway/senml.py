"""Reports to SenML packs for the city: JSON or CBOR, one node per message, record ids in MQTT user properties.

A report whose time is no trustworthy point ends with two SenML records of its own, time_quality and time_error;
record-n counts them. Names are base name "<node>_" and quantity (RFC 9039 section 3.2). Does no I/O; third parties'
SenML is read in senml_decode. JSON is put together from text, because every reading of the gateway comes through here:
a dictionary per record and json.dumps cost nearly twice as much. Source: RFC 8428; docs/protocol.md, "At the city".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cbor2

from gateway.errors import GatewayError
from gateway.numerals import number_text
from gateway.reading import Assurance, Reading, Report, Value
from gateway.row import Columns
from gateway.senml_columns import json_head, offset_of, quoted, write_columns

JSON_TYPE = "application/senml+json"
CBOR_TYPE = "application/senml+cbor"
Content = Literal["json", "cbor"]
ID_PROPERTY, COUNT_PROPERTY = "record-id", "record-n"
_ID_BYTES = 5 + len(ID_PROPERTY)  # what MQTT adds to the value of a user property: identifier, two lengths, name
_N_BYTES = 5 + len(COUNT_PROPERTY)
_SINGLE_MORE_BYTES = _ID_BYTES + _N_BYTES + 4
_REST_BYTES = 96  # content type, assurance, lane and the fixed parts of a message, rounded up
_ERROR_UNSAID_S = 5.0  # a point in time is at most this far off, unless its record says otherwise


class PackError(GatewayError):
    """These reports do not make one pack, or one of them cannot be written as SenML."""


class UndatedError(PackError):
    """A report that must not go out yet was about to: a mistake of ours, never of the report."""


@dataclass(kw_only=True, slots=True, unsafe_hash=True)  # not frozen: one is made per message
class Pack:
    """One message for the city.

    record_ids, record_counts  of each report, in pack order: its id, and how many SenML records it is
    remarks     other MQTT 5 user properties
    is_binary   the payload is no UTF-8 text
    size_bytes  what the message takes on the wire, its topic apart, a little rounded up
    """

    node: str
    payload: bytes
    content_type: str
    record_ids: Sequence[str]
    record_counts: Sequence[str]
    remarks: tuple[tuple[str, str], ...]
    is_binary: bool
    size_bytes: int

    @property
    def properties(self) -> tuple[tuple[str, str], ...]:
        """All user properties in their order."""
        rows = zip(self.record_ids, self.record_counts, strict=True)
        return (*(pair for one, n in rows for pair in ((ID_PROPERTY, one), (COUNT_PROPERTY, n))), *self.remarks)


def encode(reports: Sequence[Report], *, lane: str, content: Content = "json") -> Pack:
    """Turn reports of one node into one pack.

    reports  one or more, all of one node (or the gateway) and of one assurance, in the order in which they are to
             arrive
    Raises   PackError if there is none, they differ in node or assurance, one has no UTC yet, or one holds a number
             SenML has no form for
    """
    if not reports:
        raise PackError("a pack holds the reports of one node and one assurance, at least one")
    writer = PackWriter(reports[0].node, reports[0].assurance, lane=lane, content=content)
    for report in reports:
        if (report.node, report.assurance) != writer.kind:
            raise PackError("a pack holds the reports of one node and one assurance, at least one")
        writer.add(report)
    return writer.pack()


class PackWriter:
    """One pack in the making. A record says of name and time only what changes.

    node, assurance  of all reports that it will hold
    most_bytes       `add` leaves out what would make the message larger, except for the first report
    """

    def __init__(
        self,
        node: str,
        assurance: Assurance,
        *,
        lane: str,
        content: Content = "json",
        most_bytes: int | None = None,
    ) -> None:
        self.kind = (node, assurance)
        self.size_bytes = _REST_BYTES
        self.is_full = False  # what came by columns was cut for want of room
        self._lane = lane
        self._content = content
        self._write: Callable[[str | None, float | None, Reading, float], str | bytes]
        self._write = _json_record if content == "json" else _cbor_record
        self._most_bytes = 2**62 if most_bytes is None else most_bytes
        self._records: list[str] | list[bytes] = []
        self._record_ids: list[str] = []
        self._record_counts: list[str] = []
        self._name: str | None = None
        self._time_s = 0.0

    def add(self, report: Report) -> bool:
        """Append a report; False, and nothing changed, if it has no room. Raises PackError if it cannot be written."""
        before = self._name, self._time_s
        readings = report.readings
        if report.pending is not None:
            raise UndatedError(
                f"{report.record_id}: its time is not resolved (gateway/boot_times.py), so nobody gets it"
            )
        if report.time_quality != "good" or report.time_error_s is not None:
            readings += _about_time(report)
        written: list[Any] = []
        size = len(report.record_id) + _ID_BYTES + _N_BYTES + 3
        try:
            for reading in readings:
                record = self._record(report, reading)
                written.append(record)
                size += len(record) + 1
        except (ValueError, OverflowError, TypeError) as error:
            self._name, self._time_s = before
            raise PackError(f"{report.record_id}: {error}") from None
        if not self._records:
            self._records = written
        elif self.size_bytes + size > self._most_bytes:
            self._name, self._time_s = before
            return False
        else:
            self._records += written
        self.size_bytes += size
        self._record_ids.append(report.record_id)
        self._record_counts.append(str(len(written)))
        return True

    def add_columns(self, columns: Columns) -> int:
        """The same of records in their shortest form, of this node, up to the first that has no room or is for `add`.

        What most records of a pack are. Returns how many were added.
        """
        is_first = self._name is None
        if self._content != "json" or not columns.values or not (is_first or self._name == self.kind[0]):
            return 0
        room = self._most_bytes - self.size_bytes
        base_s = None if is_first else self._time_s
        found = write_columns(self.kind[0], columns, base_s, more_bytes=_SINGLE_MORE_BYTES, room=room)
        if found is None:
            return 0
        self._name, self._time_s = self.kind[0], found.base_s
        self.size_bytes += found.size
        self.is_full = found.is_cut
        self._records += found.texts  # type: ignore[operator]
        self._record_ids += found.record_ids
        self._record_counts += ["1"] * len(found.texts)
        return len(found.texts)

    def pack(self) -> Pack:
        node, assurance = self.kind
        return Pack(
            node=node,
            payload=_as_json(self._records) if self._content == "json" else _as_cbor(self._records),  # type: ignore[arg-type]
            content_type=JSON_TYPE if self._content == "json" else CBOR_TYPE,
            record_ids=self._record_ids,
            record_counts=self._record_counts,
            remarks=(("assurance", assurance), ("lane", self._lane)),
            is_binary=self._content == "cbor",
            size_bytes=self.size_bytes,
        )

    def _record(self, report: Report, reading: Reading) -> str | bytes:
        at_s = report.measured_at_s if reading.at_s is None else reading.at_s
        base_time = None
        offset_s = offset_of(at_s, self._time_s)
        # Only an offset that adds up to the very same float: one record id must never show two times.
        if self._name is None or self._time_s + offset_s != at_s:
            self._time_s = base_time = at_s
            offset_s = 0.0
        name = report.subject or report.node
        base_name = None if name == self._name else name
        self._name = name
        return self._write(base_name, base_time, reading, offset_s)


def _about_time(report: Report) -> tuple[Reading, ...]:
    is_point = report.time_quality in ("good", "received")
    told: tuple[Reading, ...] = ()
    if report.time_quality != "good":
        told += (Reading(quantity="time_quality", value=report.time_quality),)
    if report.time_error_s is not None and not (is_point and report.time_error_s <= _ERROR_UNSAID_S):
        told += (Reading(quantity="time_error", value=report.time_error_s, unit="s"),)
    return told


# JSON


def _as_json(records: list[str]) -> bytes:
    return f"[{','.join(records)}]".encode()


def _json_record(base_name: str | None, base_time_s: float | None, reading: Reading, offset_s: float) -> str:
    """One record; ASCII, so that its length is its size."""
    value = reading.value
    if type(value) is float or type(value) is int:
        number = repr(value) if value % 1 > 0 else number_text(value)
        text = f'{json_head(reading.quantity, reading.unit)},"v":{number}'
    else:
        text = json_head(reading.quantity, reading.unit) + _json_value(value)
    if reading.total is not None:
        text += f',"s":{number_text(reading.total)}'
    if base_time_s is not None:
        text = f'"bt":{number_text(base_time_s)},{text}'
    if base_name is not None:
        text = f'"bn":{quoted(base_name + "_")},{text}'
    return f'{{{text},"t":{number_text(offset_s)}}}' if offset_s else f"{{{text}}}"


def _json_value(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return ',"vb":true' if value else ',"vb":false'
    if isinstance(value, bytes):
        return f',"vd":"{base64.urlsafe_b64encode(value).decode().rstrip("=")}"'
    text = str(value)
    text.encode()  # raises for half a surrogate pair, which no reader could take
    return f',"vs":{quoted(text)}'


# CBOR: labels of RFC 8428 section 6


def _cbor_record(base_name: str | None, base_time_s: float | None, reading: Reading, offset_s: float) -> bytes:
    record: dict[int, object] = {}
    if base_name is not None:
        record[-2] = base_name + "_"
    if base_time_s is not None:
        record[-3] = _plain(base_time_s)
    record[0] = reading.quantity
    if reading.unit is not None:
        record[1] = reading.unit
    value = reading.value
    if isinstance(value, bool):
        record[4] = value
    elif isinstance(value, str):
        record[3] = value
    elif isinstance(value, bytes):
        record[8] = value
    elif value is not None:
        record[2] = _plain(value)
    if reading.total is not None:
        record[5] = _plain(reading.total)
    if offset_s:
        record[6] = _plain(offset_s)
    return cbor2.dumps(record)


def _as_cbor(records: list[bytes]) -> bytes:
    """An array of records that are CBOR already (RFC 8949 section 3)."""
    count = len(records)
    if count < 24:
        head = bytes((0x80 | count,))
    elif count < 256:
        head = bytes((0x98, count))
    else:
        head = b"\x99" + count.to_bytes(2, "big")
    return head + b"".join(records)


def _plain(number: float) -> float | int:
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        return int(number)
    if number - number != 0:
        raise ValueError(f"{number} is no number in SenML")
    return number
