"""The outbox: the invariant of promise 1 after any history, order, eviction, damage, and platforms that come and go."""

import asyncio
import random
import struct

import pytest

from gateway.outbox.bounds import Limits
from gateway.outbox.view import look
from gateway.reading import Reading, Report, from_bytes, to_bytes
from tests.gateway.cores import ManualTime, deliver_all, hear, reading_values, running_core, stored_reports
from tests.gateway.link_node import LinkNode
from tests.gateway.packs import packs_of


def made(node, seq, *, kind="telemetry"):
    return Report(
        node=node,
        record_id=f"{node}/1/{seq}",
        measured_at_s=1.8e9 + seq,
        readings=(Reading(quantity="temperature", value=seq, unit="Cel"),),
        epoch=1,
        seq=seq,
        kind=kind,
    )


async def put(core, *reports):
    def change(tx):
        for report in reports:
            core.outbox.put(tx, report, is_produced=False, now_s=core.clock.now_s())

    await core.store.write(change)


async def the_row(core):
    (row,) = await core.outbox.audit()
    assert row.holds
    return row


async def test_records_come_most_important_first_and_oldest_first_within_a_stream(tmp_path):
    async with running_core(tmp_path) as core:
        await put(core, made("a", 0), made("a", 1), made("a", 2, kind="event"), made("a", 3, kind="alarm"))
        await put(core, made("b", 0), made("b", 1, kind="alarm"))
        order = [(report.node, report.seq) for report in await deliver_all(core)]
        assert order == [("a", 3), ("b", 1), ("a", 2), ("a", 0), ("a", 1), ("b", 0)]
        assert (await the_row(core)).delivered == 6
        assert await stored_reports(core) == []


async def test_a_record_stays_until_it_is_settled_also_over_a_restart(tmp_path):
    async with running_core(tmp_path) as core:
        await put(core, made("a", 0))
        first = await core.outbox.oldest("city", 10)
        assert first.records == (await core.outbox.oldest("city", 10)).records
    async with running_core(tmp_path) as core:
        batch = await core.outbox.oldest("city", 10)
        assert batch.records[0].report == made("a", 0)
        await core.outbox.mark_delivered(batch, unheard=True)
        row = await the_row(core)
        assert (row.delivered, row.unheard, row.stored) == (1, 1, 0)


async def test_oldest_waits_for_the_next_commit(tmp_path):
    async with running_core(tmp_path) as core:
        waiting = [asyncio.create_task(core.outbox.oldest("city", 10)) for _ in range(3)]
        await asyncio.sleep(0)
        await put(core, made("a", 0))
        async with asyncio.timeout(5):
            assert [len((await one).records) for one in waiting] == [1, 1, 1]


async def test_packs_hold_one_node_each_and_may_be_settled_in_any_order(tmp_path):
    async with running_core(tmp_path) as core:
        await put(core, *(made(node, seq) for seq in range(10) for node in "abc"))
        packs = packs_of(await core.outbox.oldest("city", 100), 4)
        assert [len(pack.records) for pack in packs] == [4, 4, 2] * 3
        assert all(len({stored.report.node for stored in pack.records}) == 1 for pack in packs)
        random.Random(3).shuffle(packs)
        for done, pack in enumerate(packs[:-1], 1):
            await core.outbox.mark_delivered(pack)
            assert (await the_row(core)).delivered == sum(len(one.records) for one in packs[:done])
        rest = await core.outbox.oldest("city", 100)
        assert rest.records == packs[-1].records
        await core.outbox.mark_delivered(rest)
        assert (await the_row(core)).stored == 0


async def test_settling_twice_counts_once(tmp_path):
    async with running_core(tmp_path) as core:
        await put(core, made("a", 0), made("a", 1))
        batch = await core.outbox.oldest("city", 10)
        await core.outbox.settle([(batch, "delivered"), (batch, "refused"), (batch, "unheard")])
        row = await the_row(core)
        assert (row.delivered, row.refused, row.unheard) == (2, 0, 0)


async def test_what_a_platform_refuses_is_kept_in_quarantine_and_counted(tmp_path):
    async with running_core(tmp_path) as core:
        await put(core, made("a", 0), made("a", 1))
        await core.outbox.mark_refused(await core.outbox.oldest("city", 1), "0x99")
        assert (await the_row(core)).refused == 1
        rows = await core.store.read(lambda db: db.execute("SELECT city, reason, body FROM quarantine").fetchall())
        assert rows[0][:2] == ("city", "0x99")
        assert b"a/1/0" in rows[0][2]
        assert [one.seq for one in await deliver_all(core)] == [1]


