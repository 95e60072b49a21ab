"""A look at the store of a gateway, running or not, from outside: as of its last commit, and without touching anything.

The database alone is as old as the last checkpoint, so a copy of it in memory is brought up to date from the log.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import checkpoint
from gateway.database import read_only
from gateway.outbox.batch import Backlog
from gateway.outbox.entries import State
from gateway.outbox.files import Files
from gateway.outbox.ledger import Ledger
from gateway.outbox.log import FOLDER, Log, Position
from gateway.outbox.reader import Reader
from gateway.outbox.replay import recall, replay
from gateway.reading import STREAMS
from gateway.store_errors import StoreError, StoreFailed, StoreNewer, translated
from gateway.tables import FORMAT

_TRIES, _PAUSE_S = 40, 0.025  # a gateway that makes room on a full disk makes several checkpoints a second


@dataclass(frozen=True, kw_only=True)
class View:
    """`db`: the tables. `damaged`: records that could not be found. `position`: of the last checkpoint in the log."""

    db: sqlite3.Connection
    log: Log
    state: State
    reader: Reader
    damaged: int
    position: Position

    @property
    def ledger(self) -> Ledger:
        return self.state.ledger

    def backlog(self, city: str) -> Backlog:
        """How much waits for `city`."""
        ledger = self.ledger
        times = []
        for stream in range(len(STREAMS)):
            run = next(ledger.settled[city, stream].missing(0, ledger.ends[stream]), None)
            found = self.reader.read(stream, [run], most=1)[0] if run else []
            times += [one.stored_at_s for one in found]
        records = ledger.balance(city)
        return Backlog(records, sum(ledger.sizes) if records else 0, min(times, default=None))


@contextmanager
def look(data_dir: Path) -> Iterator[View]:
    """Open a view of the store in `data_dir`. Raises StoreError if there is none, or it cannot be read."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        log = Log(data_dir / FOLDER, Files())
        try:
            yield _open(data_dir, db, log)
        finally:
            log.close()


def _open(data_dir: Path, db: sqlite3.Connection, log: Log) -> View:
    """A running gateway may make a checkpoint and use a segment again meanwhile: then look once more."""
    for left in reversed(range(_TRIES)):
        try:
            return _load(data_dir, db, log)
        except sqlite3.Error as error:
            raise translated(error) from None
        except (OSError, LookupError) as error:
            log.close()
            if not left:
                raise StoreFailed(
                    f"{log.folder} cannot be read ({error}); check the disk and who may read there"
                ) from None
            time.sleep(_PAUSE_S)
    raise AssertionError("unreachable")


def _load(data_dir: Path, db: sqlite3.Connection, log: Log) -> View:
    with closing(read_only(data_dir)) as source:
        source.backup(db)
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise StoreNewer(
            f"{data_dir} holds a store of format {found}, this lamppost knows up to {FORMAT}; update lamppost"
        )
    if found < FORMAT:
        raise StoreError(f"{data_dir} holds the store of an older version; start the gateway once, it carries it over")
    saved = checkpoint.read(db)
    state = State()
    if saved:
        state.ledger = Ledger.from_json(saved["ledger"])
    position = _position_of(saved)
    if log.folder.is_dir():
        log.look()
    recall(log, position, state, history=0)
    damaged = replay(log, position, db, state)
    with closing(read_only(data_dir)) as source:
        if _position_of(checkpoint.read(source)) != position:  # what was before it may have been used again
            raise LookupError("the log has moved on")
    return View(db=db, log=log, state=state, reader=Reader(log, state.moved), damaged=damaged, position=position)


def _position_of(saved: Mapping[str, Any] | None) -> Position:
    return Position(*saved["position"]) if saved else Position(0, 0, 0)
