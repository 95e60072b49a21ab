"""Who waits for company: nobody where little goes, live readings where much does, the backlog always, alarms never."""

import pytest

from gateway.city.company import Company
from gateway.city.lines import LIVE, LIVE_ALARMS, OWED, OWED_ALARMS, Line
from gateway.outbox import Stored
from gateway.reading import Reading, Report


def line(group, *, count=1, since_s=10.0):
    made = Line("d", 2 if group in (LIVE, OWED) else 0, group)
    report = Report(node="d", record_id="d/c/1", measured_at_s=0.0, readings=(Reading(quantity="x", value=1),))
    for at in range(count):
        made.add(Stored.of(at, report))
    made.since_s = since_s
    return made


def after_sending(per_s):
    """So many records a second went for two seconds."""
    company = Company(pack_records=5, pack_wait_s=0.05)
    for at in range(200):
        company.sent(per_s // 100, 8.0 + at / 100)
    return company


@pytest.mark.parametrize("group", [LIVE_ALARMS, OWED_ALARMS])
@pytest.mark.parametrize("per_s", [200, 40_000])
def test_alarms_never_wait(group, per_s):
    assert after_sending(per_s).wait_s(line(group), 10.0, is_queue=True) == 0


@pytest.mark.parametrize(
    "group, per_s, is_queue, wait_s",
    [
        (LIVE, 200, False, 0.0),
        (LIVE, 200, True, 0.04),
        (LIVE, 40_000, False, 0.04),
        (OWED, 200, False, 0.04),
    ],
)
def test_others_wait_where_it_is_worth_it(group, per_s, is_queue, wait_s):
    assert after_sending(per_s).wait_s(line(group), 10.01, is_queue=is_queue) == pytest.approx(wait_s)


def test_a_full_message_waits_for_nothing():
    assert after_sending(40_000).wait_s(line(OWED, count=5), 10.0, is_queue=True) == 0
