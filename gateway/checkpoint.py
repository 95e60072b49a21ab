"""What the database says of the record log: how far it is covered, and the ledger as of there; with a checksum.

SQLite does not notice a flipped bit in a value. One in a counter or a cursor would break promise 1 in silence, so a
checkpoint that does not verify makes the whole database count as damaged: it is set aside, and the log tells the rest.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from typing import Any

from gateway.store_errors import StoreDamaged

_KEY = "checkpoint"


def save(db: sqlite3.Connection, content: dict[str, Any]) -> None:
    """Put it into the open transaction."""
    text = json.dumps(content, separators=(",", ":"))
    sealed = json.dumps({"crc": zlib.crc32(text.encode()), "content": text}, separators=(",", ":"))
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, sealed))


def read(db: sqlite3.Connection) -> dict[str, Any] | None:
    """The last one; None if there was none yet. Raises StoreDamaged."""
    rows = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchall()
    if not rows:
        return None
    try:
        found: dict[str, Any] = json.loads(rows[0][0])
        if "ledger" in found:
            return found  # of a store from before there was a checksum
        if zlib.crc32(found["content"].encode()) == found["crc"]:
            content: dict[str, Any] = json.loads(found["content"])
            return content
    except (ValueError, TypeError, AttributeError, KeyError):
        pass
    raise StoreDamaged("the database is damaged (its checkpoint does not verify); start the gateway, it sets it aside")
