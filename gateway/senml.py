"""Reports to SenML packs for the city: JSON or CBOR, one node per message, record ids in MQTT user properties.

A report whose time is no trustworthy point ends with two SenML records of its own, time_quality and time_error;
record-n counts them. Names are base name "<node>_" and quantity (RFC 9039 section 3.2). Does no I/O; third parties'
SenML is read in senml_decode. Source: RFC 8428; docs/protocol.md, "At the city".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cbor2

from gateway.errors import GatewayError
from gateway.reading import Reading, Report

JSON_TYPE = "application/senml+json"
CBOR_TYPE = "application/senml+cbor"
_ERROR_UNSAID_S = 5.0  # a point in time is at most this far off, unless its record says otherwise
_LABELS = {"bn": -2, "bt": -3, "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "vd": 8}  # RFC 8428 section 6


class PackError(GatewayError):
    """These reports do not make one pack: a mistake of the caller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """One message for the city. `properties`: MQTT 5 user properties, in pack order."""

    node: str
    payload: bytes
    content_type: str
    properties: tuple[tuple[str, str], ...]


def encode(reports: Sequence[Report], *, lane: str, content: Literal["json", "cbor"] = "json") -> Pack:
    """Turn reports of one node into one pack.

    reports  one or more, all of one node (or the gateway) and of one assurance, in the order in which they are to
             arrive
    Raises   PackError if there is none, they differ in node or assurance, or one has no UTC yet
    """
    if any(report.pending for report in reports):
        raise PackError("a report whose time is not resolved (gateway/boot_times.py) cannot be told to anybody")
    if not reports or len({(report.node, report.assurance) for report in reports}) != 1:
        raise PackError("a pack holds the reports of one node and one assurance, at least one")
    records: list[dict[str, Any]] = []
    properties: list[tuple[str, str]] = []
    base = _Base()
    for report in reports:
        count = len(records)
        records.extend(base.record(report, reading) for reading in (*report.readings, *_about_time(report)))
        properties.append(("record-id", report.record_id))
        properties.append(("record-n", str(len(records) - count)))
    properties += [("assurance", reports[0].assurance), ("lane", lane)]
    return Pack(
        node=reports[0].node,
        payload=_as_json(records) if content == "json" else _as_cbor(records),
        content_type=JSON_TYPE if content == "json" else CBOR_TYPE,
        properties=tuple(properties),
    )


class _Base:
    """Base name and base time so far: a record says only what changes."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._time_s: float | None = None

    def record(self, report: Report, reading: Reading) -> dict[str, Any]:
        record: dict[str, Any] = {}
        name = f"{report.subject or report.node}_"
        if name != self._name:
            self._name = record["bn"] = name
        at_s = report.measured_at_s if reading.at_s is None else reading.at_s
        offset_s = 0.0 if self._time_s is None else _plain(at_s - self._time_s)
        # Only an offset that adds up to the very same float: one record id must never show two times.
        if self._time_s is None or self._time_s + offset_s != at_s:
            self._time_s = at_s
            record["bt"] = _plain(at_s)
            offset_s = 0
        record["n"] = reading.quantity
        if reading.unit is not None:
            record["u"] = reading.unit
        record.update(_value(reading))
        if offset_s:
            record["t"] = offset_s
        return record


def _about_time(report: Report) -> Iterable[Reading]:
    is_point = report.time_quality in ("good", "received")
    if report.time_quality != "good":
        yield Reading(quantity="time_quality", value=report.time_quality)
    if report.time_error_s is not None and not (is_point and report.time_error_s <= _ERROR_UNSAID_S):
        yield Reading(quantity="time_error", value=report.time_error_s, unit="s")


def _value(reading: Reading) -> dict[str, Any]:
    value = reading.value
    fields: dict[str, Any] = {}
    if isinstance(value, bool):
        fields["vb"] = value
    elif isinstance(value, str):
        fields["vs"] = value
    elif isinstance(value, bytes):
        fields["vd"] = value
    elif value is not None:
        fields["v"] = _plain(value)
    if reading.total is not None:
        fields["s"] = _plain(reading.total)
    return fields


def _plain(number: float) -> float | int:
    """21.0 as 21: the same number in fewer bytes."""
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 2**53 else number


def _as_json(records: list[dict[str, Any]]) -> bytes:
    for record in records:
        if "vd" in record:
            record["vd"] = base64.urlsafe_b64encode(record["vd"]).decode().rstrip("=")
    return json.dumps(records, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _as_cbor(records: list[dict[str, Any]]) -> bytes:
    labelled = [{_LABELS[name]: value for name, value in record.items()} for record in records]
    return cbor2.dumps(labelled)
