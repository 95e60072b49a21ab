"""Every board file loads, and says what the vendors' sources say."""

import json

import pytest

from boards import data


@pytest.mark.parametrize("name", data.names())
def test_every_board_file_loads_and_names_its_source(name: str) -> None:
    board = data.load(name)
    assert board.source
    assert json.loads(board.to_json())["radio"]["chip"] == board.radio.chip
    radio = board.radio
    pins = [board.spi.sck, board.spi.mosi, board.spi.miso, radio.nss, radio.reset, radio.busy, radio.dio1, radio.dio0]
    pins += [
        board.switch and board.switch.pin,
        board.output and board.output.pin,
        board.battery and board.battery.pin,
        board.water_adc,
    ]
    pins += [board.uart and board.uart.tx, board.uart and board.uart.rx, board.i2c and board.i2c.sda]
    used = [pin for pin in pins if pin is not None]
    assert len(used) == len(set(used))


@pytest.mark.parametrize(
    ("name", "pins"),  # NSS, SCK, MOSI, MISO, RST, BUSY, DIO1: Meshtastic's variant.h of each board
    [
        ("heltec_v3", (8, 9, 10, 11, 12, 13, 14)),
        ("tbeam_supreme", (10, 12, 11, 13, 5, 4, 1)),
        ("t3_s3", (7, 5, 6, 3, 8, 34, 33)),
        ("xiao_s3_wio", (41, 7, 9, 8, 42, 40, 39)),
        ("ttgo_lora32", (18, 5, 27, 19, 23, None, 33)),
        ("waveshare_sx1262_hat", (21, 11, 10, 9, 18, 20, 16)),
    ],
)
def test_radio_pins(name: str, pins: tuple[int | None, ...]) -> None:
    board = data.load(name)
    spi, radio = board.spi, board.radio
    assert (radio.nss, spi.sck, spi.mosi, spi.miso, radio.reset, radio.busy, radio.dio1) == pins


@pytest.mark.parametrize("name", data.names())
def test_what_is_said_to_wake_a_board_is_on_an_rtc_pin(name: str) -> None:
    board = data.load(name)
    rtc_pins = data.RTC_PINS.get(board.mcu, frozenset())
    assert not board.radio.dio1_wakes or board.radio.dio1 in rtc_pins
    assert board.switch is None or not board.switch.wakes or board.switch.pin in rtc_pins


@pytest.mark.parametrize("name", ["t3_s3", "xiao_s3_wio"])
def test_radios_on_no_rtc_pin_do_not_wake_the_board(name: str) -> None:
    assert not data.load(name).radio.dio1_wakes


def test_an_unknown_board_is_refused_with_what_there_is() -> None:
    with pytest.raises(data.BoardError, match="heltec_v3"):
        data.load("heltec_v4")
