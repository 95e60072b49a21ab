"""From sealed frame to disk and ack: nothing twice, nothing lost in silence, no ack for what is not stored."""

import asyncio

import pytest

from drivers.link import schema
from drivers.link.ack import Ack
from drivers.link.frame import URGENT
from drivers.link.pack import JOURNAL_FULL
from gateway.intake import Uplink
from gateway.reading import Reading
from gateway.start import open_core
from tests.gateway.cores import (
    NOW_S,
    FailingDisk,
    ManualTime,
    deliver_all,
    hear,
    reading_values,
    running_core,
    stored_reports,
)
from tests.gateway.link_node import LinkNode, report


@pytest.fixture
def node(tmp_path):
    made = LinkNode(1)
    made.enrol(tmp_path)
    return made


def gap_values(reports):
    """(epoch, from, to, count, reason) of each gap record, in order."""
    gaps = [reading_values(one) for one in reports if one.kind == "gap"]
    names = ("gap/epoch", "gap/from", "gap/to", "gap/count", "gap/reason")
    return [tuple(values.get(name) for name in names) for values in gaps]


def seqs(reports, node, epoch=1):
    return [one.seq for one in reports if one.node == node.id and one.epoch == epoch]


async def test_a_report_arrives_with_its_identity_values_and_time(tmp_path, node):
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        node.uptime_s = 500
        frame = node.seal(node.body([report(7, time_s=440)], floor=7))
        await hear(core, frame, at_s=NOW_S + 0.25, airtime_us=250_000)
        _, one = await stored_reports(core)
    assert one.record_id == f"{node.id}/1/7"
    assert (one.node, one.epoch, one.seq, one.kind, one.assurance) == (node.id, 1, 7, "telemetry", "aead")
    assert (one.measured_at_s, one.time_quality) == (NOW_S - 60, "good")
    assert [(r.quantity, r.value, r.unit) for r in one.readings] == [
        ("temperature", 21.5, "Cel"),
        ("humidity", 48.0, "%RH"),
        ("pressure", 101325, "Pa"),
    ]


async def test_a_retransmission_stores_nothing_twice_and_is_acked_again(tmp_path, node):
    async with running_core(tmp_path) as core:
        first = await hear(core, node.frame(0, 1))
        again = await hear(core, node.frame(0, 1))
        assert (first.stored, again.stored) == (2, 0)
        assert again.accepted
        assert node.open(again.downlink).base == 2
        assert core.counters["reports_repeated"] == 2
        assert seqs(await stored_reports(core), node) == [0, 1]


async def test_the_same_sequence_with_another_content_is_counted_and_the_first_stays(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(0))
        await deliver_all(core)  # also when the record is long gone
        other = node.seal(node.body([report(0, values=(1, 2, 99_999))]))
        verdict = await hear(core, other)
        assert (verdict.accepted, verdict.stored) == (True, 0)
        assert core.counters["reports_conflict"] == 1


@pytest.mark.parametrize(
    "frames, base, above",
    [
        ([[0, 1, 2]], 3, []),
        ([[1]], 0, [1]),
        ([[2], [0]], 1, [2]),
        ([[2], [0], [1]], 3, []),
        ([[0], [16], [17], [18]], 1, [16, 17]),  # 18 is out of the bitmap's reach
        ([[5], [3], [1]], 0, [1, 3, 5]),
    ],
)
async def test_an_ack_says_exactly_what_is_on_disk(tmp_path, node, frames, base, above):
    async with running_core(tmp_path) as core:
        for one in frames:
            verdict = await hear(core, node.frame(*one))
        ack: Ack = node.open(verdict.downlink)
        assert ack.base == base
        assert [seq for seq in range(base + 1, base + 17) if ack.holds(seq)] == above


