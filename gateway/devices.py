"""Third-party devices: who they may be, and under which record ids their SenML is kept.

Identity is the topic's device name, which the listener or the broker has authorised; a base name that claims another is
refused. Record ids: <device>/c/<their record-id> if they send one, else <device>/h/<hash of the canonical record> if it
carries a time, else a new one.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

from gateway.boot_times import Dating, dating
from gateway.clock import ClockTrust
from gateway.counters import Counters
from gateway.identity.nodes import Nodes
from gateway.numbering import Numbering
from gateway.reading import Assurance, Reading, Report
from gateway.senml_decode import Resolved, SenmlError, decode
from gateway.uplinks import Taken

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_NODE_ID = re.compile(r"urn:dev:os:\d+-[a-z2-7]{16}")
_SEPARATORS = "_:/.-"
_ID_BYTES = 64
_IDS_KEPT = 4096  # per device
_SWEEP_EVERY = 256
_DEVICES_MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class Message:
    """One PUBLISH to up/<device>/senml.

    record_id  the device's own name for this message, from its MQTT user property "record-id"
    retained   the broker kept it from before: ignored
    repeated   MQTT's DUP flag
    """

    device: str
    payload: bytes
    content_type: str | None
    received_at_s: float
    record_id: str | None = None
    assurance: Assurance = "none"
    retained: bool = False
    repeated: bool = False


class Devices:
    """Takes messages in the commit thread. `put_report` stores a record that is not the gateway's own."""

    def __init__(
        self,
        *,
        nodes: Nodes,
        numbering: Numbering,
        clock: ClockTrust,
        counters: Counters,
        put_report: Callable[[sqlite3.Connection, Report], None],
        may_speak: Callable[[str, str], str | None] = lambda device, method: None,
    ) -> None:
        """`may_speak` returns why a device that proved itself by that method is refused, None if it is not."""
        self._may_speak = may_speak
        self._nodes = nodes
        self._numbering = numbering
        self._clock = clock
        self._counters = counters
        self._put_report = put_report
        self._added: dict[str, int] = {}

    def take(self, tx: sqlite3.Connection, message: Message) -> Taken:
        """Store what is new of a message, or say why it is refused as a whole."""
        device = message.device
        try:
            self._check_device(device)
            reason = self._may_speak(device, message.assurance)
            if reason is not None:
                raise SenmlError(reason)
            records = decode(message.payload, message.content_type)
            own = [replace(record, base_name="", name=self._own_name(device, record)) for record in records]
            self._admit(tx, device)
            reports = list(self._reports(tx, message, own))
        except SenmlError as error:
            return Taken(node=device, reason=f"senml_{error.reason}")
        stored = sum(self._put_once(tx, report, digest) for report, digest in reports)
        return Taken(node=device, stored=stored)

    def _check_device(self, device: str) -> None:
        if not _DEVICE.fullmatch(device):
            raise SenmlError("device_name")
        if device in self._nodes.names or _NODE_ID.match(device) or device == self._numbering.gateway_id:
            raise SenmlError("claims_node")

    def _admit(self, tx: sqlite3.Connection, device: str) -> None:
        """Devices are not enrolled, so their number must be bounded. Called once a message has proved to be SenML."""
        if device in self._added:
            return
        known = tx.execute("SELECT 1 FROM heard WHERE device = ? LIMIT 1", (device,)).fetchone()
        if not known and len(self._added) >= _DEVICES_MOST:
            raise SenmlError("too_many_devices")
        self._added[device] = 0

    def _own_name(self, device: str, record: Resolved) -> str:
        """The record's name below the device. Raises SenmlError if its base name, or all of it, is somebody else's.

        A plain base name must be the device's. A URN is the name of some hardware: it may stay in the name, for the
        city sees it below the device's own name, but not if it is a node's.
        """
        full = record.base_name + record.name
        if _NODE_ID.match(full) or any(full == name or _is_below(full, name) for name in self._claimed(full)):
            raise SenmlError("claims_node")
        if _is_below(full, device):
            own = full[len(device) :].lstrip(_SEPARATORS)
            return own or "value"
        if full == device:
            return "value"
        if record.base_name and not record.base_name.startswith("urn:"):
            raise SenmlError("claims_other")
        return full

    def _claimed(self, full: str) -> Iterator[str]:
        """Names of ours that `full` could begin with: cut at every separator, so that 100,000 nodes cost nothing."""
        ends = [at for at, char in enumerate(full) if char in _SEPARATORS] + [len(full)]
        for end in ends:
            if full[:end] in self._nodes.names or full[:end] == self._numbering.gateway_id:
                yield full[:end]

    def _reports(
        self, tx: sqlite3.Connection, message: Message, records: list[Resolved]
    ) -> Iterator[tuple[Report, bytes]]:
        """The reports of a message, each with the digest of its content."""
        if message.record_id is not None:
            record_id = f"{message.device}/c/{_escaped(message.record_id)}"
            yield self._report(message, record_id, records), _digest(records)
            return
        for record in records:
            if record.time_s is not None:
                record_id = f"{message.device}/h/{_digest([record]).hex()}"
            else:
                record_id = self._numbering.foreign(tx, message.device)
                self._counters.add("senml_without_identity")
                if message.repeated:
                    self._counters.add("senml_repeats_possible")
            yield self._report(message, record_id, [record]), _digest([record])

    def _report(self, message: Message, record_id: str, records: list[Resolved]) -> Report:
        """One report of these. Records without a time get that of their arrival, and the report says so."""
        has_times = all(record.time_s is not None for record in records)
        received = dating(self._clock, message.received_at_s, quality="received")
        times = [received.measured_at_s if record.time_s is None else record.time_s for record in records]
        if has_times:
            received = Dating(times[0], "good", None, None)
        elif not received.pending:  # else it waits for the UTC of its arrival, whatever its records say
            received = received._replace(measured_at_s=times[0])
        readings = [
            Reading(
                quantity=record.name,
                value=record.value,
                unit=record.unit,
                total=record.total,
                at_s=None if at_s == received.measured_at_s else at_s,
            )
            for record, at_s in zip(records, times, strict=True)
        ]
        return Report(
            node=message.device,
            record_id=record_id,
            measured_at_s=received.measured_at_s,
            readings=tuple(readings),
            time_quality=received.time_quality,
            time_error_s=received.time_error_s,
            assurance=message.assurance,
            pending=received.pending,
        )

    def _put_once(self, tx: sqlite3.Connection, report: Report, digest: bytes) -> bool:
        """Store unless this id is on disk, or was. The same id with another content is counted, the first one stays."""
        row = tx.execute("SELECT digest FROM heard WHERE record_id = ?", (report.record_id,)).fetchone()
        if row is not None:
            self._counters.add("senml_repeated" if row[0] == digest else "senml_conflict")
            return False
        values = (report.node, report.record_id, digest)
        tx.execute("INSERT INTO heard (device, record_id, digest) VALUES (?, ?, ?)", values)
        self._put_report(tx, report)
        self._sweep(tx, report.node)
        return True

    def _sweep(self, tx: sqlite3.Connection, device: str) -> None:
        """Forget the oldest ids of a device now and then."""
        self._added[device] += 1
        if self._added[device] % _SWEEP_EVERY == 0:
            tx.execute(
                "DELETE FROM heard WHERE device = ? AND n <="
                " (SELECT n FROM heard WHERE device = ? ORDER BY n DESC LIMIT 1 OFFSET ?)",
                (device, device, _IDS_KEPT),
            )


def _is_below(full: str, name: str) -> bool:
    return full.startswith(name) and full[len(name) : len(name) + 1] in tuple(_SEPARATORS)


def _escaped(record_id: str) -> str:
    """Percent-encoded, at most 64 bytes. Raises SenmlError if it is longer, or empty."""
    escaped = quote(record_id, safe="")
    if not record_id or len(escaped) > _ID_BYTES:
        raise SenmlError("record_id")
    return escaped


def _digest(records: list[Resolved]) -> bytes:
    """128 bits over the canonical form: resolved name, unit, value, sum and time."""
    rows = [[r.name, r.unit, type(r.value).__name__, repr(r.value), r.total, r.time_s] for r in records]
    return hashlib.sha256(json.dumps(rows).encode()).digest()[:16]
