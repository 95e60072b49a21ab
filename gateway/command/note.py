"""How somebody at this machine asks a running gateway for a command: a note in data_dir/commands, and its answer.

`lamppost node command` leaves a note; the gateway takes it up, and puts an answer beside it once the command is on disk
or refused. A note that is taken up twice asks once: its token is kept with the command.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.command.wish import CommandError, Wish, wish
from gateway.database import make_durable_dir, write_durably

log = logging.getLogger(__name__)
_FOLDER = "commands"
_MOST_BYTES = 2_000
_MOST = 100
LONGEST_TTL_S = 31 * 86_400


@dataclass(frozen=True, kw_only=True)
class Note:
    """Who asks what of which node. ttl_s: how long it may wait, None: as configured."""

    node: str
    name: str
    options: Mapping[str, object]
    by: str
    ttl_s: int | None = None
    token: str = ""

    def wish(self) -> Wish:
        """Raises CommandError."""
        return wish(self.name, self.options)


def leave(data_dir: Path, note: Note) -> Path:
    """Write a note for the gateway; the path where the answer will be. Raises OSError, StoreFailed."""
    folder = data_dir / _FOLDER
    make_durable_dir(folder)
    token = secrets.token_hex(8)
    write_durably(folder / f"{token}.json", json.dumps({**asdict(note), "token": token}).encode())
    return folder / f"{token}.answer"


def waiting(data_dir: Path) -> list[tuple[Path, Note]]:
    """Notes to take up, a hundred at most. One that is no note is removed."""
    found = []
    for path in sorted((data_dir / _FOLDER).glob("*.json"))[:_MOST]:
        try:
            with path.open("rb") as file:
                found.append((path, _read(json.loads(file.read(_MOST_BYTES)), path.stem)))
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s is no command; it is removed", path)
            path.unlink(missing_ok=True)
    return found


def answer(path: Path, told: Mapping[str, object]) -> None:
    """Put the answer where the note was. Answers that nobody fetched are removed, the oldest first."""
    write_durably(path.with_suffix(".answer"), json.dumps(dict(told)).encode())
    path.unlink(missing_ok=True)
    old = sorted(path.parent.glob("*.answer"), key=lambda one: one.stat().st_mtime_ns)
    for one in old[:-_MOST]:
        one.unlink(missing_ok=True)


def fetch(path: Path) -> dict[str, object] | None:
    """The answer, once; None while there is none. Raises CommandError if the gateway refused."""
    try:
        told: dict[str, object] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    path.unlink(missing_ok=True)
    if "refused" in told:
        raise CommandError(str(told["refused"]))
    return told


def _read(table: dict[str, object], token: str) -> Note:
    options, ttl_s = table["options"], table["ttl_s"]
    if not isinstance(options, dict) or not (ttl_s is None or (isinstance(ttl_s, int) and 0 < ttl_s <= LONGEST_TTL_S)):
        raise TypeError("options and ttl_s")
    texts = {name: str(table[name])[:128] for name in ("node", "name", "by")}
    return Note(**texts, options=options, ttl_s=ttl_s, token=token)
