"""What an answer means for the line it is about: pure of connections, with a given time."""

import pytest

from gateway.city.lines import LIVE, RANKS, Lines
from gateway.city.packing import pack_of
from gateway.city.settling import Settling
from gateway.city.verdicts import Tally, Verdicts
from gateway.mqtt.codes import NOT_AUTHORISED, PAYLOAD_FORMAT_INVALID
from gateway.outbox import Batch, Stored
from gateway.reading import STREAMS
from tests.gateway.city.street import made
from tests.gateway.city.test_lines import page_batch
from tests.gateway.cores import running_core

TELEMETRY = STREAMS.index("telemetry")
RANK = RANKS.index((LIVE, TELEMETRY))


def judging(core, lines):
    return Verdicts(
        lines,
        Settling(core.outbox, "city"),
        Tally(),
        city_name="city",
        count=core.counters.add,
        require_subscriber=False,
    )


@pytest.mark.parametrize("accepted_at_s, wants_rewind", [(109.0, False), (111.0, True)])
async def test_live_records_that_were_held_up_for_long_are_read_anew_as_backlog(tmp_path, accepted_at_s, wants_rewind):
    async with running_core(tmp_path) as core:
        lines = Lines()
        verdicts = judging(core, lines)
        records = tuple(Stored.of(at * len(STREAMS) + TELEMETRY, made("a", at)) for at in range(2))
        lines.add(Batch(city="city", stream=TELEMETRY, lane="live", records=records), 100.0)
        line = lines.first(RANK)
        for at_s in (100.0, 101.0):  # it counts from the first refusal
            verdicts.judge(line, lines.start(line, 1), NOT_AUTHORISED, at_s)
            assert lines.first(RANK) is None
            lines.release(at_s + 1.0)
        verdicts.judge(line, lines.start(line, 1), 0, accepted_at_s)
        assert verdicts.wants_rewind is wants_rewind


async def test_a_refused_payload_stays_as_small_as_it_was(tmp_path):
    """A city that refuses every payload would otherwise have all that waits taken apart, at six times the memory."""
    async with running_core(tmp_path) as core:
        lines = Lines()
        verdicts = judging(core, lines)
        records, _ = page_batch("a", [2.5] * 600, "none", 0)
        lines.add(records, 100.0)
        line = lines.first(RANK)
        taken = lines.start(line, 500)
        verdicts.judge(line, taken, PAYLOAD_FORMAT_INVALID, 100.0)
        assert line.count == 600
        assert len(line.waiting) < 20
        assert set(line.tries.values()) == {1}
        lines.release(101.0)
        pack, count = pack_of(line, content="json", most_records=500, most_bytes=65_536)
        assert count == len(pack.record_ids) == 23  # in smaller company
