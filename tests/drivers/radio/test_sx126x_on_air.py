"""The SX126x driver on the SX1262 model: what one radio sends, another hears; nothing else is ever delivered."""

import asyncio

import pytest

from drivers.radio.lora import Channel
from drivers.radio.sx126x import PREPARE_MS, TooLate
from tests.drivers.radio.bench import Bench
from tests.drivers.radio.virtual_time import TICKS

UPLINK = Channel(868_100_000, 7, 125_000, 1, 14)
DOWNLINK = Channel(869_525_000, 7, 125_000, 1, 14, invert_iq=True)
FRAME = bytes(range(28))


async def pair(channel=UPLINK, *, bench=None, apart_m=100.0, **options):
    """Two started radios on one channel: the bench, one to send, one to receive."""
    bench = bench or Bench()
    near, far = bench.radio("near", **options), bench.radio("far", at_m=(apart_m, 0.0), **options)
    await bench.time.run(near.start(), far.start())
    near.use(channel)
    far.use(channel)
    return bench, near, far


async def later(bench, delay_ms, coroutine):
    await bench.time.sleep_ms(delay_ms)
    return await coroutine


@pytest.mark.parametrize(
    "channel",
    [
        UPLINK,
        DOWNLINK,
        Channel(868_300_000, 9, 125_000, 4, 10),
        Channel(868_300_000, 12, 125_000, 1, 14),  # LDRO
        Channel(868_300_000, 7, 250_000, 1, 14),
        Channel(868_100_000, 7, 500_000, 1, 14),  # 15.1
        Channel(868_100_000, 5, 125_000, 1, 14, preamble_symbols=12),
        Channel(868_100_000, 7, 125_000, 1, 14, implicit_len=28),  # 15.3
        Channel(868_100_000, 8, 125_000, 2, 22, sync_word=0x34, preamble_symbols=16),
        Channel(433_175_000, 7, 125_000, 1, 10),
    ],
)
async def test_a_frame_arrives_as_it_was_sent(channel):
    bench, near, far = await pair(channel)
    buf = bytearray(255)
    airtime_us, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.receive(buf, 5_000))
    assert packet is not None
    assert bytes(buf[: packet.length]) == FRAME
    assert airtime_us == channel.airtime_us(len(FRAME))
    assert -100 < packet.rssi_dbm < 0
    assert -20 <= packet.snr_db <= 32
    assert near.counters["restarts"] == far.counters["restarts"] == 0


@pytest.mark.parametrize("length", [0, 1, 255])
async def test_any_length_arrives(length):
    bench, near, far = await pair()
    buf, payload = bytearray(255), bytes(at % 251 for at in range(length))
    _, packet = await bench.time.run(later(bench, 50, near.transmit(payload)), far.receive(buf, 5_000))
    assert packet is not None
    assert bytes(buf[: packet.length]) == payload


async def test_the_end_of_a_packet_is_seen_within_two_milliseconds():
    """A header switches the receiver to short polls, so the gateway knows when its answer is due."""
    bench, near, far = await pair(UPLINK)
    _, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.listen(bytearray(255)))
    assert abs(bench.time.ticks_diff(packet.done_us, near.tx_done_us)) < 2_500


async def test_a_gateway_hears_a_burst_without_leaving_reception():
    bench, near, far = await pair()

    async def send():
        for at in range(40):
            await near.transmit(bytes([at]) * 20)
            await bench.time.sleep_ms(20)

    async def hear():
        buf, heard = bytearray(255), []
        while len(heard) < 40:
            packet = await far.listen(buf)
            heard.append(bytes(buf[: packet.length]))
        return heard

    _, heard = await bench.time.run(later(bench, 50, send()), hear())
    assert heard == [bytes([at]) * 20 for at in range(40)]
    assert [mosi[0] for mosi in far.wiring.sent].count(0x82) == 1  # one SetRx for all of them


async def test_a_window_without_a_packet_ends_in_time():
    bench, _, far = await pair()
    started_us = bench.time.clock.now_us()
    (packet,) = await bench.time.run(far.receive(bytearray(255), 60))
    assert packet is None
    assert 60_000 <= bench.time.clock.now_us() - started_us < 90_000


@pytest.mark.parametrize("sent_after_s", [5, 261, 263, 290])
async def test_a_window_longer_than_the_24_bit_timer_does_not_wrap(sent_after_s):
    """micropython-lib's driver wraps at 262.144 s: a window of 300 s would close after 38."""
    bench, near, far = await pair()
    buf = bytearray(255)
    _, packet = await bench.time.run(
        later(bench, sent_after_s * 1_000, near.transmit(FRAME)), far.receive(buf, 300_000), limit_s=400
    )
    assert packet is not None


async def test_a_packet_that_began_within_the_window_is_received_to_its_end():
    channel = Channel(868_100_000, 9, 125_000, 1, 14)
    bench, near, far = await pair(channel)
    _, packet = await bench.time.run(later(bench, 20, near.transmit(bytes(200))), far.receive(bytearray(255), 200))
    assert packet is not None
    assert packet.length == 200


