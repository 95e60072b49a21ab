"""`lamppost outbox inspect`: segments, classes, cursors, sizes, ages, and how far the checkpoint is behind."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway import checkpoint
from gateway.outbox.ranges import Ranges
from gateway.outbox.segment import Segment
from gateway.outbox.tools.place import (
    add_json_argument,
    add_place_arguments,
    as_size,
    as_time,
    data_dir_of,
    print_json,
    print_table,
)
from gateway.outbox.view import View, look
from gateway.reading import STREAMS

_EVERY = range(len(STREAMS))
_CURSOR = ("platform", "class", "done_below", "done_above_in_runs", "waiting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is there. Returns the exit code."""
    data_dir = data_dir_of(args)
    with look(data_dir) as view:
        found = inspect(data_dir, view)
    print_json(found) if args.json else _print(found)
    return 0


def inspect(data_dir: Path, view: View) -> dict[str, Any]:
    """All of it as plain values; times in UTC seconds, sizes in bytes."""
    names = view.log.files.names(view.log.folder) if view.log.folder.is_dir() else []
    end, covered = view.log.position, _checkpoint(view)
    return {
        "data_dir": str(data_dir),
        "log_bytes": view.log.bytes_on_disk,
        "spare_files": sum(name.startswith("spare-") for name in names),
        "database_bytes": sum(path.stat().st_size for path in data_dir.glob("lamppost.db*") if path.is_file()),
        "end": end._asdict(),
        "checkpoint": covered,
        "pages_after_checkpoint": _pages_after(view, covered),
        "segments": [_segment(one, view) for one in view.log.segments],
        "classes": [_class(stream, view) for stream in _EVERY],
        "cursors": [_cursor(city, stream, view) for city in view.ledger.cities for stream in _EVERY],
    }


def _checkpoint(view: View) -> dict[str, int] | None:
    saved = checkpoint.read(view.db)
    if saved is None:
        return None
    segment, page, commit = saved["position"]
    return {"segment": segment, "page": page, "commit": commit}


def _pages_after(view: View, covered: dict[str, int] | None) -> int:
    if covered is None:
        return sum(segment.end - 1 for segment in view.log.segments)
    newer = [segment for segment in view.log.segments if segment.number >= covered["segment"]]
    return sum(one.end - (covered["page"] if one.number == covered["segment"] else 1) for one in newer)


def _segment(segment: Segment, view: View) -> dict[str, Any]:
    gone = view.ledger.gone
    waiting = [segment.ends[s] - segment.firsts[s] - gone[s].count(segment.firsts[s], segment.ends[s]) for s in _EVERY]
    return {
        "number": segment.number,
        "file": segment.path.name,
        "bytes": segment.size,
        "pages": segment.end - 1,
        "of_pages": segment.pages - 2,
        "is_full": segment.is_sealed,
        "last_commit": segment.last_commit,
        "records": {STREAMS[s]: segment.ends[s] - segment.firsts[s] for s in _EVERY},
        "waiting": {STREAMS[s]: waiting[s] for s in _EVERY},
    }


def _class(stream: int, view: View) -> dict[str, Any]:
    ledger = view.ledger
    return {
        "class": STREAMS[stream],
        "records": ledger.records(stream),
        "bytes": ledger.sizes[stream],
        "next_ordinal": ledger.ends[stream],
        "oldest_at_s": _oldest(stream, ledger.gone[stream], view),
    }


def _cursor(city: str, stream: int, view: View) -> dict[str, Any]:
    settled = view.ledger.settled[city, stream]
    return {
        "platform": city,
        "class": STREAMS[stream],
        "done_below": settled.base,
        "done_above_in_runs": len(settled.firsts) - (settled.base > 0),
        "waiting": view.ledger.waiting(city, stream),
        "oldest_at_s": _oldest(stream, settled, view),
    }


def _oldest(stream: int, done: Ranges, view: View) -> float | None:
    """When the first was stored that is not done."""
    run = next(done.missing(0, view.ledger.ends[stream]), None)
    found, _ = view.reader.read(stream, [run], most=1) if run else ([], [])
    return found[0].stored_at_s if found else None


def _print(found: dict[str, Any]) -> None:
    end, covered = found["end"], found["checkpoint"]
    print(f"Store in {found['data_dir']}")
    print(
        f"  log {as_size(found['log_bytes'])} in {len(found['segments'])} segments, {found['spare_files']} spare files;"
        f" database {as_size(found['database_bytes'])}"
    )
    print(f"  the log ends in segment {end['segment']}, page {end['page']}, commit {end['commit']}")
    if covered is None:
        print("  there is no checkpoint yet; a start reads the whole log")
    else:
        print(
            f"  checkpoint at segment {covered['segment']}, page {covered['page']}, commit {covered['commit']};"
            f" a start reads {found['pages_after_checkpoint']} pages after it"
        )
    print("\nClasses")
    rows = [
        (one["class"], one["records"], as_size(one["bytes"]), as_time(one["oldest_at_s"])) for one in found["classes"]
    ]
    print_table(("class", "stored", "size", "oldest"), rows)
    print("\nCursors (ordinals count the records of a class from 0 on)")
    print_table(
        ("platform", "class", "done below", "runs done above", "waiting", "oldest waiting"),
        [(*(one[name] for name in _CURSOR), as_time(one["oldest_at_s"])) for one in found["cursors"]],
    )
    print("\nSegments (records / still waiting, per class)")
    print_table(("file", "pages", "of", "full", *STREAMS), [_segment_row(one) for one in found["segments"]])


def _segment_row(one: dict[str, Any]) -> tuple[object, ...]:
    per_class = [f"{one['records'][name]} / {one['waiting'][name]}" for name in STREAMS]
    return (one["file"], one["pages"], one["of_pages"], "yes" if one["is_full"] else "no", *per_class)
