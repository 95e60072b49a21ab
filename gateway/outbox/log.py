"""The record log: commits go to the end of the newest segment, one write and one fdatasync each, and are read back.

A commit is on disk as a whole or not at all: `open` finds the last one and drops it if a page of it is missing. After a
failed write or sync nothing of that place is believed any more: the next commit goes into another file, which says
where this one ends. Knows nothing of what its entries mean. `commit`, `rotate` and `release` belong to one thread;
reading may go on in another.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.outbox import page as pages
from gateway.outbox.files import Files
from gateway.outbox.frame import Frame
from gateway.outbox.page import CHUNK, LARGE, MOVED, PAGE, RECORD, STREAM_COUNT, Header
from gateway.outbox.segment import FIRST, Segment, footer_page, header_page, read_footer, read_header, segment_holding

log = logging.getLogger(__name__)

FOLDER = "outbox"
SEGMENT_BYTES = 8 << 20
_LEAST_SEGMENT_BYTES = 256 << 10
_SHARE_OF_DISK = 128  # a segment takes at most this part of the file system
_SPARES = 3
_RESERVED = 2  # spare files on a disk that gets full: for noting deliveries, and to be given up for a checkpoint
_ROOMY_SEGMENTS = 8  # with room for so many, none is kept back
_READ_PAGES = 64
_NO_COUNTS = (0,) * STREAM_COUNT
MOST_PAGES = 32  # of one commit, if it is made of many entries


class Position(NamedTuple):
    """Where the log goes on after a commit."""

    segment: int
    page: int
    commit: int


class Leaf(NamedTuple):
    """One page as read: entries as (kind, slot, buffer, start, end of the payload)."""

    header: Header
    names: list[str]
    entries: list[tuple[int, int, bytes, int, int]]
    is_damaged: bool


class Log:
    """The segments in one folder."""

    def __init__(self, folder: Path, files: Files, *, segment_bytes: int | None = None) -> None:
        """`segment_bytes`: of new files; None: 8 MiB, less on a small disk."""
        self.folder = folder
        self.files = files
        self.segments: list[Segment] = []
        self.least = [0] * STREAM_COUNT  # ordinals that were used, though the log does not show it any more
        self._segment_bytes = segment_bytes
        self._guard = threading.Lock()  # of the list of segments
        self._next_number = 1
        self._next_commit = 1

    @property
    def next(self) -> list[int]:
        """The next ordinal of each stream."""
        ends = self.segments[-1].ends if self.segments else self.least
        return [max(end, least) for end, least in zip(ends, self.least, strict=True)]

    @property
    def position(self) -> Position:
        last = self.segments[-1] if self.segments else None
        return Position(last.number, last.end, last.last_commit) if last else Position(0, 0, 0)

    @property
    def bytes_on_disk(self) -> int:
        return sum(segment.size for segment in self.segments)

    # Opening

    def open(self) -> None:
        """Find the segments and the last whole commit. Raises OSError."""
        for name in self.files.names(self.folder):
            path = self.folder / name
            if name.endswith(".new"):
                self.files.unlink(path)
            elif name.startswith("spare-"):
                self._next_number = max(self._next_number, int(name.removeprefix("spare-")) + 1)
            elif name.endswith(".seg"):
                self._found(path, self.files.open(path))
        if self.segments:
            self._next_number = max(self._next_number, *(segment.number + 1 for segment in self.segments))
        for stray in self._without_strays():
            self._discard(stray.path)
        self._settle_ends()

    def look(self) -> None:
        """The same without touching anything, beside a gateway that may be running."""
        for name in self.files.names(self.folder):
            if name.endswith(".seg"):
                with contextlib.suppress(FileNotFoundError):
                    self._found(self.folder / name, self.files.open_to_read(self.folder / name))
        self._without_strays()
        self._settle_ends()

    def _found(self, path: Path, fd: int) -> None:
        segment = Segment(int(path.stem), path, fd, self.files.size(fd) // PAGE)
        segment_pages = max(segment.pages - 1, 0) * PAGE
        segment.previous_end = -1
        if not read_header(self.files.read(fd, PAGE, 0), segment):
            log.warning("%s: the header is not whole; what can be read of its pages is", path)
        read_footer(self.files.read(fd, PAGE, segment_pages), segment)
        self.segments.append(segment)

    def _without_strays(self) -> list[Segment]:
        """Take out files that no commit went into as far as anybody was told, for what is in them never counted.

        The log went on in a newer one from an older one; or a newest one lost its header, and with it the only commit.
        """
        self.segments.sort(key=lambda segment: segment.number)
        known = [(segment.previous, segment.number) for segment in self.segments if segment.previous_end >= 0]
        strays = [one for one in self.segments if any(low < one.number < high for low, high in known)]
        for segment in reversed(self.segments):
            if segment.previous_end >= 0 or segment.is_sealed or self._commits_in(segment) > 1:
                break
            strays.append(segment)
        for stray in strays:
            if stray in self.segments:
                self.segments.remove(stray)
                self.files.close(stray.fd)
        return strays

    def _commits_in(self, segment: Segment) -> int:
        whole = (raw for _, raw in self._raw_pages(segment, segment.pages - 1) if pages.is_whole(raw, segment.seed))
        return len({pages.header_of(raw).commit for raw in whole})

    def _settle_ends(self) -> None:
        """Scan what has no footer; the header of the next segment says what of it counts."""
        for at, segment in enumerate(self.segments):
            after = self.segments[at + 1] if at + 1 < len(self.segments) else None
            if segment.previous_end < 0:  # no header: it goes on where the one before ended
                before = self.segments[at - 1] if at else None
                segment.previous, segment.previous_end = (before.number, before.end) if before else (0, 0)
                if before:
                    segment.firsts = before.ends[:]
                    segment.ends = segment.ends if segment.is_sealed else before.ends[:]
            if not segment.is_sealed:
                most = after.previous_end if after and after.previous == segment.number else segment.pages - 1
                self._scan(segment, most, is_last=after is None)
        if self.segments:
            self._next_number = max(self._next_number, self.segments[-1].number + 1)
            self._next_commit = max(segment.last_commit for segment in self.segments) + 2

    def _scan(self, segment: Segment, most: int, *, is_last: bool) -> None:
        """Index the data pages up to `most`, and drop the last commit if it is not whole."""
        headers: dict[int, Header] = {}
        newest, last = 0, FIRST - 1
        for number, raw in self._raw_pages(segment, most):
            if pages.is_whole(raw, segment.seed):
                header = pages.header_of(raw)
                if header.commit >= newest:  # else it was left by a commit that was dropped
                    headers[number] = header
                    newest, last = header.commit, number
        end = last + 1
        for number in range(FIRST, min(last + 2, most)):  # a flipped bit is put right, also in the very last page
            if number not in headers:
                raw = self.files.read(segment.fd, PAGE, number * PAGE)
                mended = pages.verified(raw, segment.seed)
                if mended is not None and (number < last or pages.header_of(mended).commit >= newest):
                    headers[number] = pages.header_of(mended)
                    end = max(end, number + 1)
        if is_last:
            end = _end_of_whole(headers, end)
        for number in range(FIRST, end):
            known = headers.get(number)
            if known is None:
                known = pages.header_alone(self.files.read(segment.fd, PAGE, number * PAGE), segment.seed)
            if known is not None:
                segment.note_page(number, known)
            else:
                segment.note_unreadable(number)

    def _raw_pages(self, segment: Segment, end: int) -> Iterator[tuple[int, bytes]]:
        for at in range(FIRST, end, _READ_PAGES):
            block = self.files.read(segment.fd, min(_READ_PAGES, end - at) * PAGE, at * PAGE)
            for offset in range(0, len(block) - PAGE + 1, PAGE):
                yield at + offset // PAGE, block[offset : offset + PAGE]

    def close(self) -> None:
        for segment in self.segments:
            self.files.close(segment.fd)
        self.segments.clear()

    # Writing

    def frame(self) -> Frame:
        """An empty commit."""
        return Frame(self.next)

    def has_room(self, pages: int) -> bool:
        """Whether so many pages can be written without the spare files that are kept back.

        A file that was taken from those is kept back as a whole: what remains of it is for noting deliveries too.
        """
        if self._disk_has_room():
            return True
        fits = bool(self.segments) and pages <= self.segments[-1].room
        return len(self._spares()) >= _RESERVED + (not fits)

    def grow(self) -> bool:
        """Make a file ready beside those that are kept back; False if the disk has no room for it."""
        while len(self._spares()) <= _RESERVED:
            if not self._make_spare():
                return False
        return True

    def commit(self, frame: Frame) -> int:
        """Put `frame` on disk. Returns the bytes written. Raises OSError: then nothing of it counts."""
        if not self.segments or frame.page_count > self.segments[-1].room:
            self._rotate(frame.page_count)
        segment = self.segments[-1]
        commit = self._next_commit
        data = frame.to_bytes(commit, segment.seed)
        at = segment.end
        if at == FIRST:
            data, at = header_page(segment) + data, 0
        self._next_commit += 1
        try:
            self.files.write(segment.fd, data, at * PAGE)
            self.files.sync(segment.fd)
        except OSError:
            self._abandon(segment)
            raise
        for number, page in enumerate(frame.pages):
            header = Header(0, commit, number, 0, 0.0, page.firsts, tuple(page.counts), page.has_moved)
            segment.note_page(segment.end, header)
        return len(data)

    def _abandon(self, segment: Segment) -> None:
        """What a failed sync left behind is never believed: go on in another file."""
        if segment.end == FIRST:
            with self._guard:
                self.segments.remove(segment)
            self.files.close(segment.fd)
            self._discard(segment.path)
        else:
            segment.is_abandoned = True

    def _discard(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            self.files.unlink(path)
            self.files.sync_dir(self.folder)

    def _rotate(self, least_pages: int) -> None:
        """Go on in a new segment. Raises OSError."""
        before = self.segments[-1] if self.segments else None
        number, self._next_number = self._next_number, self._next_number + 1
        path = self.folder / f"{number:010}.seg"
        if not self._take_spare(path, least_pages):
            self._make(path, max(self.segment_bytes, (least_pages + 2) * PAGE))
        fd = self.files.open(path)
        if before is not None and not before.is_abandoned and not before.is_sealed:
            self._seal(before)  # only now: without a new file small commits still go into the old one
        segment = Segment(number, path, fd, self.files.size(fd) // PAGE)
        segment.firsts, segment.ends = self.next, self.next
        if before is not None:
            segment.previous, segment.previous_end = before.number, before.end
        with self._guard:
            self.segments.append(segment)

    def _seal(self, segment: Segment) -> None:
        """Write the index of a full segment; without it the next start would have to scan the file."""
        try:
            self.files.write(segment.fd, footer_page(segment), (segment.pages - 1) * PAGE)
            self.files.sync(segment.fd)
            segment.is_sealed = True
        except OSError as error:
            log.warning("%s: no index could be written (%s); the next start scans it", segment.path, error.strerror)

    @property
    def segment_bytes(self) -> int:
        """Of new files."""
        if self._segment_bytes is None:
            _, total = self.files.room(self.folder)
            share = total // _SHARE_OF_DISK // PAGE * PAGE
            self._segment_bytes = min(SEGMENT_BYTES, max(_LEAST_SEGMENT_BYTES, share))
        return self._segment_bytes

    def _spares(self) -> list[Path]:
        return [self.folder / name for name in self.files.names(self.folder) if name.startswith("spare-")]

    def _take_spare(self, path: Path, least_pages: int) -> bool:
        for spare in self._spares():
            fd = self.files.open(spare)
            size = self.files.size(fd)
            self.files.close(fd)
            if size >= (least_pages + 2) * PAGE:
                self.files.rename(spare, path)
                self.files.sync_dir(self.folder)
                return True
        return False

    def _make(self, path: Path, size: int) -> None:
        """A file full of zeros: filled in small writes, for the kernel would charge large ones to later commits."""
        new = path.with_suffix(".new")
        fd = self.files.open(new, make=True)
        try:
            empty = bytes(PAGE)
            for at in range(0, size, PAGE):
                self.files.write(fd, empty, at)
            self.files.sync(fd)
        except OSError:
            self._discard(new)
            raise
        finally:
            self.files.close(fd)
        self.files.rename(new, path)
        try:
            self.files.sync_dir(self.folder)
        except OSError:
            self._discard(path)
            raise

    def reserve(self) -> None:
        """Have spare files at hand when the disk gets full, so that deliveries can be noted then."""
        while not self._disk_has_room() and len(self._spares()) < _RESERVED:
            if not self._make_spare():
                return

    def _disk_has_room(self) -> bool:
        return self.files.room(self.folder)[0] > _ROOMY_SEGMENTS * self.segment_bytes

    def _make_spare(self) -> bool:
        if self.files.room(self.folder)[0] < self.segment_bytes:  # not tried: it would write it in vain
            return False
        try:
            self._make(self.folder / f"spare-{self._next_number:010}", self.segment_bytes)
        except OSError:
            return False
        self._next_number += 1
        return True

    def release(self, segment: Segment) -> None:
        """Nobody needs this segment any more: keep its file for use again, or delete it. Raises OSError."""
        with self._guard:
            self.segments.remove(segment)
            self.files.close(segment.fd)
        if len(self._spares()) < _SPARES:
            self.files.rename(segment.path, self.folder / f"spare-{segment.number:010}")
        else:
            self.files.unlink(segment.path)
        self.files.sync_dir(self.folder)

    def clear_room(self) -> None:
        """On a full disk give a spare file back to it, for something that matters more."""
        spares = self._spares()
        if spares and self.files.room(self.folder)[0] < self.segment_bytes:
            self.files.unlink(spares[-1])

    # Reading

    def since(self, position: Position) -> Iterator[tuple[Segment, int, Leaf]]:
        """Every page written after `position`, oldest first."""
        for segment in list(self.segments):
            if segment.number >= position.segment:
                first = position.page if segment.number == position.segment else FIRST
                for number in range(max(first, FIRST), segment.end):
                    yield segment, number, self._leaf(segment, number)

    def page(self, segment: Segment, number: int) -> Leaf | None:
        """One page, read; None if the segment has been released meanwhile."""
        with self._guard:
            if segment not in self.segments:
                return None
            return self._leaf(segment, number)

    def _leaf(self, segment: Segment, number: int) -> Leaf:
        raw = self.files.read(segment.fd, PAGE, number * PAGE)
        page = pages.verified(raw, segment.seed)
        if page is not None:
            found = self._entries(segment, number, page, pages.entries_of(page))
            return Leaf(pages.header_of(page), pages.names_of(page, segment.seed) or [], list(found), is_damaged=False)
        rows = list(pages.salvage(raw, segment.seed))
        names = pages.names_of(raw, segment.seed)
        if names is None and rows:
            names = pages.names_of(raw, segment.seed, rows[-1][3])
        entries = list(self._entries(segment, number, raw, iter(rows)))
        header = pages.header_alone(raw, segment.seed)
        if header is None:
            header = self._inferred(segment, number)
            if number > FIRST and self._known(segment, number - 1) is None:  # which ordinals these have is not known
                entries = [entry for entry in entries if entry[0] & MOVED or not entry[0] & RECORD]
        return Leaf(header, names or [], entries, is_damaged=True)

    def _header(self, segment: Segment, number: int) -> Header:
        return self._known(segment, number) or self._inferred(segment, number)

    def _known(self, segment: Segment, number: int) -> Header | None:
        raw = self.files.read(segment.fd, PAGE, number * PAGE)
        page = pages.verified(raw, segment.seed)
        return pages.header_of(page) if page is not None else pages.header_alone(raw, segment.seed)

    def _inferred(self, segment: Segment, number: int) -> Header:
        """What the header of a damaged page must have said: it went on where the page before it ended.

        If that is not known either, nobody knows which records are on it; then it ends where the next known one begins.
        """
        if number == FIRST:
            return self._unknown(segment, segment.firsts)
        before = self._known(segment, number - 1)
        if before is not None:
            firsts = tuple(first + count for first, count in zip(before.firsts, before.counts, strict=True))
            return before._replace(firsts=firsts, counts=_NO_COUNTS)
        after = (self._known(segment, at) for at in range(number + 1, segment.end))
        known = next((header for header in after if header is not None), None)
        return self._unknown(segment, known.firsts if known is not None else segment.ends)

    def _unknown(self, segment: Segment, firsts: Sequence[int]) -> Header:
        return Header(0, segment.last_commit, 0, 1, 0.0, tuple(firsts), _NO_COUNTS, has_moved=False)

    def _entries(
        self, segment: Segment, number: int, page: bytes, rows: Iterator[tuple[int, int, int, int]]
    ) -> Iterator[tuple[int, int, bytes, int, int]]:
        for kind, slot, start, end in rows:
            if kind == CHUNK:
                continue
            if kind & LARGE:
                whole = self._whole(segment, number, page[start:end])
                if whole is not None:
                    yield kind & ~LARGE, slot, whole, 0, len(whole)
            else:
                yield kind, slot, page, start, end

    def _whole(self, segment: Segment, number: int, last: bytes) -> bytes | None:
        """A large entry from its pieces; None if one is damaged."""
        pieces = []
        for at in range(number - int.from_bytes(last[:2], "little"), number):
            page = pages.verified(self.files.read(segment.fd, PAGE, at * PAGE), segment.seed)
            rows = list(pages.entries_of(page)) if page is not None else []
            if page is None or len(rows) != 1 or rows[0][0] != CHUNK:
                return None
            pieces.append(page[rows[0][2] : rows[0][3]])
        return b"".join(pieces) + last[2:]

    def find(
        self, stream: int, ordinal: int, *, after: tuple[Segment, int] | None = None
    ) -> tuple[Segment, int] | None:
        """The page that should hold this record where it was first written; None if that segment is gone.

        after  the page that ended with the record before it, if that is known
        """
        if after is not None and ordinal < after[0].ends[stream]:
            rest = after[0].maps[stream] >> (after[1] + 1)
            if rest:
                return after[0], after[1] + (rest & -rest).bit_length()
        with self._guard:
            segments: Sequence[Segment] = self.segments
            at = segment_holding(segments, stream, ordinal)
            if at < 0 or ordinal >= segments[at].ends[stream]:
                return None
            segment = segments[at]
            return segment, self._page_of(segment, stream, ordinal)

    def _page_of(self, segment: Segment, stream: int, ordinal: int) -> int:
        candidates = segment.pages_of(stream)
        low, high = 0, len(candidates)
        while low < high:
            middle = (low + high) // 2
            if self._header(segment, candidates[middle]).firsts[stream] <= ordinal:
                low = middle + 1
            else:
                high = middle
        return candidates[low - 1] if low else (candidates[0] if candidates else FIRST)


def _end_of_whole(headers: dict[int, Header], end: int) -> int:
    """Where the log ends: before its last commit if a page of that is missing."""
    if not headers:
        return FIRST
    last = max(headers)
    header = headers[last]
    first = last - header.number
    wanted = range(first, first + header.pages)
    is_whole = all(
        number in headers and headers[number].commit == header.commit and headers[number].number == number - first
        for number in wanted
    )
    return first + header.pages if is_whole else max(first, FIRST)
