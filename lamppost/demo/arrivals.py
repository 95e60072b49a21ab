"""What arrived at the city: the record ids, their contents, and what is wrong with them.

Takes MQTT payloads and user properties as any subscriber sees them. Shares no code with the gateway, so that it can
disagree with it.
Source: RFC 8428 section 4.6 (resolved records); docs/protocol.md, "At the city".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import zstandard

_MOST_BYTES = 1_048_576  # of one pack; a frame that claims more is not opened


class ArrivalError(Exception):
    """A message at the city is not what the protocol document promises."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One resolved SenML record."""

    name: str
    unit: str | None
    value: float | str | bool | None
    time_s: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """One report under one id."""

    record_id: str
    lane: str
    assurance: str
    measurements: tuple[Measurement, ...]

    @property
    def node(self) -> str:
        return self.record_id.rsplit("/", 2)[0]

    @property
    def content(self) -> tuple[Measurement, ...]:
        return self.measurements


def records_of(payload: bytes, properties: Sequence[tuple[str, str]]) -> list[Record]:
    """Split one SenML JSON pack into its reports.

    properties  MQTT 5 user properties in pack order: record-id, each followed by record-n where the pack holds several
    Raises      ArrivalError if the ids do not cover the pack exactly
    """
    measurements = list(resolve(json.loads(_unwrapped(payload, properties))))
    assurance = _only(properties, "assurance")
    lane = _only(properties, "lane")
    records: list[Record] = []
    start = 0
    for record_id, count in _ids(properties, len(measurements)):
        part = tuple(measurements[start : start + count])
        records.append(Record(record_id=record_id, lane=lane, assurance=assurance, measurements=part))
        start += count
    if start != len(measurements) or not records:
        raise ArrivalError(f"{len(records)} record ids cover {start} of {len(measurements)} SenML records")
    return records


def _unwrapped(payload: bytes, properties: Sequence[tuple[str, str]]) -> bytes:
    """The payload without its compression, which a user property names."""
    encodings = [value for key, value in properties if key == "content-encoding"]
    if not encodings:
        return payload
    if encodings != ["zstd"]:
        raise ArrivalError(f"content-encoding {encodings}; this subscriber knows zstd")
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= _MOST_BYTES:
            raise ArrivalError(f"a zstd frame that says it holds {size} bytes")
        return zstandard.ZstdDecompressor().decompress(payload)
    except zstandard.ZstdError as error:
        raise ArrivalError(f"no zstd frame: {error}") from None


def _ids(properties: Sequence[tuple[str, str]], total: int) -> Iterable[tuple[str, int]]:
    for index, (name, value) in enumerate(properties):
        if name == "record-id":
            after = properties[index + 1] if index + 1 < len(properties) else ("", "")
            yield value, int(after[1]) if after[0] == "record-n" else total


def _only(properties: Sequence[tuple[str, str]], name: str) -> str:
    values = [value for key, value in properties if key == name]
    if len(values) != 1:
        raise ArrivalError(f"{len(values)} user properties named {name}, want one")
    return values[0]


def resolve(pack: list[dict[str, Any]]) -> Iterable[Measurement]:
    """Apply base name, time, unit and value to each record. Source: RFC 8428 section 4.6."""
    base_name, base_time, base_unit, base_value = "", 0.0, None, 0.0
    for record in pack:
        base_name = record.get("bn", base_name)
        base_time = record.get("bt", base_time)
        base_unit = record.get("bu", base_unit)
        base_value = record.get("bv", base_value)
        value = record.get("v")
        yield Measurement(
            name=base_name + record.get("n", ""),
            unit=record.get("u", base_unit),
            value=value + base_value if value is not None else record.get("vs", record.get("vb")),
            time_s=base_time + record.get("t", 0),
        )


@dataclass
class Arrivals:
    """Every record seen so far. `gateway_id` tells the gateway's own records from the nodes'."""

    gateway_id: str
    records: dict[str, Record] = field(default_factory=dict)
    repeats: int = 0
    two_contents: dict[str, Record] = field(default_factory=dict)  # the other one than in `records`
    errors: list[str] = field(default_factory=list)
    _ids_of_content: dict[tuple[str, tuple[Measurement, ...]], set[str]] = field(default_factory=dict)

    def add(self, payload: bytes, properties: Sequence[tuple[str, str]]) -> list[Record]:
        """Note one message; returns its records. A message that breaks the protocol is kept in `errors`."""
        try:
            records = records_of(payload, properties)
        except (ArrivalError, ValueError, KeyError, TypeError) as error:
            self.errors.append(str(error))
            return []
        for record in records:
            self._note(record)
        return records

    def _note(self, record: Record) -> None:
        earlier = self.records.setdefault(record.record_id, record)
        if earlier is not record:
            self.repeats += 1
            if earlier.content != record.content:
                self.two_contents[record.record_id] = record
        self._ids_of_content.setdefault((record.node, record.content), set()).add(record.record_id)

    @property
    def duplicates(self) -> list[str]:
        """Ids with two contents, and all but the first id of a measurement that came under several."""
        under_two = [sorted(ids)[1:] for ids in self._ids_of_content.values() if len(ids) > 1]
        return sorted(set(self.two_contents).union(*under_two))

    def node_ids(self) -> set[str]:
        """The distinct record ids of nodes."""
        return {record_id for record_id, record in self.records.items() if record.node != self.gateway_id}

    def gateway_records(self) -> list[Record]:
        return [record for record in self.records.values() if record.node == self.gateway_id]
