"""The store: what is acknowledged is on disk, what failed is nowhere, and a damaged file stops nobody."""

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, suppress

import pytest

from gateway import database
from gateway.outbox.files import Files
from gateway.outbox.view import look
from gateway.store import Store, StoreBusy, StoreDamaged, StoreError, StoreFull, StoreNewer


@asynccontextmanager
async def running(data_dir, **options):
    async with Store(data_dir, **({"segment_bytes": SEGMENT} | options)) as store:
        task = asyncio.create_task(store.run())
        try:
            yield store
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, StoreError):
                await task


SEGMENT = 256 << 10


def put(key, value="x"):
    def change(tx):
        tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
        return key

    return change


def keys(db):
    return [key for (key,) in db.execute("SELECT key FROM meta WHERE key != 'checkpoint' ORDER BY key")]


class Counting:
    """A participant that remembers how many commits it was written down in, and how often it was to forget."""

    def __init__(self):
        self.flushed = 0
        self.forgotten = 0

    def flush(self, tx):
        self.flushed += 1

    def forget(self):
        self.forgotten += 1


async def test_what_write_returned_from_is_there_after_reopening(tmp_path):
    async with running(tmp_path) as store:
        assert await store.write(put("a")) == "a"
    async with running(tmp_path) as store:
        assert await store.read(keys) == ["a"]


async def test_changes_that_come_together_share_a_commit(tmp_path):
    async with running(tmp_path, window_s=0.02) as store:
        counting = Counting()
        store.join(counting)
        await asyncio.gather(*(store.write(put(f"{n}")) for n in range(200)))
        assert counting.flushed == 1


async def test_an_urgent_change_takes_the_waiting_ones_along_at_once(tmp_path):
    async with running(tmp_path, window_s=60) as store:
        async with asyncio.timeout(5):
            await asyncio.gather(store.write(put("slow")), store.write(put("alarm"), urgent=True))
        assert await store.read(keys) == ["alarm", "slow"]


async def test_a_full_batch_does_not_wait_for_the_window(tmp_path):
    async with running(tmp_path, window_s=60, batch=10) as store:
        async with asyncio.timeout(5):
            await asyncio.gather(*(store.write(put(f"{n}")) for n in range(30)))


async def test_a_full_queue_makes_callers_wait_and_loses_none(tmp_path):
    async with running(tmp_path, window_s=0, batch=4, queue=8) as store:
        assert len(await asyncio.gather(*(store.write(put(f"{n:03}")) for n in range(100)))) == 100
        assert len(await store.read(keys)) == 100


async def test_a_change_that_raises_takes_no_other_along(tmp_path):
    def broken(tx):
        put("half")(tx)
        raise LookupError("mine")

    async with running(tmp_path, window_s=0.02) as store:
        counting = Counting()
        store.join(counting)
        results = await asyncio.gather(
            store.write(put("a")), store.write(broken), store.write(put("b")), return_exceptions=True
        )
        assert results[0] == "a"
        assert isinstance(results[1], LookupError)
        assert results[2] == "b"
        assert await store.read(keys) == ["a", "b"]
        assert counting.forgotten == 1  # what the broken one did to memory is undone


async def test_a_caller_that_gives_up_harms_nobody(tmp_path):
    async with running(tmp_path, window_s=0.05) as store:
        impatient = asyncio.create_task(store.write(put("a")))
        patient = asyncio.create_task(store.write(put("b")))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient == "b"


async def test_what_was_submitted_before_the_end_is_committed(tmp_path):
    async with Store(tmp_path, window_s=60) as store:
        run = asyncio.create_task(store.run())
        writes = [asyncio.create_task(store.write(put(f"{n}"))) for n in range(5)]
        await asyncio.sleep(0)
        run.cancel()
        assert await asyncio.gather(*writes) == ["0", "1", "2", "3", "4"]
        with pytest.raises(StoreError, match="closing"):
            await store.write(put("late"))
    async with running(tmp_path) as store:
        assert len(await store.read(keys)) == 5


class FullDisk(Files):
    """A disk on which no file can be made or grow while it is full."""

    is_full = False

    def write(self, fd, data, at):
        if self.is_full and at + len(data) > self.size(fd):
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(fd, data, at)

    def room(self, folder):
        return (0, 1 << 30) if self.is_full else (1 << 30, 1 << 30)


async def test_a_full_disk_stores_nothing_acks_nothing_and_works_again_with_room(tmp_path):
    disk = FullDisk()
    async with running(tmp_path, files=disk) as store:
        counting = Counting()
        store.join(counting)
        await store.write(put("a"))
        disk.is_full = True
        with pytest.raises(StoreFull, match="free some space"):
            await store.write(put("big", "x" * 1_000_000))
        assert store.trouble == "StoreFull"
        assert counting.forgotten == 1
        assert await store.read(keys) == ["a"]
        disk.is_full = False
        assert await store.write(put("b")) == "b"
        assert store.trouble is None