@pytest.mark.parametrize(
    "other",
    [
        Channel(868_300_000, 7, 125_000, 1, 14),
        Channel(868_100_000, 8, 125_000, 1, 14),
        Channel(868_100_000, 7, 250_000, 1, 14),
        Channel(868_100_000, 7, 125_000, 1, 14, sync_word=0x34),
        Channel(868_100_000, 7, 125_000, 1, 14, invert_iq=True),
    ],
    ids=["frequency", "spreading factor", "bandwidth", "sync word", "IQ"],
)
async def test_another_channel_is_not_heard(other):
    bench, near, far = await pair()
    near.use(other)
    _, packet = await bench.time.run(later(bench, 20, near.transmit(FRAME)), far.receive(bytearray(255), 500))
    assert packet is None


async def test_a_collision_is_never_delivered_as_data():
    bench = Bench()
    left, right, middle = (
        bench.radio(name, at_m=(x, 0.0)) for name, x in (("left", 0.0), ("right", 200.0), ("mid", 100.0))
    )
    for radio in (left, right, middle):
        radio.use(UPLINK)
    await bench.time.run(left.start(), right.start(), middle.start())

    async def hear():
        buf, heard = bytearray(255), []
        while True:
            packet = await middle.listen(buf, 2_000)
            if packet is None:
                return heard
            heard.append(bytes(buf[: packet.length]))

    async def talk(radio, byte, gap_ms):
        for _ in range(20):
            await bench.time.sleep_ms(gap_ms)
            await radio.transmit(bytes([byte]) * 40)

    _, _, heard = await bench.time.run(talk(left, 1, 13), talk(right, 2, 17), hear())
    assert set(heard) <= {bytes([1]) * 40, bytes([2]) * 40}
    assert len(heard) < 40
    assert middle.counters["crc_errors"] + middle.counters["header_errors"] > 0


@pytest.mark.parametrize("length", [10, 28])
async def test_a_packet_with_a_wrong_crc_is_counted_and_the_window_goes_on(length):
    """micropython-lib #1112: packets that failed their CRC passed as valid."""
    bench, near, far = await pair()
    bench.air.corrupt_next(2)
    buf = bytearray(255)

    async def send():
        for byte in (1, 2, 3):
            await bench.time.sleep_ms(60)
            await near.transmit(bytes([byte]) * length)

    _, packet = await bench.time.run(send(), far.receive(buf, 2_000))
    assert bytes(buf[: packet.length]) == bytes([3]) * length
    assert far.counters["crc_errors"] == 2


async def test_a_packet_whose_header_says_no_crc_is_not_taken_on_a_channel_with_crc():
    """RadioLib #200: a header corrupted into "no CRC" would pass any bytes as good."""
    bench, near, far = await pair()
    near.use(Channel(868_100_000, 7, 125_000, 1, 14, crc=False))
    _, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.receive(bytearray(255), 500))
    assert packet is None
    assert far.counters["crc_missing"] == 1
    far.use(near.channel)
    _, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.receive(bytearray(255), 500))
    assert packet is not None


async def test_a_buffer_too_small_is_counted_not_overrun():
    bench, near, far = await pair()
    buf = bytearray(16)
    _, packet = await bench.time.run(later(bench, 20, near.transmit(FRAME)), far.receive(buf, 200))
    assert packet is None
    assert buf == bytes(16)
    assert far.counters["packets_oversized"] == 1


