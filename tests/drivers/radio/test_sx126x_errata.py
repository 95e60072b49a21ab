"""The four errata of the SX1262 (datasheet chapter 15): with a work-around taken away, the model loses packets.

Each row is a promise the whole driver keeps, and a mutant that breaks it by leaving the work-around out: the same check
passes with the driver as it is, and must fail with the mutant.
"""

import pytest

from drivers.radio.lora import Channel, RadioError
from drivers.radio.sx126x_chip import Chip
from tests.drivers.radio.bench import Bench

NARROW = Channel(868_100_000, 7, 125_000, 1, 14)
WIDE = Channel(868_100_000, 7, 500_000, 1, 14)
INVERTED = Channel(868_100_000, 7, 125_000, 1, 14, invert_iq=True)
HEADERLESS = Channel(868_100_000, 7, 125_000, 1, 14, implicit_len=20)
FRAMES = 5


async def heard_over(channel, apart_m, *, warmed_up_on=None):
    """How many of FRAMES frames arrive; the sender may have been on another channel before."""
    bench = Bench()
    near, far = bench.radio("near"), bench.radio("far", at_m=(apart_m, 0.0))
    if warmed_up_on is not None:
        near.use(warmed_up_on)
        await bench.time.run(near.transmit(bytes(20)))
    near.use(channel)
    far.use(channel)
    await bench.time.run(near.check(), far.check())

    async def send():
        for _ in range(FRAMES):
            await bench.time.sleep_ms(50)
            await near.transmit(bytes(20))

    async def hear():
        heard = 0
        while await far.listen(bytearray(255), 500) is not None:
            heard += 1
        return heard

    _, heard = await bench.time.run(send(), hear())
    return heard


async def narrow_frames_reach_3_km():
    return await heard_over(NARROW, 3_000.0) == FRAMES


async def wide_frames_reach_2_km():
    return await heard_over(WIDE, 2_000.0) == FRAMES


async def wide_frames_reach_2_km_after_narrow_ones():
    return await heard_over(WIDE, 2_000.0, warmed_up_on=NARROW) == FRAMES


async def narrow_frames_reach_3_km_after_wide_ones():
    return await heard_over(NARROW, 3_000.0, warmed_up_on=WIDE) == FRAMES


async def inverted_frames_arrive():
    return await heard_over(INVERTED, 100.0) == FRAMES


async def standard_frames_arrive_after_inverted_ones():
    return await heard_over(NARROW, 100.0, warmed_up_on=INVERTED) == FRAMES


async def power_is_right_after_cold_sleep():
    bench = Bench()
    near, far = bench.radio("near"), bench.radio("far", at_m=(3_000.0, 0.0))
    for radio in (near, far):
        radio.use(NARROW)
        await bench.time.run(radio.start())
    near.sleep(warm=False)

    async def send():
        await bench.time.sleep_ms(50)
        await near.transmit(bytes(20))

    _, packet = await bench.time.run(send(), far.receive(bytearray(255), 500))
    return packet is not None


async def nothing_ends_early_after_a_headerless_packet():
    """A packet arrives 50 ms into a window of 1 s; what comes next must not be ended by that window's timer."""
    bench = Bench()
    near, far = bench.radio("near"), bench.radio("far", at_m=(100.0, 0.0))
    for radio in (near, far):
        radio.use(HEADERLESS)
        await bench.time.run(radio.start())

    async def send():
        await bench.time.sleep_ms(50)
        await near.transmit(bytes(20))
        await bench.time.sleep_ms(2_500)
        await near.transmit(bytes(20))

    async def hear():
        first = await far.receive(bytearray(255), 1_000)
        second = await far.listen(bytearray(255), 5_000)
        return first is not None and second is not None and far.counters["restarts"] == 0

    _, is_well = await bench.time.run(send(), hear())
    return is_well


def left_out(*_):
    """The work-around does nothing."""


def always_as_at_125_khz(chip, _channel):
    chip.write_register(0x0889, chip.read_register(0x0889) | 0x04)


def wrong_way_round(chip, channel):
    """As micropython-lib's driver has it."""
    value = chip.read_register(0x0736)
    chip.write_register(0x0736, value | 0x04 if channel.invert_iq else value & ~0x04)


def only_on_change(chip, channel):
    """As micropython-lib's driver has it, too; every SetPacketParams undoes it."""
    if getattr(chip, "inverted_before", None) != channel.invert_iq:
        value = chip.read_register(0x0736)
        chip.write_register(0x0736, value & ~0x04 if channel.invert_iq else value | 0x04)
        chip.inverted_before = channel.invert_iq


PROMISES = [
    ("15.1", narrow_frames_reach_3_km, "fix_tx_modulation", left_out),
    ("15.1", wide_frames_reach_2_km, "fix_tx_modulation", always_as_at_125_khz),
    ("15.1", wide_frames_reach_2_km_after_narrow_ones, "fix_tx_modulation", always_as_at_125_khz),
    ("15.1", narrow_frames_reach_3_km_after_wide_ones, "fix_tx_modulation", left_out),
    ("15.2", narrow_frames_reach_3_km, "fix_antenna_mismatch", left_out),
    ("15.2", power_is_right_after_cold_sleep, "fix_antenna_mismatch", left_out),
    ("15.3", nothing_ends_early_after_a_headerless_packet, "fix_implicit_timeout", left_out),
    ("15.4", inverted_frames_arrive, "fix_iq_polarity", left_out),
    ("15.4", inverted_frames_arrive, "fix_iq_polarity", only_on_change),
    ("15.4", inverted_frames_arrive, "fix_iq_polarity", wrong_way_round),
    ("15.4", standard_frames_arrive_after_inverted_ones, "fix_iq_polarity", wrong_way_round),
]
IDS = [f"{erratum}-{check.__name__}-{mutant.__name__}" for erratum, check, _, mutant in PROMISES]


@pytest.mark.parametrize("erratum, check, method, mutant", PROMISES, ids=IDS)
async def test_the_driver_keeps_the_promise(erratum, check, method, mutant):
    assert await check(), f"erratum {erratum}"


@pytest.mark.parametrize("erratum, check, method, mutant", PROMISES, ids=IDS)
async def test_a_driver_without_the_work_around_breaks_it(monkeypatch, erratum, check, method, mutant):
    monkeypatch.setattr(Chip, method, mutant)
    try:
        assert not await check(), f"nothing shows that {method} is missing (erratum {erratum})"
    except RadioError:
        pass  # an operation that was ended early is a broken promise, too
