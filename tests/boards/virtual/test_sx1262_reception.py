"""SX1262 model, receiving: interrupts in order, wrong packets, timers, pointers, levels, carrier detection, windows."""

import pytest

from boards.virtual.air import Air
from boards.virtual.chips.sx1262.front_end import Fitting
from boards.virtual.chips.sx1262.modes import Mode
from boards.virtual.clock import ManualClock
from boards.virtual.hearing import Transmission
from boards.virtual.waveform import Modulation
from tests.boards.virtual.sx1262_host import (
    CAD_DETECTED,
    CAD_DONE,
    CRC_ERR,
    FREQ_HZ,
    HEADER_ERR,
    HEADER_VALID,
    PREAMBLE,
    RX_DONE,
    TIMEOUT,
    Host,
)

UPLINK = Modulation(freq_hz=FREQ_HZ, spreading_factor=7)
CLEAN = PREAMBLE | HEADER_VALID | RX_DONE


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def air(clock: ManualClock) -> Air:
    return Air(clock, seed=5)


@pytest.fixture
def host(air: Air, clock: ManualClock) -> Host:
    return Host(air, clock, "rx").start()


def send(air: Air, payload: bytes = b"payload of twenty by", **options: object) -> Transmission:
    """20 bytes at SF7 from 100 m: preamble found after 4.096 ms, header read at 20.736 ms, end at 56.576 ms."""
    return air.inject(payload, position_m=(100, 0), **({"modulation": UPLINK} | options))  # type: ignore[arg-type]


def test_interrupts_come_when_preamble_header_and_packet_are_there(air: Air, host: Host, clock: ManualClock) -> None:
    host.receive()
    host.wait()
    send(air)
    seen = []
    for step_us in (4_095, 1, 16_639, 1, 35_839, 1):
        clock.advance_us(step_us)
        seen.append(host.take_irq())
    assert seen == [0, PREAMBLE, 0, HEADER_VALID, 0, RX_DONE]
    assert host.mode() == 2
    assert host.take() == b"payload of twenty by"


def test_levels_are_those_of_the_path(air: Air, host: Host, clock: ManualClock) -> None:
    host.receive()
    host.wait()
    air.inject(b"here", modulation=UPLINK, position_m=(1_000, 0))
    clock.advance_us(100_000)
    rssi, snr, signal = host.get(0x14, 3)
    # 14 dBm - 31.2 dB - 30 log10(1000) dB = -107.2 dBm; noise -174 + 51 + 8 (gain not boosted) = -115 dBm
    assert (rssi / -2, signal / -2, snr / 4) == (-106.5, -107.0, 7.75)


def test_snr_of_a_faint_packet_is_negative(air: Air, host: Host, clock: ManualClock) -> None:
    host.receive()
    host.wait()
    air.inject(b"faint", modulation=UPLINK, position_m=(3_000, 0))  # 14 - 31.2 - 104.3 = -121.5 dBm
    clock.advance_us(100_000)
    rssi, snr, signal = host.get(0x14, 3)
    assert (snr - 256) / 4 == pytest.approx(-6.5, abs=0.26)
    assert signal / -2 == pytest.approx(-121.5, abs=0.3)
    assert rssi / -2 == pytest.approx(-114.1, abs=0.6)  # noise is most of it


def test_a_wrong_crc_raises_both_interrupts_and_leaves_the_wrong_bytes_in_the_buffer(
    air: Air, host: Host, clock: ManualClock
) -> None:
    """Data sheet 13.3.2: RxDone is also raised then; who looks at it alone takes wrong bytes for data."""
    host.receive()
    host.wait()
    air.corrupt_next()
    send(air)
    clock.advance_us(100_000)
    assert host.take_irq() == CLEAN | CRC_ERR
    assert len(host.take()) == 20
    assert host.take() != b"payload of twenty by"
    assert host.get(0x10, 6) == bytes.fromhex("000100010000")  # GetStats: packets, CRC errors, header errors
    host.send("0000000000000000")  # ResetStats
    assert host.get(0x10, 6) == bytes(6)


def test_a_packet_without_crc_is_taken_as_it_is(air: Air, host: Host, clock: ManualClock) -> None:
    host.receive()
    host.wait()
    air.corrupt_next()
    send(air, has_crc=False)
    clock.advance_us(100_000)
    assert host.take_irq() == CLEAN
    assert host.take() != b"payload of twenty by"


def test_a_broken_header_ends_a_single_reception(air: Air, host: Host, clock: ManualClock) -> None:
    host.receive()
    host.wait()
    send(air)
    send(air, b"another one as loud", delay_us=1_000)
    clock.advance_us(100_000)
    assert host.take_irq() == PREAMBLE | HEADER_ERR
    assert host.mode() == 2
    assert host.get(0x10, 6) == bytes.fromhex("000000000001")


