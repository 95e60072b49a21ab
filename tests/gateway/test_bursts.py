"""Messages that came together are stored, counted and refused as if each had come alone."""

import json

import pytest

from gateway.config import EdgeConfig
from gateway.config_alarm import RuleConfig
from gateway.config_edge import PrivacyConfig, ReportConfig
from gateway.intake import Burst, Message
from gateway.store import StoreError
from tests.gateway.cores import NOW_S, FailingDisk, ManualTime, running_core, stored_reports

PLAIN = {"n": "temp", "u": "Cel", "v": 21.5, "t": 1_800_000_000.125}
MESSAGES = [
    ("meter-1", PLAIN),
    ("meter-2", PLAIN | {"v": 21}),  # 21 is another record than 21.0
    ("meter-2", PLAIN | {"v": 21.0}),
    ("meter-1", PLAIN),  # a repeat
    ("meter-1", PLAIN | {"v": 2**70}),  # not the short way
    ("meter-1", PLAIN | {"u": "mV"}),
    ("meter-1", {"n": "meter-1_temp", "v": 1, "t": 1_800_000_001}),
    ("meter-1", {"n": "no-time", "v": 1}),
    ("meter-1", {"n": "gw-1_temp", "v": 1, "t": 1_800_000_001}),  # refused
    ("gw-1", PLAIN),  # refused
    ("meter-1", {"n": "no-value"}),  # refused
    ("meter-1", PLAIN | {"v": 22}),
]


def payload_of(record):
    return json.dumps([record]).encode()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window_s": 60},
        {"edge": EdgeConfig(window_s=0, privacy=(PrivacyConfig(quantities=("temp",), action="coarsen", step=5),))},
        {"edge": EdgeConfig(window_s=0, privacy=(PrivacyConfig(quantities=("no-time",), action="local"),))},
        {
            "edge": EdgeConfig(
                window_s=0, report=(ReportConfig(quantities=("temp",), dead_band=0.2, nodes=("meter-2",)),)
            )
        },
        {"edge": EdgeConfig(rule=(RuleConfig(name="hot", kind="threshold", quantity="temp", above=21.6),))},
    ],
    ids=["nothing asked", "windows", "privacy", "local", "by exception", "a rule"],
)
async def test_a_burst_stores_what_its_messages_would(tmp_path, options):
    counters, found, reasons = [], [], []
    for way in ("alone", "together"):
        async with running_core(tmp_path / way, clock=ManualTime().clock, **options) as core:
            if way == "alone":
                verdicts = [
                    await core.intake.submit_senml(
                        Message(device=device, payload=payload_of(one), content_type=None, received_at_s=NOW_S)
                    )
                    for device, one in MESSAGES
                ]
                reasons.append([verdict.reason for verdict in verdicts])
            else:
                devices, records = zip(*MESSAGES, strict=True)
                burst = Burst(devices=devices, payloads=[payload_of(one) for one in records], received_at_s=NOW_S)
                (refused,) = await core.intake.submit_bursts([burst])
                reasons.append(refused)
            found.append([report for report in await stored_reports(core) if report.kind in ("telemetry", "alarm")])
            counters.append(core.counters.snapshot())
    assert found[0] == found[1]
    assert len(found[0]) == len({report.record_id for report in found[0]}) > 3
    assert reasons[0] == reasons[1]
    assert counters[0] == counters[1]


async def test_a_repeat_is_known_whichever_way_it_comes(tmp_path):
    message = Message(device="meter-1", payload=payload_of(PLAIN), content_type=None, received_at_s=NOW_S)
    burst = Burst(devices=["meter-1"], payloads=[message.payload], received_at_s=NOW_S)
    async with running_core(tmp_path) as core:
        await core.intake.submit_bursts([burst, message])
        assert core.counters.snapshot()["senml_repeated"] == 1
    async with running_core(tmp_path) as core:  # what is known is read from the log again
        before = core.counters.snapshot().get("senml_repeated", 0)
        await core.intake.submit_bursts([message, burst])
        assert len(await stored_reports(core)) == 1
        assert core.counters.snapshot()["senml_repeated"] == before + 2


async def test_many_devices_and_pages_come_back_in_order(tmp_path):
    devices = [f"meter-{at * 7 % 300}" for at in range(2_000)]
    records = [PLAIN | {"n": f"temp/{at % 5}", "v": at, "t": 1_800_000_000 + at} for at in range(2_000)]
    async with running_core(tmp_path) as core:
        burst = Burst(devices=devices, payloads=[payload_of(one) for one in records], received_at_s=NOW_S)
        await core.intake.submit_bursts([burst])
        reports = await stored_reports(core)
        assert [report.node for report in reports] == devices
        assert [report.readings[0].value for report in reports] == list(range(2_000))
        (row,) = await core.outbox.audit()
        assert (row.accepted, row.holds) == (2_000, True)


async def test_what_a_failed_commit_did_not_keep_is_no_repeat(tmp_path):
    disk = FailingDisk()
    payloads = [payload_of(PLAIN), payload_of(PLAIN | {"v": 22}), payload_of(PLAIN | {"v": 2**70})]
    bursts = [Burst(devices=["meter-1"] * 2, payloads=payloads[:2], received_at_s=NOW_S)]
    message = Message(device="meter-2", payload=payloads[2], content_type=None, received_at_s=NOW_S)
    async with running_core(tmp_path, files=disk) as core:
        disk.fails = True
        for said in (bursts, [message]):
            with pytest.raises(StoreError):
                await core.intake.submit_bursts(said)
        disk.fails = False
        await core.intake.submit_bursts([*bursts, message])
        assert len(await stored_reports(core)) == 3
        assert core.counters["senml_repeated"] == 0
