"""Third-party devices: who they may be, and under which record ids their SenML is kept.

Identity is the topic's device name, which the listener or the broker has authorised; a base name that claims another is
refused. Record ids: <device>/c/<their record-id> if they send one, else <device>/h/<hash of the canonical record> if it
carries a time, else a new one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from gateway.boot_times import Dating, dating
from gateway.clock import ClockTrust
from gateway.counters import Counters
from gateway.identity.nodes import Nodes
from gateway.numbering import Numbering
from gateway.outbox.entries import Transaction
from gateway.outbox.heard import content_mark, id_mark
from gateway.reading import Assurance, Reading, Report
from gateway.senml_decode import Resolved, SenmlError, decode
from gateway.uplinks import Taken

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_NODE_ID = re.compile(r"urn:dev:os:\d+-[a-z2-7]{16}")
_SEPARATORS = "_:/.-"
_ID_BYTES = 64
_DEVICES_MOST = 10_000


@dataclass(kw_only=True, slots=True)  # not frozen: one is made per message
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
    """Takes messages in the commit thread.

    censor      leaves of a device's readings what may be stored; before they get an identity, which is a hash of them
    put_report  stores a record that is not the gateway's own
    """

    def __init__(
        self,
        *,
        nodes: Nodes,
        numbering: Numbering,
        clock: ClockTrust,
        counters: Counters,
        censor: Callable[[str, Sequence[Reading]], Sequence[Reading]],
        put_report: Callable[[Transaction, Report], bool],
        may_speak: Callable[[str, str], str | None] = lambda device, method: None,
    ) -> None:
        """`may_speak` returns why a device that proved itself by that method is refused, None if it is not."""
        self._may_speak = may_speak
        self._nodes = nodes
        self._numbering = numbering
        self._clock = clock
        self._counters = counters
        self._censor = censor
        self._put_report = put_report
        self._known: set[str] | None = None  # devices

    def take(self, tx: Transaction, message: Message) -> Taken:
        """Store what is new of a message, or say why it is refused as a whole."""
        device = message.device
        if message.retained:
            return Taken(node=device, reason="senml_retained")
        try:
            self._check_device(device)
            reason = self._may_speak(device, message.assurance)
            if reason is not None:
                raise SenmlError(reason)
            records = decode(message.payload, message.content_type)
            own = [replace(record, base_name="", name=self._own_name(device, record)) for record in records]
            own = [kept for record in own for kept in self._censored(device, record)]
            if not own:
                return Taken(node=device)  # the privacy policy has left nothing of it
            self.admit(tx, device)
            reports = list(self._reports(tx, message, own))
        except SenmlError as error:
            return Taken(node=device, reason=f"senml_{error.reason}")
        stored = sum(self._put_once(tx, report, digest) for report, digest in reports)
        return Taken(node=device, stored=stored)

    @property
    def names_of_nodes(self) -> object:
        """Another object as soon as other nodes are enrolled: then names are to be looked at anew."""
        return self._nodes.names

    def own_name(self, device: str, name: str, assurance: Assurance) -> str:
        """The name below the device of a record that is called so, without a base name. Raises SenmlError."""
        self._check_device(device)
        reason = self._may_speak(device, assurance)
        if reason is not None:
            raise SenmlError(reason)
        return self._own_name(device, Resolved(base_name="", name=name, value=None, unit=None, total=None, time_s=None))

    def _censored(self, device: str, record: Resolved) -> Iterator[Resolved]:
        reading = Reading(quantity=record.name, value=record.value, unit=record.unit, total=record.total)
        for kept in self._censor(device, (reading,)):
            if kept is reading:
                yield record
            else:
                yield replace(record, value=kept.value, unit=kept.unit, total=kept.total)

    def _check_device(self, device: str) -> None:
        if not _DEVICE.fullmatch(device):
            raise SenmlError("device_name")
        if device in self._nodes.names or _NODE_ID.match(device) or device == self._numbering.gateway_id:
            raise SenmlError("claims_node")

    def admit(self, tx: Transaction, device: str) -> None:
        """Devices are not enrolled, so their number must be bounded. Called once a message has proved to be SenML."""
        if self._known is None:
            self._known = {known for (known,) in tx.execute("SELECT device FROM devices")}
        if device in self._known:
            return
        if len(self._known) >= _DEVICES_MOST:
            raise SenmlError("too_many_devices")
        tx.execute("INSERT INTO devices (device) VALUES (?)", (device,))
        self._known.add(device)

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

    def _reports(self, tx: Transaction, message: Message, records: list[Resolved]) -> Iterator[tuple[Report, bytes]]:
        """The reports of a message, each with the digest of its content."""
        if message.record_id is not None:
            record_id = f"{message.device}/c/{_escaped(message.record_id)}"
            yield self._report(message, record_id, records), _digest(records)
            return
        for record in records:
            if record.time_s is not None:
                digest = _digest([record])
                yield self._report(message, f"{message.device}/h/{digest.hex()}", [record]), digest
                continue
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

    def _put_once(self, tx: Transaction, report: Report, digest: bytes) -> bool:
        """Store unless this id is on disk, or was. The same id with another content is counted, the first one stays."""
        if report.record_id.startswith(f"{report.node}/n/"):  # made a moment ago: nobody has it
            self._put_report(tx, report)
            return True
        heard = tx.state.heard
        mark = id_mark(heard, report.node, report.record_id)
        is_hash = report.record_id.startswith(f"{report.node}/h/")
        content = mark if is_hash else content_mark(mark, digest)
        if mark in heard:
            self._counters.add("senml_repeated" if content in heard else "senml_conflict")
            return False
        is_stored = self._put_report(tx, report)
        if is_hash and is_stored:
            heard.add(mark)  # the record itself says so to the next start
        else:
            tx.hear(mark, content)
        return True

    def flush(self, tx: Transaction) -> None:
        """Devices are written down as they come (store.Participant)."""

    def forget(self) -> None:
        """The commit failed: the table says which devices are known."""
        self._known = None


def is_node_id(name: str) -> bool:
    """Whether this is, or begins with, the id of a node that must be enrolled to be heard."""
    return _NODE_ID.match(name) is not None


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