@pytest.mark.parametrize(
    "sent, expected",
    [
        ({"is_explicit": False}, CLEAN & ~HEADER_VALID),
        ({}, (CLEAN | CRC_ERR) & ~HEADER_VALID),  # a header where none is expected
        ({"is_explicit": False, "has_crc": False}, (CLEAN | CRC_ERR) & ~HEADER_VALID),
        ({"is_explicit": False, "payload": bytes(19)}, (CLEAN | CRC_ERR) & ~HEADER_VALID),
        (
            {"is_explicit": False, "modulation": Modulation(freq_hz=FREQ_HZ, spreading_factor=7, coding_rate=2)},
            (CLEAN | CRC_ERR) & ~HEADER_VALID,
        ),
    ],
)
def test_without_header_both_ends_must_know_length_crc_and_rate(
    air: Air, host: Host, clock: ManualClock, sent: dict[str, object], expected: int
) -> None:
    host.packet(length=20, implicit=True)
    host.receive()
    host.wait()
    send(air, **sent)  # type: ignore[arg-type]
    clock.advance_us(100_000)
    assert host.take_irq() == expected
    assert host.get(0x13, 1) == b"\x14"


def test_a_packet_without_header_is_a_broken_header_to_others(air: Air, host: Host, clock: ManualClock) -> None:
    host.receive()
    host.wait()
    send(air, is_explicit=False)
    clock.advance_us(100_000)
    assert host.take_irq() == PREAMBLE | HEADER_ERR


def test_low_data_rate_optimisation_must_be_the_same_at_both_ends(air: Air, host: Host, clock: ManualClock) -> None:
    host.modulate(11, ldro=0)
    host.receive()
    host.wait()
    send(air, modulation=Modulation(freq_hz=FREQ_HZ, spreading_factor=11, is_ldro=True))
    clock.advance_us(2_000_000)
    assert host.take_irq() & CRC_ERR


def test_continuous_reception_goes_on_and_moves_the_pointer(air: Air, host: Host, clock: ManualClock) -> None:
    host.send("82ffffff")
    host.wait()
    starts = []
    for text in (b"first", b"second", b"third"):
        send(air, text)
        clock.advance_us(100_000)
        assert host.take_irq() == CLEAN
        assert host.take() == text
        starts.append(host.get(0x13, 2)[1])
        assert host.mode() == 5
    assert starts == [0x80, 0x85, 0x8B]  # from the RX base on; who ignores the pointer reads old bytes


def test_the_receive_pointer_wraps(air: Air, host: Host, clock: ManualClock) -> None:
    host.send("8f00fa")
    host.receive()
    host.wait()
    send(air, bytes(range(20)))
    clock.advance_us(100_000)
    assert host.take() == bytes(range(20))


# --- timers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps, after_us", [(1, 15), (64, 1_000), (64_000, 1_000_000), (0xFFFFFE, 262_143_968)])
def test_a_receive_timer_counts_steps_of_15_625_us(host: Host, clock: ManualClock, steps: int, after_us: int) -> None:
    host.send(b"\x82" + steps.to_bytes(3, "big"))
    busy_us = 83 + 5_000
    clock.advance_us(busy_us + after_us - 1)
    assert host.chip.dio1() == 0
    clock.advance_us(1)
    assert host.chip.dio1() == 1
    assert host.chip.mode is Mode.STDBY_RC
    assert host.send("c000")[1] == 0x26  # command time-out, seen on a real chip (Semtech forum 1080: 0xA6 on writes)
    assert host.take_irq() == TIMEOUT


@pytest.mark.parametrize("steps", [0, 0xFFFFFF])
def test_without_timer_it_listens_for_ever(host: Host, clock: ManualClock, steps: int) -> None:
    host.send(b"\x82" + steps.to_bytes(3, "big"))
    clock.advance_us(10_000_000_000)
    assert host.mode() == 5


@pytest.mark.parametrize(
    "timeout_ms, on_preamble, expected",
    [
        (30, False, CLEAN),  # the header stops the timer
        (15, False, PREAMBLE | TIMEOUT),  # before it is read
        (15, True, CLEAN),  # StopTimerOnPreamble
        (3, True, TIMEOUT),
    ],
)
def test_what_stops_the_receive_timer(
    air: Air, host: Host, clock: ManualClock, timeout_ms: int, on_preamble: bool, expected: int
) -> None:
    host.send(bytes((0x9F, on_preamble)))
    host.receive(timeout_ms)
    host.wait()
    send(air)
    clock.advance_us(100_000)
    assert host.take_irq() == expected