@pytest.mark.parametrize("cost_us", [2, 200])
async def test_a_downlink_begins_at_its_moment(cost_us):
    """200 us per access is what a virtual board's RPC costs. The node listens from 1.98 s after its uplink's end."""
    bench, near, far = await pair(cost_us=cost_us)
    buf = bytearray(255)

    async def node():
        await bench.time.sleep_ms(50)
        await near.transmit(FRAME)
        near.use(DOWNLINK)
        ends_us = near.tx_done_us
        while bench.time.ticks_diff(bench.time.ticks_us(), ends_us) < 1_980_000:
            await bench.time.sleep_ms(1)
        packet = await near.receive(buf, 60)
        return packet, ends_us

    async def gateway():
        packet = await far.listen(bytearray(255))
        due_us = bench.time.ticks_add(packet.done_us, 2_000_000)
        await far.listen(bytearray(255), bench.time.ticks_diff(due_us, bench.time.ticks_us()) // 1_000 - PREPARE_MS)
        far.use(DOWNLINK)
        await far.transmit_at(b"ack", due_us)
        return due_us

    (packet, _), due_us = await bench.time.run(node(), gateway())
    assert packet is not None
    assert bytes(buf[:3]) == b"ack"
    begun_us = bench.air.sent[-1].starts_us % TICKS
    assert abs(bench.time.ticks_diff(begun_us, due_us)) < 2_000


async def test_a_downlink_whose_moment_has_passed_is_not_sent():
    bench, near, far = await pair()
    due_us = bench.time.ticks_us()
    await bench.time.run(bench.time.sleep_ms(50))
    with pytest.raises(TooLate, match="nothing was sent"):
        await bench.time.run(near.transmit_at(b"ack", due_us))
    (packet,) = await bench.time.run(far.receive(bytearray(255), 200))
    assert packet is None


async def test_a_scan_sees_a_preamble_and_nothing_else():
    channel = Channel(868_100_000, 9, 125_000, 1, 14, preamble_symbols=64)
    bench, near, far = await pair(channel)
    _, while_silent = await bench.time.run(bench.time.sleep_ms(1), far.channel_free())
    _, while_preamble = await bench.time.run(near.transmit(FRAME), later(bench, 60, far.channel_free()))
    assert (while_silent, while_preamble) == (True, False)


async def test_a_scan_does_not_lose_the_packet_being_received():
    """meshtastic #2307: CAD during reception drops packets."""
    bench, near, far = await pair(Channel(868_100_000, 9, 125_000, 1, 14))
    buf = bytearray(255)

    async def hear():
        assert await far.listen(buf, 150) is None
        assert await far.channel_free() is False
        return await far.listen(buf, 2_000)

    _, packet = await bench.time.run(near.transmit(FRAME), hear())
    assert packet is not None


async def test_listen_before_talk_hears_power():
    bench, near, far = await pair(apart_m=10.0)
    (while_silent,) = await bench.time.run(far.quiet(-80))
    _, while_sent = await bench.time.run(near.transmit(bytes(100)), later(bench, 40, far.quiet(-80)))
    assert (while_silent, while_sent) == (True, False)


@pytest.mark.parametrize("is_warm", [True, False])
async def test_after_sleep_both_directions_work(is_warm):
    bench, near, far = await pair(DOWNLINK)
    for radio in (near, far):
        radio.sleep(warm=is_warm)
    for sender, receiver in ((near, far), (far, near)):
        buf = bytearray(255)
        _, packet = await bench.time.run(later(bench, 50, sender.transmit(FRAME)), receiver.receive(buf, 1_000))
        assert packet is not None
        sender.sleep(warm=is_warm)
        receiver.sleep(warm=is_warm)


async def test_a_radio_that_reset_itself_while_listening_is_set_up_again():
    """MeshCore #2096: the radio is dead while the processor is fine, so that no watchdog helps."""
    bench, near, far = await pair()
    buf = bytearray(255)

    async def brown_out():
        await bench.time.sleep_ms(500)
        far.model.reset(0)
        bench.time.pause_us(200)
        far.model.reset(1)
        await bench.time.sleep_ms(2_500)
        await near.transmit(FRAME)

    _, packet = await bench.time.run(brown_out(), far.listen(buf))
    assert packet is not None
    assert far.counters["restarts"] == 1


async def test_a_lost_interrupt_wire_costs_time_but_no_packet():
    bench = Bench()
    near, far = bench.radio("near"), bench.radio("far", at_m=(100.0, 0.0))
    far.wiring.dio1._read = lambda: 0
    for radio in (near, far):
        radio.use(UPLINK)
    await bench.time.run(near.start(), far.start())
    _, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.listen(bytearray(255)))
    assert packet is not None
    assert far.counters["interrupts_missed"] > 0
    _, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.receive(bytearray(255), 200))
    assert packet is not None


async def test_without_dio1_the_chip_is_asked():
    bench = Bench()
    near, far = bench.radio("near"), bench.radio("far", at_m=(100.0, 0.0))
    near._dio1 = far._dio1 = None
    for radio in (near, far):
        radio.use(UPLINK)
    await bench.time.run(near.start(), far.start())
    _, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.receive(bytearray(255), 1_000))
    assert packet is not None


async def test_check_finds_a_dead_chip_and_starts_it_anew():
    bench, near, far = await pair()
    (was_well,) = await bench.time.run(far.check())
    far.model.reset(0)
    bench.time.pause_us(200)
    far.model.reset(1)
    (is_well,) = await bench.time.run(far.check())
    assert (was_well, is_well) == (True, False)
    _, packet = await bench.time.run(later(bench, 50, near.transmit(FRAME)), far.receive(bytearray(255), 1_000))
    assert packet is not None


async def test_ticks_may_wrap_in_the_middle():
    bench = Bench(start_us=(1 << 30) - 300_000)  # ticks_us wraps after 0.3 s
    bench, near, far = await pair(bench=bench)
    buf = bytearray(255)
    _, packet = await bench.time.run(later(bench, 200, near.transmit(FRAME)), far.receive(buf, 2_000))
    assert packet is not None
    due_us = bench.time.ticks_add(bench.time.ticks_us(), 400_000)
    _, packet = await bench.time.run(near.transmit_at(FRAME, due_us), far.receive(buf, 2_000))
    assert packet is not None


async def test_a_cancelled_listener_can_transmit_at_once():
    bench, near, far = await pair()

    async def change_of_mind():
        listening = asyncio.ensure_future(far.listen(bytearray(255)))
        await bench.time.sleep_ms(100)
        listening.cancel()
        return await far.transmit(FRAME)

    _, packet = await bench.time.run(change_of_mind(), near.receive(bytearray(255), 2_000))
    assert packet is not None
