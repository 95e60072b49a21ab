"""Gives segments back that hold nothing anybody waits for, and moves the last few records out of others.

A segment goes whole, unless it alone says where the one before it ends. One alarm that waits for a platform would keep
8 MiB, so when dead records take much room, what is left in segments that hold little is copied to the end of the log,
each record with its ordinal and the time of its storing. Any segment may go, not the oldest alone: one full of what was
moved would keep all after it.
Called after a checkpoint, which covers what the entries of the released segments did.
"""

from __future__ import annotations

import logging

from gateway.outbox.entries import State
from gateway.outbox.log import Log
from gateway.outbox.ranges import Ranges, Run, runs_of
from gateway.outbox.reader import Reader
from gateway.outbox.segment import Segment
from gateway.reading import STREAMS

log = logging.getLogger(__name__)

_LEAST_SEGMENTS = 4
_MOST_LEFT = 0.5  # of a segment's bytes; with more, moving would cost more flash than it frees
_MOST_MOVED = 4  # segments at one time: others wait for their commit
_MOVED_AT_ONCE = 200


def reclaim(log_: Log, state: State, reader: Reader, *, history: int, is_tight: bool = False) -> None:
    """Release what can be, oldest first; the newest few stay for the ids they hold. Raises OSError.

    is_tight  the disk is short: any segment is worth it that holds little
    """
    for stream, places in enumerate(state.moved.places):
        state.moved.drop(stream, [ordinal for ordinal in places if ordinal in state.ledger.gone[stream]])
    for segment in log_.segments[: -1 - history]:
        is_empty = not any(_waiting_runs(segment, stream, state) for stream in range(len(STREAMS)))
        if is_empty and not log_.is_witness(segment):
            log_.release(segment)
    for _ in range(_MOST_MOVED):
        found = _worth_it(log_, state, history, is_tight)
        if found is None:
            return
        _move(found, log_, state, reader)
        log_.release(found)


def _waiting_runs(segment: Segment, stream: int, state: State) -> list[Run]:
    """What somebody waits for of a segment, less what was moved out of it, with what was moved into it."""
    places = state.moved.places[stream]
    runs = list(state.ledger.gone[stream].missing(segment.firsts[stream], segment.ends[stream]))
    if not places:
        return runs
    away = Ranges((ordinal, ordinal + 1) for ordinal in sorted(places))
    own = [part for first, end in runs for part in away.missing(first, end)]
    return [*own, *runs_of(ordinal for ordinal, place in places.items() if place[0] == segment.number)]


def _worth_it(log_: Log, state: State, history: int, is_tight: bool) -> Segment | None:
    """The oldest segment that holds little, if dead records take more room than the living."""
    if len(log_.segments) <= max(_LEAST_SEGMENTS, history + 1):
        return None
    sizes = state.ledger.sizes
    if not is_tight and log_.bytes_on_disk <= 2 * sum(sizes) + _LEAST_SEGMENTS * log_.segments[0].size:
        return None
    averages = [size / max(1, state.ledger.records(stream)) for stream, size in enumerate(sizes)]
    for segment in log_.segments[: -1 - history]:
        if log_.is_witness(segment):
            continue
        left = sum(
            (end - first) * averages[stream]
            for stream in range(len(STREAMS))
            for first, end in _waiting_runs(segment, stream, state)
        )
        if left <= _MOST_LEFT * segment.size:
            return segment
    return None


def _move(segment: Segment, log_: Log, state: State, reader: Reader) -> None:
    """Copy what is left of a segment to the end of the log; on disk when this returns."""
    for stream in range(len(STREAMS)):
        for first, end in _waiting_runs(segment, stream, state):
            for at in range(first, end, _MOVED_AT_ONCE):
                _copy(log_, state, reader, stream, (at, min(end, at + _MOVED_AT_ONCE)))


def _copy(log_: Log, state: State, reader: Reader, stream: int, run: Run) -> None:
    records, unreadable = reader.read(stream, [run], most=run[1] - run[0])
    if unreadable:
        log.error(
            "damaged records of class %s could not be moved; they are given up when their turn comes", STREAMS[stream]
        )
    if not records:
        return
    frame = log_.frame()
    for one in records:
        frame.put_moved(one.report, stream, one.ordinal, is_produced=one.is_produced, stored_at_s=one.stored_at_s)
    log_.commit(frame)
    newest = log_.segments[-1]
    state.moved.note(newest.number, newest.end - frame.page_count, frame)
