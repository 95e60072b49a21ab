"""SX1262 model, the chip by itself: wire format, BUSY, modes, start-up, sleep, power. Bytes as in the data sheet."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.virtual.air import Air
from boards.virtual.chips.sx1262.chip import Sx1262
from boards.virtual.chips.sx1262.commands import READS, WRITES
from boards.virtual.chips.sx1262.front_end import Fitting
from boards.virtual.chips.sx1262.modes import Mode
from boards.virtual.clock import ManualClock
from tests.boards.virtual.sx1262_host import TX_DONE, Host

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


# --- wire ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mosi, miso",
    [  # status 0x22: STDBY_RC, nothing to tell; bit 7 set except in GetStatus (real traces: RadioLib issue 740)
        ("c000", "2222"),
        ("1100", "a2a2"),
        ("110000", "a2a201"),  # GetPacketType: LoRa
        ("1d0740000000", "a2a2a2a21424"),  # ReadRegister, sync word after reset (table 12-1)
        ("1d0320" + "00" * 16, "a2a2a2a2" + b"SX1261 V2D 2D02".hex()),
        ("1d0944" + "0000", "a2a2a2a200"),
        ("1700" + "0000", "a2a20000"),
        ("0000", "a2a2"),  # NOP
        ("8000", "a2a2"),
    ],
)
def test_every_byte_is_answered_and_data_follow_the_status(host: Host, mosi: str, miso: str) -> None:
    assert host.send(mosi).hex() == miso


def test_a_command_may_come_in_pieces_and_counts_when_nss_rises(host: Host) -> None:
    host.chip.select(0)
    for byte in bytes.fromhex("0d0740344433"):
        host.chip.transfer(bytes((byte,)))
    host.chip.select(1)
    assert host.send("1d074000000000")[4:] == b"\x34\x44\x33"


def test_buffer_wraps_at_256_bytes(host: Host) -> None:
    host.send("0efe01020304")
    assert host.send("1efe00" + "00" * 4)[3:] == b"\x01\x02\x03\x04"
    assert host.send("1e0000" + "00" * 2)[3:] == b"\x03\x04"


@pytest.mark.parametrize(
    "command, status, counter",
    [
        ("55", 4, "unknown_commands"),
        ("8600", 4, "wrong_parameters"),  # too few
        ("860000000000", 4, "wrong_parameters"),  # too many
        ("8b04040100", 4, "wrong_parameters"),  # SF4
        ("8b0d040100", 4, "wrong_parameters"),  # SF13
        ("8b070b0100", 4, "wrong_parameters"),  # no such bandwidth
        ("8b07040500", 4, "wrong_parameters"),
        ("8c000000ff0100", 4, "wrong_parameters"),  # no preamble
        ("8c000802ff0100", 4, "wrong_parameters"),
        ("8e1704", 4, "wrong_parameters"),  # 23 dBm
        ("8ef604", 4, "wrong_parameters"),  # -10 dBm
        ("9508070001", 1, "pa_overdriven"),  # accepted, and the amplifier suffers
        ("9708000140", 4, "wrong_parameters"),  # TCXO voltage 8
        ("9310", 4, "wrong_parameters"),
        ("8a02", 4, "wrong_parameters"),
        ("150000", 5, "refused_commands"),  # GetRssiInst in standby
        ("80", 4, "wrong_parameters"),
    ],
)
def test_a_wrong_command_is_refused_counted_and_shown_in_the_status(
    host: Host, command: str, status: int, counter: str
) -> None:
    before = host.send("1d0740000000")
    host.send(command)
    assert host.status() == status
    assert host.chip.counters == {counter: 1}
    assert host.send("1d0740000000") == before  # and the next command is fine


@pytest.mark.parametrize("command", ["8b07040100", "8c0008000f0100", "8633333333", "8e0e04", "8a01", "897f", "8400"])
def test_settings_are_refused_while_the_radio_is_at_work(host: Host, command: str) -> None:
    host.send("82ffffff")
    host.send(command)
    assert host.status() == 5
    assert host.mode() == 5
    assert host.chip.counters["refused_commands"] == 1


# --- busy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, command, busy_us, mode",
    [  # data sheet table 8-2, RM0453 table 33; a crystal, so no TCXO delay
        ("8000", "8001", 31, Mode.STDBY_XOSC),
        ("8000", "c1", 50, Mode.FS),
        ("8000", "82000000", 83, Mode.RX),
        ("8000", "c5", 83, Mode.CAD),
        ("8000", "83000000", 126, Mode.TX),
        ("8001", "c1", 40, Mode.FS),
        ("8001", "82000000", 62, Mode.RX),
        ("8001", "83000000", 105, Mode.TX),
        ("c1", "82000000", 41, Mode.RX),
        ("c1", "83000000", 76, Mode.TX),
        ("82ffffff", "83000000", 92, Mode.TX),
        ("82ffffff", "c1", 15, Mode.FS),
        ("82ffffff", "8000", 0, Mode.STDBY_RC),
        ("8000", "897f", 3_500, Mode.STDBY_RC),  # all blocks, data sheet 9.2.2
    ],
)
def test_busy_lasts_as_long_as_the_switch(
    air: Air, clock: ManualClock, before: str, command: str, busy_us: int, mode: Mode
) -> None:
    host = Host(air, clock, "n", fitting=CRYSTAL).start(tcxo=False)
    host.send(before)
    host.send(command)
    assert host.chip.mode is mode
    assert host.wait() == busy_us


def test_a_tcxo_adds_its_start_up_time(host: Host) -> None:
    host.send("82ffffff")
    assert host.wait() == 83 + 5_000


def test_a_command_while_busy_is_lost_and_counted(host: Host) -> None:
    host.send("897f")
    host.chip.select(0)
    assert host.chip.transfer(b"\x0e\x00\xaa") == bytes(3)
    host.chip.select(1)
    assert host.chip.counters["busy_violations"] == 1
    host.wait()
    assert host.send("1e000000")[3] == 0x00


def test_bytes_without_nss_go_nowhere(host: Host) -> None:
    assert host.chip.transfer(b"\x0e\x00\xaa") == bytes(3)
    assert host.send("1e000000")[3] == 0x00


# --- power, reset, sleep ---------------------------------------------------------------------------------------------


def test_it_starts_within_the_time_of_the_data_sheet(air: Air, clock: ManualClock) -> None:
    chip = Sx1262(air, clock, name="n")
    clock.advance_us(3_499)
    assert chip.busy() == 1
    clock.advance_us(1)
    assert (chip.busy(), chip.mode) == (0, Mode.STDBY_RC)


def test_reset_needs_a_pulse_of_100_us_and_forgets_everything(host: Host, clock: ManualClock) -> None:
    host.send("0d07403444")
    host.chip.reset(0)
    clock.advance_us(99)
    host.chip.reset(1)
    assert host.register(0x0740) == 0x34
    assert host.chip.counters["short_resets"] == 1
    host.chip.reset(0)
    clock.advance_us(100)
    assert host.chip.busy() == 1
    host.chip.reset(1)
    assert host.wait() == 3_500
    assert host.register(0x0740) == 0x14
    assert host.get(0x11, 1) == b"\x00"  # GFSK


@pytest.mark.parametrize("params, wake_us, is_kept", [("04", 340, True), ("00", 3_500, False)])
def test_sleep_keeps_settings_when_warm_and_an_edge_of_nss_ends_it(
    host: Host, clock: ManualClock, params: str, wake_us: int, is_kept: bool
) -> None:
    host.send("0e00cafe")
    host.send("0d07403444")
    host.send("84" + params)
    clock.advance_us(1_000_000)
    assert (host.chip.busy(), host.chip.mode) == (1, Mode.SLEEP)
    host.chip.select(0)
    host.chip.transfer(b"\xc0\x00")  # is not heard, and no fault
    host.chip.select(1)
    assert host.wait() == wake_us
    assert host.get(0x11, 1) == bytes((is_kept,))
    assert host.register(0x0740) == (0x34 if is_kept else 0x14)
    assert host.send("1e00000000")[3:] == bytes(2)  # the buffer never survives, data sheet 7.1
    assert not host.chip.counters["busy_violations"]


@pytest.mark.parametrize("listed, gain", [("00", 0x94), ("0108ac", 0x96), ("03073608ac0889", 0x96), ("010736", 0x94)])
def test_the_receiver_gain_survives_a_warm_sleep_only_in_the_retention_list(
    host: Host, clock: ManualClock, listed: str, gain: int
) -> None:
    """Data sheet 9.6: 0x029F holds the count, then the addresses."""
    host.send("0d08ac96")
    host.send("0d029f" + listed)
    host.send("8404")
    clock.advance_us(1_000)
    host.chip.select(0)
    host.chip.select(1)
    assert host.register(0x08AC) == gain


def test_waking_too_soon_is_counted(host: Host, clock: ManualClock) -> None:
    host.send("8404")
    clock.advance_us(499)
    host.chip.select(0)
    assert host.chip.counters["early_wakes"] == 1


def test_sleep_is_only_entered_from_standby(host: Host) -> None:
    host.send("c1")
    host.send("8404")
    assert host.chip.mode is Mode.FS


def test_without_power_the_pins_are_low_and_packets_end(host: Host, air: Air, clock: ManualClock) -> None:
    host.transmit(bytes(100))
    clock.advance_us(50_000)
    host.chip.power(0)
    assert (host.chip.busy(), host.chip.dio1(), host.chip.transfer(b"\xc0\x00")) == (0, 0, bytes(2))
    assert air.sent[-1].ends_us == clock.now_us() < air.sent[-1].planned_end_us
    host.chip.power(1)
    assert host.wait() == 3_500
    assert host.irq() == 0


# --- anything at all -------------------------------------------------------------------------------------------------

OPCODES = st.sampled_from(sorted(WRITES) + sorted(READS))
COMMAND = st.one_of(
    st.binary(max_size=20), st.builds(lambda opcode, rest: bytes((opcode,)) + rest, OPCODES, st.binary(max_size=12))
)
STEP = st.tuples(COMMAND, st.sampled_from([0, 1, 50, 400, 5_000, 1_000_000]), st.booleans())


@settings(max_examples=60)
@given(steps=st.lists(STEP, max_size=40), prepared=st.booleans())
def test_no_bytes_crash_the_chip_and_a_reset_always_helps(steps: list[tuple[bytes, int, bool]], prepared: bool) -> None:
    clock = ManualClock()
    air = Air(clock, 1)
    host, other = Host(air, clock, "a"), Host(air, clock, "b", position_m=(50, 0)).start()
    other.send("82ffffff")
    if prepared:
        host.start()
    for command, passes_us, reselect in steps:
        if reselect:
            host.chip.select(0)
        assert len(host.chip.transfer(command)) == len(command)
        host.chip.select(1)
        assert host.chip.busy() in (0, 1)
        assert host.chip.dio1() in (0, 1)
        clock.advance_us(passes_us)
    host.chip.reset(0)
    clock.advance_us(100)
    host.chip.reset(1)
    host.start()
    clock.advance_us(10_000_000)
    host.take_irq()
    host.transmit(b"alive")
    clock.advance_us(100_000)
    assert host.take_irq() == TX_DONE


def test_many_threads_may_use_the_radios_of_one_air() -> None:
    clock = ManualClock()
    air = Air(clock, 1)
    hosts = [Host(air, clock, str(i), position_m=(i * 10, 0)).start() for i in range(4)]
    failures: list[BaseException] = []

    def work(host: Host) -> None:
        try:
            for _ in range(100):
                host.chip.select(0)
                host.chip.transfer(b"\x83\x00\x00\x00")
                host.chip.select(1)
                clock.advance_us(20_000)
                host.chip.select(0)
                host.chip.transfer(b"\x82\xff\xff\xff")
                host.chip.select(1)
                host.chip.dio1()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert air.counters["sent"] > 0
