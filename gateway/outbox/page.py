"""One page of the record log, 4,096 bytes: whole entries, a table of the names they use, and what proves them.

    0   u32   CRC-32 of bytes 4 to 4095, seeded with the segment's number: what is left in a reused file never verifies
    4   u32   CRC-32 of bytes 8 to 71, seeded alike: whether the header can be believed when the page is damaged
    8   u8    format, 2
    9   u8    1 if the page holds MOVED entries
    10  u16   end of the entries; the names follow
    12  u64   number of the commit
    20  u16   which page of the commit this is, from 0
    22  u16   pages in the commit
    24  f64   UTC seconds; entries count milliseconds from here
    32  4 x u64  for each stream the ordinal of the first record that begins in this page or after it
    64  4 x u16  for each stream how many records are in this page
    72  entries: u16 length of the payload, u32 CRC-32 of kind, slot and payload (seeded alike), u8 kind, u8 slot,
        payload
        names:   u16 length, u32 CRC-32 (seeded alike), UTF-8 separated by NUL

A record's ordinal is its stream's first plus its slot. No entry crosses a page; a larger one is cut (frame.py). Padded
with zeros. Does no I/O.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

PAGE = 4096
_PROVED_BYTES = PAGE - 4  # by the checksum in front of them
FORMAT = 2
STREAM_COUNT = 4
_HEAD = struct.Struct("<IIBBHQHHd4Q4H")
_ENTRY = struct.Struct("<HIBB")
_U32 = struct.Struct("<I")
_U16 = struct.Struct("<H")
_NAMES = struct.Struct("<HI")
_F64 = struct.Struct("<d")
_FORMAT_AT, _END_AT, _BASE_AT, _PROVED_FROM = 8, 10, 24, 8
HEAD_BYTES = _HEAD.size
ENTRY_BYTES = _ENTRY.size
ROOM = PAGE - HEAD_BYTES - _NAMES.size  # for entries and names

RECORD = 0x10  # | stream | PRODUCED | AS_TEXT
PRODUCED = 0x04
AS_TEXT = 0x08  # the record's payload is JSON, because its names would fill a page
MOVED = 0x80  # | kind of a record that was copied here with its ordinal, because its segment was needed
CHUNK = 0x20  # part of an entry that follows
LARGE = 0x40  # | kind of an entry whose beginning is in CHUNKs before it


class Header(NamedTuple):
    """What a page says of itself."""

    end: int
    commit: int
    number: int
    pages: int
    base_s: float
    firsts: tuple[int, ...]
    counts: tuple[int, ...]
    has_moved: bool


def seed_of(segment: int) -> int:
    """What the checksums of a segment begin with."""
    return zlib.crc32(segment.to_bytes(8, "little"))


def join_entries(entries: Iterable[tuple[int, int, Sequence[bytes]]], seed: int) -> bytes:
    """Entries (kind, slot of the first, payloads) with their checksums, one after the other."""
    pack, crc32 = _ENTRY.pack, zlib.crc32
    return b"".join(
        [
            pack(len(payload), crc32(payload, seed ^ kind << 8 ^ slot), kind, slot) + payload
            for kind, first, payloads in entries
            for slot, payload in enumerate(payloads, first)
        ]
    )


def build(header: Header, entries: bytes, names: list[str], seed: int) -> bytes:
    """A whole page."""
    text = "\0".join(names).encode()
    page = bytearray(PAGE)
    end = HEAD_BYTES + len(entries)
    _HEAD.pack_into(
        page,
        0,
        0,
        0,
        FORMAT,
        header.has_moved,
        end,
        header.commit,
        header.number,
        header.pages,
        header.base_s,
        *header.firsts,
        *header.counts,
    )
    page[HEAD_BYTES:end] = entries
    _NAMES.pack_into(page, end, len(text), zlib.crc32(text, seed))
    page[end + _NAMES.size : end + _NAMES.size + len(text)] = text
    _U32.pack_into(page, 4, zlib.crc32(memoryview(page)[_PROVED_FROM:HEAD_BYTES], seed))
    _U32.pack_into(page, 0, zlib.crc32(memoryview(page)[4:], seed))
    return bytes(page)


def is_whole(raw: bytes, seed: int) -> bool:
    """Whether this is a page of the segment, just as it was written."""
    return len(raw) == PAGE and raw[_FORMAT_AT] == FORMAT and _U32.unpack_from(raw)[0] == zlib.crc32(raw[4:], seed)


def verified(raw: bytes, seed: int) -> bytes | None:
    """The page, one flipped bit put right; None if it is not a page of this segment, or more is wrong with it."""
    page = put_right(raw, seed)
    if page is None or page[_FORMAT_AT] != FORMAT:
        return None
    return page if page is raw or _all_verify(page, seed) else None


def put_right(raw: bytes, seed: int) -> bytes | None:
    """What the checksum over bytes 4 to 4095 proves, one flipped bit put right; None if more is wrong.

    A CRC is linear: what one flipped bit changes in it depends on its place alone.
    """
    if len(raw) != PAGE:
        return None
    syndrome = _U32.unpack_from(raw)[0] ^ zlib.crc32(memoryview(raw)[4:], seed)
    if not syndrome:
        return raw
    if syndrome & (syndrome - 1) == 0:  # the flipped bit is in the checksum
        place = syndrome.bit_length() - 1
    else:
        found = _place_of(syndrome)
        if found is None:
            return None
        place = found
    mended = bytearray(raw)
    mended[place >> 3] ^= 1 << (place & 7)
    return bytes(mended)


def _all_verify(page: bytes, seed: int) -> bool:
    found = sum(ENTRY_BYTES + end - start for _, _, start, end in salvage(page, seed))
    return found == header_of(page).end - HEAD_BYTES and names_of(page, seed) is not None


def _place_of(syndrome: int) -> int | None:
    """The bit of a page, counted from its first byte, that does this to the checksum when it is flipped."""
    wanted, all_of_them = _U32.pack(syndrome), _syndromes()
    at = all_of_them.find(wanted)
    while at % _U32.size and at > 0:
        at = all_of_them.find(wanted, at + 1)
    if at < 0:
        return None
    bit, back = divmod(at // _U32.size, _PROVED_BYTES)
    return (PAGE - 1 - back) * 8 + bit


@cache
def _syndromes() -> bytes:
    """What each flipped bit does to the checksum, u32 each: bit by bit, from the last byte backwards, a step each.

    A dict would be found in faster, and hold 5 MB for what hardly ever happens.
    """
    zero = zlib.crc32(b"\0")
    table = [zlib.crc32(bytes((byte,))) ^ zero for byte in range(256)]
    found = bytearray()
    for bit in range(8):
        effect = table[1 << bit]
        for _ in range(_PROVED_BYTES):
            found += _U32.pack(effect)
            effect = table[effect & 0xFF] ^ effect >> 8
    return bytes(found)


def header_of(page: bytes) -> Header:
    """The header of a page that is verified."""
    fields = _HEAD.unpack_from(page)
    end, commit, number, count, base_s = fields[4:9]
    return Header(end, commit, number, count, base_s, fields[9:13], fields[13:17], bool(fields[3]))


def base_s_of(page: bytes) -> float:
    """From when on the entries of a verified page count milliseconds, UTC seconds."""
    return float(_F64.unpack_from(page, _BASE_AT)[0])


def kind_of(page: bytes, start: int) -> int:
    """The kind of the entry whose payload begins at `start`."""
    return page[start - 2]


def header_alone(raw: bytes, seed: int) -> Header | None:
    """The header of a page that is damaged elsewhere; None if the header is, too."""
    if len(raw) != PAGE or raw[_FORMAT_AT] != FORMAT:
        return None
    is_proved = zlib.crc32(memoryview(raw)[_PROVED_FROM:HEAD_BYTES], seed) == _U32.unpack_from(raw, 4)[0]
    return header_of(raw) if is_proved else None


def names_of(page: bytes, seed: int, at: int | None = None) -> list[str] | None:
    """The table of names; None if it is damaged. `at`: where it begins, if the header is not to be believed."""
    start = (_U16.unpack_from(page, _END_AT)[0] if at is None else at) + _NAMES.size
    if start > PAGE:
        return None
    length, crc = _NAMES.unpack_from(page, start - _NAMES.size)
    text = page[start : start + length]
    return text.decode().split("\0") if zlib.crc32(text, seed) == crc else None


def entries_of(page: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(kind, slot, start, end of the payload) of each entry of a page that is verified."""
    at, last = HEAD_BYTES, _U16.unpack_from(page, _END_AT)[0]
    unpack, size = _ENTRY.unpack_from, ENTRY_BYTES
    while at < last:
        length, _, kind, slot = unpack(page, at)
        start = at + size
        at = start + length
        yield kind, slot, start, at


def salvage(raw: bytes, seed: int) -> Iterator[tuple[int, int, int, int]]:
    """The same of a damaged page: the entries that verify each for itself, wherever they lie."""
    at = HEAD_BYTES
    while at + ENTRY_BYTES <= len(raw):
        length, crc, kind, slot = _ENTRY.unpack_from(raw, at)
        start, end = at + ENTRY_BYTES, at + ENTRY_BYTES + length
        if kind and end <= len(raw) and zlib.crc32(raw[start:end], seed ^ kind << 8 ^ slot) == crc:
            yield kind, slot, start, end
            at = end
        else:
            at += 1
