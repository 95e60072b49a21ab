"""What the files of a record log hold, found at a start: which of them count, and where the last whole commit ends.

Segments with an index at their end are believed; what has none is read page by page. Changes nothing on the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.outbox import page as pages
from gateway.outbox.files import Files
from gateway.outbox.page import PAGE, Header
from gateway.outbox.segment import FIRST, Segment, read_footer, read_header

log = logging.getLogger(__name__)

_READ_PAGES = 64


def open_segment(files: Files, path: Path, fd: int) -> Segment:
    """What header and index of an open file say. Raises OSError."""
    segment = Segment(int(path.stem), path, fd, files.size(fd) // PAGE)
    segment_pages = max(segment.pages - 1, 0) * PAGE
    segment.previous_end = -1
    if not read_header(files.read(fd, PAGE, 0), segment):
        log.warning("%s: the header is not whole; what can be read of its pages is", path)
    read_footer(files.read(fd, PAGE, segment_pages), segment)
    return segment


def take_out_strays(files: Files, segments: list[Segment]) -> list[Segment]:
    """Sort, and take out files that no commit went into as far as anybody was told: what is in them never counted.

    The log went on in a newer one from an older one; or a newest one lost its header, and with it the only commit.
    """
    segments.sort(key=lambda segment: segment.number)
    known = [(segment.previous, segment.number) for segment in segments if segment.previous_end >= 0]
    strays = [one for one in segments if any(low < one.number < high for low, high in known)]
    for segment in reversed(segments):
        if segment.previous_end >= 0 or segment.is_sealed or _commits_in(files, segment) > 1:
            break
        strays.append(segment)
    for stray in strays:
        if stray in segments:
            segments.remove(stray)
            files.close(stray.fd)
    return strays


def _commits_in(files: Files, segment: Segment) -> int:
    whole = (raw for _, raw in _raw_pages(files, segment, segment.pages - 1) if pages.is_whole(raw, segment.seed))
    return len({pages.header_of(raw).commit for raw in whole})


def settle_ends(files: Files, segments: list[Segment]) -> None:
    """Scan what has no footer; the header of the next segment says what of it counts."""
    for at, segment in enumerate(segments):
        after = segments[at + 1] if at + 1 < len(segments) else None
        if segment.previous_end < 0:  # no header: it goes on where the one before ended
            before = segments[at - 1] if at else None
            segment.previous, segment.previous_end = (before.number, before.end) if before else (0, 0)
            if before:
                segment.firsts = before.ends[:]
                segment.ends = segment.ends if segment.is_sealed else before.ends[:]
        if not segment.is_sealed:
            is_told = after is not None and after.previous == segment.number
            most = after.previous_end if after and is_told else segment.pages - 1
            # An older version could give back the one that says where this ends: then it ends before what is elsewhere.
            below = after.firsts if after and not is_told and after.previous_end >= 0 else None
            _scan(files, segment, most, is_last=after is None, below=below)


def _scan(files: Files, segment: Segment, most: int, *, is_last: bool, below: Sequence[int] | None = None) -> None:
    """Index the data pages up to `most`, or up to one that holds what is not `below`, and drop the last commit if it is
    not whole."""
    headers: dict[int, Header] = {}
    newest, last = 0, FIRST - 1
    for number, raw in _raw_pages(files, segment, most):
        if pages.is_whole(raw, segment.seed):
            header = pages.header_of(raw)
            if below is not None and not _is_below(header, below):
                most = number
                break
            if header.commit >= newest:  # else it was left by a commit that was dropped
                headers[number] = header
                newest, last = header.commit, number
    end = last + 1
    for number in range(FIRST, min(last + 2, most)):  # a flipped bit is put right, also in the very last page
        if number not in headers:
            raw = files.read(segment.fd, PAGE, number * PAGE)
            mended = pages.verified(raw, segment.seed)
            if mended is not None and (number < last or pages.header_of(mended).commit >= newest):
                headers[number] = pages.header_of(mended)
                end = max(end, number + 1)
    if is_last:
        end = _end_of_whole(headers, end)
    for number in range(FIRST, end):
        known = headers.get(number)
        if known is None:
            known = pages.header_alone(files.read(segment.fd, PAGE, number * PAGE), segment.seed)
        if known is not None:
            segment.note_page(number, known)
        else:
            segment.note_unreadable(number)


def _is_below(header: Header, ends: Sequence[int]) -> bool:
    held = zip(header.firsts, header.counts, ends, strict=True)
    return all(first + count <= end for first, count, end in held if count)


def _raw_pages(files: Files, segment: Segment, end: int) -> Iterator[tuple[int, bytes]]:
    for at in range(FIRST, end, _READ_PAGES):
        block = files.read(segment.fd, min(_READ_PAGES, end - at) * PAGE, at * PAGE)
        for offset in range(0, len(block) - PAGE + 1, PAGE):
            yield at + offset // PAGE, block[offset : offset + PAGE]


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
