"""`lamppost outbox fsck`: reads every page and record, and names what is damaged and what is lost with it.

Changes nothing: the gateway itself counts and reports damaged records when their turn comes. Exit code 1 if there is
any damage.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.outbox.entries import State
from gateway.outbox.files import Files
from gateway.outbox.log import FOLDER, Log
from gateway.outbox.ranges import Run, runs_of
from gateway.outbox.tools.pages import Damage, damage_of
from gateway.outbox.tools.place import add_json_argument, add_place_arguments, data_dir_of, print_json
from gateway.outbox.view import View, look
from gateway.reading import STREAMS
from gateway.store_errors import StoreError, StoreNewer

_EVERY = range(len(STREAMS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is damaged. Returns the exit code."""
    data_dir = data_dir_of(args)
    found, read = fsck(data_dir)
    if args.json:
        print_json({"data_dir": str(data_dir), "is_whole": not found, **read, "damage": found})
    else:
        _print(data_dir, found, read)
    return 1 if found else 0


def fsck(data_dir: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """What is damaged, as plain values, and how much was read. Raises StoreError if there is no store at all."""
    try:
        with look(data_dir) as view:
            return list(_check(view)), _read(view.log)
    except StoreNewer:
        raise
    except StoreError as error:
        if not list((data_dir / FOLDER).glob("*.seg")):
            raise
        return _check_log_alone(data_dir, error)


def _check(view: View) -> Iterator[dict[str, Any]]:
    told = [set[int]() for _ in STREAMS]
    verdict = view.db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        yield _of_database(f"the database is damaged ({verdict})")
    for damage in damage_of(view.log):
        for stream in _EVERY:
            damage.lost[stream] -= view.state.moved.places[stream].keys()
            told[stream] |= damage.lost[stream]
        yield _as_row(damage, view.state)
    for stream in _EVERY:
        yield from _nowhere(view, stream, told[stream])
    for row in view.ledger.audit():
        if not row.holds:
            yield _of_database(f"the counters of platform {row.city} do not add up; see `lamppost outbox audit`")


def _nowhere(view: View, stream: int, told: set[int]) -> Iterator[dict[str, Any]]:
    """Records that somebody waits for, and that no page holds."""
    runs = list(view.ledger.gone[stream].missing(0, view.ledger.ends[stream]))
    _, unreadable = view.reader.read(stream, runs, most=1 << 60) if runs else ([], [])
    left = {ordinal for first, end in unreadable for ordinal in range(first, end)} - told
    if left:
        damage = Damage(file=view.log.folder.name, page=None, offset=0, what="records that no segment holds")
        damage.lost[stream] = left
        yield _as_row(damage, view.state)


def _check_log_alone(data_dir: Path, error: StoreError) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Without the database nobody knows who has what."""
    log = Log(data_dir / FOLDER, Files())
    with closing(log):
        try:
            log.look()
            found = [_as_row(damage, None) for damage in damage_of(log)]
            return [_of_database(str(error)), *found], _read(log)
        except OSError as trouble:
            raise StoreError(
                f"{log.folder} cannot be read ({trouble}); check the disk and who may read there"
            ) from None


def _of_database(what: str) -> dict[str, Any]:
    lost = "a start sets it aside and begins a new one; records that wait are in the log and stay"
    return {"file": "lamppost.db", "page": None, "offset": None, "what": f"{what}; {lost}", "lost": [], "records": 0}


def _as_row(damage: Damage, state: State | None) -> dict[str, Any]:
    lost = [_lost(stream, ordinals, state) for stream, ordinals in enumerate(damage.lost) if ordinals]
    return {
        "file": damage.file,
        "page": damage.page,
        "offset": damage.offset if damage.page is not None else None,
        "what": damage.what,
        "lost": lost,
        "records": sum(one["waited_for"] for one in lost),
    }


def _lost(stream: int, ordinals: set[int], state: State | None) -> dict[str, Any]:
    """Of one class: how many, which, and who still waits for some of them. Without a state everybody might."""
    waiting, cities = ordinals, []
    if state is not None:
        waiting = {one for one in ordinals if one not in state.ledger.gone[stream]}
        settled = state.ledger.settled
        cities = [city for city in state.ledger.cities if any(one not in settled[city, stream] for one in ordinals)]
    runs: list[Run] = runs_of(ordinals)
    return {
        "class": STREAMS[stream],
        "records": len(ordinals),
        "ordinals": runs,
        "waited_for": len(waiting),
        "platforms": cities,
    }


def _read(log: Log) -> dict[str, int]:
    return {
        "segments": len(log.segments),
        "pages": sum(segment.end - 1 for segment in log.segments),
        "records": sum(sum(one.ends) - sum(one.firsts) for one in log.segments),
    }


def _print(data_dir: Path, found: list[dict[str, Any]], read: dict[str, int]) -> None:
    print(f"{data_dir}: read {read['segments']} segments, {read['pages']} pages, {read['records']} records")
    for one in found:
        place = one["file"] if one["page"] is None else f"{one['file']} page {one['page']} offset {one['offset']}"
        print(f"{place}: {one['what']}")
        for lost in one["lost"]:
            print(f"    {_in_words(lost)}")
    if not found:
        print("Nothing is damaged.")
        return
    records = sum(one["records"] for one in found)
    print(f"{len(found)} places are damaged; {records or 'no'} records that somebody waits for are lost.")
    if records:
        print("The gateway counts them as damaged and sends a gap record when their turn comes; nothing is to be done.")
        print("Damage that comes back is the disk's: look at dmesg, and replace the card.")


def _in_words(lost: dict[str, Any]) -> str:
    spans = ", ".join(f"{first} to {end - 1}" if end - first > 1 else str(first) for first, end in lost["ordinals"][:4])
    more = " and more" if len(lost["ordinals"]) > 4 else ""
    who = f"waited for by {', '.join(lost['platforms'])}" if lost["platforms"] else "which nobody waits for any more"
    if lost["waited_for"] and not lost["platforms"]:
        who = "and who waits for them is not known without the database"
    return f"lost: {lost['records']} records of class {lost['class']} (ordinals {spans}{more}), {who}"
