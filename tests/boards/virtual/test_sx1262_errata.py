"""The four limitations of data sheet chapter 15: with its work-around each is harmless, without it each is seen."""

from collections.abc import Callable

import pytest

from boards.virtual.air import Air
from boards.virtual.clock import ManualClock
from tests.boards.virtual.sx1262_host import CRC_ERR, PREAMBLE, RX_DONE, TIMEOUT, Host

LONG = bytes(range(60))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def air(clock: ManualClock) -> Air:
    return Air(clock, seed=5)


# --- 15.1 modulation quality -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bandwidth_khz, bit_2, loss_db", [(500, 0, 0), (500, 1, 12), (125, 1, 0), (125, 0, 12), (250, 1, 0), (250, 0, 12)]
)
def test_15_1_wrong_bit_2_of_0x0889_spoils_the_signal(
    air: Air, clock: ManualClock, bandwidth_khz: int, bit_2: int, loss_db: float
) -> None:
    tx = Host(air, clock, "tx").start()
    rx = Host(air, clock, "rx", position_m=(1_000, 0)).start()
    for host in (tx, rx):
        host.modulate(7, bandwidth_khz, quality=False)
    tx.send(bytes((0x0D, 0x08, 0x89, 0x01 | bit_2 << 2)))
    rx.receive()
    rx.wait()
    tx.transmit(LONG)
    clock.advance_us(500_000)
    assert air.sent[-1].modulation_loss_db == loss_db
    # 14 - 31.2 - 90 = -107.2 dBm over noise of -109 (500 kHz), -112 (250 kHz) and -115 dBm (125 kHz)
    snr_db = {500: 1.8, 250: 4.8, 125: 7.8}[bandwidth_khz] - loss_db
    assert bool(rx.irq() & RX_DONE) == (snr_db >= -7.5)
    if snr_db >= -7.5:
        measured = rx.get(0x14, 2)[1]
        assert (measured - 256 * (measured > 127)) / 4 == pytest.approx(snr_db, abs=0.3)


def test_15_1_is_needed_out_of_reset(air: Air, clock: ManualClock) -> None:
    tx = Host(air, clock, "tx").start()
    tx.send("0d088901")  # the value after reset, table 12-1
    tx.transmit(LONG)
    assert air.sent[-1].modulation_loss_db == 12


# --- 15.2 antenna mismatch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clamp, dbm", [(True, 14.0), (False, 8.5)])
def test_15_2_the_clamp_cuts_the_power_unless_it_is_eased(
    air: Air, clock: ManualClock, clamp: bool, dbm: float
) -> None:
    tx = Host(air, clock, "tx").start(clamp=clamp)
    tx.transmit(LONG)
    assert air.sent[-1].power_dbm == dbm
    assert tx.register(0x08D8) == (0xDE if clamp else 0xC8)


@pytest.mark.parametrize("sleep, dbm", [("8404", 14.0), ("8400", None)])
def test_15_2_is_lost_in_a_cold_sleep_only(air: Air, clock: ManualClock, sleep: str, dbm: float | None) -> None:
    tx = Host(air, clock, "tx").start()
    tx.send(sleep)
    clock.advance_us(1_000)
    tx.chip.select(0)
    tx.chip.select(1)
    if dbm is None:
        tx.start(clamp=False)
    tx.modulate()
    tx.transmit(LONG)
    assert air.sent[-1].power_dbm == (dbm or 8.5)


# --- 15.3 implicit header and timer ----------------------------------------------------------------------------------

Cure = Callable[[Host], None]


def none(_host: Host) -> None:
    pass


def whole(host: Host) -> None:
    host.send("0d090200")
    host.send(bytes((0x0D, 0x09, 0x44, host.register(0x0944) | 0x02)))


def only_stop(host: Host) -> None:
    host.send("0d090200")


def only_clear(host: Host) -> None:
    host.send("0d094402")


def misprint(host: Host) -> None:
    """0x0920, as one edition of the data sheet prints it."""
    host.send("0d092000")
    host.send("0d094402")


