"""SX1262 model, sending: oscillator and calibration, power, antenna switch, the packet, its interrupts and timers."""

import pytest

from boards.virtual.air import Air
from boards.virtual.chips.sx1262.front_end import Fitting
from boards.virtual.chips.sx1262.modes import Mode
from boards.virtual.clock import ManualClock
from tests.boards.virtual.sx1262_host import TIMEOUT, TX_DONE, Host

CRYSTAL = Fitting(tcxo_v=None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def air(clock: ManualClock) -> Air:
    return Air(clock, seed=5)


@pytest.fixture
def host(air: Air, clock: ManualClock) -> Host:
    return Host(air, clock, "n").start()


# --- oscillator, calibration, amplifier, switch ----------------------------------------------------------------------


def test_a_tcxo_that_nobody_feeds_shows_as_an_error_at_start(air: Air, clock: ManualClock) -> None:
    host = Host(air, clock, "n")
    assert host.get(0x17, 2) == b"\x00\x20"  # XOSC_START_ERR, data sheet table 13-85
    host.send("9702000140")
    host.send("070000")
    host.send("897f")
    assert host.get(0x17, 2) == bytes(2)


@pytest.mark.parametrize(
    "tcxo, error",
    [
        ("", b"\x00\x20"),  # none set
        ("9701000140", b"\x00\x20"),  # 1.7 V for a 1.8 V part
        ("9702000001", b"\x00\x20"),  # 16 us to start
        ("9702000140", b"\x00\x40"),  # runs, but was never calibrated with it: the PLL cannot lock
    ],
)
@pytest.mark.parametrize("command", ["82ffffff", "83000000", "c1", "c5"])
def test_without_its_oscillator_the_radio_is_dead(
    air: Air, clock: ManualClock, tcxo: str, error: bytes, command: str
) -> None:
    host = Host(air, clock, "n")
    if tcxo:
        host.send(tcxo)
    for step in ("070000", "8a01", "86365833", "8b07040100", "8c000800ff0100"):
        host.send(step.ljust(10, "3") if step.startswith("86") else step)
    host.send(command)
    assert host.status() == 5
    assert (host.mode(), host.get(0x17, 2)) == (2, error)


def test_a_board_with_a_crystal_needs_no_tcxo(air: Air, clock: ManualClock) -> None:
    host = Host(air, clock, "n", fitting=CRYSTAL).start(tcxo=False)
    assert host.get(0x17, 2) == bytes(2)
    host.send("82ffffff")
    assert host.chip.mode is Mode.RX


@pytest.mark.parametrize("freq_hz, locks", [(149_000_000, False), (868_100_000, True), (961_000_000, False)])
def test_the_synthesiser_locks_from_150_to_960_mhz(host: Host, freq_hz: int, locks: bool) -> None:
    host.tune(freq_hz)
    host.send("c1")
    assert (host.chip.mode is Mode.FS) == locks
    assert host.get(0x17, 2) == (bytes(2) if locks else b"\x00\x40")


def test_dcdc_without_its_inductor_gives_no_power(air: Air, clock: ManualClock) -> None:
    host = Host(air, clock, "n", fitting=Fitting(has_dcdc=False)).start()
    host.send("c1")
    assert host.status() == 5
    host.send("9600")
    host.send("c1")
    assert host.chip.mode is Mode.FS


@pytest.mark.parametrize(
    "pa, power, dbm",
    [  # data sheet table 13-21: optimal settings, each with SetTxParams 22
        ("04070001", 22, 22),
        ("03050001", 22, 20),
        ("02030001", 22, 17),
        ("02020001", 22, 14),
        ("04070001", 14, 14),
        ("04070001", -9 & 0xFF, -9),
        ("06000101", 14, -18),  # the amplifier of an SX1261, which is not connected
    ],
)
def test_radiated_power_follows_the_amplifier_settings(host: Host, air: Air, pa: str, power: int, dbm: int) -> None:
    host.send("95" + pa)
    host.send(bytes((0x8E, power, 4)))
    host.transmit(b"x")
    assert air.sent[-1].power_dbm == pytest.approx(dbm)


def test_setting_the_amplifier_rewrites_the_current_limit_which_holds_the_power(host: Host, air: Air) -> None:
    assert host.register(0x08E7) == 0x38  # 140 mA, data sheet 5.4
    host.send("8e1604")
    host.send("0d08e718")  # 60 mA
    host.transmit(b"x")
    assert air.sent[-1].power_dbm == 14
    host.wait()
    host.clock.advance_us(100_000)
    host.send("9504070001")
    host.transmit(b"x")
    assert air.sent[-1].power_dbm == 22


@pytest.mark.parametrize(
    "fitting, switch, pins, tx_dbm",
    [
        (Fitting(), True, {}, 14),
        (Fitting(), False, {}, -16),  # 30 dB through a closed switch
        (Fitting(needs_dio2_switch=False), False, {}, 14),
        (Fitting(needs_txen=True), True, {}, -16),
        (Fitting(needs_txen=True), True, {"txen": 1}, 14),
        (Fitting(antenna_dbi=2.15), True, {}, 16.15),
    ],
)
def test_an_antenna_switch_that_is_not_turned_costs_30_db(
    air: Air, clock: ManualClock, fitting: Fitting, switch: bool, pins: dict[str, int], tx_dbm: float
) -> None:
    host = Host(air, clock, "n", fitting=fitting).start(switch=switch)
    for pin, level in pins.items():
        getattr(host.chip, pin)(level)
    host.transmit(b"x")
    assert air.sent[-1].power_dbm == pytest.approx(tx_dbm)


# --- transmit --------------------------------------------------------------------------------------------------------


def test_transmit_lasts_its_time_on_air_and_ends_in_the_fallback_mode(host: Host, clock: ManualClock) -> None:
    for fallback, mode in (("20", 2), ("30", 3), ("40", 4)):
        host.send("93" + fallback)
        host.transmit(bytes(20))
        assert host.mode() == 6
        clock.advance_us(56_575)  # 56.576 ms at SF7
        assert (host.chip.dio1(), host.mode()) == (0, 6)
        clock.advance_us(1)
        assert host.chip.dio1() == 1
        assert host.status() == 6  # command status "TX done"
        assert (host.take_irq(), host.mode()) == (TX_DONE, mode)
        assert host.chip.dio1() == 0


def test_the_packet_is_taken_from_the_transmit_base(host: Host, air: Air) -> None:
    host.send("8ff000")
    host.send("0ef0" + bytes(range(16)).hex())
    host.send("0e00" + bytes(range(16, 20)).hex())
    host.packet(length=20)
    host.send("83000000")
    assert air.sent[-1].packet.payload == bytes(range(20))


def test_a_transmit_timer_that_is_too_short_stops_the_packet(host: Host, air: Air, clock: ManualClock) -> None:
    host.load(bytes(20))
    host.send("83" + (1_000).to_bytes(3, "big").hex())  # 15.625 ms
    host.wait()
    clock.advance_us(15_625)
    assert (host.take_irq(), host.mode()) == (TIMEOUT, 2)
    assert air.sent[-1].ends_us - air.sent[-1].starts_us == 15_625


@pytest.mark.parametrize("command", ["d1", "d2"])
def test_a_test_carrier_lasts_until_the_chip_leaves_tx(air: Air, clock: ManualClock, host: Host, command: str) -> None:
    other = Host(air, clock, "other", position_m=(10, 0)).start()
    host.send(command)
    host.wait()
    other.send("82ffffff")
    assert other.get(0x15, 1)[0] < 120  # above -60 dBm
    host.send("8000")
    assert other.get(0x15, 1)[0] > 200


@pytest.mark.parametrize(
    "mask, dio1, shown, pin", [(0x0001, 0x0001, 1, 1), (0x0001, 0x0000, 1, 0), (0x0200, 0x0001, 0, 0)]
)
def test_an_interrupt_outside_the_mask_never_shows(
    host: Host, clock: ManualClock, mask: int, dio1: int, shown: int, pin: int
) -> None:
    """Data sheet 13.3.1; a driver that polls a bit it has not unmasked waits for ever (micropython-lib issue 1112)."""
    host.send(b"\x08" + mask.to_bytes(2, "big") + dio1.to_bytes(2, "big") + bytes(4))
    host.transmit(b"x")
    clock.advance_us(100_000)
    assert (host.irq(), host.chip.dio1()) == (shown, pin)


def test_frequency_shift_keying_is_not_modelled_and_fails_like_missing_settings(host: Host) -> None:
    host.send("8a00")
    host.send("83000000")
    assert host.status() == 5
    assert "packet type" in host.chip.last_fault
