"""Reports to SenML packs for the city: JSON or CBOR, one node per message, record ids in MQTT user properties.

A report whose time is no trustworthy point ends with two SenML records of its own, time_quality and time_error;
record-n counts them. Names are base name "<node>_" and quantity (RFC 9039 section 3.2). Does no I/O; third parties'
SenML is read in senml_decode. JSON is put together from text, because every reading of the gateway comes through here:
a dictionary per record and json.dumps cost three times as much. Source: RFC 8428; docs/protocol.md, "At the city".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cbor2

from gateway.errors import GatewayError
from gateway.reading import Reading, Report, Value

JSON_TYPE = "application/senml+json"
CBOR_TYPE = "application/senml+cbor"
Content = Literal["json", "cbor"]
_ID_BYTES = 5 + len("record-id")  # what MQTT adds to the value of a user property: identifier, two lengths, name
_N_BYTES = 5 + len("record-n")
_REST_BYTES = 96  # content type, assurance, lane and the fixed parts of a message, rounded up


class PackError(GatewayError):
    """These reports do not make one pack, or one of them cannot be written as SenML."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """One message for the city.

    properties  MQTT 5 user properties, in pack order
    is_binary   the payload is no UTF-8 text
    size_bytes  what the message takes on the wire, its topic apart, a little rounded up
    """

    node: str
    payload: bytes
    content_type: str
    properties: tuple[tuple[str, str], ...]
    is_binary: bool
    size_bytes: int


def encode(reports: Sequence[Report], *, lane: str, content: Content = "json") -> Pack:
    """Turn reports of one node into one pack.

    reports  one or more, all of one node (or the gateway) and of one assurance, in the order in which they are to
             arrive
    Raises   PackError if there is none, they differ in node or assurance, or one holds a number SenML has no form for
    """
    if not reports:
        raise PackError("a pack holds the reports of one node and one assurance, at least one")
    writer = PackWriter(reports[0], lane=lane, content=content)
    for report in reports:
        if (report.node, report.assurance) != writer.kind:
            raise PackError("a pack holds the reports of one node and one assurance, at least one")
        writer.add(report)
    return writer.pack()


class PackWriter:
    """One pack in the making. A record says of name and time only what changes.

    first       the report it will begin with: its node and assurance are the pack's
    most_bytes  `add` leaves out what would make the message larger, except for the first report
    """

    def __init__(self, first: Report, *, lane: str, content: Content = "json", most_bytes: int | None = None) -> None:
        self.kind = (first.node, first.assurance)
        self.size_bytes = _REST_BYTES
        self._lane = lane
        self._write = _json_record if content == "json" else _cbor_record
        self._content = content
        self._most_bytes = most_bytes
        self._records: list[bytes] = []
        self._properties: list[tuple[str, str]] = []
        self._name: str | None = None
        self._time_s = 0.0

    def add(self, report: Report) -> bool:
        """Append a report; False, and nothing changed, if it has no room. Raises PackError if it cannot be written."""
        before = self._name, self._time_s
        readings: Iterable[Reading] = report.readings
        if report.time_quality != "good":
            readings = (*report.readings, *_about_time(report))
        name = report.subject or report.node
        written = [self._record(name, report, reading) for reading in readings]
        size = sum(map(len, written)) + len(written) + len(report.record_id) + _ID_BYTES + _N_BYTES + 3
        if self._most_bytes is not None and self._records and self.size_bytes + size > self._most_bytes:
            self._name, self._time_s = before
            return False
        self.size_bytes += size
        self._records += written
        self._properties += (("record-id", report.record_id), ("record-n", str(len(written))))
        return True

    def pack(self) -> Pack:
        node, assurance = self.kind
        told = (*self._properties, ("assurance", assurance), ("lane", self._lane))
        if self._content == "json":
            payload, content_type = b"[" + b",".join(self._records) + b"]", JSON_TYPE
        else:
            payload, content_type = _cbor_head(len(self._records)) + b"".join(self._records), CBOR_TYPE
        return Pack(
            node=node,
            payload=payload,
            content_type=content_type,
            properties=told,
            is_binary=self._content == "cbor",
            size_bytes=self.size_bytes,
        )

    def _record(self, name: str, report: Report, reading: Reading) -> bytes:
        at_s = report.measured_at_s if reading.at_s is None else reading.at_s
        base_name = base_time = None
        offset_s = at_s - self._time_s
        # Only an offset that adds up to the very same float: one record id must never show two times.
        if self._name is None or self._time_s + offset_s != at_s:
            self._time_s = base_time = at_s
            offset_s = 0.0
        if name != self._name:
            self._name = base_name = name
        try:
            return self._write(base_name, base_time, reading, offset_s)
        except (ValueError, OverflowError, TypeError) as error:
            raise PackError(f"{report.record_id}, {reading.quantity}: {error}") from None


def _about_time(report: Report) -> Iterable[Reading]:
    yield Reading(quantity="time_quality", value=report.time_quality)
    if report.time_error_s is not None:
        yield Reading(quantity="time_error", value=report.time_error_s, unit="s")


# JSON


def _json_record(base_name: str | None, base_time_s: float | None, reading: Reading, offset_s: float) -> bytes:
    text = _json_head(reading.quantity, reading.unit)
    value = reading.value
    if type(value) is float or type(value) is int:
        text += f',"v":{_number(value)}'
    elif value is not None:
        text += _json_value(value)
    if reading.total is not None:
        text += f',"s":{_number(reading.total)}'
    if offset_s:
        text += f',"t":{_number(offset_s)}'
    if base_time_s is not None:
        text = f'"bt":{_number(base_time_s)},{text}'
    if base_name is not None:
        text = f'"bn":{_quoted(base_name + "_")},{text}'
    return f"{{{text}}}".encode()


@lru_cache(maxsize=1024)
def _json_head(quantity: str, unit: str | None) -> str:
    return f'"n":{_quoted(quantity)}' + ("" if unit is None else f',"u":{_quoted(unit)}')


def _json_value(value: Value) -> str:
    if isinstance(value, bool):
        return ',"vb":true' if value else ',"vb":false'
    if isinstance(value, bytes):
        return f',"vd":"{base64.urlsafe_b64encode(value).decode().rstrip("=")}"'
    return f',"vs":{_quoted(str(value))}'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(number: float) -> str:
    """21.0 as 21: the same number in fewer bytes. Raises ValueError for what JSON has no form for."""
    if type(number) is int:
        return str(number)
    if number.is_integer() and -(2**53) < number < 2**53:
        return str(int(number))
    if number - number != 0:
        raise ValueError(f"{number} is no number in JSON")
    return repr(float(number))


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


def _cbor_head(count: int) -> bytes:
    """An array of so many items (RFC 8949 section 3)."""
    if count < 24:
        return bytes((0x80 | count,))
    return b"\x98" + bytes((count,)) if count < 256 else b"\x99" + count.to_bytes(2, "big")


def _plain(number: float) -> float | int:
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        return int(number)
    if number - number != 0:
        raise ValueError(f"{number} is no number in SenML")
    return number
