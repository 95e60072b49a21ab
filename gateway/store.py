"""One SQLite file, and the one thread that writes it: many changes share a commit, each caller waits for it.

`write(change)` returns after the fsync of the commit that holds the change, or raises and nothing of it was stored.
What other modules keep in memory of the database joins as a Participant: it writes itself down before a commit and is
forgotten after a failed one, so that no memory is ever ahead of the disk. Knows nothing of nodes, records or platforms.
Source: sqlite.org/wal.html; `synchronous = FULL` syncs the log at each commit.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from gateway.database import Database
from gateway.store_errors import StoreBusy, StoreDamaged, StoreError, StoreFailed, StoreFull, StoreNewer, translated

__all__ = ["Participant", "Store", "StoreBusy", "StoreDamaged", "StoreError", "StoreFailed", "StoreFull", "StoreNewer"]

log = logging.getLogger(__name__)
T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]

_WINDOW_S = 0.02  # how long a change waits for company; a LoRa ack has 2 s
_BATCH = 512
_QUEUE = 4096


class Participant(Protocol):
    """Keeps part of the database in memory. Both methods run in the commit thread."""

    def flush(self, tx: sqlite3.Connection) -> None:
        """Write down what changed; the commit follows."""

    def forget(self) -> None:
        """The commit failed: drop everything, the database knows better."""


class Store:
    """The gateway's disk. An async context manager; `run` must be running for a write to return."""

    def __init__(
        self, data_dir: Path, *, window_s: float = _WINDOW_S, batch: int = _BATCH, queue: int = _QUEUE
    ) -> None:
        """
        window_s  longest wait of a change for company
        batch     most changes in one commit
        queue     changes that may wait; then `write` blocks
        """
        self._database = Database(data_dir)
        self._window_s = window_s
        self._batch = batch
        self._room = asyncio.Semaphore(queue)
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_stopping = False
        self._trouble: type[StoreError] | None = None
        self._participants: list[Participant] = []
        self._listeners: list[Callable[[], None]] = []

    @property
    def notices(self) -> list[str]:
        """What the operator should know of opening the database."""
        return self._database.notices

    @property
    def trouble(self) -> str | None:
        """Why the last commit failed, None if it did not."""
        return self._trouble.__name__ if self._trouble else None

    async def __aenter__(self) -> Self:
        self._writer = ThreadPoolExecutor(1, "store-write")
        self._reader = ThreadPoolExecutor(1, "store-read")
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._database.open)
        except BaseException:
            self._shut()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shut()

    def _shut(self) -> None:
        self._is_stopping = True
        self._reader.shutdown()
        self._writer.shutdown()
        self._database.close()

    def join(self, participant: Participant) -> None:
        """Let `participant` write itself down in every commit; in the order of joining."""
        self._participants.append(participant)

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after each commit."""
        self._listeners.append(listener)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `query` finds in the database as last committed."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._database.read, query)

    async def write(self, change: Change[T], *, urgent: bool = False) -> T:
        """Make `change` in the next commit and return its result once that is on disk.

        urgent  commit at once instead of waiting for company
        Raises  StoreFull, StoreFailed: nothing of it was stored. Whatever `change` raises: likewise.
        """
        await self._room.acquire()
        try:
            if self._is_stopping:
                raise StoreError("the store is closing; nothing more is stored")
            waiting = _Waiting(change, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            self._arrived.set()
            if urgent or len(self._waiting) >= self._batch:
                self._hurry.set()
            result: T = await waiting.done
            return result
        finally:
            self._room.release()

    async def write_alone(self, change: Change[T]) -> T:
        """Make one change in a commit of its own, before `run` runs. Raises as `write` does."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(change, loop.create_future())
        await loop.run_in_executor(self._writer, self._commit_batch, [waiting])
        waiting.answer(None)
        result: T = await waiting.done
        return result

    async def run(self) -> None:
        """Commit until cancelled; what was submitted by then is committed first."""
        try:
            while True:
                await self._gather()
                await self._commit_next()
        finally:
            self._is_stopping = True
            while self._waiting:
                await self._commit_next()

    async def _gather(self) -> None:
        """Wait for a change, then for its company."""
        await self._arrived.wait()
        try:
            async with asyncio.timeout(self._window_s):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _commit_next(self) -> None:
        batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
        if not self._waiting:
            self._arrived.clear()
        if len(self._waiting) < self._batch:
            self._hurry.clear()
        cancelled = None
        work = asyncio.get_running_loop().run_in_executor(self._writer, self._commit_batch, batch)
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError as error:
                cancelled = error  # a commit under way is waited for: its callers have a right to the answer
            except Exception:  # noqa: BLE001  it is answered below
                break
        self._answer(batch, work.exception())
        if cancelled:
            raise cancelled

    def _answer(self, batch: Sequence[_Waiting], error: BaseException | None) -> None:
        for waiting in batch:
            waiting.answer(error)
        self._note_trouble(error or next((one.error for one in batch if isinstance(one.error, StoreError)), None))
        if isinstance(error, StoreDamaged) or (error and not isinstance(error, StoreError)):
            raise error
        if error is None:
            for listener in self._listeners:
                listener()

    def _note_trouble(self, error: BaseException | None) -> None:
        trouble = type(error) if isinstance(error, StoreError) else None
        if trouble is not self._trouble:
            if trouble:
                log.error("nothing is acknowledged until this ends: %s", error)
            else:
                log.warning("the store works again")
        self._trouble = trouble

    # In the commit thread, from here on.

    def _commit_batch(self, batch: Sequence[_Waiting]) -> None:
        """One transaction of all changes; on a full disk one each, so that deliveries do not fail with the rest."""
        try:
            self._commit_together(batch)
        except StoreFull:
            if len(batch) == 1:
                raise
            for waiting in batch:
                try:
                    self._commit_together([waiting])
                except StoreFull as error:
                    waiting.error = error

    def _commit_together(self, batch: Sequence[_Waiting]) -> None:
        """One transaction. A change that raises is left out and takes no other along."""
        todo = list(batch)
        while todo:
            culprit = self._try_commit(todo)
            if culprit is None:
                return
            todo.remove(culprit)

    def _try_commit(self, todo: Sequence[_Waiting]) -> _Waiting | None:
        """Commit all, or roll back and return the change that raised."""
        try:
            self._begin()
            for waiting in todo:
                try:
                    waiting.result = waiting.change(self._database.writer)
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001  handed to the caller of that change
                    waiting.error = error
                    self._roll_back()
                    return waiting
            for participant in self._participants:
                participant.flush(self._database.writer)
            self._database.require_room()
            self._commit()
        except sqlite3.Error as error:
            self._roll_back()
            failure = translated(error)
            if isinstance(failure, StoreDamaged):
                self._database.mark_damaged(str(failure))
            raise failure from error
        except BaseException:
            self._roll_back()
            raise
        return None

    def _begin(self) -> None:
        self._database.writer.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        """After this returns the batch is on disk."""
        self._database.writer.execute("COMMIT")

    def _roll_back(self) -> None:
        """Memory and database say again what the last commit said."""
        for participant in self._participants:
            participant.forget()
        if self._database.writer.in_transaction:
            self._database.writer.execute("ROLLBACK")


class _Waiting:
    """One change on its way into a commit."""

    __slots__ = ("change", "done", "error", "result")

    def __init__(self, change: Change[Any], done: asyncio.Future[Any]) -> None:
        self.change = change
        self.done = done
        self.result: Any = None
        self.error: Exception | None = None

    def answer(self, commit_error: BaseException | None) -> None:
        """Tell the caller, if it still waits."""
        if self.done.done():
            return
        error = self.error or commit_error
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(self.result)
