"""One append-only file of framed entries, synced before an append returns.

A frame is kind (1 byte), length (u32), CRC-32 of both and the content (u32), content. What a frame says is not known
here. A torn end, from a power cut in the middle of an append that nobody was told of, is cut off at the next start.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import GatewayError

ENTRY, HEAD = 0x45, 0x48
LONGEST = 8192
_FRAME = struct.Struct(">BII")
_READ_BYTES = 1 << 18


class LogError(GatewayError):
    """The log could not be written; what it held before still stands."""


@dataclass(frozen=True)
class Frame:
    """`end`: the byte after it, where the next one begins."""

    kind: int
    content: bytes
    end: int


class LogFile:
    """Appends and scans. `end` is where the next append goes; only `scan` and `cut` move it back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = 0

    def append(self, frames: Sequence[tuple[int, bytes]]) -> bytes:
        """Write these at the end, on disk when it returns. Returns the bytes written. Raises LogError."""
        if self.size() != self.end:
            raise LogError(f"{self.path} holds more than was read; restart with a fresh sync before anything is added")
        data = b"".join(_frame(kind, content) for kind, content in frames)
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _write_all(fd, data, self.end)
                os.fdatasync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise LogError(f"{self.path} cannot be written ({error.strerror}); check the disk") from None
        self.end += len(data)
        return data

    def scan(self, start: int = 0) -> Iterator[Frame]:
        """The whole frames from byte `start` on, up to the first that is torn or damaged."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(start)
            at, rest = start, b""
            while True:
                chunk = file.read(_READ_BYTES)
                rest += chunk
                used = 0
                while (frame := _parse(rest, used, at)) is not None:
                    yield frame
                    used, at = used + frame.end - at, frame.end
                rest = rest[used:]
                if not chunk or len(rest) > LONGEST + _FRAME.size:
                    return

    def size(self) -> int:
        """Bytes in the file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def digest(self, end: int) -> hashlib._Hash:
        """SHA-256 over the first `end` bytes, ready to take more."""
        found, left = hashlib.sha256(), end
        if self.path.exists():
            with self.path.open("rb") as file:
                while left and (chunk := file.read(min(left, _READ_BYTES))):
                    found.update(chunk)
                    left -= len(chunk)
        return found

    def bytes_between(self, start: int, end: int) -> bytes:
        """What lies from `start` up to `end`."""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def cut(self, end: int) -> None:
        """Drop what lies behind byte `end`."""
        if self.size() > end:
            with self.path.open("r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        self.end = end


def _frame(kind: int, content: bytes) -> bytes:
    if len(content) > LONGEST:
        raise LogError(f"a statement of {len(content)} bytes is too long; at most {LONGEST}")
    crc = zlib.crc32(content, zlib.crc32(struct.pack(">BI", kind, len(content))))
    return _FRAME.pack(kind, len(content), crc) + content


def _parse(data: bytes, at: int, offset: int) -> Frame | None:
    if len(data) - at < _FRAME.size:
        return None
    kind, length, crc = _FRAME.unpack_from(data, at)
    if length > LONGEST or len(data) - at < _FRAME.size + length:
        return None
    content = data[at + _FRAME.size : at + _FRAME.size + length]
    if zlib.crc32(content, zlib.crc32(struct.pack(">BI", kind, length))) != crc:
        return None
    return Frame(kind, content, offset + _FRAME.size + length)


def _write_all(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
