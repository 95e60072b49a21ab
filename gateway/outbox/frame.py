"""What one commit writes: entries laid out in pages, none across the end of one. Encodes; does no I/O.

An entry that no page can hold is cut: its beginning goes ahead in CHUNKs on pages of their own, and its last piece says
how many.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import cbor2

from gateway.outbox import body
from gateway.outbox.page import (
    AS_TEXT,
    CHUNK,
    ENTRY_BYTES,
    LARGE,
    MOVED,
    PRODUCED,
    RECORD,
    ROOM,
    STREAM_COUNT,
    Header,
    build,
    join_entries,
)
from gateway.reading import Assurance, Report, to_bytes
from gateway.row import Row

SINGLE_BYTES = ENTRY_BYTES + body.SINGLE_BYTES  # of a record in its shortest form
_CHUNK_BYTES = ROOM - ENTRY_BYTES
_MOST_SLOT = 255
_MOST_NAMES = 2048  # bytes of names one record may bring along
_TEXT_HEAD = struct.Struct("<HI")
_PLACE = struct.Struct("<Qd")


class PageDraft:
    """One page in the making."""

    __slots__ = ("counts", "entries", "firsts", "has_moved", "names", "used")

    def __init__(self, firsts: Sequence[int]) -> None:
        self.firsts = tuple(firsts)
        self.counts = [0] * STREAM_COUNT
        self.entries: list[tuple[int, int, Sequence[bytes]]] = []  # as for join_entries
        self.names = body.Names()
        self.used = 0  # bytes of entries
        self.has_moved = False


class Frame:
    """Entries in the order in which they are added. `firsts`: the next ordinal of each stream."""

    def __init__(self, firsts: Sequence[int]) -> None:
        self.began_at = tuple(firsts)
        self.next = list(firsts)
        self.base_s: float | None = None  # the time of the first record
        self.makes_room = False  # it gives up more than it brings, so it may be written on a full disk
        self.moved: list[tuple[int, int, int]] = []  # stream, ordinal, which page of this frame
        self._full: list[PageDraft] = []
        self._page = PageDraft(self.next)

    @property
    def pages(self) -> list[PageDraft]:
        """Those that hold something."""
        return [*self._full, self._page] if self._page.entries else self._full

    @property
    def page_count(self) -> int:
        return len(self._full) + bool(self._page.entries)

    @property
    def fill(self) -> float:
        """How much of the page in the making is used, 0 to 1."""
        return (self._page.used + self._page.names.size) / ROOM

    def stamp(self, now_s: float) -> float:
        """`now_s` as it will be read from a record that is added now."""
        if self.base_s is None:
            self.base_s = now_s
        return self.base_s + max(0, round((now_s - self.base_s) * 1000)) / 1000

    def put_record(self, report: Report, stream: int, *, is_produced: bool, now_s: float) -> int:
        """Add a record under the next ordinal of its stream. Returns its size in bytes."""
        kind = RECORD | stream | (PRODUCED if is_produced else 0)
        if self._page.counts[stream] >= _MOST_SLOT:
            self._close()
        size = self._put(kind, report, now_s, b"")
        self._page.counts[stream] += 1
        self.next[stream] += 1
        return size

    def put_rows(self, rows: Sequence[Row], stream: int, assurance: Assurance, *, now_s: float) -> int:
        """Add records in their shortest form. Returns their size in bytes."""
        kind, stored_ms, flags = RECORD | stream, self._stored_ms(now_s), body.flags_of_row(assurance)
        before, at = self.next[stream], (0, 0)
        while True:
            page = self._page
            slot = page.counts[stream]
            most, room = _MOST_SLOT - slot, ROOM - page.used
            written, at = body.encode_rows(
                rows, at, page.names, stored_ms, flags, most=most, room=room, each=SINGLE_BYTES
            )
            if written:
                page.entries.append((kind, slot, written))
                page.used += len(written) * SINGLE_BYTES
                page.counts[stream] += len(written)
                self.next[stream] += len(written)
            if at[0] == len(rows):
                return (self.next[stream] - before) * SINGLE_BYTES
            self._close()

    def put_moved(self, report: Report, stream: int, ordinal: int, *, is_produced: bool, stored_at_s: float) -> None:
        """Add a copy of a record that has its ordinal already."""
        kind = MOVED | RECORD | stream | (PRODUCED if is_produced else 0)
        self._put(kind, report, stored_at_s, _PLACE.pack(ordinal, stored_at_s))
        self._page.has_moved = True
        self.moved.append((stream, ordinal, len(self._full)))

    def put_event(self, kind: int, payload: bytes) -> None:
        """Add an entry that is no record."""
        if not self._fits(payload):
            self._close()
        self._add(kind, payload)

    def put_statement(self, kind: int, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Add a change of the tables: the statement and what it is to be run with."""
        names = self._page.names
        count, size = len(names.places), names.size
        payload = _statement(names, sql, rows)
        if not self._fits(payload):
            names.shorten(count, size)
            self._close()
            payload = _statement(self._page.names, sql, rows)
            if self._page.names.size > _MOST_NAMES:
                self._page.names = body.Names()
                payload = cbor2.dumps([sql, list(rows)])
        self._add(kind, payload)

    def _put(self, kind: int, report: Report, now_s: float, head: bytes) -> int:
        stored_ms = self._stored_ms(now_s)
        names = self._page.names
        count, size = len(names.places), names.size
        payload = head + body.encode(report, names, stored_ms)
        if not self._fits(payload):
            names.shorten(count, size)
            self._close()
            payload = head + body.encode(report, self._page.names, stored_ms)
            if self._page.names.size > _MOST_NAMES:
                self._page.names = body.Names()
                kind |= AS_TEXT
                payload = head + _TEXT_HEAD.pack(0, stored_ms) + to_bytes(report)
        return self._add(kind, payload)

    def _stored_ms(self, now_s: float) -> int:
        """From the first record's time on, which is the page's."""
        if self.base_s is None:
            self.base_s = now_s
        return min(max(round((now_s - self.base_s) * 1000), 0), body.MOST_MS)

    def _fits(self, payload: bytes) -> bool:
        return self._page.used + self._page.names.size + ENTRY_BYTES + len(payload) <= ROOM

    def _add(self, kind: int, payload: bytes) -> int:
        """Add what fits, or what is cut on an empty page. Returns its bytes."""
        whole = ENTRY_BYTES + len(payload)
        if not self._fits(payload):
            kind |= LARGE
            payload = self._cut(payload)
        page = self._page
        slot = page.counts[kind & 3] if kind & RECORD and not kind & MOVED else 0
        page.entries.append((kind, slot, (payload,)))
        page.used += ENTRY_BYTES + len(payload)
        return whole

    def _cut(self, payload: bytes) -> bytes:
        """Write the beginning on pages of its own; return the last piece, with the count of those pages ahead of it."""
        names = self._page.names
        most = _CHUNK_BYTES - 2 - names.size
        pieces = -(-(len(payload) - most) // _CHUNK_BYTES)
        for at in range(0, pieces * _CHUNK_BYTES, _CHUNK_BYTES):
            self._page = PageDraft(self.next)
            piece = payload[at : at + _CHUNK_BYTES]
            self._page.entries.append((CHUNK, 0, (piece,)))
            self._page.used = ENTRY_BYTES + len(piece)
            self._close()
        self._page.names = names
        return pieces.to_bytes(2, "little") + payload[pieces * _CHUNK_BYTES :]

    def _close(self) -> None:
        if self._page.entries:
            self._full.append(self._page)
        self._page = PageDraft(self.next)

    def to_bytes(self, commit: int, seed: int) -> bytes:
        """All pages, ready to be written. The frame stays as it is: it may have to be written elsewhere."""
        made = []
        pages = self.pages
        for number, page in enumerate(pages):
            entries = join_entries(page.entries, seed)
            header = Header(
                0, commit, number, len(pages), self.base_s or 0.0, page.firsts, tuple(page.counts), page.has_moved
            )
            made.append(build(header, entries, list(page.names.places), seed))
        return b"".join(made)


def _statement(names: body.Names, sql: str, rows: Sequence[Sequence[object]]) -> bytes:
    """[place of the statement's text, rows]; in a row a list of one is the place of a name."""
    return cbor2.dumps(
        [
            names.place(sql),
            [
                [[names.place(one)] if isinstance(one, str) and 6 < len(one) <= 64 else one for one in row]
                for row in rows
            ],
        ]
    )


def read_statement(payload: bytes, names: Sequence[str]) -> tuple[str, list[list[object]]]:
    """The statement and the rows of `put_statement`."""
    sql, rows = cbor2.loads(payload)
    text = names[sql] if isinstance(sql, int) else sql
    return text, [[names[one[0]] if isinstance(one, list) else one for one in row] for row in rows]
