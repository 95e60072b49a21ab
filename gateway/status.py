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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gateway import health, status_view
from gateway.config import Config, add_config_argument, load
from gateway.database import LOCK
from gateway.identity.nodes import Nodes
from gateway.mapped import MappedText
from gateway.outbox.view import View, look
from gateway.store_errors import StoreError, translated

log = logging.getLogger(__name__)

_FILE = "status.json"
_PERIOD_S = 1.0
_LOOKS = 20  # at a file that is being written; one write takes microseconds
_LOCKS = Path("/proc/locks")  # rows such as "4: FLOCK ADVISORY WRITE 711 fe:01:2883608 0 EOF": proc(5)


class StatusFile:
    """Writes status.json every second. Not being able to is logged once and harms nothing else."""

    name = "status"

    def __init__(self, data_dir: Path, gather: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
        self._data_dir = data_dir
        self._file = MappedText(data_dir / _FILE)
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
            self._file.close()

    def _write(self, *, state: str) -> None:
        content = {
            "state": state,
            "pid": os.getpid(),
            "written_at_s": round(time.time(), 3),
            **self._last,
        }
        try:
            self._file.write(json.dumps(content).encode())
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
    content = _whole(data_dir / _FILE)
    if content is None:
        return None
    is_running = content["state"] == "running" and _is_locked(data_dir / LOCK)
    return Status(content=content, is_running=is_running, age_s=max(0.0, time.time() - content["written_at_s"]))


def _whole(path: Path) -> dict[str, Any] | None:
    for _ in range(_LOOKS):
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            return content
        except ValueError:  # it is being written
            continue
        except OSError:
            return None
    return None


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock, from the kernel's list: trying to take it could get in a gateway's way."""
    try:
        inode = path.stat().st_ino
        rows = [line.split() for line in _LOCKS.read_text().splitlines()]
    except OSError:
        return False
    return any(row[1] == "FLOCK" and row[5].rpartition(":")[2] == str(inode) for row in rows if len(row) > 5)


def overview(data_dir: Path) -> dict[str, Any]:
    """All that is known of the gateway in `data_dir`, running or not. Raises StoreError for an unreadable database."""
    last = read_status(data_dir)
    content: dict[str, Any] = dict(last.content) if last else {"state": "never run"}
    if last and not last.is_running and content["state"] == "running":
        content["state"] = "gone"
    content["age_s"] = round(last.age_s, 1) if last else None
    content["free_bytes"] = _free_bytes(data_dir)
    content.update(_stored(data_dir))
    _name_heard(content, data_dir)
    content["problems"] = health.problems(content)
    content["notes"] = health.notes(content)
    return content


def _free_bytes(data_dir: Path) -> int | None:
    try:
        disk = os.statvfs(data_dir)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


def _stored(data_dir: Path) -> dict[str, Any]:
    """Platforms and nodes, from the database."""
    try:
        with look(data_dir) as view:
            return {"cities": _cities(view), "heard": _heard(view.db)}
    except sqlite3.Error as error:
        raise translated(error) from None
    except StoreError as error:
        if (data_dir / "lamppost.db").exists():
            raise
        return {"cities": {}, "heard": [], "notices": [str(error)]}


def _cities(view: View) -> dict[str, dict[str, Any]]:
    found = {}
    for row in view.ledger.audit():
        backlog = view.backlog(row.city)
        waiting = {"backlog": backlog.records, "backlog_bytes": backlog.bytes, "oldest_at_s": backlog.oldest_at_s}
        found[row.city] = row.as_dict() | waiting
    return found


def _heard(db: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = db.execute("SELECT node, epoch, heard_at_s FROM sessions ORDER BY heard_at_s DESC")
    return [{"node": node, "epoch": epoch, "heard_at_s": heard_at_s} for node, epoch, heard_at_s in rows]


def _name_heard(content: Mapping[str, Any], data_dir: Path) -> None:
    """Add to each node heard what people call it, and how it was heard last."""
    nodes = Nodes(data_dir / "nodes")
    nodes.load()
    last = content.get("nodes", {}).get("heard", {})
    for one in content["heard"]:
        known = nodes.by_id.get(one["node"])
        signal = last.get(one["node"], {})
        one["alias"] = known.alias if known else None
        one |= {name: signal.get(name) for name in ("bearer", "rssi_dbm", "snr_db")}


def _now_s(seen: Mapping[str, Any]) -> float:
    """The gateway's own time, by which its records are dated; the machine's may be wrong."""
    told = seen.get("clock", {}).get("now_s")
    return time.time() if told is None else told + (seen["age_s"] or 0.0)


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
        print("\n".join(status_view.lines(seen, now_s=_now_s(seen))))
    return 1 if seen["problems"] else 0
