"""One writer's log: its entries on disk, its Merkle tree, and the newest head the writer signed.

Entries are only ever kept together with a signed head that covers them. Whether they may be believed is decided before
they come here (rules.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import CoseError, Sign1, Signer, parse, sign1
from gateway.identity.merkle import Frontier, leaf_hash, root_of
from gateway.registry.logfile import ENTRY, HEAD, LogFile

HEAD_CONTEXT = b"lamppost head 1"
MOST_ENTRIES = 256  # between two heads: what one piece of a transfer can be


class HeadError(GatewayError):
    """This is no signed head."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a writer says of its own log: so many entries, this root, at that time."""

    writer: str
    size: int
    root: bytes
    at_s: int
    signed: bytes
    envelope: Sign1


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Entries `start` and following of one log, and the head after the last of them."""

    writer: str
    start: int
    entries: Sequence[bytes]
    head: bytes


def sign_head(signer: Signer, *, writer: str, frontier: Frontier, at_s: int) -> bytes:
    """The signed head of the tree as it is."""
    payload = encode({1: writer, 2: frontier.size, 3: frontier.root(), 4: at_s})
    return sign1(signer, payload, external=HEAD_CONTEXT)


def read_head(signed: bytes) -> Head:
    """Take a head apart, its signature not yet checked. Raises HeadError."""
    try:
        envelope = parse(signed)
        table = decode(envelope.payload, largest=512)
        writer, size, root, at_s = (table[key] for key in (1, 2, 3, 4))
    except (CoseError, CborError, KeyError, TypeError):
        raise HeadError("this is no signed head") from None
    is_right = isinstance(writer, str) and isinstance(root, bytes) and len(root) == 32 and len(table) == 4
    if not is_right or not all(isinstance(one, int) and 0 <= one < 1 << 53 for one in (size, at_s)):
        raise HeadError("this head has parts that are not known here")
    return Head(writer=writer, size=size, root=root, at_s=at_s, signed=signed, envelope=envelope)


def file_name(writer: str) -> str:
    """The log's name in its folder."""
    return f"{writer.replace('/', '@')}.log"


class WriterLog:
    """Made empty; `restore` or `load` says what the file holds."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.writer = writer
        self.file = LogFile(folder / file_name(writer))
        self.frontier = Frontier()
        self.head: Head | None = None
        self.hasher = self.file.digest(0)

    @property
    def size(self) -> int:
        """Entries in the log."""
        return self.frontier.size

    def restore(self, *, frontier: Frontier, head: bytes, end: int, hasher: Any) -> None:
        """Take up what a check-point says."""
        self.frontier, self.head = frontier, read_head(head) if head else None
        self.file.end, self.hasher = end, hasher

    def pieces(self, start: int = 0, *, from_byte: int = 0, at: int = 0) -> Iterator[Piece]:
        """The log from entry `start` on, cut at signed heads. `from_byte` and `at`: a place to begin reading."""
        for piece, _ in self.pieces_with_ends(start, from_byte=from_byte, at=at):
            yield piece

    def pieces_with_ends(self, start: int = 0, *, from_byte: int = 0, at: int = 0) -> Iterator[tuple[Piece, int]]:
        """The same, each with the byte behind it."""
        entries: list[bytes] = []
        for frame in self.file.scan(from_byte):
            if frame.kind == ENTRY:
                entries.append(frame.content)
            elif frame.kind == HEAD:
                first = at
                at += len(entries)
                if at > start or (at == start and not entries):
                    skip = max(0, start - first)
                    yield (
                        Piece(writer=self.writer, start=first + skip, entries=entries[skip:], head=frame.content),
                        frame.end,
                    )
                entries = []

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The signed statements from `start` on."""
        for piece in self.pieces(start):
            yield from piece.entries

    def leaves(self) -> list[bytes]:
        """All leaf hashes, for proofs."""
        return [leaf_hash(entry) for entry in self.entries()]

    def root_at(self, size: int) -> bytes:
        """The root when the log had `size` entries."""
        if size == self.size:
            return self.frontier.root()
        return root_of(self.leaves()[:size])

    def extend(self, entries: Sequence[bytes], head: bytes) -> None:
        """Append these entries and the head that covers them, on disk when it returns. Raises LogError."""
        written = self.file.append([*((ENTRY, entry) for entry in entries), (HEAD, head)])
        self.note(entries, head, written)

    def note(self, entries: Sequence[bytes], head: bytes, written: bytes) -> None:
        """Take up what is on disk already."""
        self.hasher.update(written)
        for entry in entries:
            self.frontier.add(leaf_hash(entry))
        self.head = read_head(head)
