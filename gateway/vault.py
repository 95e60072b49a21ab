"""Tables and record log as one: what a commit puts into both, and what a start makes of them.

A change of the tables goes into the log's commit and, uncommitted, into the database; a checkpoint now and then commits
the database together with the position in the log that it covers. A start opens the checkpoint and does again what the
log says after it. All of it belongs to the commit thread.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from gateway import checkpoint
from gateway.database import Database, make_durable_dir
from gateway.outbox.carry_over import carry_over
from gateway.outbox.entries import State, Transaction
from gateway.outbox.files import Files
from gateway.outbox.frame import Frame
from gateway.outbox.ledger import Ledger
from gateway.outbox.log import FOLDER, Log, Position
from gateway.outbox.reader import Reader
from gateway.outbox.recent import records_since
from gateway.outbox.reclaim import reclaim
from gateway.outbox.replay import recall, replay
from gateway.reading import Report
from gateway.store_errors import StoreDamaged, StoreFailed, StoreFull, translated

log = logging.getLogger(__name__)
T = TypeVar("T")

_CHECKPOINT_S = 900.0
_HISTORY = 2  # full segments that are kept
_READ_BYTES = 8 << 20  # of these at a start, for the ids they hold: more than senders have under way; all, if smaller


class Vault:
    """The disk of one gateway. `state` is as of the commit in the making, `Published` as of the last one."""

    def __init__(
        self,
        data_dir: Path,
        files: Files,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        segment_bytes: int | None = None,
    ) -> None:
        self._database = Database(data_dir)
        self._folder = data_dir / FOLDER
        self.files = files
        self.log = Log(self._folder, files, segment_bytes=segment_bytes)
        self.state = State()
        self.reader = Reader(self.log, self.state.moved)
        self.published = Ledger()
        self.is_tight = False  # the disk has less room than it should
        self.damaged = 0  # records that the start found missing
        self._tx: Transaction | None = None
        self._clock_s = clock_s
        self._since_bytes = 0
        self._since_s = clock_s()
        self._begun_at: Position | None = None  # the database
        self._is_short = False
        self._has_made_room = False
        self.commits = 0
        self.bytes_written = 0
        self.is_behind = False  # unlogged tables are being made again: no checkpoint may pass over what they lack
        self._is_asked = False
        self.on_checkpoint: Callable[[], None] = lambda: None  # what the tables say is durable
        self.on_step_back: Callable[[], None] = lambda: None  # what was unlogged since the last checkpoint is gone

    @property
    def notices(self) -> list[str]:
        return self._database.notices

    @property
    def db(self) -> sqlite3.Connection:
        return self._database.writer

    def mark_damaged(self, reason: str) -> None:
        """Let the next start set the database aside."""
        self._database.mark_damaged(reason)

    def set_tight(self, is_tight: bool) -> None:
        """Whether the disk has less room than it should: then old segments are cleared sooner."""
        self.is_tight = is_tight

    # Start and end

    def open(self) -> None:
        """Lock, open, carry over, do again. Raises StoreBusy, StoreNewer, StoreFull, StoreFailed."""
        self._database.open()
        try:
            make_durable_dir(self._folder)
            if self._database.is_old:
                self._carry_over()
            self.log.open()
            if self._database.is_new:  # what the log says of the one before is not for this one: only records count
                self._begun_at = self.log.position
            self._load()
        except (sqlite3.Error, OSError) as error:
            failure = translated(error)
            if isinstance(failure, StoreDamaged):
                self.mark_damaged(str(failure))
            raise failure from error
        if self._database.is_new and self.log.segments:  # what the log says before this is not to be done again
            self._checkpoint_if_possible()
        self.log.spares.reserve()
        self.state.ledger.came_in = 0  # since the start
        self.publish()

    def _carry_over(self) -> None:
        """From the first version: its records go into the log, and then the database says so in one commit."""
        for name in self.files.names(self._folder):  # of a carry-over that was cut short
            self.files.unlink(self._folder / name)
        self.log.open()
        carry_over(self.db, self.log, self.state)
        self._save_checkpoint()
        self.db.execute("COMMIT")
        self.notices.append("the store of an older version was carried over")
        self.log.close()
        self.state = State()

    def _load(self) -> None:
        """The checkpoint, then what the log says after it. The database's transaction stays open."""
        self.db.execute("BEGIN IMMEDIATE")
        saved = checkpoint.read(self.db)
        state = State()
        if saved is not None:
            state.ledger = Ledger.from_json(saved["ledger"])
        position = Position(*saved["position"]) if saved else Position(0, 0, 0)
        recall(self.log, position, state, history=self._segments_to_read())
        self.log.least = state.ledger.ends[:]
        tables_from = self._begun_at if saved is None else None
        self.damaged = replay(self.log, position, self.db, state, tables_from=tables_from)
        self.state.ledger, self.state.heard = state.ledger, state.heard
        self.state.moved.places[:] = state.moved.places

    def _segments_to_read(self) -> int:
        """A small disk has small segments, with few ids in each."""
        return min(_HISTORY, -(-_READ_BYTES // self.log.spares.segment_bytes))

    def _load_again(self) -> None:
        """SQLite has gone back to the checkpoint. After sqlite3.Error or OSError no checkpoint is made any more."""
        self.is_behind = True
        self._load()
        self.on_step_back()
        self.is_behind = False

    def recent(self) -> Iterator[tuple[Report, float, bool]]:
        """The records since the last checkpoint (outbox.recent). Before the first commit, or in `on_step_back`."""
        saved = checkpoint.read(self.db)
        return records_since(self.log, Position(*saved["position"]) if saved else Position(0, 0, 0))

    def close(self) -> None:
        """Leave a checkpoint, so that the next start has nothing to do again."""
        try:
            if (self.log.segments or self._since_bytes) and not self.is_behind:
                self.roll_back()
                self.checkpoint()
        except (sqlite3.Error, OSError, StoreFull, StoreFailed) as error:
            log.warning("no checkpoint at the end (%s); the next start reads more of the log", error)
        finally:
            self.log.close()
            self._database.close()

    # A commit

    def begin(self) -> Transaction:
        """An empty commit."""
        self._tx = Transaction(self.db, self.state, self.log.frame(), number=self.commits)
        return self._tx

    def commit(self) -> None:
        """All of it is on disk when this returns. Raises OSError, StoreFull; then `roll_back`."""
        tx = self._tx
        assert tx is not None
        if tx.frame.page_count:
            self._require_room(tx.frame)
            try:
                written = self.log.commit(tx.frame)
            except OSError as error:
                self._is_short = error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise
            self._since_bytes += written
            self.bytes_written += written
            self.commits += 1
        if tx.has_savepoint:
            self.db.execute("RELEASE commit_in_the_making")
        self._tx = None
        self.state.heard.keep()
        self.state.fresh.keep()
        self.publish()
        self._is_asked |= tx.wants_checkpoint
        if self._is_checkpoint_due():
            self._checkpoint_if_possible()

    def roll_back(self) -> None:
        """State and tables say again what the last commit said."""
        tx, self._tx = self._tx, None
        if tx is None:
            return
        self.state.ledger.restore(self.published.copy())
        self.state.heard.forget()
        self.state.fresh.forget()
        if tx.has_savepoint and self.db.in_transaction:
            self.db.execute("ROLLBACK TO commit_in_the_making")
            self.db.execute("RELEASE commit_in_the_making")
        elif not self.db.in_transaction:  # SQLite gave up all of it
            self._load_again()
        if self._is_short:
            self._is_short = False
            self._make_room()

    def publish(self) -> None:
        """Let readers see what is committed."""
        self.published = self.state.ledger.copy()

    def _require_room(self, frame: Frame) -> None:
        """Records may not take the file that is kept for noting deliveries on a full disk. Raises StoreFull."""
        if frame.began_at == tuple(frame.next) or frame.makes_room:
            return
        if self.log.has_room(frame.page_count) or self.log.spares.grow():
            return
        self._is_short = True
        raise StoreFull("the disk is full; free some space, readings wait at the nodes meanwhile")

    def _make_room(self) -> None:
        """What was delivered since the last checkpoint may free segments."""
        before = self.log.bytes_on_disk
        if self._since_bytes and not self.is_behind:
            self._checkpoint_if_possible()
        self._has_made_room = self.log.bytes_on_disk < before

    def has_made_room(self) -> bool:
        """Whether a commit that failed for want of room is worth another try; once."""
        made, self._has_made_room = self._has_made_room, False
        return made

    # Checkpoints

    def _is_checkpoint_due(self) -> bool:
        is_long = self._since_bytes >= self.log.spares.segment_bytes
        is_old = self._clock_s() - self._since_s >= _CHECKPOINT_S
        return (self._is_asked or is_long or is_old) and not self.is_behind

    def _checkpoint_if_possible(self) -> None:
        self._is_asked = False
        try:
            self.checkpoint()
        except (sqlite3.Error, OSError) as error:
            log.warning("no checkpoint could be made (%s); tried again later", error)
            self._since_bytes = 0
            if not self.db.in_transaction:
                self._load_again()

    def checkpoint(self) -> None:
        """The database is as of now. Segments that nobody needs any more are free after it."""
        self._save_checkpoint()
        self.log.spares.clear_room()
        self.db.execute("COMMIT")
        self.db.execute("BEGIN IMMEDIATE")
        self._since_bytes, self._since_s = 0, self._clock_s()
        self.on_checkpoint()
        reclaim(self.log, self.state, self.reader, history=_HISTORY, is_tight=self.is_tight)
        self.log.spares.reserve()

    def _save_checkpoint(self) -> None:
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")
        checkpoint.save(self.db, {"position": self.log.position, "ledger": self.state.ledger.to_json()})

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on what was last committed. Raises StoreError."""
        try:
            return query(self.db)
        except sqlite3.Error as error:
            raise translated(error) from error
