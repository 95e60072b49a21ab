"""The air: exact time on air, who hears whom, what collides, and what tests can do to it."""

import itertools

import pytest

from boards.virtual.air import Air
from boards.virtual.clock import ManualClock
from boards.virtual.hearing import Transmission
from boards.virtual.propagation import noise_dbm, path_loss_db, sum_dbm
from boards.virtual.waveform import Modulation, Packet, airtime_us
from tests.boards.virtual.sx1262_host import CRC_ERR, FREQ_HZ, HEADER_ERR, RX_DONE, Host

DIVISOR = {500: 1, 250: 2, 125: 4, 62.5: 8}
UPLINK = Modulation(freq_hz=FREQ_HZ, spreading_factor=7)


@pytest.mark.parametrize(
    "sf, khz, cr, preamble, length, ms",
    [  # computed for this project from the data sheets' formula, SF7 and up also by AN1200.13
        (7, 125, 1, 8, 13, 46.336),
        (7, 125, 1, 8, 20, 56.576),
        (7, 125, 1, 8, 51, 102.656),
        (7, 125, 1, 8, 222, 348.416),
        (7, 125, 1, 8, 255, 399.616),
        (8, 125, 1, 8, 51, 184.832),
        (9, 125, 1, 8, 51, 328.704),
        (10, 125, 1, 8, 51, 616.448),
        (11, 125, 1, 8, 51, 1314.816),
        (12, 125, 1, 8, 13, 1155.072),
        (12, 125, 1, 8, 51, 2465.792),
        (12, 125, 4, 8, 51, 3547.136),
        (12, 250, 1, 8, 51, 1232.896),
        (12, 500, 1, 8, 51, 534.528),
        (11, 250, 1, 16, 51, 641.024),
        (10, 62.5, 1, 8, 20, 823.296),
        (7, 500, 1, 8, 255, 99.904),
        (5, 125, 1, 12, 20, 18.240),
        (5, 500, 1, 12, 255, 34.640),
        (6, 125, 1, 12, 20, 33.920),
        (6, 250, 1, 12, 51, 29.760),
    ],
)
def test_time_on_air_is_exact(sf: int, khz: float, cr: int, preamble: int, length: int, ms: float) -> None:
    modulation = Modulation(
        freq_hz=FREQ_HZ,
        spreading_factor=sf,
        bandwidth_divisor=DIVISOR[khz],
        coding_rate=cr,
        is_ldro=(1 << sf) / khz >= 16,
    )
    assert airtime_us(modulation, Packet(payload=bytes(length), preamble_symbols=preamble)) == round(ms * 1000)


@pytest.mark.parametrize(
    "sf, length, has_crc, ms",
    [(7, 16, False, 41.216), (7, 16, True, 46.336), (12, 4, False, 663.552), (12, 4, True, 827.392)],
)
def test_time_on_air_without_header(sf: int, length: int, has_crc: bool, ms: float) -> None:
    modulation = Modulation(freq_hz=FREQ_HZ, spreading_factor=sf, is_ldro=sf > 10)
    packet = Packet(payload=bytes(length), is_explicit=False, has_crc=has_crc)
    assert airtime_us(modulation, packet) == round(ms * 1000)


def test_levels_add_up_as_power() -> None:
    assert sum_dbm(-100, -100) == pytest.approx(-96.99, abs=0.01)
    assert noise_dbm(125_000, 6) == pytest.approx(-117.03, abs=0.01)  # -174 dBm/Hz + 51 dB + 6 dB
    assert path_loss_db((0, 0), (0, 1), 868_000_000) == pytest.approx(31.2)
    assert path_loss_db((0, 0), (1000, 0), 868_000_000) == pytest.approx(121.2)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def air(clock: ManualClock) -> Air:
    return Air(clock, seed=5)


def listener(air: Air, clock: ManualClock, name: str = "rx", position_m: tuple[float, float] = (0.0, 0.0)) -> Host:
    host = Host(air, clock, name, position_m=position_m).start()
    host.send("82ffffff")
    host.wait()
    return host


