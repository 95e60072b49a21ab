"""A node as the wire knows it: seals reports and opens acks with drivers.link. No firmware, no radio."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from drivers.link import ack, frame, keys, pack, schema
from provisioning.enrol import Enrolment


class SealedNode:
    """Issues reports 0, 1, 2 ... of one epoch, in frames with the full counter, as until the first ack."""

    def __init__(self, enrolment: Enrolment, *, boot: int = 1) -> None:
        self._enrolment = enrolment
        self._address = int(enrolment.address, 16)
        self._boot = boot
        self.counter = 0
        self.seq = 0
        self._last = b"", frame.REPORT

    def report(self, *, uptime_s: int = 100, temperature: int = 2150, kind: int = frame.REPORT) -> bytes:
        """A new report of one climate measurement, just made, in a sealed frame."""
        schema_id, values = schema.fit({"temperature": temperature, "humidity": 4500, "pressure": 101_325})
        one = pack.Report(self.seq, uptime_s, schema_id, values)
        body, _ = pack.pack([one], uptime_s=uptime_s, floor=0, max_len=200, full=True, boot=self._boot)
        self.seq += 1
        self._last = body, kind
        return self.seal(body, kind=kind)

    def repeat(self) -> bytes:
        """The last report again, in another frame."""
        body, kind = self._last
        return self.seal(body, kind=kind)

    def seal(self, body: bytes, *, kind: int = frame.REPORT) -> bytes:
        """Any body in a FULL frame with the next counter."""
        epoch, counter = self._enrolment.epoch, self.counter
        self.counter += 1
        head = frame.uplink_header(kind, self._address, counter, epoch=epoch)
        key, iv = keys.derive(self._enrolment.root_key, epoch, keys.UP)
        aad = frame.aad_uplink(head[:3], epoch, counter)
        return bytes(head) + AESCCM(key, tag_length=8).encrypt(keys.nonce(iv, counter), body, aad)

    def open_ack(self, downlink: bytes, *, back: int = 0) -> Any:
        """The ack in a downlink to the last frame, or to one before, resolved. Raises what a bad seal raises."""
        epoch, seen = self._enrolment.epoch, frame.parse_downlink(downlink)
        key, iv = keys.derive(self._enrolment.root_key, epoch, keys.DOWN)
        aad = frame.aad_downlink(seen.head, epoch, seen.counter, self.counter - 1 - back)
        body = AESCCM(key, tag_length=8).decrypt(keys.nonce(iv, seen.counter), downlink[seen.header_len :], aad)
        return ack.unpack_ack(body).resolve(self.seq)
