"""What was just stored comes from memory as it would come from the disk, and not before it is there."""

import json

import pytest

from gateway.intake import Burst
from gateway.outbox.frame import SINGLE_BYTES
from gateway.outbox.fresh import Fresh
from gateway.outbox.stored import each_of
from gateway.reading import STREAMS
from gateway.row import Row
from gateway.store import StoreError
from tests.gateway.cores import NOW_S, ManualTime, running_core
from tests.gateway.test_outbox import made, put

TELEMETRY = STREAMS.index("telemetry")


def single(number):
    return (f"meter-{number // 50}", "temp", "Cel", number, 1_800_000_000.0 + number / 1000, number.to_bytes(16, "big"))


def rows(first, count):
    """Of one or two records each."""
    made, at = [], first
    while at < first + count:
        both = [single(one) for one in range(at, min(at + 1 + at % 2, first + count))]
        node, quantity, unit = both[0][:3]
        values, times, digests = zip(*(one[3:] for one in both), strict=True)
        made.append(Row(node, quantity, unit, values, times, b"".join(digests)))
        at += len(both)
    return made


def fresh_with(*blocks, most=100):
    fresh = Fresh(most)
    for first, count in blocks:
        fresh.add(TELEMETRY, first, rows(first, count), "none", 5.0)
        fresh.keep()
    return fresh


@pytest.mark.parametrize(
    "runs, most, most_bytes, expected",
    [
        ([(0, 9)], 100, None, range(9)),
        ([(2, 4), (6, 8)], 100, None, [2, 3, 6, 7]),
        ([(0, 9)], 4, None, range(4)),
        ([(0, 9)], 100, 2 * SINGLE_BYTES, range(2)),
        ([(4, 30)], 100, None, range(4, 9)),  # 9 is another record's, on its page
        ([(9, 30)], 100, None, []),
        ([(10, 30)], 100, None, range(10, 12)),
        ([(0, 5), (9, 12)], 100, None, range(5)),
        ([(50, 60)], 100, None, []),
        ([], 100, None, []),
        ([(2, 9)], 0, None, []),  # in the middle of a row
    ],
)
def test_it_has_what_follows_without_a_gap(runs, most, most_bytes, expected):
    fresh = fresh_with((0, 5), (5, 4), (10, 2))
    read = fresh.read(TELEMETRY, runs, most=most, most_bytes=most_bytes)
    assert all(one.span for one in read)
    found = each_of(read)
    assert [one.ordinal for one in found] == list(expected)
    assert [one.single for one in found] == [single(number) for number in expected]
    assert {one.stored_at_s for one in found} <= {5.0}


def test_it_holds_the_newest_and_nothing_of_a_commit_that_failed():
    fresh = fresh_with(*((at, 5) for at in range(0, 50, 5)), most=12)
    assert not fresh.read(TELEMETRY, [(35, 50)], most=100)
    assert [one.ordinal for one in each_of(fresh.read(TELEMETRY, [(40, 50)], most=100))] == list(range(40, 50))
    fresh.add(TELEMETRY, 50, rows(50, 1), "none", 6.0)
    assert not fresh.read(TELEMETRY, [(50, 51)], most=100)
    fresh.forget()
    fresh.keep()
    assert not fresh.read(TELEMETRY, [(50, 51)], most=100)


def burst(first, count):
    rows = [
        {"n": "temp", "u": "Cel", "v": number / 8, "t": 1_800_000_000 + number}
        for number in range(first, first + count)
    ]
    payloads = [json.dumps([row]).encode() for row in rows]
    return Burst(devices=[f"meter-{at % 3}" for at in range(count)], payloads=payloads, received_at_s=NOW_S)


async def test_live_records_are_those_of_the_disk(tmp_path):
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        core.outbox.reconnected("city")
        await core.intake.submit_bursts([burst(0, 300)])
        await put(core, made("a", 1))
        await core.intake.submit_bursts([burst(300, 300)])
        taken = []
        while len(taken) < 601:
            batch = await core.outbox.take("city", lane="live", streams=[TELEMETRY], limit=70)
            taken += batch.records
        found, unreadable = core.store.vault.reader.read(TELEMETRY, [(0, 601)], most=1_000)
        assert not unreadable
        assert taken == found
        assert [one.stored_at_s for one in taken] == [one.stored_at_s for one in found]
        assert [one.is_produced for one in taken] == [one.is_produced for one in found]
        assert sum(one.single is not None for one in taken) == 600


async def test_what_could_not_be_stored_is_not_handed_on(tmp_path):
    async with running_core(tmp_path) as core:
        core.outbox.reconnected("city")
        await core.intake.submit_bursts([burst(0, 5)])
        core.store.vault.files.sync = lambda fd: (_ for _ in ()).throw(OSError(5, "I/O error"))
        with pytest.raises(StoreError):
            await core.intake.submit_bursts([burst(5, 5)])
        del core.store.vault.files.sync
        await core.intake.submit_bursts([burst(10, 5)])
        taken = (await core.outbox.take("city", lane="live", streams=[TELEMETRY], limit=70)).records
        found, _ = core.store.vault.reader.read(TELEMETRY, [(0, 10)], most=100)
        assert [one.single[3] for one in taken] == [number / 8 for number in (*range(5), *range(10, 15))]
        assert list(taken) == found