@pytest.mark.parametrize(
    "change, is_heard",
    [
        ({}, True),
        ({"freq_hz": FREQ_HZ + 31_000}, True),  # a quarter of the bandwidth, data sheet 6.1.1
        ({"freq_hz": FREQ_HZ + 32_000}, False),
        ({"freq_hz": FREQ_HZ + 200_000}, False),
        ({"spreading_factor": 8}, False),
        ({"bandwidth_divisor": 2}, False),
        ({"sync_word": 0x3444}, False),  # the public one
        ({"is_inverted": True}, False),
        ({"coding_rate": 4}, True),  # the header says it
    ],
)
def test_a_radio_hears_only_what_it_is_tuned_to(
    air: Air, clock: ManualClock, change: dict[str, int], is_heard: bool
) -> None:
    rx = listener(air, clock)
    settings = {"freq_hz": FREQ_HZ, "spreading_factor": 7} | change
    air.inject(b"anyone?", modulation=Modulation(**settings), position_m=(100, 0))  # type: ignore[arg-type]
    clock.advance_us(200_000)
    assert bool(rx.irq() & RX_DONE) == is_heard


@pytest.mark.parametrize("sf, metres", [(7, 3_243), (9, 4_761), (12, 8_466)])
def test_reach_ends_where_the_snr_limit_of_the_spreading_factor_lies(
    air: Air, clock: ManualClock, sf: int, metres: int
) -> None:
    """Reach = 10^((14 dBm + 115.03 dBm noise - limit - 31.2 dB) / 30), limits of data sheet table 6-1."""
    for where_m, is_heard in ((metres * 0.95, True), (metres * 1.05, False)):
        rx = listener(air, clock, f"rx{where_m}", (where_m, 0))
        rx.send("8000")
        rx.modulate(sf)
        rx.send("82ffffff")
        rx.wait()
        air.inject(b"far", modulation=Modulation(freq_hz=FREQ_HZ, spreading_factor=sf, is_ldro=sf > 10))
        clock.advance_us(2_000_000)
        assert bool(rx.irq() & RX_DONE) == is_heard


def outcome(host: Host) -> str:
    flags = host.take_irq()
    if flags & HEADER_ERR:
        return "header error"
    if flags & RX_DONE:
        return "crc error" if flags & CRC_ERR else host.take().decode()
    return "nothing"


@pytest.mark.parametrize(
    "delay_us, other_m, result",
    [
        # 20 bytes at SF7: 12.544 ms preamble and sync, header until 20.736 ms, end at 56.576 ms; capture 6 dB = 1.58x
        (0, 100, "header error"),  # equally loud, together from the start
        (0, 159, "first"),  # the other is 6 dB weaker
        (0, 155, "header error"),  # not quite
        (2_000, 60, "second"),  # 6 dB louder in time for its preamble: captured
        (2_000, 70, "header error"),
        (25_000, 100, "crc error"),  # header read, payload hit
        (25_000, 60, "crc error"),  # louder, but too late to be followed
        (25_000, 159, "first"),
        (50_000, 100, "crc error"),
        (60_000, 100, "first"),  # not at the same time
    ],
)
def test_collisions_and_capture(air: Air, clock: ManualClock, delay_us: int, other_m: float, result: str) -> None:
    rx = listener(air, clock)
    air.inject(b"first".ljust(20), modulation=UPLINK, position_m=(100, 0))
    air.inject(b"second".ljust(20), modulation=UPLINK, position_m=(0, other_m), delay_us=delay_us)
    clock.advance_us(59_000)
    assert outcome(rx).strip() == result


def test_the_louder_of_two_that_start_together_is_heard_whichever_comes_first(air: Air, clock: ManualClock) -> None:
    rx = listener(air, clock)
    for weak_first in (True, False):
        for distance_m in (200, 100) if weak_first else (100, 200):
            air.inject(b"%d" % distance_m, modulation=UPLINK, position_m=(distance_m, 0))
        clock.advance_us(100_000)
        assert outcome(rx) == "100"


@pytest.mark.parametrize(
    "other, result",
    [
        ({"spreading_factor": 8}, "mine"),  # nearly orthogonal
        ({"is_inverted": True}, "mine"),
        ({"freq_hz": FREQ_HZ + 200_000}, "mine"),
        ({"sync_word": 0x3444}, "header error"),  # a stranger's packet collides like ours
    ],
)
def test_only_like_signals_collide(air: Air, clock: ManualClock, other: dict[str, int], result: str) -> None:
    rx = listener(air, clock)
    air.inject(b"mine", modulation=UPLINK, position_m=(100, 0))
    settings = {"freq_hz": FREQ_HZ, "spreading_factor": 7} | other
    air.inject(b"other", modulation=Modulation(**settings), position_m=(0, 100))  # type: ignore[arg-type]
    clock.advance_us(60_000)
    assert outcome(rx) == result


