"""Time on air: the table on both interpreters, and the formula against a second writing of it in fractions."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.radio import airtime
from drivers.radio.lora import Channel
from tests.drivers.radio import airtime_rows
from tests.peers.micropython import check_micropython

EXACT_HZ = {hz: Fraction(500_000, round(500_000 / hz)) for hz in airtime.BANDWIDTHS_HZ}


def test_every_row_is_exact():
    assert airtime_rows.failures(airtime) == []


def test_every_row_is_exact_on_micropython():
    script = (
        "from drivers.radio import airtime\nfrom tests.drivers.radio.airtime_rows import *\nprint(failures(airtime))"
    )
    assert check_micropython(script).strip() == "[]"


@given(
    sf=st.integers(5, 12),
    bandwidth_hz=st.sampled_from(airtime.BANDWIDTHS_HZ),
    cr=st.integers(1, 4),
    preamble=st.integers(6, 65535),
    length=st.integers(0, 255),
    explicit=st.booleans(),
    crc=st.booleans(),
)
def test_integers_agree_with_the_datasheet_formula_in_fractions(sf, bandwidth_hz, cr, preamble, length, explicit, crc):
    symbol_us = Fraction(2**sf * 1_000_000) / EXACT_HZ[bandwidth_hz]
    ldro = symbol_us >= 16_000
    bits = 8 * length + 16 * crc - 4 * sf + 20 * explicit + (8 if sf >= 7 else 0)
    payload = ceil(Fraction(max(bits, 0), 4 * (sf - 2 * ldro))) * (cr + 4)
    symbols = preamble + (Fraction(17, 4) if sf >= 7 else Fraction(25, 4)) + 8 + payload
    got_us = airtime.airtime_us(sf, bandwidth_hz, cr, preamble, length, explicit_header=explicit, crc=crc)
    assert got_us == symbols * symbol_us


@pytest.mark.parametrize(
    "arguments, culprit",
    [
        ((4, 125_000, 1, 8, 10), "spreading_factor"),
        ((13, 125_000, 1, 8, 10), "spreading_factor"),
        ((7, 125, 1, 8, 10), "bandwidth_hz"),  # someone wrote kHz
        ((7, 125_000, 5, 8, 10), "coding_rate"),  # someone wrote the 5 of 4/5
        ((7, 125_000, 1, 8, 256), "payload_len"),
    ],
)
def test_a_wrong_argument_is_named(arguments, culprit):
    with pytest.raises(ValueError, match=culprit):
        airtime.airtime_us(*arguments)


def test_sf5_is_refused_for_the_older_chips():
    with pytest.raises(ValueError, match="SX127x"):
        airtime.airtime_us(5, 125_000, 1, 12, 10, chip="sx127x")


@pytest.mark.parametrize("spreading_factor, expected_us", [(7, 20_736), (12, 663_552)])
def test_a_header_ends_after_eight_symbols_behind_the_sync_word(spreading_factor, expected_us):
    """8 + 4.25 + 8 symbols."""
    assert Channel(868_100_000, spreading_factor, 125_000, 1, 14).header_us() == expected_us
