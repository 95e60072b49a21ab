"""One report by radio and by MQTT: the same record, whatever carried it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.intake import Uplink
from tests.gateway.cores import NOW_S, running_core, stored_reports
from tests.gateway.link_node import LinkNode


async def test_a_report_is_the_same_record_by_lora_and_by_mqtt(tmp_path: Path) -> None:
    found = []
    for bearer in ("lora", "mqtt"):
        node = LinkNode(1)
        node.enrol(tmp_path / bearer)
        async with running_core(tmp_path / bearer) as core:
            for frame in (node.frame(0, 1), node.frame(2, full=False)):
                uplink = Uplink(frame=frame, bearer=bearer, received_at_s=NOW_S)
                assert (await core.intake.submit(uplink)).accepted
            found.append(await stored_reports(core))
    by_lora, by_mqtt = found
    assert len(by_lora) == 3
    assert by_lora == by_mqtt


@pytest.mark.parametrize("airtime_us", [0, 250_000])
async def test_what_the_air_took_is_taken_off_the_age(tmp_path: Path, airtime_us: int) -> None:
    """A frame is stamped at its end; by radio it began that much earlier."""
    node = LinkNode(1)
    node.enrol(tmp_path)
    async with running_core(tmp_path) as core:
        uplink = Uplink(frame=node.frame(0), bearer="lora", received_at_s=NOW_S, airtime_us=airtime_us)
        assert (await core.intake.submit(uplink)).accepted
        (report,) = await stored_reports(core)
    assert abs(NOW_S - report.measured_at_s - airtime_us / 1e6) <= 1
