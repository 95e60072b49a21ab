"""An operator has seen an alarm: `lamppost alarm ack` leaves a note in data_dir/acks, the gateway takes it up.

A note is removed once what it caused is on disk; taken up twice, it does nothing the second time.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.database import make_durable_dir, write_durably

log = logging.getLogger(__name__)
_FOLDER = "acks"
_MOST_BYTES = 2_000
_MOST = 100


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """Who acknowledges which alarm. node: id or label; n: which time it was raised, None: the present one."""

    rule: str
    node: str
    by: str
    n: int | None = None


def leave(data_dir: Path, note: Acknowledgement) -> Path:
    """Write a note for the gateway; the path it is gone from when it was taken up. Raises OSError, StoreFailed."""
    folder = data_dir / _FOLDER
    make_durable_dir(folder)
    path = folder / f"{secrets.token_hex(8)}.json"
    write_durably(path, json.dumps(asdict(note)).encode())
    return path


def waiting(data_dir: Path) -> list[tuple[Path, Acknowledgement]]:
    """Notes to take up, a hundred at most. One that is no note is removed."""
    found = []
    for path in sorted((data_dir / _FOLDER).glob("*.json"))[:_MOST]:
        try:
            with path.open("rb") as file:
                table = json.loads(file.read(_MOST_BYTES))
            rule, node, by = (str(table[name]) for name in ("rule", "node", "by"))
            found.append((path, Acknowledgement(rule=rule, node=node, by=by)))
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s is no acknowledgement; it is removed", path)
            path.unlink(missing_ok=True)
    return found