def test_symbol_timeout_gives_up_when_no_preamble_is_found(air: Air, host: Host, clock: ManualClock) -> None:
    host.send("a00a")  # 10 symbols of 1.024 ms
    host.receive()
    host.wait()
    clock.advance_us(10_240)
    assert host.take_irq() == TIMEOUT
    host.receive()
    host.wait()
    send(air, delay_us=5_000)
    clock.advance_us(100_000)
    assert host.take_irq() == CLEAN


# --- sensitivity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "boosted, image, fitting, switch, reach_m",
    [  # reach = 10^((14 - 31.2 + 7.5 + 123.03 - noise figure - losses) / 30)
        (True, True, Fitting(), True, 3_780),  # 6 dB
        (False, True, Fitting(), True, 3_243),  # 8 dB: gain saves power
        (False, False, Fitting(), True, 1_505),  # 18 dB: image calibrated for 902 to 928 MHz
        (False, True, Fitting(), False, 324),  # 38 dB: switch closed
        (False, True, Fitting(needs_rxen=True), True, 324),
    ],
)
def test_a_missing_step_costs_reach(
    air: Air, clock: ManualClock, boosted: bool, image: bool, fitting: Fitting, switch: bool, reach_m: int
) -> None:
    for share, is_heard in ((0.97, True), (1.03, False)):
        host = Host(air, clock, f"rx{share}", position_m=(reach_m * share, 0), fitting=fitting)
        host.start(image=image, switch=switch)
        if boosted:
            host.send("0d08ac96")
        host.receive()
        host.wait()
        air.inject(b"far", modulation=UPLINK)
        clock.advance_us(100_000)
        assert bool(host.take_irq() & RX_DONE) == is_heard


# --- carrier detection and windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("symbols_code, symbols", [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16)])
@pytest.mark.parametrize("is_busy", [False, True])
def test_carrier_detection_takes_its_symbols_and_tells(
    air: Air, host: Host, clock: ManualClock, symbols_code: int, symbols: int, is_busy: bool
) -> None:
    if is_busy:
        send(air)
        clock.advance_us(20_000)  # in the middle of a packet
    host.send(bytes((0x88, symbols_code, 22, 10, 0, 0, 0, 0)))
    host.send("c5")
    host.wait()
    clock.advance_us(symbols * 1_024 + 511)
    assert host.chip.dio1() == 0
    clock.advance_us(1)
    assert host.take_irq() == CAD_DONE | (CAD_DETECTED if is_busy else 0)
    assert host.mode() == 2


@pytest.mark.parametrize("change", [{"spreading_factor": 8}, {"freq_hz": FREQ_HZ + 200_000}, {"bandwidth_divisor": 2}])
def test_carrier_detection_knows_only_its_own_chirps(
    air: Air, host: Host, clock: ManualClock, change: dict[str, int]
) -> None:
    settings = {"freq_hz": FREQ_HZ, "spreading_factor": 7} | change
    send(air, bytes(100), modulation=Modulation(**settings))  # type: ignore[arg-type]
    clock.advance_us(10_000)
    host.send("c5")
    clock.advance_us(50_000)
    assert host.take_irq() == CAD_DONE


def test_carrier_detection_can_go_on_to_receive(air: Air, host: Host, clock: ManualClock) -> None:
    host.send("8001")
    host.send("8800160a010f4240")  # 1 symbol, then RX for 15.6 s
    host.wait()
    send(air, preamble_symbols=16)
    host.send("c5")
    clock.advance_us(150_000)
    assert host.take_irq() == CAD_DONE | CAD_DETECTED | CLEAN
    assert host.take() == b"payload of twenty by"


@pytest.mark.parametrize("preamble, is_heard", [(8, False), (64, True)])
def test_a_duty_cycled_receiver_needs_a_preamble_longer_than_its_sleep(
    air: Air, host: Host, clock: ManualClock, preamble: int, is_heard: bool
) -> None:
    host.send("94" + "000280" + "000a00")  # 10 ms of 50 ms
    clock.advance_us(5_083 + 15_000)  # asleep since 5 ms
    assert host.chip.busy() == 1
    send(air, preamble_symbols=preamble)
    clock.advance_us(200_000)
    assert (host.chip.dio1() == 1) == is_heard
    if is_heard:
        assert host.take() == b"payload of twenty by"


def test_an_edge_of_nss_ends_a_duty_cycle_that_dozes(host: Host, clock: ManualClock) -> None:
    host.send("94" + "000280" + "000a00")
    clock.advance_us(5_083 + 15_000)
    host.chip.select(0)
    host.chip.transfer(b"\xc0\x00")
    host.chip.select(1)
    assert host.wait() == 340
    assert host.mode() == 2