async def test_a_full_frame_gets_a_wide_ack_with_the_time_and_a_short_one_a_short_ack(tmp_path, node):
    async with running_core(tmp_path, clock=ManualTime().clock) as core:
        wide = await hear(core, node.frame(0))
        assert (node.open(wide.downlink).is_wide, node.open(wide.downlink).utc_s) == (True, NOW_S)
        short = await hear(core, node.frame(1, full=False))
        assert len(short.downlink) == 14 + 5
        assert node.open(short.downlink).utc_s is None


async def test_no_time_is_told_by_a_clock_that_is_not_trusted(tmp_path, node):
    async with running_core(tmp_path, clock=ManualTime(now_s=1000.0).clock) as core:
        verdict = await hear(core, node.frame(0), at_s=1000.0)
        assert node.open(verdict.downlink).utc_s is None
        (one,) = await stored_reports(core)
        assert one.time_quality == "untrusted"


async def test_what_is_known_survives_a_restart(tmp_path, node):
    async with running_core(tmp_path) as core:
        first = node.frame(0, 2)
        await hear(core, first)
    async with running_core(tmp_path) as core:
        assert (await hear(core, first)).reason == "replayed"
        verdict = await hear(core, node.frame(1, 2, full=False))
        assert verdict.stored == 1
        assert seqs(await stored_reports(core), node) == [0, 2, 1]


async def test_a_raised_floor_becomes_a_gap_record_with_the_nodes_reason_once(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(0, 1))
        for _ in range(3):  # the node repeats it until it is acked
            verdict = await hear(core, node.frame(10, floor=8, floor_lost=(6, JOURNAL_FULL)))
        assert node.open(verdict.downlink).base == 8
        assert gap_values(await stored_reports(core)) == [(1, 2, 7, 6, "journal_full")]


async def test_only_what_is_not_here_counts_as_lost(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(0))
        await hear(core, node.frame(3, 4))
        await hear(core, node.frame(9, floor=7, floor_lost=(3, JOURNAL_FULL)))  # tells of 4, 5, 6; 4 is here
        assert gap_values(await stored_reports(core)) == [
            (1, 1, 2, 2, "unexplained"),
            (1, 5, 6, 2, "journal_full"),
        ]


async def test_a_node_whose_past_is_not_here_gives_a_gap_that_says_so(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(500, floor=500))
        assert gap_values(await stored_reports(core)) == [(1, 0, 499, 500, "not_held_here")]


async def test_a_closed_epoch_becomes_gaps_for_what_is_missing(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(0, 1, 2))
        node.epoch, node.boot = 2, 2
        for _ in range(2):
            await hear(core, node.frame(0, epochs_opened=[(1, 5, True)]))
        node.epoch, node.boot = 3, 3
        await hear(core, node.frame(0, epochs_opened=[(2, 64, False)]))
        assert gap_values(await stored_reports(core)) == [
            (1, 3, 4, 2, "epoch_closed"),
            (2, 1, 63, 63, "epoch_end_unknown"),
        ]


async def test_epochs_jumped_over_are_told_without_a_count(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(0))
        node.epoch = 5
        await hear(core, node.frame(0, epochs_opened=[(3, 2, True)]))
        gaps = gap_values(await stored_reports(core))
        assert gaps == [
            (3, 0, 1, 2, "epoch_closed"),
            (2, None, None, None, "epoch_unknown"),
            (4, None, None, None, "epoch_unknown"),
        ]


async def test_reports_of_an_older_epoch_keep_their_ids_and_get_an_ack_that_names_it(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(0))
        node.epoch, node.boot = 2, 2
        verdict = await hear(core, node.frame(1, 2, other_epoch=1))
        ack = node.open(verdict.downlink)
        assert (ack.epoch, ack.base) == (1, 3)
        verdict = await hear(core, node.frame(0))
        assert (node.open(verdict.downlink).epoch, node.open(verdict.downlink).base) == (None, 1)
        reports = await stored_reports(core)
        assert seqs(reports, node) == [0, 1, 2]
        assert seqs(reports, node, 2) == [0]


