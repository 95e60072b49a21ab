"""The region's rules on both interpreters, and the ledger against a list of every transmission."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.radio.region import EU868, HOUR_S, DutyLedger, RegionError, check_power
from tests.drivers.radio import region_checks
from tests.peers.micropython import check_micropython

UPLINK_HZ = region_checks.UPLINK_HZ
ALLOWED_US = 36_000_000


@pytest.mark.parametrize("check", region_checks.CHECKS, ids=lambda check: check.__name__)
def test_rule(check):
    check()


def test_every_rule_holds_on_micropython():
    script = (
        "from tests.drivers.radio.region_checks import CHECKS\nfor check in CHECKS:\n    check()\nprint(len(CHECKS))"
    )
    assert check_micropython(script).strip() == str(len(region_checks.CHECKS))


@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.integers(1, 9_000_000), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_no_hour_ever_holds_more_than_its_allowance(steps):
    """Each step: seconds passed, airtime wanted, whether the node slept (to bytes and back) before it."""
    ledger, now_s, sent = DutyLedger(0), 0, []
    for passed_s, airtime_us, slept in steps:
        now_s += passed_s
        if slept:
            ledger = DutyLedger.from_bytes(ledger.to_bytes(), now_s)
        wait_s = ledger.wait_s(UPLINK_HZ, airtime_us, now_s)
        assert ledger.may_transmit(UPLINK_HZ, airtime_us, now_s) == (wait_s == 0)
        now_s += wait_s
        assert ledger.may_transmit(UPLINK_HZ, airtime_us, now_s)
        ledger.record(UPLINK_HZ, airtime_us, now_s)
        sent.append((now_s, airtime_us))
        assert sum(us for at_s, us in sent if at_s > now_s - HOUR_S) <= ALLOWED_US


def test_a_steady_sender_gets_at_least_95_percent_of_the_allowance():
    ledger, now_s, sent_us = DutyLedger(0), 0, 0
    while now_s < 10 * HOUR_S:
        now_s += ledger.wait_s(UPLINK_HZ, 82_000, now_s) or 1
        if ledger.may_transmit(UPLINK_HZ, 82_000, now_s):
            ledger.record(UPLINK_HZ, 82_000, now_s)
            sent_us += 82_000
    assert sent_us >= 0.95 * 10 * ALLOWED_US


@pytest.mark.parametrize(
    "freq_hz, tx_power_dbm, antenna_dbi, allowed",
    [
        (868_100_000, 14, 2, True),  # 14 + 2 - 2.15 = 13.85 dBm ERP
        (868_100_000, 15, 2, False),
        (868_100_000, 16, 0, True),  # 25 mW ERP are 16.15 dBm EIRP
        (868_100_000, 12, 5, False),
        (869_525_000, 22, 2, True),
        (869_525_000, 22, 8, False),
    ],
)
def test_power_limit_counts_the_antenna(freq_hz, tx_power_dbm, antenna_dbi, allowed):
    if allowed:
        check_power(freq_hz, tx_power_dbm, antenna_dbi=antenna_dbi)
    else:
        with pytest.raises(RegionError, match="set tx_power_dbm to"):
            check_power(freq_hz, tx_power_dbm, antenna_dbi=antenna_dbi)


def test_sub_bands_do_not_overlap():
    assert all(low.high_hz <= high.low_hz for low, high in pairwise(EU868))
