"""Who waits for each answer is answered at once; who does not is not taken for it."""

import asyncio
import math
from pathlib import Path

import pytest

from gateway.mqtt.packet import V311, Puback, Publish
from gateway.southbound.rhythm import Rhythm
from tests.gateway.cores import running_core
from tests.gateway.mqtt.device_side import Device
from tests.gateway.southbound.listening import listening


def spoken(rhythm: Rhythm, clock: list[float], *, rest_s: float, times: int, count: int = 1) -> list[bool]:
    """What is said of a device whose messages are answered after a second and that rests after each answer."""
    said = []
    for _ in range(times):
        said.append(rhythm.is_any_waiting({"d": count}))
        clock[0] += 1.0
        rhythm.answered({"d": count})
        clock[0] += rest_s
    return said


@pytest.mark.parametrize(
    "rest_s, count, expected",
    [
        (0.001, 1, [False, False, True, True]),
        (0.09, 1, [False, False, True, True]),
        (0.2, 1, [False, False, False, False]),  # it has other things to do
        (0.001, 20, [False, False, True, True]),  # its window is full
        (0.001, 65, [False, False, False, False]),  # so many are company enough
    ],
)
def test_who_speaks_when_answered_is_known_by_its_third_turn(rest_s: float, count: int, expected: list[bool]) -> None:
    clock = [0.0]
    assert spoken(Rhythm(clock_s=lambda: clock[0]), clock, rest_s=rest_s, times=4, count=count) == expected


@pytest.mark.parametrize("after_s, expected", [(0.01, True), (0.3, False)])
def test_who_goes_on_unanswered_is_not_waiting(after_s: float, expected: bool) -> None:
    clock = [0.0]
    rhythm = Rhythm(clock_s=lambda: clock[0])
    spoken(rhythm, clock, rest_s=0.001, times=3)
    assert rhythm.is_any_waiting({"d": 1})
    clock[0] += after_s  # soon: a window that is filled in several packets
    assert rhythm.is_any_waiting({"d": 1}) is expected


class Clocked:
    """A device that speaks at fixed times; answered after a wait that `answer_s` gives, or after 5 ms if hurried."""

    def __init__(self, every_s: float) -> None:
        self._every_s, self._now_s, self._due_s, self._unanswered = every_s, 0.0, math.inf, 0
        self._rhythm = Rhythm(clock_s=lambda: self._now_s)

    def speaks(self, times: int, *, answer_s: float) -> list[bool]:
        """What is said of each message."""
        return [self._speaks_once(answer_s) for _ in range(times)]

    def _speaks_once(self, answer_s: float) -> bool:
        next_s = self._now_s + self._every_s
        if self._due_s <= next_s:
            self._now_s, self._due_s = self._due_s, math.inf
            self._rhythm.answered({"d": self._unanswered})
            self._unanswered = 0
        self._now_s = next_s
        is_hurried = self._rhythm.is_any_waiting({"d": 1})
        self._unanswered += 1
        self._due_s = min(self._due_s, next_s + (0.005 if is_hurried else answer_s))
        return is_hurried


@pytest.mark.parametrize("every_s", [0.005, 0.02, 0.05, 0.09, 0.15, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("answer_s", [0.25, 0.6, 1.5])
def test_who_speaks_by_the_clock_is_not_waiting(every_s: float, answer_s: float) -> None:
    assert not any(Clocked(every_s).speaks(300, answer_s=answer_s))


@pytest.mark.parametrize("every_s", [0.02, 0.05, 0.09])
def test_who_speaks_by_the_clock_while_others_hurry_us_is_let_go_soon(every_s: float) -> None:
    device = Clocked(every_s)
    assert device.speaks(50, answer_s=0.001)[-1]  # taken for one who waits
    said = device.speaks(300, answer_s=0.25)
    assert said[0]
    assert not any(said[150:])


def test_devices_beyond_the_bound_are_forgotten_together() -> None:
    clock = [0.0]
    rhythm = Rhythm(clock_s=lambda: clock[0])
    spoken(rhythm, clock, rest_s=0.001, times=3)
    rhythm.is_any_waiting({f"device {at}": 1 for at in range(10_000)})
    rhythm.answered({"d": 1})  # it is not known any more
    assert not rhythm.is_any_waiting({"d": 1})


async def test_a_script_that_sends_one_after_the_other_does_not_wait_for_company(tmp_path: Path) -> None:
    async with running_core(tmp_path, commit_window_s=10.0) as core, listening(core) as listener:
        async with Device(listener.port, version=V311) as device:
            await device.connect("script")
            async with asyncio.timeout(60):  # 20 times 10 s if each waited
                for number in range(1, 21):
                    payload = b'[{"n":"level","u":"m","v":%d,"t":%d}]' % (number, 1_700_000_000 + number)
                    device.send(Publish("up/script/senml", payload, 1, packet_id=number))
                    assert await device.receive(deadline_s=30) == Puback(number)


async def test_a_client_whose_window_is_full_does_not_wait_for_company(tmp_path: Path) -> None:
    async with running_core(tmp_path, commit_window_s=10.0) as core, listening(core) as listener:
        async with Device(listener.port, version=V311) as device:
            await device.connect("modem")
            async with asyncio.timeout(60):  # 10 times 10 s if each window waited
                for window in range(10):
                    numbers = range(1 + 20 * window, 21 + 20 * window)
                    for number in numbers:
                        payload = b'[{"n":"level","u":"m","v":%d,"t":%d}]' % (number, 1_700_000_000 + number)
                        device.send(Publish("up/modem/senml", payload, 1, packet_id=number))
                    for number in numbers:
                        assert await device.receive(deadline_s=30) == Puback(number)
