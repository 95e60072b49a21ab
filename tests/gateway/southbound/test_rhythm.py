"""Who waits for each answer is answered at once; who does not is not taken for it."""

import asyncio
from pathlib import Path

import pytest

from gateway.mqtt.packet import V311, Puback, Publish
from gateway.southbound.rhythm import Rhythm
from tests.gateway.cores import running_core
from tests.gateway.mqtt.device_side import Device
from tests.gateway.southbound.listening import listening


def spoken(rhythm: Rhythm, clock: list[float], *, rest_s: float, times: int) -> list[bool]:
    """What is said of a device whose messages are answered after a second and that rests after each answer."""
    said = []
    for _ in range(times):
        said.append(rhythm.is_waiting("d"))
        clock[0] += 1.0
        rhythm.answered("d")
        clock[0] += rest_s
    return said


@pytest.mark.parametrize(
    "rest_s, expected",
    [
        (0.001, [False, False, True, True]),
        (0.09, [False, False, True, True]),
        (0.2, [False, False, False, False]),  # it has other things to do
    ],
)
def test_a_device_that_speaks_when_answered_is_known_by_its_third_message(rest_s: float, expected: list[bool]) -> None:
    clock = [0.0]
    assert spoken(Rhythm(clock_s=lambda: clock[0]), clock, rest_s=rest_s, times=4) == expected


def test_messages_in_flight_together_are_not_waiting() -> None:
    clock = [0.0]
    rhythm = Rhythm(clock_s=lambda: clock[0])
    spoken(rhythm, clock, rest_s=0.001, times=3)
    assert rhythm.is_waiting("d")
    assert not rhythm.is_waiting("d")  # the second one before the first was answered


async def test_a_script_that_sends_one_after_the_other_does_not_wait_for_company(tmp_path: Path) -> None:
    async with running_core(tmp_path, commit_window_s=10.0) as core, listening(core) as listener:
        async with Device(listener.port, version=V311) as device:
            await device.connect("script")
            async with asyncio.timeout(60):  # 20 times 10 s if each waited
                for number in range(1, 21):
                    payload = b'[{"n":"level","u":"m","v":%d,"t":%d}]' % (number, 1_700_000_000 + number)
                    device.send(Publish("up/script/senml", payload, 1, packet_id=number))
                    assert await device.receive(deadline_s=30) == Puback(number)