SMALL_DISK = """
set -e
mkdir -p "$1/disk"
mount -t tmpfs -o size=8m lamppost "$1/disk"
exec "$2" -m tests.gateway.full_disk "$1/disk"
"""


def test_a_disk_that_is_really_full_neither_ends_the_gateway_nor_breaks_the_invariant(tmp_path):
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", SMALL_DISK, "sh", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        timeout=150,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_second_gateway_is_told_who_has_the_folder(tmp_path):
    async with running(tmp_path):
        with pytest.raises(StoreBusy, match=f"process {os.getpid()}"):
            async with Store(tmp_path):
                pass
    async with running(tmp_path):
        pass


async def test_a_killed_gateway_leaves_no_lock(tmp_path):
    code = (
        "import asyncio, os, signal, pathlib\n"
        "from gateway.store import Store\n"
        f"async def main():\n    async with Store(pathlib.Path({str(tmp_path)!r})):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    async with running(tmp_path):
        pass


async def test_a_newer_database_is_refused_by_name_and_left_alone(tmp_path):
    async with running(tmp_path):
        pass
    with sqlite3.connect(tmp_path / database.NAME) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(StoreNewer, match="format 7"):
        async with Store(tmp_path):
            pass
    assert not list(tmp_path.glob("*.damaged*"))


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 8176])
async def test_an_unreadable_file_is_set_aside_by_name_and_the_gateway_starts(tmp_path, content):
    (tmp_path / database.NAME).write_bytes(content)
    async with running(tmp_path) as store:
        assert await store.write(put("a")) == "a"
        assert "damaged-1" in store.notices[0]
        assert "Records that wait for a city are in the log and stay" in store.notices[0]
    assert (tmp_path / "lamppost.db.damaged-1").read_bytes() == content
    async with running(tmp_path) as store:
        assert store.notices == []
        assert await store.read(keys) == ["a"]


async def test_any_torn_database_starts_and_says_so_or_reads_as_before(tmp_path):
    async with running(tmp_path) as store:
        for n in range(40):
            await store.write(put(f"{n:02}", "x" * 2000))
    whole = (tmp_path / database.NAME).read_bytes()
    for cut in range(0, len(whole), 4096 * 3 + 511):
        (tmp_path / database.NAME).write_bytes(whole[:cut] + bytes(700) + whole[cut + 700 :])
        async with running(tmp_path) as store:
            kept = [key for key in await store.read(keys) if key.isdigit()]
            assert store.notices or len(kept) == 40
            await store.write(put("still"))


async def test_damage_met_while_running_ends_the_run_and_the_next_start_sets_the_file_aside(tmp_path):
    def damage(tx):
        raise _corrupt()

    async with Store(tmp_path) as store:
        task = asyncio.create_task(store.run())
        with pytest.raises(StoreDamaged):
            await store.write(damage)
        with pytest.raises(StoreDamaged):
            await task
    async with running(tmp_path) as store:
        assert "damaged-1" in store.notices[0]


def _corrupt():
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


async def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file cannot be made \(File exists\)"):
        async with Store(tmp_path / "file" / "data" / "lamppost"):
            pass


class CountingDisk(Files):
    """Counts the calls that make things last."""

    def __init__(self):
        self.syncs = 0

    def sync(self, fd):
        super().sync(fd)
        self.syncs += 1


async def test_a_commit_costs_one_sync_and_one_page_and_an_empty_one_nothing(tmp_path):
    disk = CountingDisk()
    async with running(tmp_path, files=disk) as store:
        await store.write(put("a"))
        syncs, written = disk.syncs, store.vault.bytes_written
        await store.write(put("b"))
        assert (disk.syncs, store.vault.bytes_written) == (syncs + 1, written + 4096)
        assert await store.write(lambda tx: "nothing") == "nothing"
        assert (disk.syncs, store.vault.bytes_written) == (syncs + 1, written + 4096)


async def test_another_process_can_look_while_the_gateway_runs_and_after(tmp_path):
    with pytest.raises(StoreError, match="has this gateway run yet"), look(tmp_path):
        pass
    async with running(tmp_path) as store:
        await store.write(put("a"))
        with look(tmp_path) as view:
            assert keys(view.db) == ["a"]
            view.db.execute("DELETE FROM meta")  # its own copy
    with look(tmp_path) as view:
        assert keys(view.db) == ["a"]


async def test_sqlite_giving_up_its_transaction_takes_no_table_along(tmp_path):
    """Also before the first checkpoint of a new database, and beside the log of one that was set aside."""

    def give_up(tx):
        tx.db.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    for begun in ("new", "beside an old log"):
        async with running(tmp_path) as store:
            await store.write(put(begun))
            with pytest.raises(StoreError):
                await store.write(give_up)
            await store.write(put(f"{begun}, later"))
            assert await store.read(keys) == [begun, f"{begun}, later"]
        for file in tmp_path.glob("lamppost.db*"):
            file.unlink()
