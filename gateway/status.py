"""What the gateway holds, hears and delivers: written once a second by the agent, shown by `lamppost gateway status`.

The file says how the parts are; the database, which is read too, says what is stored, also while the agent is down.
"""

import argparse
import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gateway import health, status_view
from gateway.config import Config, add_config_argument, load
from gateway.database import read_only
from gateway.outbox import backlog_of
from gateway.outbox_ledger import audit_rows
from gateway.store_errors import StoreError, translated

log = logging.getLogger(__name__)

_FILE = "status.json"
_PERIOD_S = 1.0
_STALE_S = 10.0  # a machine under load may be late
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class StatusFile:
    """Writes status.json every second. Not being able to is logged once and harms nothing else."""

    name = "status"

    def __init__(self, data_dir: Path, gather: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
        self._data_dir = data_dir
        self._gather = gather
        self._last: Mapping[str, object] = {}
        self._is_failing = False

    async def run(self) -> None:
        """Serve until cancelled; the last file says that the agent has stopped."""
        try:
            while True:
                self._last = await self._gather()
                self._write(state="running")
                await asyncio.sleep(_PERIOD_S)
        finally:
            self._write(state="stopped")

    def _write(self, *, state: str) -> None:
        content = {
            "state": state,
            "pid": os.getpid(),
            "boot_id": _BOOT_ID.read_text().strip(),
            "written_at_s": round(time.time(), 3),
            "since_boot_s": round(time.clock_gettime(time.CLOCK_BOOTTIME), 3),
            **self._last,
        }
        new = self._data_dir / f".{_FILE}.new"
        try:
            new.write_text(json.dumps(content))
            os.replace(new, self._data_dir / _FILE)
        except OSError as error:
            if not self._is_failing:
                log.warning("%s cannot be written: %s", self._data_dir / _FILE, error)
            self._is_failing = True
        else:
            self._is_failing = False


class Part(Protocol):
    """A running part, as far as its state goes."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> Callable[[], Mapping[str, object]]: ...


async def gather(
    config: Config, core_status: Callable[[], Awaitable[Mapping[str, object]]], parts: Sequence[Part]
) -> dict[str, object]:
    """What goes into the file beside who wrote it."""
    try:
        core = await core_status()
    except StoreError as error:
        core = {"store": {"trouble": str(error), "notices": []}}
    return {
        "gateway": config.gateway.id,
        "site": config.gateway.site,
        **core,
        "parts": {part.name: dict(part.status()) for part in parts},
    }


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a status file says."""

    content: Mapping[str, Any]
    is_running: bool
    age_s: float


def read_status(data_dir: Path) -> Status | None:
    """The last word of an agent in `data_dir`; None if none has run there."""
    try:
        content = json.loads((data_dir / _FILE).read_text())
    except (OSError, ValueError):
        return None
    same_boot = content["boot_id"] == _BOOT_ID.read_text().strip()
    since_s = time.clock_gettime(time.CLOCK_BOOTTIME) - content["since_boot_s"] if same_boot else float("inf")
    alive = content["state"] == "running" and since_s < _STALE_S and _exists(content["pid"])
    return Status(content=content, is_running=alive, age_s=max(0.0, time.time() - content["written_at_s"]))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def overview(data_dir: Path) -> dict[str, Any]:
    """All that is known of the gateway in `data_dir`, running or not. Raises StoreError for an unreadable database."""
    last = read_status(data_dir)
    content: dict[str, Any] = dict(last.content) if last else {"state": "never run"}
    if last and not last.is_running and content["state"] == "running":
        content["state"] = "gone"
    content["age_s"] = round(last.age_s, 1) if last else None
    content.update(_stored(data_dir))
    content["problems"] = health.problems(content)
    content["notes"] = health.notes(content)
    return content


def _stored(data_dir: Path) -> dict[str, Any]:
    """Platforms and nodes, from the database."""
    try:
        connection = read_only(data_dir)
    except StoreError as error:
        if (data_dir / "lamppost.db").exists():
            raise
        return {"cities": {}, "heard": [], "notices": [str(error)]}
    with closing(connection):
        try:
            return {"cities": _cities(connection), "heard": _heard(connection)}
        except sqlite3.Error as error:
            raise translated(error) from None


def _cities(db: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    found = {}
    for row in audit_rows(db):
        backlog = backlog_of(db, row.city)
        waiting = {"backlog": backlog.records, "backlog_bytes": backlog.bytes, "oldest_at_s": backlog.oldest_at_s}
        found[row.city] = row.as_dict() | waiting
    return found


def _heard(db: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = db.execute("SELECT node, epoch, heard_at_s FROM sessions ORDER BY heard_at_s DESC")
    return [{"node": node, "epoch": epoch, "heard_at_s": heard_at_s} for node, epoch, heard_at_s in rows]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway status`."""
    add_config_argument(parser)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="look here instead of in the configuration")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.epilog = "Exit code 1 if the gateway is not running or something needs a person."


def run(args: argparse.Namespace) -> int:
    """Print it; 1 if something is wrong."""
    seen = overview(args.data_dir or load(args.config).gateway.data_dir)
    if args.json:
        print(json.dumps(seen, indent=2))
    else:
        print("\n".join(status_view.lines(seen, now_s=time.time())))
    return 1 if seen["problems"] else 0
