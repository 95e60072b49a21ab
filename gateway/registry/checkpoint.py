"""What was verified is not verified again: a signed note of how far each log was read, and the hash of the index.

At a start the bytes of every log up to there, and the index, are hashed and compared. What does not fit is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.database import write_durably
from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import CoseError, Signer, sign1, verify1
from gateway.identity.merkle import Frontier

NAME = "checkpoint"
_CONTEXT = b"lamppost checkpoint 1"
_CHUNK = 1 << 18


class CheckpointDamaged(Exception):
    """Not what was written: says which file."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """How far one log was read: `digest` is over its first `end` bytes."""

    frontier: Frontier
    head: bytes
    end: int
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`index`: the name of the index file, with its SHA-256. `anchor`: that of the anchor file."""

    index: str
    index_digest: bytes
    anchor_digest: bytes
    logs: Mapping[str, Read] = field(default_factory=dict)


def write(folder: Path, found: Checkpoint, signer: Signer) -> None:
    """Replace the check-point, durably. Raises OSError."""
    logs = {
        writer: [one.frontier.size, list(one.frontier.peaks), one.head, one.end, one.digest]
        for writer, one in found.logs.items()
    }
    payload = encode({1: 1, 2: found.index, 3: found.index_digest, 4: found.anchor_digest, 5: logs})
    write_durably(folder / NAME, sign1(signer, payload, external=_CONTEXT))


def read(folder: Path, signer: Signer) -> Checkpoint | None:
    """The check-point, its own signature checked; None if there is none. Raises CheckpointDamaged."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        table = decode(verify1(path.read_bytes(), [signer.public], external=_CONTEXT))
        logs = {
            writer: Read(frontier=Frontier(size, peaks), head=head, end=end, digest=digest)
            for writer, (size, peaks, head, end, digest) in table[5].items()
        }
        return Checkpoint(index=table[2], index_digest=table[3], anchor_digest=table[4], logs=logs)
    except (CborError, CoseError, KeyError, TypeError, ValueError) as error:
        raise CheckpointDamaged(f"{path} was changed ({error})") from None


def digest_of(path: Path) -> bytes:
    """SHA-256 of a file; of nothing if it is not there."""
    found = hashlib.sha256()
    if path.exists():
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    return found.digest()