async def test_a_full_outbox_gives_up_the_oldest_telemetry_and_tells_exactly_which(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_records=200, thin_span_s=0)) as core:
        for at in range(0, 400, 10):
            await put(core, *(made("a", seq) for seq in range(at, at + 10)), made("a", 1000 + at, kind="alarm"))
        row = await the_row(core)
        reports = await deliver_all(core)
        kept = {one.seq for one in reports if one.node == "a"}
        assert {1000 + at for at in range(0, 400, 10)} <= kept  # no alarm gave way
        told = set()
        for one in reports:
            if one.kind == "gap":
                values = reading_values(one)
                assert (values["gap/epoch"], values["gap/reason"], values["gap/platforms"]) == (1, "evicted", "city")
                span = set(range(values["gap/from"], values["gap/to"] + 1))
                assert values["gap/count"] == len(span)
                assert not told & span
                told |= span
        assert kept & set(range(400)) == set(range(400)) - told
        assert row.evicted == len(told)
        assert row.stored <= 202


async def test_bytes_are_bounded_too(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_bytes=50_000, thin_span_s=0)) as core:
        for at in range(0, 2000, 50):
            await put(core, *(made("a", seq) for seq in range(at, at + 50)))
        assert (await core.outbox.backlog("city")).bytes < 53_000
        assert (await the_row(core)).evicted > 500


async def test_below_the_free_space_floor_the_outbox_does_not_grow(tmp_path):
    time = ManualTime()
    limits = Limits(min_free_bytes=1 << 62, thin_span_s=0)
    async with running_core(tmp_path, limits=limits, clock=time.clock) as core:
        for at in range(0, 30_000, 500):
            time.advance(0.5)
            await put(core, *(made("a", seq) for seq in range(at, at + 500)))
        assert (await core.outbox.backlog("city")).bytes < 1_050_000
        assert 15_000 < (await the_row(core)).stored < 25_000


async def test_an_eviction_between_taking_and_settling_is_counted_once(tmp_path):
    async with running_core(tmp_path, limits=Limits(max_records=100, thin_span_s=0)) as core:
        await put(core, *(made("a", seq) for seq in range(100)))
        batch = await core.outbox.oldest("city", 50)
        await put(core, *(made("a", seq) for seq in range(100, 180)))
        await core.outbox.mark_delivered(batch)
        row = await the_row(core)
        assert (row.delivered, row.accepted, row.evicted) == (0, 180, 96)


async def test_only_platforms_that_still_waited_count_an_eviction(tmp_path):
    limits = Limits(max_records=100, thin_span_s=0)
    async with running_core(tmp_path, cities=["quick", "slow"], limits=limits) as core:
        await put(core, *(made("a", seq) for seq in range(100)))
        await core.outbox.mark_delivered(await core.outbox.oldest("quick", 100))
        await put(core, *(made("a", seq) for seq in range(100, 150)))
        quick, slow = await core.outbox.audit()
        assert quick.holds
        assert slow.holds
        assert (quick.evicted, slow.evicted) == (0, 50 + 16)


async def test_a_damaged_record_is_given_up_counted_and_told_and_the_others_go_out(tmp_path):
    async with running_core(tmp_path) as core:
        await put(core, *(made("a", seq) for seq in range(5)))
        (path,) = (tmp_path / "outbox").glob("*.seg")
        content = bytearray(path.read_bytes())
        for seq in (2, 3):
            at = content.index(struct.pack("<d", 1.8e9 + seq))
            content[at : at + 3] = b"xyz"
        path.write_bytes(content)
        async with asyncio.timeout(5):
            reports = await deliver_all(core)
        assert [one.seq for one in reports if one.node == "a"] == [0, 1, 4]
        row = await the_row(core)
        assert (row.damaged, row.delivered) == (2, 4)
        (gap,) = [one for one in reports if one.kind == "gap"]
        assert reading_values(gap) == {"gap/count": 2, "gap/reason": "damaged", "gap/platforms": "city"}


async def test_a_new_platform_gets_what_is_stored_and_an_old_one_lets_go(tmp_path):
    async with running_core(tmp_path, cities=["one"]) as core:
        await put(core, *(made("a", seq) for seq in range(4)))
        await core.outbox.mark_delivered(await core.outbox.oldest("one", 2))
    async with running_core(tmp_path, cities=["one", "two"]) as core:
        assert "'two' is new" in core.notices[0]
        one, two = await core.outbox.audit()
        assert (one.stored, two.stored, two.accepted) == (2, 2, 2)
        assert one.holds
        assert two.holds
        assert [stored.report.seq for stored in (await core.outbox.oldest("two", 10)).records] == [2, 3]
        await core.outbox.mark_delivered(await core.outbox.oldest("two", 10))
        assert len(await stored_reports(core)) == 2
    async with running_core(tmp_path, cities=["two"]) as core:
        assert "'one' is not configured" in core.notices[0]
        assert await stored_reports(core) == []  # nobody waits for it any more
        assert (await the_row(core)).city == "two"