async def test_a_frame_that_names_a_later_epoch_as_older_is_refused(tmp_path, node):
    async with running_core(tmp_path) as core:
        assert (await hear(core, node.frame(0, other_epoch=2))).reason == "bad_extension"
        assert core.counters["refused_bad_extension"] == 1
        assert await stored_reports(core) == []


async def test_an_authentic_frame_that_is_refused_leaves_the_window_where_it_was(tmp_path, node):
    async with running_core(tmp_path) as core:
        await hear(core, node.frame(0))
        bad = node.frame(1, other_epoch=9)
        assert [(await hear(core, bad)).reason for _ in range(2)] == ["bad_extension"] * 2


async def test_the_last_sequence_and_too_many_holes_are_refused(tmp_path, node):
    async with running_core(tmp_path) as core:
        verdict = await hear(core, node.frame(0xFFFFFFFF, floor=0xFFFFFFFF))
        assert verdict.reason == "bad_sequence"


async def test_a_report_of_an_older_boot_is_placed_by_that_boots_start(tmp_path, node):
    time = ManualTime()
    async with running_core(tmp_path, clock=time.clock) as core:
        node.uptime_s = 100  # boot 1 began at NOW - 100
        await hear(core, node.frame(0))
        node.boot, node.uptime_s = 2, 30
        time.advance(1000)
        body = node.body([report(1, time_s=400), report(2, time_s=460)], older_boot=1)
        await hear(core, node.seal(body), at_s=time.now_s)
        _, one, two = await stored_reports(core)
        assert (one.measured_at_s, one.time_quality) == (NOW_S + 300, "good")
        assert two.measured_at_s == NOW_S + 360


async def test_a_report_of_a_boot_that_never_told_is_placed_in_an_interval(tmp_path, node):
    time = ManualTime()
    async with running_core(tmp_path, clock=time.clock) as core:
        await hear(core, node.frame(0))  # boot 1, heard until NOW
        time.advance(1000)
        node.boot, node.uptime_s = 3, 100  # began at NOW + 900
        body = node.body([report(1, time_s=200)], older_boot=2)
        await hear(core, node.seal(body), at_s=time.now_s)
        one = (await stored_reports(core))[-1]
        assert one.time_quality == "bounded"
        # at the earliest 200 s after boot 1 was heard, at the latest when boot 3 began
        assert (one.measured_at_s, one.time_error_s) == (NOW_S + 550, 350.0)


async def test_an_alarm_goes_into_the_alarm_stream_and_does_not_wait_for_company(tmp_path, node, monkeypatch):
    monkeypatch.setattr("gateway.intake._WITHIN_S", {})
    monkeypatch.setattr("gateway.intake._NODE_WAITS_S", 3_600.0)
    settings = {"gateway_id": "gw-1", "cities": ["city"], "window_s": 0, "commit_window_s": 3_600}
    async with open_core(data_dir=tmp_path, **settings) as core, asyncio.timeout(10):
        committing = asyncio.create_task(core.store.run())  # and nobody else who could take it along
        verdict = await hear(core, node.frame(0, kind=URGENT))
        assert verdict.urgent
        (one,) = await deliver_one(core)
        assert one.kind == "alarm"
        committing.cancel()


async def deliver_one(core):
    batch = await core.outbox.oldest("city", 1)
    return [stored.report for stored in batch.records]


async def test_many_frames_at_once_share_commits_and_all_are_acked(tmp_path):
    nodes = [LinkNode(number) for number in range(1, 31)]
    for node in nodes:
        node.enrol(tmp_path)
    async with running_core(tmp_path, commit_window_s=0.02) as core:
        frames = [(node, node.frame(0, 1, 2)) for node in nodes]
        verdicts = await asyncio.gather(*(hear(core, frame) for _, frame in frames))
        for (node, _), verdict in zip(frames, verdicts, strict=True):
            assert node.open(verdict.downlink).base == 3
        (row,) = await core.outbox.audit()
        assert (row.accepted, row.stored, row.holds) == (90, 90, True)