@pytest.mark.parametrize(
    "implicit, timeout_ms, cure, is_cured",
    [
        (True, 1_000, none, False),
        (True, 1_000, only_stop, False),
        (True, 1_000, only_clear, False),
        (True, 1_000, misprint, False),
        (True, 1_000, whole, True),
        (True, None, none, True),  # no timer was set
        (False, 1_000, none, True),  # the header stopped it
    ],
)
def test_15_3_a_timer_left_running_kills_the_next_reception(
    air: Air, clock: ManualClock, implicit: bool, timeout_ms: int | None, cure: Cure, is_cured: bool
) -> None:
    tx, rx = Host(air, clock, "tx").start(), Host(air, clock, "rx", position_m=(100, 0)).start()
    for host in (tx, rx):
        host.packet(length=12, implicit=implicit)
    rx.receive(timeout_ms)
    rx.wait()
    tx.transmit(b"twelve bytes")
    clock.advance_us(200_000)
    assert rx.take_irq() & (RX_DONE | CRC_ERR | TIMEOUT) == RX_DONE
    cure(rx)
    rx.packet(length=255)
    rx.send("82ffffff")
    clock.advance_us(1_200_000)
    assert (rx.take_irq(), rx.mode()) == ((0, 5) if is_cured else (TIMEOUT, 2))
    assert rx.chip.counters["stray_timeouts"] == (0 if is_cured else 1)


def test_15_3_the_next_timed_reception_programs_the_timer_anew(air: Air, clock: ManualClock) -> None:
    tx, rx = Host(air, clock, "tx").start(), Host(air, clock, "rx", position_m=(100, 0)).start()
    for host in (tx, rx):
        host.packet(length=12, implicit=True)
    rx.receive(1_000)
    rx.wait()
    tx.transmit(b"twelve bytes")
    clock.advance_us(200_000)
    rx.take_irq()
    rx.receive(3_000)
    clock.advance_us(2_900_000)
    assert (rx.take_irq(), rx.mode()) == (0, 5)


def test_15_3_a_stray_timer_also_ends_a_transmission(air: Air, clock: ManualClock) -> None:
    tx, rx = Host(air, clock, "tx").start(), Host(air, clock, "rx", position_m=(100, 0)).start()
    for host in (tx, rx):
        host.packet(length=12, implicit=True)
    rx.receive(200)
    rx.wait()
    tx.transmit(b"twelve bytes")
    clock.advance_us(100_000)
    rx.take_irq()
    rx.packet(length=200)
    rx.transmit(bytes(200))
    clock.advance_us(1_000_000)
    assert rx.take_irq() == TIMEOUT
    assert air.sent[-1].ends_us < air.sent[-1].planned_end_us


# --- 15.4 inverted IQ ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("tx_right", [False, True])
@pytest.mark.parametrize("rx_right", [False, True])
@pytest.mark.parametrize("length", [16, 17, 60])
def test_15_4_wrong_bit_2_of_0x0736_at_either_end_loses_longer_packets(
    air: Air, clock: ManualClock, inverted: bool, tx_right: bool, rx_right: bool, length: int
) -> None:
    tx, rx = Host(air, clock, "tx").start(), Host(air, clock, "rx", position_m=(100, 0)).start()
    rx.packet(inverted=inverted)
    rx.polarise(inverted if rx_right else not inverted)
    rx.receive()
    rx.wait()
    tx.packet(inverted=inverted)
    tx.load(LONG[:length])
    tx.polarise(inverted if tx_right else not inverted)
    tx.send("83000000")
    clock.advance_us(500_000)
    flags = rx.take_irq()
    assert flags & (PREAMBLE | RX_DONE) == PREAMBLE | RX_DONE
    assert bool(flags & CRC_ERR) == (length > 16 and not (tx_right and rx_right))


def test_15_4_is_needed_after_every_set_packet_params_not_only_after_a_change(air: Air, clock: ManualClock) -> None:
    host = Host(air, clock, "n").start()
    host.packet(inverted=True)
    assert host.register(0x0736) == 0x09
    host.send("8c0008000a0101")  # the same polarity once more
    assert host.register(0x0736) == 0x0D
