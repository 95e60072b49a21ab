"""How logs travel: pieces in a file on a stick, the same pieces as messages. What is in them is not believed here.

A bundle file is a line of magic, then length-prefixed CBOR items: first who made it, then pieces, this site's authority
first. It may come late, twice or in part; taking it changes only what it has that is new and right.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode
from gateway.registry.logfile import LONGEST
from gateway.registry.registry import Outcome, Registry
from gateway.registry.statement import AUTHORITY
from gateway.registry.writer import MOST_ENTRIES, Piece

MAGIC = b"lamppost bundle 1\n"
_MOST_WRITERS = 4096
LARGEST_ITEM = MOST_ENTRIES * (LONGEST + 16) + 4096


class Sink(Protocol):
    """Where a bundle is written to."""

    def write(self, data: bytes, /) -> object: ...


class BundleError(GatewayError):
    """The file is no bundle, or is cut short."""


@dataclass(kw_only=True)
class Taken:
    """What came of a bundle: entries taken by writer, and what was refused or shows a fault."""

    sender: str = ""
    entries: dict[str, int] = field(default_factory=dict)
    problems: list[Outcome] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Entries that are new here."""
        return sum(self.entries.values())

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        told = [{"writer": one.writer, "problem": one.problem, "detail": one.detail} for one in self.problems]
        return {"sender": self.sender, "taken": self.total, "entries": self.entries, "problems": told}


def encode_piece(piece: Piece) -> bytes:
    """One message."""
    return encode([piece.writer, piece.start, list(piece.entries), piece.head])


def decode_piece(data: bytes) -> Piece:
    """Raises BundleError."""
    try:
        writer, start, entries, head = decode(data, largest=LARGEST_ITEM)
    except (CborError, TypeError, ValueError):
        raise BundleError("this is no piece of a registry") from None
    plain = isinstance(writer, str) and len(writer) <= 200 and writer.count("/") == 1 and isinstance(head, bytes)
    if not plain or isinstance(start, bool) or not isinstance(start, int) or not 0 <= start < 1 << 53:
        raise BundleError("this is no piece of a registry")
    if (
        not isinstance(entries, list)
        or len(entries) > MOST_ENTRIES
        or not all(isinstance(one, bytes) for one in entries)
    ):
        raise BundleError("this piece of a registry has parts that are none")
    return Piece(writer=writer, start=start, entries=entries, head=head)


def read_sizes(said: object) -> dict[str, int]:
    """How many entries of each writer somebody says it has. Raises BundleError."""
    if not isinstance(said, dict) or len(said) > _MOST_WRITERS:
        raise BundleError("this says nothing about logs")
    for writer, size in said.items():
        if not isinstance(writer, str) or isinstance(size, bool) or not isinstance(size, int):
            raise BundleError("this says nothing about logs")
    return said


def pieces_for(registry: Registry, since: Mapping[str, int], *, only: str | None = None) -> Iterator[Piece]:
    """What somebody lacks who has so many entries of each writer; this site's authority first."""
    first = registry.site.authority
    for one in sorted(registry.writers(), key=lambda one: (one.writer != first, one.writer)):
        if only is None or one.writer == only:
            yield from one.pieces(since.get(one.writer, 0))


def write_bundle(
    registry: Registry, path: Path, *, since: Mapping[str, int] | None = None, only: str | None = None
) -> int:
    """Write a bundle file. Returns how many entries are in it. Raises OSError; then nothing is at `path`."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        entries = write_pieces(registry, file, since=since, only=only)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return entries


def write_pieces(
    registry: Registry, file: Sink, *, since: Mapping[str, int] | None = None, only: str | None = None
) -> int:
    """Write the content of a bundle into `file`. Returns how many entries are in it."""
    header = {1: registry.site.anchor.site, 2: registry.me or "", 3: int(time.time())}
    entries = 0
    file.write(MAGIC)
    _write_item(file, encode(header))
    for piece in pieces_for(registry, since or {}, only=only):
        _write_item(file, encode_piece(piece))
        entries += len(piece.entries)
    return entries


def read_bundle(file: BinaryIO) -> tuple[str, Iterator[Piece]]:
    """Who made it, and its pieces as they are read. Raises BundleError, also while reading on."""
    if file.read(len(MAGIC)) != MAGIC:
        raise BundleError("this is no registry bundle")
    items = _items(file)
    try:
        header = decode(next(items), largest=4096)
        sender = header[2]
    except (StopIteration, CborError, KeyError, TypeError):
        raise BundleError("this bundle does not say who made it") from None
    if not isinstance(sender, str) or not sender.isprintable():
        raise BundleError("this bundle does not say who made it")
    return sender, map(decode_piece, items)


def take_bundle(registry: Registry, file: BinaryIO) -> Taken:
    """Take what is new and right. Raises BundleError for a file that is none; what was taken before stays."""
    sender, pieces = read_bundle(file)
    found = take_pieces(registry, pieces)
    found.sender = sender
    return found


def take_pieces(registry: Registry, pieces: Iterable[Piece]) -> Taken:
    """Take pieces; after the first that is refused no more of that writer."""
    found = Taken()
    refused: set[str] = set()
    home = registry.site.anchor.site
    for piece in pieces:
        site, _, name = piece.writer.partition("/")
        if piece.writer in refused or (site != home and name != AUTHORITY):
            continue  # the gateways of other cities are their own affair
        outcome = registry.take(piece)
        if outcome.taken:
            found.entries[piece.writer] = found.entries.get(piece.writer, 0) + outcome.taken
        if outcome.problem:
            found.problems.append(outcome)
            if not outcome.taken:
                refused.add(piece.writer)
    return found


def _write_item(file: Sink, item: bytes) -> None:
    file.write(len(item).to_bytes(4, "big") + item)


def _items(file: BinaryIO) -> Iterator[bytes]:
    while length := file.read(4):
        size = int.from_bytes(length, "big")
        item = file.read(size) if size <= LARGEST_ITEM else b""
        if len(length) != 4 or len(item) != size:
            raise BundleError("this bundle is cut short or damaged; copy it again")
        yield item