async def test_without_a_platform_records_wait(tmp_path):
    async with running_core(tmp_path, cities=[]) as core:
        await put(core, made("a", 0))
        assert await core.outbox.audit() == []
    async with running_core(tmp_path) as core:
        assert [one.seq for one in await deliver_all(core)] == [0]


async def test_a_record_that_waited_is_backlog_and_a_new_one_is_live(tmp_path):
    time = ManualTime()
    async with running_core(tmp_path, clock=time.clock) as core:
        await put(core, made("a", 0))
        assert (await core.outbox.oldest("city", 10)).lane == "live"
        time.advance(60)
        batch = await core.outbox.oldest("city", 10)
        assert batch.lane == "backlog"
        await core.outbox.mark_delivered(batch)
        await put(core, made("a", 1))
        assert (await core.outbox.oldest("city", 10)).lane == "live"


@pytest.mark.parametrize("seed", range(6))
async def test_the_invariant_holds_after_every_step_of_any_history(tmp_path, seed):
    chance = random.Random(seed)
    cities = ["one", "two", "three"]
    limits = Limits(max_records=chance.choice([60, 150, 10_000]))
    node = LinkNode(1)
    node.enrol(tmp_path)
    seq = 0
    delivered = {city: set() for city in cities}
    for _ in range(4):
        chosen = sorted(chance.sample(cities, chance.randint(1, 3)))
        async with running_core(tmp_path, cities=chosen, limits=limits, commit_window_s=0) as core:
            for _ in range(30):
                seq = await _step(core, chance, chosen, node, seq, delivered)
                for row in await core.outbox.audit():
                    assert row.holds, row
                    assert row.stored == (await core.outbox.backlog(row.city)).records
            ledger = core.store.vault.published
            assert len(await stored_reports(core)) == sum(ledger.records(stream) for stream in range(4))


async def _step(core, chance, cities, node, seq, delivered):
    what = chance.random()
    if what < 0.5:
        count = chance.randint(1, 30)
        await hear(core, node.frame(*range(seq, seq + count), floor=chance.choice([0, seq])))
        return seq + count + chance.choice([0, 0, 3])
    city = chance.choice(cities)
    if (await core.outbox.backlog(city)).records:
        packs = packs_of(await core.outbox.oldest(city, chance.randint(1, 50)), chance.randint(1, 16))
        some = [(pack, chance.choice(["delivered", "unheard", "refused"])) for pack in packs if chance.random() < 0.8]
        await core.outbox.settle(some)
        for pack, _ in some:
            ids = {stored.report.record_id for stored in pack.records}
            assert not ids & delivered[city], "settled twice"
            delivered[city] |= ids
    return seq


def test_the_stored_form_reads_back_as_the_same_report():
    report = Report(
        node="m1",
        record_id="m1/c/ü",
        measured_at_s=1.25,
        readings=(
            Reading(quantity="a", value=1.5, unit="V"),
            Reading(quantity="b", value=None, total=3.0),
            Reading(quantity="c", value=b"\x00\xff", at_s=3.5),
            Reading(quantity="d", value=True),
            Reading(quantity="e", value="text"),
        ),
        time_quality="received",
        assurance="password",
    )
    assert from_bytes(to_bytes(report)) == report


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b"[1,2,3]", b'["a","b",0,1,1,"good",null,"none","gap",null,7]']
)
def test_what_is_no_stored_report_is_a_value_error(body):
    with pytest.raises(ValueError):
        from_bytes(body)


def test_a_running_gateway_can_be_audited_from_outside_as_of_its_last_commit(tmp_path):
    async def fill():
        async with running_core(tmp_path) as core:
            await put(core, made("a", 0), made("a", 1))
            await core.outbox.mark_delivered(await core.outbox.oldest("city", 1))
            with look(tmp_path) as view:
                return view.ledger.audit(), view.backlog("city").records

    (row,), backlog = asyncio.run(fill())
    assert (row.city, row.accepted, row.delivered, row.stored, row.holds) == ("city", 2, 1, 1, True)
    assert backlog == 1
