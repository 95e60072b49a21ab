"""Runs the shipped gateway as a child process that dies at a chosen boundary. Started by tests/faults/gateway.py.

    python -m tests.faults.gateway_child --config F [--notes DIR] [--kill POINT:N] [--frames FILE] [--stored FILE]
        [--mutant NAME]

It wraps functions from outside: what is tested is the code that ships. Every uplink and every answer that the gateway
hands out is noted in --frames before it leaves, so that the test knows what was acknowledged when the process is gone;
every record that is put into the outbox is noted in --stored, so that it knows the order of storing.
A mutant is the shipped code with one promise taken out; a campaign that does not notice it proves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from gateway.outbox.files import Files
from tests.faults import unsynced

POINTS = (
    "commit.before",
    "commit.after",
    "ack.before",
    "ack.after",
    "publish.before",
    "publish.after",
    "settle.before",
)
MUTANTS = ("ack_before_commit", "no_fdatasync", "no_folder_sync", "downlink_counter_reserved_after_use")


class Killer:
    """Ends the process, without any farewell, the n-th time a point is passed."""

    def __init__(self, spec: str | None) -> None:
        self._point, _, count = (spec or ":0").partition(":")
        self._count = int(count or 0)
        self._passed: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self._passed[point] += 1
        if point == self._point and self._passed[point] >= self._count:
            os.kill(os.getpid(), signal.SIGKILL)


def wrap_store(kill: Killer) -> None:
    from gateway.store import Store

    commit = Store._commit

    def wrapped(self: Store) -> None:
        kill("commit.before")
        commit(self)
        kill("commit.after")

    Store._commit = wrapped  # type: ignore[method-assign]


def wrap_intake(kill: Killer, frames: Path | None) -> None:
    from gateway.intake import Intake

    submit = Intake.submit

    async def wrapped(self: Intake, uplink: Any) -> Any:
        verdict = await submit(self, uplink)
        if frames is not None:
            _note(frames, uplink, verdict)
        kill("ack.before")
        import asyncio

        asyncio.get_running_loop().call_later(0.005, kill, "ack.after")
        return verdict

    Intake.submit = wrapped  # type: ignore[method-assign]


def _note(frames: Path, uplink: Any, verdict: Any) -> None:
    line = json.dumps(
        {
            "up": bytes(uplink.frame).hex(),
            "down": verdict.downlink.hex() if verdict.downlink else None,
            "node": verdict.node,
            "reason": verdict.reason,
        }
    )
    with frames.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


def wrap_outbox(stored: Path) -> None:
    """Note each record and its class. What is noted and not committed is put, and noted, again."""
    from gateway.outbox import Outbox
    from gateway.reading import record_id_of, stream_of

    put, put_rows = Outbox.put, Outbox.put_rows

    def note(record_ids: list[str], stream: str) -> None:
        with stored.open("ab", buffering=0) as file:
            file.write(b"".join(json.dumps([one, stream]).encode() + b"\n" for one in record_ids))

    def wrapped(self: Outbox, tx: Any, report: Any, **options: Any) -> None:
        put(self, tx, report, **options)
        note([report.record_id], stream_of(report.kind))

    def wrapped_rows(self: Outbox, tx: Any, rows: Any, *args: Any, **options: Any) -> None:
        put_rows(self, tx, rows, *args, **options)
        note([record_id_of(row.node, digest) for row in rows for digest in row.each_digest()], "telemetry")

    Outbox.put, Outbox.put_rows = wrapped, wrapped_rows  # type: ignore[method-assign]


def wrap_city(kill: Killer) -> None:
    from gateway.city.mqtt import MqttCity
    from gateway.outbox import Outbox

    send, settle = MqttCity.send, Outbox.settle

    def wrapped_send(self: MqttCity, *args: Any, **options: Any) -> Any:
        kill("publish.before")
        answer = send(self, *args, **options)
        answer.add_done_callback(lambda _: kill("publish.after"))
        return answer

    async def wrapped_settle(self: Outbox, *args: Any, **options: Any) -> Any:
        kill("settle.before")
        return await settle(self, *args, **options)

    MqttCity.send = wrapped_send  # type: ignore[method-assign]
    Outbox.settle = wrapped_settle  # type: ignore[method-assign]


def mutate(name: str) -> None:
    """Take one promise out of the shipped code."""
    if name == "ack_before_commit":
        _answer_before_commit()
    elif name == "no_fdatasync":
        from gateway import database

        database._PRAGMAS = tuple(p.replace("FULL", "OFF") for p in database._PRAGMAS)  # type: ignore[misc]
        Files.sync = lambda self, fd: None  # type: ignore[method-assign]
    elif name == "no_folder_sync":
        Files.sync_dir = lambda self, folder: None  # type: ignore[method-assign]
    elif name == "downlink_counter_reserved_after_use":
        _forget_the_downlink_reserve()
    else:
        raise SystemExit(f"no such mutant: {name}; there are {', '.join(MUTANTS)}")


def _answer_before_commit() -> None:
    """Every batch is answered at once, and on disk with the one eight later."""
    from gateway.outbox.log import Log

    commit, sync = Log.commit, Files.sync
    made = Counter[str]()

    def late_commit(self: Log, frame: Any) -> int:
        made["commits"] += 1
        Files.sync = sync if made["commits"] % 8 == 0 else lambda self, fd: None  # type: ignore[method-assign]
        return commit(self, frame)

    Log.commit = late_commit  # type: ignore[method-assign]


def _forget_the_downlink_reserve() -> None:
    """The reserve that is written down lies behind what was used, as if written afterwards."""
    from gateway.identity import sessions

    sessions._DOWN_BLOCK = 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--kill")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--stored", type=Path)
    parser.add_argument("--mutant", choices=MUTANTS)
    args = parser.parse_args()
    if args.notes:
        unsynced.watch(args.notes)
    if args.mutant:
        mutate(args.mutant)
    kill = Killer(args.kill)
    wrap_store(kill)
    wrap_intake(kill, args.frames)
    wrap_city(kill)
    if args.stored:
        wrap_outbox(args.stored)

    from lamppost.cli import main as lamppost

    return lamppost(["gateway", "run", "--config", args.config])


if __name__ == "__main__":
    sys.exit(main())
