"""Third-party devices through the intake: names, record ids, repeats, and time."""

import json
import shutil

import pytest

from gateway.intake import Message
from gateway.outbox.heard import Heard
from tests.gateway.cores import NOW_S, ManualTime, deliver_all, running_core, stored_reports
from tests.gateway.link_node import LinkNode


async def send(core, pack, *, device="meter-1", **options):
    payload = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
    fields = {"content_type": None, "received_at_s": NOW_S} | options
    return await core.intake.submit_senml(Message(device=device, payload=payload, **fields))


@pytest.mark.parametrize(
    "record, quantity",
    [
        ({"n": "temp", "v": 1}, "temp"),
        ({"bn": "meter-1", "v": 1}, "value"),
        ({"bn": "meter-1:", "n": "temp", "v": 1}, "temp"),
        ({"bn": "meter-1_", "n": "temp", "v": 1}, "temp"),
        ({"bn": "meter-1/", "n": "room/temp", "v": 1}, "room/temp"),
        ({"n": "meter-1_temp", "v": 1}, "temp"),
        ({"bn": "urn:dev:ow:10e2073a01080063:", "n": "temp", "v": 1}, "urn:dev:ow:10e2073a01080063:temp"),
    ],
)
async def test_a_devices_own_names_are_taken(tmp_path, record, quantity):
    async with running_core(tmp_path) as core:
        assert (await send(core, [record])).accepted
        (one,) = await stored_reports(core)
        assert (one.node, one.readings[0].quantity) == ("meter-1", quantity)


@pytest.mark.parametrize(
    "device, record, reason",
    [
        ("meter-1", {"bn": "meter-2:", "n": "temp", "v": 1}, "senml_claims_other"),
        ("meter-1", {"bn": "meter-10", "v": 1}, "senml_claims_other"),
        ("meter-1", {"bn": "NODE_", "n": "temp", "v": 1}, "senml_claims_node"),
        ("meter-1", {"bn": "NODE", "v": 1}, "senml_claims_node"),
        ("meter-1", {"n": "NODE_temp", "v": 1}, "senml_claims_node"),
        ("meter-1", {"bn": "urn:dev:os:32473-zzzzzzzzzzzzzzzz_", "n": "t", "v": 1}, "senml_claims_node"),
        ("meter-1", {"bn": "lamp-1:", "n": "temp", "v": 1}, "senml_claims_node"),
        ("meter-1", {"bn": "gw-1_", "n": "temp", "v": 1}, "senml_claims_node"),
        ("lamp-1", {"n": "temp", "v": 1}, "senml_claims_node"),
        ("gw-1", {"n": "temp", "v": 1}, "senml_claims_node"),
        ("NODE", {"n": "temp", "v": 1}, "senml_claims_node"),
        ("a b", {"n": "temp", "v": 1}, "senml_device_name"),
        ("", {"n": "temp", "v": 1}, "senml_device_name"),
        ("x" * 65, {"n": "temp", "v": 1}, "senml_device_name"),
        ("../etc", {"n": "temp", "v": 1}, "senml_device_name"),
    ],
)
async def test_a_name_of_somebody_else_is_refused_and_counted(tmp_path, device, record, reason):
    node = LinkNode(1)
    node.enrol(tmp_path, alias="lamp-1")
    own = json.loads(json.dumps(record).replace("NODE", node.id))
    async with running_core(tmp_path) as core:
        # one good record does not carry a bad one along
        verdict = await send(core, [{"n": "good", "v": 1}, own], device=device.replace("NODE", node.id))
        assert (verdict.accepted, verdict.reason) == (False, reason)
        assert core.counters[f"refused_{reason}"] == 1
        assert await stored_reports(core) == []


async def test_a_retained_message_is_ignored_and_counted(tmp_path):
    async with running_core(tmp_path) as core:
        assert (await send(core, [{"n": "t", "v": 1}], retained=True)).reason == "senml_retained"
        assert core.counters["refused_senml_retained"] == 1


async def test_what_is_no_senml_is_refused_and_counted(tmp_path):
    async with running_core(tmp_path) as core:
        assert (await send(core, b"hello")).reason == "senml_malformed"
        assert core.counters["refused_senml_malformed"] == 1


