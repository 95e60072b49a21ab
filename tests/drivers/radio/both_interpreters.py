"""One radio's day on a recorder: what the driver sends must not depend on the interpreter."""

import asyncio

from drivers.radio.sx126x import SX126x
from tests.drivers.radio.recorder import Pin, Recorder, StepClock


async def a_day():
    """Start, transmit, receive, scan, sleep, wake: return every byte sent, as hex, and the counters."""
    recorder = Recorder()
    recorder.irq_after = {0x83: 0x0001, 0x82: 0x0002, 0xC5: 0x0080}  # TxDone, RxDone, CadDone at once
    radio = SX126x(
        recorder,
        recorder.nss,
        recorder.reset,
        recorder.busy,
        recorder.dio1,
        tcxo_v=1.8,
        dio2_rf_switch=True,
        rxen=Pin(),
        clock=StepClock(),
    )
    await radio.start()
    radio.configure(868_100_000, 7, 125_000, 1, 14)
    airtime_us = await radio.transmit(b"twenty-eight bytes, no more.")
    radio.configure(869_525_000, 12, 125_000, 1, 22, invert_iq=True, implicit_len=4)
    packet = await radio.receive(bytearray(255), 100)
    is_free = await radio.channel_free()
    radio.sleep()
    await radio.transmit_at(b"late", 10_000_000)
    lines = [bytes_of(mosi) for mosi in recorder.sent]
    lines.append(f"{airtime_us} {packet.length} {packet.rssi_dbm} {packet.snr_db} {is_free}")
    lines.append(" ".join(f"{name}={count}" for name, count in sorted(radio.counters.items())))
    return lines


def bytes_of(mosi):
    return "".join(f"{byte:02x}" for byte in mosi)


if __name__ == "__main__":
    print("\n".join(asyncio.run(a_day())))