async def test_after_a_failed_commit_nothing_is_acked_and_memory_says_what_the_disk_says(tmp_path, node):
    disk = FailingDisk()
    async with running_core(tmp_path, files=disk) as core:
        assert (await hear(core, node.frame(0))).accepted
        disk.fails = True
        lost = node.frame(1, 2, floor=0)
        verdict = await hear(core, lost)
        assert (verdict.accepted, verdict.retry, verdict.reason, verdict.downlink) == (
            False,
            True,
            "store_failed",
            None,
        )
        disk.fails = False
        verdict = await hear(core, lost)  # even the very same frame: it was never accepted
        assert verdict.stored == 2
        assert node.open(verdict.downlink).base == 3
        (row,) = await core.outbox.audit()
        assert (row.accepted, row.stored, row.holds) == (3, 3, True)
        assert [one.record_id.rsplit("/", 1)[1] for one in await stored_reports(core)] == ["0", "1", "2"]


async def test_no_downlink_counter_is_used_twice_over_failed_commits_and_restarts(tmp_path, node):
    used = []
    for _ in range(3):
        disk = FailingDisk()
        async with running_core(tmp_path, files=disk) as core:
            for step in range(300):
                disk.fails = step % 7 == 3
                verdict = await hear(core, node.frame(0))
                if verdict.downlink:
                    used.append(int.from_bytes(verdict.downlink[4:8], "big"))
    assert len(used) == len(set(used)) > 700


async def test_downlink_counters_and_own_ids_go_on_after_the_database_is_lost(tmp_path, node):
    downlinks, ids = [], []
    for _ in range(3):
        async with running_core(tmp_path) as core:
            for seq in (5, 9):
                verdict = await hear(core, node.frame(seq, floor=seq))
                downlinks.append(int.from_bytes(verdict.downlink[4:8], "big"))
            ids += [one.record_id for one in await deliver_all(core) if one.kind == "gap"]
        (tmp_path / "lamppost.db").write_bytes(b"lost")
    assert len(set(downlinks)) == len(downlinks)
    assert len(set(ids)) == len(ids) == 6


async def test_the_gateways_own_readings_get_its_own_ids_in_order(tmp_path):
    async with running_core(tmp_path) as core:
        made = [await core.intake.submit_own([Reading(quantity="temperature", value=n, unit="Cel")]) for n in range(3)]
        assert made == ["gw-1/1/0", "gw-1/1/1", "gw-1/1/2"]
    async with running_core(tmp_path) as core:
        assert await core.intake.submit_own([Reading(quantity="temperature", value=0, unit="Cel")]) == "gw-1/1/3"


async def test_how_a_node_was_heard_is_known(tmp_path, node):
    async with running_core(tmp_path) as core:
        uplink = Uplink(frame=node.frame(0), bearer="lora", received_at_s=NOW_S, rssi_dbm=-101.0, snr_db=4.5)
        await core.intake.submit(uplink)
        heard = (await core.status())["nodes"]["heard"][node.id]
        assert heard == {"at_s": NOW_S, "bearer": "lora", "rssi_dbm": -101.0, "snr_db": 4.5}


async def test_values_at_the_edges_of_every_schema_come_out_as_decimals(tmp_path, node):
    rows = [
        (schema.CLIMATE, (-4000, 0, 30000), [-40.0, 0.0, 30000]),
        (schema.PARTICLES, (0, 65535, 12), [0.0, 65535e-9, 12e-9]),
        (schema.WATER, (-32768,), [-32.768]),
        (schema.BATTERY, (3301,), [3.301]),
        (schema.SELF_DESCRIBING, [["uv_index", "/", -1, 73]], [7.3]),
    ]
    async with running_core(tmp_path) as core:
        for seq, (kind, values, _) in enumerate(rows):
            await hear(core, node.seal(node.body([report(seq, values=values, kind=kind)])))
        stored = await stored_reports(core)
        assert [[r.value for r in one.readings] for one in stored] == [expected for _, _, expected in rows]
