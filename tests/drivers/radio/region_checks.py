"""Rules of EU868 and its duty ledger, for both interpreters. Source: ETSI EN 300 220-2, ERC/REC 70-03."""

from drivers.radio.region import EU868, HOUR_S, MAX_BYTES, DutyLedger, RegionError, band_of

# frequency, bandwidth -> permille of the hour and dBm ERP, or a word of the refusal
BANDS = (
    (863_100_000, 125_000, (1, 14)),
    (866_000_000, 125_000, (10, 14)),
    (868_100_000, 125_000, (10, 14)),
    (868_300_000, 250_000, (10, 14)),
    (868_500_000, 125_000, (10, 14)),
    (868_537_500, 125_000, (10, 14)),  # its upper edge is the band's
    (868_900_000, 125_000, (1, 14)),
    (869_525_000, 125_000, (100, 27)),
    (869_525_000, 250_000, (100, 27)),  # fills the band to both edges
    (869_850_000, 125_000, (10, 14)),
    (868_537_501, 125_000, "alarm slot 868.60-868.70"),
    (868_650_000, 125_000, "alarm slot 868.60-868.70"),
    (869_300_000, 125_000, "alarm slot 869.20-869.40"),
    (869_675_000, 31_250, "alarm slot 869.65-869.70"),
    (869_525_000, 500_000, "alarm slot"),
    (868_000_000, 125_000, "crosses the edge"),
    (865_000_000, 125_000, "crosses the edge"),
    (862_900_000, 125_000, "outside EU868"),
    (863_000_000, 125_000, "crosses the edge"),  # half of it below the band
    (915_000_000, 125_000, "outside EU868"),
    (868, 125_000, "outside EU868"),  # someone wrote MHz
)

UPLINK_HZ, DOWNLINK_HZ = 868_100_000, 869_525_000


def refusal(call, *arguments):
    """What RegionError says, or None."""
    try:
        call(*arguments)
    except RegionError as error:
        return str(error)
    return None


def bands_and_refusals():
    for freq_hz, bandwidth_hz, expected in BANDS:
        if isinstance(expected, tuple):
            band = band_of(freq_hz, bandwidth_hz)
            assert (band.duty_permille, band.max_erp_dbm) == expected, freq_hz
        else:
            assert expected in (refusal(band_of, freq_hz, bandwidth_hz) or ""), (freq_hz, refusal(band_of, freq_hz))


def an_hour_holds_its_allowance_and_no_more():
    ledger = DutyLedger(1_000)
    for _ in range(36):
        assert ledger.may_transmit(UPLINK_HZ, 1_000_000, 1_000)
        ledger.record(UPLINK_HZ, 1_000_000, 1_000)
    assert not ledger.may_transmit(UPLINK_HZ, 1, 1_000)
    assert ledger.may_transmit(DOWNLINK_HZ, 1_000_000, 1_000)  # another sub-band, another hour
    wait_s = ledger.wait_s(UPLINK_HZ, 1, 1_000)
    assert HOUR_S <= wait_s <= HOUR_S + 180, wait_s
    assert not ledger.may_transmit(UPLINK_HZ, 1, 1_000 + wait_s - 1)
    assert ledger.may_transmit(UPLINK_HZ, 36_000_000, 1_000 + wait_s)


def the_refusal_names_the_wait():
    ledger = DutyLedger(0)
    ledger.record(UPLINK_HZ, 36_000_000, 0)
    said = refusal(ledger.require, UPLINK_HZ, 50_000, 0)
    assert "may start in 3780 s" in said, said
    assert "868.00-868.60 MHz" in said, said


def default_channels_share_one_band():
    ledger = DutyLedger(0)
    for freq_hz in (868_100_000, 868_300_000, 868_500_000):
        ledger.record(freq_hz, 12_000_000, 0)
    assert not ledger.may_transmit(UPLINK_HZ, 1, 0)


def a_frame_longer_than_the_allowance_is_refused_for_good():
    assert "lower spreading factor" in (refusal(DutyLedger(0).wait_s, 863_100_000, 3_600_001, 0) or "")


def the_ledger_survives_deep_sleep():
    ledger = DutyLedger(10_000)
    ledger.record(UPLINK_HZ, 20_000_000, 10_000)
    ledger.record(DOWNLINK_HZ, 5_000_000, 10_500)
    again = DutyLedger.from_bytes(ledger.to_bytes(), 11_000)
    assert again.spent_us(UPLINK_HZ, 11_000) == 20_000_000
    assert again.wait_s(UPLINK_HZ, 30_000_000, 11_000) == ledger.wait_s(UPLINK_HZ, 30_000_000, 11_000)
    assert again.spent_us(UPLINK_HZ, 10_000 + HOUR_S + 180) == 0


def a_copy_from_before_a_power_loss_takes_no_time_as_passed():
    ledger = DutyLedger(50_000)
    ledger.record(UPLINK_HZ, 36_000_000, 50_000)
    again = DutyLedger.from_bytes(ledger.to_bytes(), 3)  # the clock began anew
    assert not again.may_transmit(UPLINK_HZ, 1, 3)
    assert not again.may_transmit(UPLINK_HZ, 1, 3 + HOUR_S - 180)
    assert again.may_transmit(UPLINK_HZ, 36_000_000, 3 + HOUR_S + 180)
    assert DutyLedger.from_bytes(again.to_bytes(), 4).spent_us(UPLINK_HZ, 10) == 0  # and what it writes is readable


def a_power_loss_without_a_copy_leaves_a_quarter():
    ledger = DutyLedger.unknown(7)
    assert ledger.may_transmit(UPLINK_HZ, 9_000_000, 7)
    assert not ledger.may_transmit(UPLINK_HZ, 9_000_001, 7)
    assert ledger.may_transmit(UPLINK_HZ, 36_000_000, 7 + HOUR_S + 180)


def garbage_is_no_ledger():
    good = DutyLedger.unknown(7).to_bytes()
    for data in (
        b"",
        b"\x00",
        good[:-1],
        good + b"\x00",
        b"\xff" * 91,
        good[:7] + b"\xff" + good[8:],
        b"\x01" + b"\x00" * 5 + b"\x09" * 85,
    ):
        try:
            DutyLedger.from_bytes(data, 7)
        except ValueError:
            continue
        raise AssertionError(data)


def it_fits_beside_the_rest_in_rtc_memory():
    ledger = DutyLedger.unknown(4_000_000_000)
    assert len(ledger.to_bytes()) == MAX_BYTES <= 560
    one = DutyLedger(0)
    one.record(UPLINK_HZ, 1_000, 0)
    assert len(one.to_bytes()) == 92


CHECKS = (
    bands_and_refusals,
    an_hour_holds_its_allowance_and_no_more,
    the_refusal_names_the_wait,
    default_channels_share_one_band,
    a_frame_longer_than_the_allowance_is_refused_for_good,
    the_ledger_survives_deep_sleep,
    a_copy_from_before_a_power_loss_takes_no_time_as_passed,
    a_power_loss_without_a_copy_leaves_a_quarter,
    garbage_is_no_ledger,
    it_fits_beside_the_rest_in_rtc_memory,
)
assert len(EU868) == 6