def test_another_spreading_factor_drowns_a_packet_when_it_is_very_loud(air: Air, clock: ManualClock) -> None:
    rx = listener(air, clock)
    air.inject(b"mine", modulation=UPLINK, position_m=(1000, 0))
    air.inject(bytes(50), modulation=Modulation(freq_hz=FREQ_HZ, spreading_factor=9), position_m=(10, 0))
    clock.advance_us(60_000)
    assert outcome(rx) == "header error"


@pytest.mark.parametrize(
    "delay_us, duration_us, result",
    [(0, 10_000, "nothing"), (15_000, 2_000, "header error"), (30_000, 2_000, "crc error"), (60_000, 9_000, "packet")],
)
def test_a_jammer_spoils_the_part_it_covers(
    air: Air, clock: ManualClock, delay_us: int, duration_us: int, result: str
) -> None:
    rx = listener(air, clock)
    air.jam(FREQ_HZ, delay_us=delay_us, duration_us=duration_us, position_m=(50, 0))
    air.inject(b"packet".ljust(20), modulation=UPLINK, position_m=(100, 0))
    clock.advance_us(58_000)
    assert outcome(rx).strip() == result


def test_a_jammer_raises_the_measured_level_and_can_be_stopped(air: Air, clock: ManualClock) -> None:
    rx = listener(air, clock)
    quiet = rx.get(0x15, 1)[0]
    noise = air.jam(FREQ_HZ, duration_us=10_000_000, position_m=(50, 0))
    loud = rx.get(0x15, 1)[0]
    assert (quiet / -2, loud / -2) == (-115, pytest.approx(27 - 82.2, abs=0.5))
    noise.ends_us = clock.now_us()
    assert rx.get(0x15, 1)[0] == quiet


@pytest.mark.parametrize("late_symbols, is_heard", [(0, True), (3, True), (4, True), (5, False), (12, False)])
def test_a_receiver_must_catch_four_symbols_of_the_preamble(
    air: Air, clock: ManualClock, late_symbols: int, is_heard: bool
) -> None:
    rx = Host(air, clock, "rx").start()
    rx.send("8001")  # its TCXO runs already
    rx.wait()
    air.inject(b"hurry", modulation=UPLINK, position_m=(100, 0))
    clock.advance_us(max(0, late_symbols * 1024 - 62))  # from STDBY_XOSC to RX, data sheet table 8-2
    rx.send("82ffffff")
    clock.advance_us(60_000)
    assert bool(rx.irq() & RX_DONE) == is_heard


def test_nothing_is_heard_while_transmitting_and_own_packets_never(air: Air, clock: ManualClock) -> None:
    radio = Host(air, clock, "radio").start()
    radio.transmit(bytes(60))
    air.inject(b"unheard", modulation=UPLINK, position_m=(100, 0))
    clock.advance_us(200_000)
    assert radio.take_irq() == 0x0001
    assert air.counters["delivered"] == 0


def test_a_packet_is_lost_to_a_receiver_that_leaves_in_the_middle(air: Air, clock: ManualClock) -> None:
    rx = listener(air, clock)
    air.inject(b"half", modulation=UPLINK, position_m=(100, 0))
    clock.advance_us(25_000)
    rx.send("8000")
    rx.send("82ffffff")
    clock.advance_us(100_000)
    assert not rx.irq() & RX_DONE
    assert air.counters["missed"] >= 1


def test_a_receiver_keeps_to_one_packet_and_is_free_for_the_next(air: Air, clock: ManualClock) -> None:
    rx = listener(air, clock)
    air.inject(b"one", modulation=UPLINK, position_m=(100, 0))
    air.inject(b"weak", modulation=UPLINK, position_m=(300, 0), delay_us=5_000)
    clock.advance_us(60_000)
    assert outcome(rx) == "one"
    air.inject(b"two", modulation=UPLINK, position_m=(100, 0))
    clock.advance_us(60_000)
    assert outcome(rx) == "two"


