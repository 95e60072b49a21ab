"""The sealed-frame half of a node, for tests of the gateway: packs and seals with drivers/link, as the firmware does.

It seals with the drivers' own CCM over a plain AES, so that the gateway's OpenSSL is checked by another implementation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from drivers.link import ack, frame, keys, pack, schema, seal

CLIMATE = (2150, 4800, 101325)


def aes_ecb(key: bytes) -> Any:
    """AES for drivers.link.seal.Ccm, which has cryptolib's on a node."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()

    def encrypt(src: Any, dst: Any) -> None:
        dst[: len(src)] = encryptor.update(bytes(src))

    return encrypt


def report(seq: int, *, time_s: int = 100, values: tuple[int, ...] = CLIMATE, kind: int = schema.CLIMATE) -> Any:
    """A report for pack(); `time_s` is the uptime at its measurement."""
    return pack.Report(seq, time_s, kind, values)


class LinkNode:
    """Counters, epoch and keys of one node. Frames are FULL unless said otherwise."""

    def __init__(self, number: int = 1, *, address: int | None = None, epoch: int = 1) -> None:
        self.id = f"urn:dev:os:32473-{'abcdefghijklmnop'[:15]}{'abcdefghijklmnopqrstuvwxyz234567'[number % 32]}"
        self.root_key = bytes([number]) * 32
        self.address = 0x1000 + number if address is None else address
        self.epoch = epoch
        self.counter = 0
        self.boot = 1
        self.uptime_s = 100

    def enrol(self, data_dir: Path, **changes: object) -> Path:
        """Write the node file as `lamppost enrol` does."""
        folder = data_dir / "nodes"
        folder.mkdir(parents=True, exist_ok=True)
        table = {
            "id": self.id,
            "address": f"{self.address:04x}",
            "root_key_hex": self.root_key.hex(),
            "epoch": self.epoch,
            "enrolled_at_s": 1_790_000_000,
        }
        path = folder / f"{self.id.replace(':', '_')}.json"
        path.write_text(json.dumps(table | changes))
        path.chmod(0o600)
        return path

    def body(self, reports: Iterable[Any], *, full: bool = True, floor: int = 0, **options: Any) -> bytes:
        packed, _ = pack.pack(
            list(reports), uptime_s=self.uptime_s, floor=floor, max_len=230, full=full, boot=self.boot, **options
        )
        return bytes(packed)

    def frame_body(self, *seqs: int, full: bool = True, floor: int = 0, **options: Any) -> bytes:
        """A body with these sequences, all measured now."""
        return self.body([report(seq, time_s=self.uptime_s) for seq in seqs], full=full, floor=floor, **options)

    def seal(self, body: bytes, *, full: bool = True, kind: int = frame.REPORT) -> bytes:
        """One uplink around `body`, with the next counter."""
        self.counter += 1
        epoch = self.epoch if full else None
        head = frame.uplink_header(kind, self.address, self.counter, epoch=epoch)
        key, iv = keys.derive(self.root_key, self.epoch, keys.UP)
        aad = frame.aad_uplink(head[:3], self.epoch, self.counter)
        return head + seal.Ccm(aes_ecb(key)).seal(keys.nonce(iv, self.counter), aad, body)

    def frame(self, *seqs: int, full: bool = True, floor: int = 0, kind: int = frame.REPORT, **options: Any) -> bytes:
        """One uplink with these sequences, all measured now."""
        return self.seal(self.frame_body(*seqs, full=full, floor=floor, **options), full=full, kind=kind)

    def open(self, downlink: bytes, *, answered: int | None = None, highest: int = 0) -> Any:
        """The Ack in a downlink that answers the last uplink. Raises FrameError if it is none."""
        return ack.unpack_ack(self.plain(downlink, answered=answered, highest=highest))

    def order(self, downlink: bytes) -> tuple[bytes, Any]:
        """The order and the Ack of a COMMAND that answers the last uplink; b"" if it is an ACK."""
        plain = self.plain(downlink)
        end = plain[0] + 1 if frame.parse_downlink(downlink).kind == frame.COMMAND else 0
        return plain[1:end], ack.unpack_ack(plain[end:])

    def plain(self, downlink: bytes, *, answered: int | None = None, highest: int = 0) -> bytes:
        """What is sealed in a downlink that answers the last uplink. Raises FrameError."""
        parsed = frame.parse_downlink(downlink)
        counter = parsed.counter if parsed.is_full else frame.reconstruct_counter(parsed.counter, highest)
        answers = self.counter if answered is None else answered
        key, iv = keys.derive(self.root_key, self.epoch, keys.DOWN)
        aad = frame.aad_downlink(parsed.head, self.epoch, counter, answers)
        return bytes(seal.Ccm(aes_ecb(key)).open(keys.nonce(iv, counter), aad, downlink[parsed.header_len :]))
