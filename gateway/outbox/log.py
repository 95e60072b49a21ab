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

from gateway.outbox.files import Files
from gateway.outbox.frame import Frame
from gateway.outbox.leaf import Leaf, header_at, read_leaf
from gateway.outbox.page import PAGE, STREAM_COUNT, Header
from gateway.outbox.segment import FIRST, Segment, footer_page, header_page, segment_holding
from gateway.outbox.spares import Spares
from gateway.outbox.survey import open_segment, settle_ends, take_out_strays

log = logging.getLogger(__name__)

FOLDER = "outbox"
MOST_PAGES = 32  # of one commit, if it is made of many entries


class Position(NamedTuple):
    """Where the log goes on after a commit."""

    segment: int
    page: int
    commit: int


class Log:
    """The segments in one folder."""

    def __init__(self, folder: Path, files: Files, *, segment_bytes: int | None = None) -> None:
        """`segment_bytes`: of new files; None: 8 MiB, less on a small disk."""
        self.folder = folder
        self.files = files
        self.segments: list[Segment] = []
        self.least = [0] * STREAM_COUNT  # ordinals that were used, though the log does not show it any more
        self.spares = Spares(folder, files, segment_bytes=segment_bytes)
        self._guard = threading.Lock()  # of the list of segments
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
            self.spares.note(name)
            if name.endswith(".seg"):
                path = self.folder / name
                self.segments.append(open_segment(self.files, path, self.files.open(path)))
        for segment in self.segments:
            self.spares.note_number(segment.number)
        for stray in take_out_strays(self.files, self.segments):
            self.spares.discard(stray.path)
        self._settle_ends()

    def look(self) -> None:
        """The same without touching anything, beside a gateway that may be running."""
        for name in self.files.names(self.folder):
            if name.endswith(".seg"):
                path = self.folder / name
                with contextlib.suppress(FileNotFoundError):
                    self.segments.append(open_segment(self.files, path, self.files.open_to_read(path)))
        take_out_strays(self.files, self.segments)
        self._settle_ends()

    def _settle_ends(self) -> None:
        settle_ends(self.files, self.segments)
        if self.segments:
            self._next_commit = max(segment.last_commit for segment in self.segments) + 2

    def close(self) -> None:
        for segment in self.segments:
            self.files.close(segment.fd)
        self.segments.clear()

    # Writing

    def frame(self) -> Frame:
        """An empty commit."""
        return Frame(self.next)

    def has_room(self, pages: int) -> bool:
        """Whether so many pages can be written without the spare files that are kept back."""
        return self.spares.have_room(fits=bool(self.segments) and pages <= self.segments[-1].room)

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
            self.spares.discard(segment.path)
        else:
            segment.is_abandoned = True

    def _rotate(self, least_pages: int) -> None:
        """Go on in a new segment. Raises OSError."""
        before = self.segments[-1] if self.segments else None
        number = self.spares.next_number()
        path = self.folder / f"{number:010}.seg"
        self.spares.take(path, least_pages=least_pages)
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

    def release(self, segment: Segment) -> None:
        """Nobody needs this segment any more: keep its file for use again, or delete it. Raises OSError."""
        with self._guard:
            self.segments.remove(segment)
            self.files.close(segment.fd)
        self.spares.give_back(segment.path, segment.number)

    def is_witness(self, segment: Segment) -> bool:
        """Whether this one alone says where the one before it ends, behind which a commit may lie that failed."""
        at = self.segments.index(segment)
        return at > 0 and not self.segments[at - 1].is_sealed and segment.previous == self.segments[at - 1].number

    # Reading

    def since(self, position: Position) -> Iterator[tuple[Segment, int, Leaf]]:
        """Every page written after `position`, oldest first."""
        for segment in list(self.segments):
            if segment.number >= position.segment:
                first = position.page if segment.number == position.segment else FIRST
                for number in range(max(first, FIRST), segment.end):
                    yield segment, number, read_leaf(self.files, segment, number)

    def page(self, segment: Segment, number: int) -> Leaf | None:
        """One page, read; None if the segment has been released meanwhile."""
        with self._guard:
            if segment not in self.segments:
                return None
            return read_leaf(self.files, segment, number)

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
            if header_at(self.files, segment, candidates[middle]).firsts[stream] <= ordinal:
                low = middle + 1
            else:
                high = middle
        return candidates[low - 1] if low else (candidates[0] if candidates else FIRST)
