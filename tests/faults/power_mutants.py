"""The shipped store with one promise taken out; a campaign that does not notice it proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.edge import basis
from gateway.edge.windows import Windows
from gateway.numbering import Numbering
from gateway.outbox.entries import Transaction
from gateway.outbox.ledger import Ledger
from gateway.outbox.queue import Outbox
from gateway.store import Store
from gateway.vault import Vault
from tests.faults.power_disk import PowerDisk

Patch = pytest.MonkeyPatch


def ack_before_commit(patch: Patch) -> None:
    """Who waits is answered when the commit has been put together, not when it is on disk."""
    commit_batch, commit = Store._commit_batch, Store._commit
    batches: dict[int, Any] = {}

    async def answer(batch: Any) -> None:
        for waiting in batch:
            waiting.answer(None)

    def remember(self: Store, batch: Any, is_due: bool) -> int:
        batches[id(self)] = batch
        return commit_batch(self, batch, is_due)

    def early(self: Store) -> None:
        batch = batches[id(self)]
        if all(one.result is not None for one in batch):
            asyncio.run_coroutine_threadsafe(answer(batch), batch[0].done.get_loop()).result(5)
        commit(self)

    patch.setattr(Store, "_commit_batch", remember)
    patch.setattr(Store, "_commit", early)


def no_fdatasync(patch: Patch) -> None:
    """What was written is taken for stored."""
    patch.setattr(PowerDisk, "sync", lambda self, fd: None)


def no_folder_sync(patch: Patch) -> None:
    """Files are made and renamed without syncing the folder."""
    patch.setattr(PowerDisk, "sync_dir", lambda self, folder: None)


def cursor_moved_before_the_platform_has_it(patch: Patch) -> None:
    """Taking a record settles it, in a commit of its own."""
    take = Outbox.take

    async def hasty(self: Outbox, city: str, **options: Any) -> Any:
        batch = await take(self, city, **options)
        await self.settle([(batch, "delivered")])
        return batch

    patch.setattr(Outbox, "take", hasty)


def cursor_noted_without_its_commit(patch: Patch) -> None:
    """A delivery moves cursor and counter in memory; the log learns of it with the next checkpoint."""

    def settle(self: Transaction, city: str, stream: int, outcome: Any, runs: Any) -> int:
        return self.state.ledger.settle(city, stream, outcome, runs)

    patch.setattr(Transaction, "settle", settle)


def counter_moved_outside_the_commit(patch: Patch) -> None:
    """What is counted is saved with the checkpoint alone; a start does not count again what the log holds."""
    load, came = Vault._load, Ledger.came

    def uncounted(self: Ledger, stream: int, count: int, size: int, *, produced: int) -> None:
        kept = {city: dict(counts) for city, counts in self.counts.items()}
        came(self, stream, count, size, produced=produced)
        for city, counts in kept.items():
            self.counts[city].update(accepted=counts["accepted"], produced=counts["produced"])

    def forgetful(self: Vault) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Ledger, "came", uncounted)
            load(self)

    patch.setattr(Vault, "_load", forgetful)


def own_numbers_moved_outside_the_commit(patch: Patch) -> None:
    """The next number of a record of our own is written down now and then."""
    flush = Numbering.flush

    def lazy(self: Numbering, tx: Any) -> None:
        if self._next.get("own_seq", 0) % 4 == 0:
            flush(self, tx)

    patch.setattr(Numbering, "flush", lazy)


def written_again_in_place_after_a_failed_sync(patch: Patch) -> None:
    """A failed sync is tried again, as if the second could know what the first one lost."""

    def stubborn(self: PowerDisk, fd: int) -> None:
        for left in (2, 1, 0):
            try:
                return sync(self, fd)
            except OSError:
                if not left:
                    raise

    sync: Callable[[Any, int], None] = PowerDisk.sync
    patch.setattr(PowerDisk, "sync", stubborn)


def windows_as_of_the_checkpoint(patch: Patch) -> None:
    """A start takes the rows of windows as they are, though the log has records after them."""
    patch.setattr(basis, "catch_up", lambda *_: None)


def windows_keep_what_failed(patch: Patch) -> None:
    """What windows hold in memory survives a commit that failed."""
    patch.setattr(Windows, "forget", lambda self: None)


MUTANTS = (
    no_fdatasync,
    no_folder_sync,
    cursor_moved_before_the_platform_has_it,
    cursor_noted_without_its_commit,
    counter_moved_outside_the_commit,
    own_numbers_moved_outside_the_commit,
    written_again_in_place_after_a_failed_sync,
    windows_as_of_the_checkpoint,
    windows_keep_what_failed,
)
