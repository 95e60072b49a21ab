"""Taking ahead of settling: two lanes, order within each, what is given back first, and what a reconnect owes."""

import asyncio

from tests.gateway.cores import running_core
from tests.gateway.test_outbox import made, put, the_row

ALL = (0, 1, 2, 3)


async def take(core, lane, limit=10, streams=ALL, **options):
    async with asyncio.timeout(5):
        return await core.outbox.take("city", lane=lane, streams=streams, limit=limit, **options)


def seqs(batch):
    return [stored.report.seq for stored in batch.records]


async def test_batches_follow_one_another_without_being_settled_and_may_be_settled_in_any_order(tmp_path):
    async with running_core(tmp_path) as core:
        core.outbox.reconnected("city")
        await put(core, *(made("a", seq) for seq in range(30)))
        batches = [await take(core, "live") for _ in range(3)]
        assert [seqs(batch) for batch in batches] == [[*range(10)], [*range(10, 20)], [*range(20, 30)]]
        assert not core.outbox.has("city", lane="live", streams=ALL)
        await core.outbox.settle([(batches[2], "delivered"), (batches[0], "unheard")])
        assert (await the_row(core)).stored == 10
        await core.outbox.settle([(batches[1], "delivered")])
        assert (await the_row(core)).stored == 0


async def test_what_is_given_back_is_taken_again_before_later_ones_in_its_order(tmp_path):
    async with running_core(tmp_path) as core:
        core.outbox.reconnected("city")
        await put(core, *(made("a", seq) for seq in range(30)))
        first, second = await take(core, "live"), await take(core, "live")
        core.outbox.give_back(second)
        core.outbox.give_back(first)
        assert [seqs(await take(core, "live")) for _ in range(3)] == [
            [*range(10)],
            [*range(10, 20)],
            [*range(20, 30)],
        ]


async def test_after_a_reconnect_live_is_what_comes_and_everything_else_is_owed(tmp_path):
    async with running_core(tmp_path) as core:
        core.outbox.reconnected("city")
        await put(core, *(made("a", seq) for seq in range(20)))
        await core.outbox.settle([(await take(core, "live", 5), "delivered")])
        lost = await take(core, "live", 5)  # on its way when the connection ended
        core.outbox.reconnected("city")
        core.outbox.give_back(lost)  # is owed already, not twice
        await put(core, made("a", 20), made("a", 21, kind="alarm"))
        assert seqs(await take(core, "live")) == [21]
        assert seqs(await take(core, "live")) == [20]
        assert seqs(await take(core, "backlog", 100)) == [*range(5, 20)]
        assert not core.outbox.has("city", lane="backlog", streams=ALL)
        assert not core.outbox.has("city", lane="live", streams=ALL)


async def test_what_was_settled_in_both_lanes_is_kept_over_a_restart(tmp_path):
    async with running_core(tmp_path) as core:
        await put(core, *(made("a", seq) for seq in range(20)))
        core.outbox.reconnected("city")
        await put(core, *(made("a", seq) for seq in range(20, 30)))
        await core.outbox.settle([(await take(core, "live", 4), "delivered")])
        await core.outbox.settle([(await take(core, "backlog", 7), "delivered")])
    async with running_core(tmp_path) as core:
        assert seqs(await take(core, "backlog", 100)) == [*range(7, 20), *range(24, 30)]


async def test_take_keeps_to_streams_and_bytes_and_waits_for_news(tmp_path):
    async with running_core(tmp_path) as core:
        core.outbox.reconnected("city")
        await put(core, *(made("a", seq) for seq in range(10)), made("a", 99, kind="event"))
        assert seqs(await take(core, "live", streams=(2,), max_bytes=100)) == [*range(10)][:3]
        assert seqs(await take(core, "live", streams=(0, 1))) == [99]
        waiting = asyncio.create_task(take(core, "live", streams=(0,)))
        await put(core, made("a", 100, kind="alarm"))
        assert seqs(await waiting) == [100]


async def test_what_is_evicted_while_it_is_on_its_way_is_counted_once(tmp_path):
    from gateway.outbox.bounds import Limits

    async with running_core(tmp_path, limits=Limits(max_records=50, thin_span_s=0)) as core:
        core.outbox.reconnected("city")
        await put(core, *(made("a", seq) for seq in range(50)))
        batch = await take(core, "live", 20)
        await put(core, *(made("a", seq) for seq in range(50, 130)))
        await core.outbox.settle([(batch, "delivered")])
        row = await the_row(core)
        assert (row.delivered, row.evicted) == (0, 50)
