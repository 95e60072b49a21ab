"""One file of the record log: a header page, data pages, and when it is full a footer page with an index of it.

Header, page 0:  u32 CRC-32 of the rest, u8 format, 3 unused, u64 number, u32 pages in the file, u64 number of the
                 segment before, u32 where that one ends, 4 x u64 first ordinal of each stream
Footer, last page:  u32 CRC-32 of the rest, u8 format, 3 unused, u32 end of the data, u64 last commit, 4 x u64 end of
                 each stream, then 5 bitmaps of u32 length: which pages hold records of each stream, and MOVED entries
Both checksums are seeded with the number. Files are made full of zeros and used again under a new name and number.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.outbox.page import FORMAT, PAGE, STREAM_COUNT, Header, put_right, seed_of

_HEAD = struct.Struct("<IB3xQIQI4Q")
_FOOT = struct.Struct("<IB3xIQ4Q")
_U32 = struct.Struct("<I")
FIRST = 1  # the first data page
MOVED_MAP = STREAM_COUNT


@dataclass(slots=True, eq=False)
class Segment:
    """What is known of one file. `end`: the first data page that is not written."""

    number: int
    path: Path
    fd: int
    pages: int
    previous: int = 0
    previous_end: int = 0
    firsts: list[int] = field(default_factory=lambda: [0] * STREAM_COUNT)
    ends: list[int] = field(default_factory=lambda: [0] * STREAM_COUNT)
    maps: list[int] = field(default_factory=lambda: [0] * (STREAM_COUNT + 1))
    end: int = FIRST
    last_commit: int = 0
    is_sealed: bool = False
    is_abandoned: bool = False  # a write failed here: it takes no more commits

    @property
    def seed(self) -> int:
        return seed_of(self.number)

    @property
    def room(self) -> int:
        """Data pages that are free; the last page is the footer's, and behind a footer's end nothing counts."""
        return 0 if self.is_sealed or self.is_abandoned else self.pages - 1 - self.end

    @property
    def size(self) -> int:
        return self.pages * PAGE

    def note_page(self, page: int, header: Header) -> None:
        """Index one written page."""
        for stream, count in enumerate(header.counts):
            if count:
                self.maps[stream] |= 1 << page
            self.ends[stream] = max(self.ends[stream], header.firsts[stream] + count)
        if header.has_moved:
            self.maps[MOVED_MAP] |= 1 << page
        self.end = page + 1
        self.last_commit = header.commit

    def note_unreadable(self, page: int) -> None:
        """A page of which nobody knows what it held: it may have been records of any stream."""
        for which in range(STREAM_COUNT + 1):
            self.maps[which] |= 1 << page
        self.end = page + 1

    def pages_of(self, which: int) -> list[int]:
        """The pages that hold records of a stream, or MOVED entries."""
        return list(_bits(self.maps[which]))


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


def header_page(segment: Segment) -> bytes:
    """Page 0 of `segment`."""
    fields = (segment.number, segment.pages, segment.previous, segment.previous_end, *segment.firsts)
    return _sealed(_HEAD.pack(0, FORMAT, *fields), segment.seed)


def read_header(raw: bytes, segment: Segment) -> bool:
    """Take over what page 0 says; False if it is not this segment's."""
    page = put_right(raw, segment.seed)
    if page is None or page[4] != FORMAT:
        return False
    _, _, number, _, segment.previous, segment.previous_end, *firsts = _HEAD.unpack_from(page)
    if number != segment.number:
        return False
    segment.firsts, segment.ends = firsts, firsts[:]
    return True


def footer_page(segment: Segment) -> bytes:
    """The last page of a segment that is full."""
    raw = _FOOT.pack(0, FORMAT, segment.end, segment.last_commit, *segment.ends)
    for bitmap in segment.maps:
        packed = bitmap.to_bytes((bitmap.bit_length() + 7) // 8, "little")
        raw += _U32.pack(len(packed)) + packed
    return _sealed(raw, segment.seed)


def read_footer(raw: bytes, segment: Segment) -> bool:
    """Take over what the last page says; False if there is no footer of this segment."""
    page = put_right(raw, segment.seed)
    if page is None or page[4] != FORMAT:
        return False
    _, _, segment.end, segment.last_commit, *ends = _FOOT.unpack_from(page)
    segment.ends = ends
    at = _FOOT.size
    for which in range(STREAM_COUNT + 1):
        (length,) = _U32.unpack_from(page, at)
        segment.maps[which] = int.from_bytes(page[at + 4 : at + 4 + length], "little")
        at += 4 + length
    segment.is_sealed = True
    return True


def _sealed(content: bytes, seed: int) -> bytes:
    padded = content[4:].ljust(PAGE - 4, b"\0")
    return _U32.pack(zlib.crc32(padded, seed)) + padded


def segment_holding(segments: Sequence[Segment], stream: int, ordinal: int) -> int:
    """Index of the last segment that begins at or before `ordinal`; -1 if all begin after it."""
    low, high = 0, len(segments)
    while low < high:
        middle = (low + high) // 2
        if segments[middle].firsts[stream] <= ordinal:
            low = middle + 1
        else:
            high = middle
    return low - 1
