"""`lamppost outbox export`: stored records as a CBOR sequence (RFC 8742) or JSON lines, or a store of format 1.

One map per record, most important class first, in the order in which the gateway stored them. Reads only: what is
exported stays stored, and the gateway still delivers it.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import cbor2

from gateway.errors import ConfigError
from gateway.outbox.ranges import Run
from gateway.outbox.stored import Stored
from gateway.outbox.tools import format1
from gateway.outbox.tools.place import add_place_arguments, data_dir_of
from gateway.outbox.view import View, look
from gateway.reading import STREAMS, Reading, Value
from gateway.store_errors import StoreError

_AT_ONCE = 500
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument("--as", dest="form", choices=("jsonl", "cbor"), default="jsonl", help="how (default: jsonl)")
    parser.add_argument("--city", metavar="NAME", help="only what this platform still waits for")
    parser.add_argument(
        "--since",
        metavar="TIME",
        help='only what was stored since then: "2026-11-25T08:00" (UTC), or "90m", "36h", "7d" ago',
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="a new file (default: standard output)")
    parser.add_argument(
        "--format", type=int, choices=(1,), help="write a lamppost.db of this format, for an older version, to --output"
    )


def run(args: argparse.Namespace) -> int:
    """Write the records. Returns the exit code: 1 if some could not be read."""
    data_dir = data_dir_of(args)
    if args.format is not None:
        return _run_format1(args, data_dir)
    since_s = since(args.since) if args.since else None
    encode = _as_cbor if args.form == "cbor" else _as_jsonl
    with _output(args.output, is_text=args.form == "jsonl") as out, look(data_dir) as view:
        written, unreadable = 0, 0
        for stream in range(len(STREAMS)):
            for found, lost in _records(view, args.city, stream, data_dir):
                unreadable += lost
                for one in found:
                    if since_s is None or one.stored_at_s >= since_s:
                        out.write(encode(as_map(one, stream)))
                        written += 1
    return _say(written, unreadable)


def _run_format1(args: argparse.Namespace, data_dir: Path) -> int:
    if args.output is None or args.city or args.since:
        raise ConfigError(
            "--format", 1, "needs --output FILE, and goes without --city and --since: it is the whole store"
        )
    with look(data_dir) as view:
        records, unreadable = format1.export(view, args.output)
    print(
        f"Put {args.output} as lamppost.db into an empty data_dir, with the folder nodes and floors.json of {data_dir}."
    )
    print("What this gateway stores or delivers from now on is not in it: stop it first.")
    return _say(records, unreadable)


def _say(written: int, unreadable: int) -> int:
    print(f"{written} records exported", file=sys.stderr)
    if unreadable:
        print(f"{unreadable} records are damaged and left out; see `lamppost outbox fsck`", file=sys.stderr)
    return 1 if unreadable else 0


def since(text: str, *, now_s: float | None = None) -> float:
    """UTC seconds of a point in time, or of an age. Raises ConfigError."""
    age = _AGE.fullmatch(text)
    if age:
        return (time.time() if now_s is None else now_s) - float(age[1]) * _SECONDS[age[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("--since", text, 'must be a time such as 2026-11-25T08:00, or an age such as "36h"') from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _records(view: View, city: str | None, stream: int, data_dir: Path) -> Iterator[tuple[list[Stored], int]]:
    """The records of a class that wait, a few hundred at once, and how many of them cannot be read."""
    for run_ in list(waiting(view, city, stream)):
        for first in range(run_[0], run_[1], _AT_ONCE):
            part = (first, min(run_[1], first + _AT_ONCE))
            found, unreadable = view.reader.read(stream, [part], most=_AT_ONCE)
            if unreadable:
                again, lost = _look_again(data_dir, city, stream, unreadable)
                found = sorted([*found, *again], key=lambda one: one.ordinal)
                yield found, lost
            else:
                yield found, 0


def _look_again(data_dir: Path, city: str | None, stream: int, runs: list[Run]) -> tuple[list[Stored], int]:
    """A running gateway may have moved or delivered them meanwhile, and used their segment again."""
    with look(data_dir) as view:
        still = [part for first, end in runs for part in waiting(view, city, stream, (first, end))]
        found, unreadable = view.reader.read(stream, still, most=1 << 60) if still else ([], [])
    return found, sum(end - first for first, end in unreadable)


def waiting(view: View, city: str | None, stream: int, within: Run | None = None) -> Iterator[Run]:
    """Ordinals that `city`, or anybody, still waits for. Raises StoreError for a platform that there is not."""
    ledger = view.ledger
    if city is not None and city not in ledger.cities:
        raise StoreError(
            f"there is no platform {city!r} in this store; there are: {', '.join(ledger.cities) or 'none'}"
        )
    done = ledger.gone[stream] if city is None else ledger.settled[city, stream]
    first, end = within or (0, ledger.ends[stream])
    return done.missing(first, end)


def as_map(one: Stored, stream: int) -> dict[str, Any]:
    """A record with names for everything; what does not apply is left out."""
    report = one.report
    fields = {
        "class": STREAMS[stream],
        "ordinal": one.ordinal,
        "record_id": report.record_id,
        "node": report.node,
        "epoch": report.epoch,
        "seq": report.seq,
        "kind": report.kind,
        "subject": report.subject,
        "is_produced": one.is_produced,
        "stored_at_s": one.stored_at_s,
        "measured_at_s": report.measured_at_s,
        "time_quality": report.time_quality,
        "time_error_s": report.time_error_s,
        "since_start_of_boot": report.pending.boot if report.pending else None,
        "assurance": report.assurance,
        "readings": [_reading(reading) for reading in report.readings],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _reading(reading: Reading) -> dict[str, Any]:
    fields = {"unit": reading.unit, "value": reading.value, "total": reading.total, "at_s": reading.at_s}
    return {"quantity": reading.quantity} | {name: value for name, value in fields.items() if value is not None}


def _as_cbor(record: dict[str, Any]) -> bytes:
    return cbor2.dumps(record)


def _as_jsonl(record: dict[str, Any]) -> bytes:
    readings = [{name: _plain(value) for name, value in reading.items()} for reading in record["readings"]]
    return json.dumps(record | {"readings": readings}, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _plain(value: Value) -> Any:
    """JSON knows neither bytes nor numbers that are none."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


@contextmanager
def _output(path: Path | None, *, is_text: bool) -> Iterator[BinaryIO]:
    if path is None:
        if not is_text and sys.stdout.isatty():
            raise ConfigError("--as", "cbor", "is not for a terminal; give --output FILE, or a pipe")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _made(path, lambda: path.open("xb")) as file:
        yield file


def _made(path: Path, make: Callable[[], BinaryIO]) -> BinaryIO:
    try:
        return make()
    except FileExistsError:
        raise ConfigError("--output", str(path), "exists already; name a new file, or move that one away") from None
    except OSError as error:
        raise ConfigError("--output", str(path), f"cannot be made ({error.strerror})") from None