def received_of(seed: int, *, loss: float, corruption: float, look_often: bool) -> list[str]:
    clock = ManualClock()
    air = Air(clock, seed, loss=loss, corruption=corruption)
    rx = listener(air, clock)
    found = []
    for i in range(100):
        air.inject(b"%d" % i, modulation=UPLINK, position_m=(100, 0))
        for _ in range(10):
            clock.advance_us(10_000)
            if look_often:
                rx.chip.dio1()
        found.append(outcome(rx))
    return found


def test_loss_and_corruption_come_from_the_seed_not_from_who_looks_when() -> None:
    one = received_of(1, loss=0.2, corruption=0.1, look_often=False)
    assert one == received_of(1, loss=0.2, corruption=0.1, look_often=True)
    assert one != received_of(2, loss=0.2, corruption=0.1, look_often=False)
    assert 10 <= one.count("nothing") <= 32
    assert 3 <= one.count("crc error") <= 18
    assert received_of(1, loss=1, corruption=0, look_often=False) == ["nothing"] * 100


def test_tests_can_lose_and_corrupt_the_next_packets_of_one_sender(air: Air, clock: ManualClock) -> None:
    rx, tx = listener(air, clock), Host(air, clock, "tx", position_m=(100, 0)).start()
    air.lose_next(2, sender="tx")
    air.corrupt_next(3, sender="tx")
    results = []
    for i in range(4):
        air.inject(b"i%d" % i, modulation=UPLINK, position_m=(100, 0))
        clock.advance_us(100_000)
        results.append(outcome(rx))
        tx.transmit(b"t%d" % i)
        clock.advance_us(100_000)
        results.append(outcome(rx))
    assert results == ["i0", "nothing", "i1", "nothing", "i2", "crc error", "i3", "t3"]


def test_what_was_sent_can_be_recorded_and_replayed(air: Air, clock: ManualClock) -> None:
    rx, tx = listener(air, clock), Host(air, clock, "tx", position_m=(100, 0)).start()
    tx.transmit(b"sealed")
    clock.advance_us(100_000)
    assert outcome(rx) == "sealed"
    recorded = air.sent[-1]
    assert (recorded.sender, recorded.packet.payload, recorded.airtime_us) == ("tx", b"sealed", 36_096)
    air.replay(recorded)
    clock.advance_us(100_000)
    assert outcome(rx) == "sealed"
    assert air.sent[-1].sender == "replayed"


def test_a_sender_that_falls_silent_leaves_a_packet_without_header_or_with_a_wrong_crc(
    air: Air, clock: ManualClock
) -> None:
    for after_us, result in ((10_000, "nothing"), (40_000, "crc error")):
        rx, tx = listener(air, clock, f"rx{after_us}"), Host(air, clock, f"tx{after_us}", position_m=(100, 0)).start()
        tx.transmit(bytes(30))
        clock.advance_us(after_us)
        tx.chip.power_cycle()
        clock.advance_us(100_000)
        assert outcome(rx) == result


def test_memory_stays_bounded_while_a_deaf_host_lets_its_radio_listen(air: Air, clock: ManualClock) -> None:
    listener(air, clock)  # never touched again
    for _ in range(3_000):
        air.inject(bytes(20), modulation=UPLINK, position_m=(100, 0))
        air.jam(FREQ_HZ + 2_000_000, duration_us=1_000)
        clock.advance_us(100_000)
    assert len(air.sent) == 1_000
    assert len(air._transmissions) <= 2
    assert len(air._jams) <= 2
    assert air.counters["delivered"] >= 2_999


def test_a_packet_never_starts_in_the_past(air: Air, clock: ManualClock) -> None:
    clock.advance_us(1_000)
    assert air.inject(b"", modulation=UPLINK, delay_us=-500).starts_us == 1_000


def test_landmarks_lie_in_order() -> None:
    for sf, divisor, implicit in itertools.product(range(5, 13), (1, 4, 64), (False, True)):
        sent = Transmission(
            number=1,
            sender="",
            position_m=(0, 0),
            power_dbm=0,
            modulation=Modulation(freq_hz=1, spreading_factor=sf, bandwidth_divisor=divisor),
            packet=Packet(payload=b"", is_explicit=not implicit),
            starts_us=10,
        )
        assert 10 < sent.preamble_end_us < sent.header_at_us <= sent.planned_end_us