async def test_the_devices_own_record_id_names_the_whole_message(tmp_path):
    pack = [{"bt": NOW_S, "n": "a", "v": 1}, {"n": "b", "t": 5, "v": 2}]
    async with running_core(tmp_path) as core:
        await send(core, pack, record_id="2026/11 #7")
        again = await send(core, pack, record_id="2026/11 #7", repeated=True)
        other = await send(core, [{"bt": NOW_S, "n": "a", "v": 9}], record_id="2026/11 #7")
        assert (again.accepted, again.stored) == (other.accepted, other.stored) == (True, 0)
        assert (core.counters["senml_repeated"], core.counters["senml_conflict"]) == (1, 1)
        (one,) = await stored_reports(core)
        assert one.record_id == "meter-1/c/2026%2F11%20%237"
        assert [(r.quantity, r.value, r.at_s) for r in one.readings] == [("a", 1, None), ("b", 2, NOW_S + 5)]


@pytest.mark.parametrize("record_id", ["", "x" * 65, "ü" * 11])
async def test_a_record_id_beyond_64_bytes_is_refused(tmp_path, record_id):
    async with running_core(tmp_path) as core:
        assert (await send(core, [{"n": "a", "v": 1}], record_id=record_id)).reason == "senml_record_id"


async def test_a_record_with_a_time_is_known_again_by_its_content(tmp_path):
    pack = [{"bt": NOW_S, "n": "a", "v": 1}, {"n": "a", "t": 1, "v": 1}, {"n": "a", "v": 2}]
    async with running_core(tmp_path) as core:
        assert (await send(core, pack)).stored == 3
    async with running_core(tmp_path) as core:
        await deliver_all(core)
        assert (await send(core, pack)).stored == 0
        assert (
            await send(core, [{"bn": "meter-1_", "n": "a", "t": NOW_S, "v": 1}])
        ).stored == 0  # the same, said otherwise
        assert core.counters["senml_repeated"] == 4


async def test_a_record_without_time_or_id_gets_the_arrivals_time_says_so_and_a_new_id(tmp_path):
    async with running_core(tmp_path) as core:
        await send(core, [{"n": "a", "v": 1}])
        await send(core, [{"n": "a", "v": 1}], repeated=True)
        first, second = await stored_reports(core)
        assert (first.measured_at_s, first.time_quality) == (NOW_S, "received")
        assert (first.record_id, second.record_id) == ("meter-1/n/1.0", "meter-1/n/1.1")
        assert core.counters["senml_without_identity"] == 2
        assert core.counters["senml_repeats_possible"] == 1
    async with running_core(tmp_path) as core:
        await send(core, [{"n": "a", "v": 1}])
        assert (await stored_reports(core))[-1].record_id == "meter-1/n/1.2"


async def test_an_untrusted_clock_is_said_too(tmp_path):
    async with running_core(tmp_path, clock=ManualTime(now_s=5.0).clock) as core:
        await send(core, [{"n": "a", "v": 1}])
        assert (await stored_reports(core))[0].time_quality == "untrusted"


async def test_ids_are_remembered_over_a_restart_and_a_kill(tmp_path):
    async with running_core(tmp_path) as core:
        for at in range(0, 5000, 250):
            await send(core, [{"n": "a", "t": NOW_S + n, "v": 1} for n in range(at, at + 250)])
        await send(core, [{"n": "a", "v": 1}], record_id="own")
        shutil.copytree(tmp_path, tmp_path / "killed")  # no checkpoint there: all of it comes from the log
    for data_dir in (tmp_path, tmp_path / "killed"):
        async with running_core(data_dir) as core:
            assert (await send(core, [{"n": "a", "t": NOW_S + n, "v": 1} for n in range(250)])).stored == 0
            assert (await send(core, [{"n": "a", "t": NOW_S + n, "v": 1} for n in range(4990, 5010)])).stored == 10
            assert (await send(core, [{"n": "a", "v": 2}], record_id="own")).stored == 0
            assert core.counters["senml_conflict"] == 1


def test_remembered_ids_are_bounded_and_the_newest_stay():
    heard = Heard()
    for number in range(1_000_000):
        heard.add(heard.mark_of("meter", number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF))
        if number % 1000 == 0:
            heard.keep()
    heard.keep()
    known = [
        heard.mark_of("meter", number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) in heard
        for number in range(0, 1_000_000, 1000)
    ]
    assert not known[0]
    assert all(known[-360:])
    assert len(heard._tables) == 4


async def test_the_assurance_of_the_bearer_is_kept(tmp_path):
    async with running_core(tmp_path) as core:
        await send(core, [{"n": "a", "v": 1}], assurance="mtls")
        assert (await stored_reports(core))[0].assurance == "mtls"
