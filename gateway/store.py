"""The gateway's disk, and the one thread that writes it: many changes share a commit, each caller waits for it.

`write(change)` returns after the fsync of the commit that holds the change, or raises and nothing of it was stored.
The record log (gateway/outbox/log) is the truth; the database holds the tables as of a checkpoint, and what the log
says after that is done again at the next start. What other modules keep in memory joins as a Participant: it writes
itself down before a commit and is forgotten after a failed one, so that no memory is ever ahead of the disk.

A commit is made when a page is full, or when its first change has waited as long as the rate of arrivals allows, or at
once for an alarm. Knows nothing of nodes or platforms.
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

from gateway.outbox.entries import Transaction
from gateway.outbox.files import Files
from gateway.store_errors import StoreBusy, StoreDamaged, StoreError, StoreFailed, StoreFull, StoreNewer, translated
from gateway.vault import Vault
from gateway.window import Window

__all__ = ["Participant", "Store", "StoreBusy", "StoreDamaged", "StoreError", "StoreFailed", "StoreFull", "StoreNewer"]

log = logging.getLogger(__name__)
T = TypeVar("T")
Change = Callable[[Transaction], T]

WINDOW_S = 1.5  # the longest wait of a change for company; a LoRa ack has 2 s, and says how long it can wait
_BATCH = 4096
_MOST_PAGES = 96  # of one commit; what is left makes the next one
_QUEUE = 8192


class Participant(Protocol):
    """Keeps part of the database in memory. Both methods run in the commit thread."""

    def flush(self, tx: Transaction) -> None:
        """Write down what changed; the commit follows."""

    def forget(self) -> None:
        """The commit failed: drop everything, the database knows better."""


class Store:
    """The gateway's disk. An async context manager; `run` must be running for a write to return."""

    def __init__(
        self,
        data_dir: Path,
        *,
        window_s: float = WINDOW_S,
        batch: int = _BATCH,
        queue: int = _QUEUE,
        files: Files | None = None,
        segment_bytes: int | None = None,
    ) -> None:
        """
        window_s  longest wait of a change for company
        batch     most changes in one commit
        queue     changes that may wait; then `write` blocks
        files     the file layer of the record log
        segment_bytes  of its files; None: as the disk allows
        """
        self.vault = Vault(data_dir, files or Files(), segment_bytes=segment_bytes)
        self._window = Window(window_s)
        self._batch = batch
        self._room = asyncio.Semaphore(queue)
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._due_s = 0.0
        self._weight = 0
        self._is_stopping = False
        self._trouble: type[StoreError] | None = None
        self._participants: list[Participant] = []
        self._listeners: list[Callable[[], None]] = []

    @property
    def notices(self) -> list[str]:
        """What the operator should know of opening the store."""
        return self.vault.notices

    @property
    def trouble(self) -> str | None:
        """Why the last commit failed, None if it did not."""
        return self._trouble.__name__ if self._trouble else None

    async def __aenter__(self) -> Self:
        self._writer = ThreadPoolExecutor(1, "store-write")
        self._reader = ThreadPoolExecutor(1, "store-read")
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self.vault.open)
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
        self._writer.submit(self.vault.close).result()
        self._writer.shutdown()

    def join(self, participant: Participant) -> None:
        """Let `participant` write itself down in every commit; in the order of joining."""
        self._participants.append(participant)

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after each commit."""
        self._listeners.append(listener)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `query` finds in the tables as last committed."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self.vault.read, query)

    async def fetch(self, work: Callable[[], T]) -> T:
        """Return what `work` reads from the log, in the reading thread."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    async def write(
        self, change: Change[T], *, urgent: bool = False, within_s: float | None = None, weight: int = 1
    ) -> T:
        """Make `change` in the next commit and return its result once that is on disk.

        urgent    commit at once instead of waiting for company
        within_s  the longest wait for company; None: as the rate of arrivals allows
        weight    how many records it is likely to bring
        Raises    StoreFull, StoreFailed: nothing of it was stored. Whatever `change` raises: likewise.
        """
        await self._room.acquire()
        try:
            if self._is_stopping:
                raise StoreError("the store is closing; nothing more is stored")
            waiting = _Waiting(change, asyncio.get_running_loop().create_future(), weight)
            self._add(waiting, 0.0 if urgent else self._window.wait_s(within_s))
            result: T = await waiting.done
            return result
        finally:
            self._room.release()

    def _add(self, waiting: _Waiting, wait_s: float) -> None:
        due_s = asyncio.get_running_loop().time() + wait_s
        is_first = not self._waiting
        self._waiting.append(waiting)
        self._weight += waiting.weight
        if is_first or due_s < self._due_s:
            self._due_s = due_s
            self._arrived.set()
            self._hurry.set()  # the one who waits looks at the new time
        if self._is_full():
            self._hurry.set()

    def _is_full(self) -> bool:
        return self._weight >= self._window.changes_per_page or len(self._waiting) >= self._batch

    async def write_alone(self, change: Change[T]) -> T:
        """Make one change in a commit of its own, before `run` runs. Raises as `write` does."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(change, loop.create_future())
        await loop.run_in_executor(self._writer, self._commit_batch, [waiting], True)
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
                self._due_s = 0.0
                await self._commit_next()

    async def _gather(self) -> None:
        """Wait for a change, then for its company."""
        loop = asyncio.get_running_loop()
        await self._arrived.wait()
        while True:
            self._hurry.clear()
            left_s = self._due_s - loop.time()
            if left_s <= 0 or self._is_full():
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._hurry.wait()
            except TimeoutError:
                return

    async def _commit_next(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = self._due_s
        is_due = loop.time() >= due_s or len(self._waiting) > self._batch
        batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
        self._weight = sum(one.weight for one in self._waiting)
        if not self._waiting:
            self._arrived.clear()
        cancelled = None
        work = loop.run_in_executor(self._writer, self._commit_batch, batch, is_due)
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError as told:
                cancelled = told  # a commit under way is waited for: its callers have a right to the answer
            except Exception:  # noqa: BLE001  it is answered below
                break
        error = work.exception()
        taken = len(batch) if error else work.result()
        if taken < len(batch):  # they would not fill a page
            self._due_s = min(due_s, self._due_s) if self._waiting else due_s
            self._waiting[:0] = batch[taken:]
            self._weight += sum(one.weight for one in batch[taken:])
            self._arrived.set()
        if is_due and error is None:
            self._window.note_late(max(0.0, loop.time() - due_s))
        self._answer(batch[:taken], error)
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

    def _commit_batch(self, batch: Sequence[_Waiting], is_due: bool) -> int:
        """One commit of these changes; on a full disk one each, so that deliveries do not fail with the rest.

        Returns how many were taken: as many as one commit should hold; unless they are due, as fill whole pages.
        """
        try:
            return self._commit_together(batch, is_due)
        except StoreFull:
            if self.vault.has_made_room():
                return self._commit_batch(batch, is_due)
            if len(batch) == 1:
                raise
            for waiting in batch:
                try:
                    self._commit_together([waiting], True)
                except StoreFull as error:
                    waiting.error = error
            return len(batch)

    def _commit_together(self, batch: Sequence[_Waiting], is_due: bool) -> int:
        """One commit. A change that raises is left out and takes no other along."""
        todo = list(batch)
        taken, culprit = self._try_commit(todo, lambda tx, left: self._is_enough(tx, left, is_due))
        if culprit is None:
            return taken
        while culprit is not None:
            todo.remove(culprit)
            _, culprit = self._try_commit(todo, lambda *_: False)
        return len(batch)

    def _is_enough(self, tx: Transaction, left: int, is_due: bool) -> bool:
        return tx.frame.page_count >= _MOST_PAGES or (not is_due and self._window.is_enough(tx.frame, left))

    def _try_commit(
        self, todo: Sequence[_Waiting], is_enough: Callable[[Transaction, int], bool]
    ) -> tuple[int, _Waiting | None]:
        """Commit what is taken of them, or roll back and return the change that raised."""
        taken, left = 0, sum(one.weight for one in todo)
        try:
            tx = self.vault.begin()
            for waiting in todo:
                try:
                    waiting.result = waiting.change(tx)
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001  handed to the caller of that change
                    waiting.error = error
                    self._roll_back()
                    return 0, waiting
                taken += 1
                left -= waiting.weight
                if is_enough(tx, left):
                    break
            for participant in self._participants:
                participant.flush(tx)
            self._commit()
            self._window.note(tx.frame, sum(one.weight for one in todo[:taken]))
        except (sqlite3.Error, OSError) as error:
            self._roll_back()
            failure = translated(error)
            if isinstance(failure, StoreDamaged):
                self.vault.mark_damaged(str(failure))
            raise failure from error
        except BaseException:
            self._roll_back()
            raise
        return taken, None

    def _commit(self) -> None:
        """After this returns the batch is on disk."""
        self.vault.commit()

    def _roll_back(self) -> None:
        """Memory and tables say again what the last commit said."""
        self.vault.roll_back()
        for participant in self._participants:
            participant.forget()


class _Waiting:
    """One change on its way into a commit."""

    __slots__ = ("change", "done", "error", "result", "weight")

    def __init__(self, change: Change[Any], done: asyncio.Future[Any], weight: int = 1) -> None:
        self.change = change
        self.done = done
        self.weight = weight
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
