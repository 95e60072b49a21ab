"""What an answer means for the line it is about: pure of connections, with a given time."""

import pytest

from gateway.city.lines import LIVE, RANKS, Lines
from gateway.city.settling import Settling
from gateway.city.verdicts import Tally, Verdicts
from gateway.mqtt.codes import NOT_AUTHORISED
from gateway.outbox import Batch, Stored
from gateway.reading import STREAMS
from tests.gateway.city.street import made
from tests.gateway.cores import running_core

TELEMETRY = STREAMS.index("telemetry")
RANK = RANKS.index((LIVE, TELEMETRY))


@pytest.mark.parametrize("accepted_at_s, wants_rewind", [(109.0, False), (111.0, True)])
async def test_live_records_that_were_held_up_for_long_are_read_anew_as_backlog(tmp_path, accepted_at_s, wants_rewind):
    async with running_core(tmp_path) as core:
        lines = Lines()
        verdicts = Verdicts(
            lines,
            Settling(core.outbox, "city"),
            Tally(),
            city_name="city",
            count=core.counters.add,
            require_subscriber=False,
        )
        records = tuple(Stored.of(at * len(STREAMS) + TELEMETRY, made("a", at)) for at in range(2))
        lines.add(Batch(city="city", stream=TELEMETRY, lane="live", records=records), 100.0)
        line = lines.first(RANK)
        for at_s in (100.0, 101.0):  # it counts from the first refusal
            verdicts.judge(line, lines.start(line, 1), NOT_AUTHORISED, at_s)
            assert lines.first(RANK) is None
            lines.release(at_s + 1.0)
        verdicts.judge(line, lines.start(line, 1), 0, accepted_at_s)
        assert verdicts.wants_rewind is wants_rewind
