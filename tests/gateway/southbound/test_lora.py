"""The gateway's radio against real chip models on one air: hears, answers in the window, and outlives its radio."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from boards import data
from boards.virtual.air import Air
from boards.virtual.chips.sx1262.chip import Sx1262
from boards.virtual.clock import WallClock
from boards.virtual.loop import Loop
from boards.virtual.socket_board import SocketBoard
from boards.virtual.wiring import Chips
from drivers import clock as driver_clock
from drivers.link import beacon
from drivers.link.frame import URGENT, FrameError
from drivers.link.join import pack_join
from drivers.radio.lora import Channel, RadioError
from firmware.bearer_lora import LoraBearer
from firmware.config import parse
from firmware.rtc import RtcState
from firmware.uptime import Uptime
from gateway.config import LoraSouthbound
from gateway.core import Core
from gateway.duty import DutyBook
from gateway.identity.chain import ChainFile
from gateway.intake import Intake, Uplink, Verdict
from gateway.southbound.beacons import Beacons
from gateway.southbound.lora import LoraRadio
from gateway.southbound.radio_device import open_device
from gateway.start import open_core
from provisioning.enrol import Enrolment, enrol
from tests.gateway.joining import JoiningNode, Site
from tests.gateway.sealed_node import SealedNode

pytestmark = [pytest.mark.serial, pytest.mark.timeout(30)]  # a receive window is a matter of milliseconds

UP = Channel(868_100_000, 7, 125_000, 1, 14)
ALARMS = 20
FAR = "stranger-down-the-road"  # 150 m from the gateway, the node is at 30 m: its frames are captured
DOWN = Channel(869_525_000, 7, 125_000, 1, 14, invert_iq=True)


class Radios:
    """Two radios on one air, each behind a socket: the gateway's and a node's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clock = WallClock()
        self._air = Air(self._clock, 1)
        self._loop = Loop()
        self._boards: dict[str, SocketBoard] = {}

    def start(self) -> None:
        self._loop.start()

    def close(self) -> None:
        for name in list(self._boards):
            self.unplug(name)
        self._loop.close()

    def plug(self, name: str) -> None:
        """A radio answers at `path(name)` from now on."""
        chip = Sx1262(self._air, self._clock, name=name, position_m=(10.0 * len(name), 0.0))
        board = SocketBoard(self._loop, self.path(name), data.load("heltec_v3"), Chips(radio=chip))
        self._boards[name] = board
        self._loop.call(board.start)

    def unplug(self, name: str) -> None:
        self._loop.call(self._boards.pop(name).close)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.sock"

    def config(self, name: str) -> LoraSouthbound:
        return LoraSouthbound(device=f"virtual:{self.path(name)}")


@pytest.fixture
def radios() -> Iterator[Radios]:
    with tempfile.TemporaryDirectory(prefix="lamppost-") as folder:  # tmp_path is too long for a socket
        radios = Radios(Path(folder))
        radios.start()
        yield radios
        radios.close()


@pytest.fixture
def enrolment(tmp_path: Path) -> Enrolment:
    return enrol(tmp_path, alias="lamp-1")


@pytest.fixture
async def core(tmp_path: Path, enrolment: Enrolment) -> AsyncIterator[Core]:
    async with open_core(data_dir=tmp_path, gateway_id="gw-1", cities=["city"]) as core, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(core.run())
        yield core
        running.cancel()


@asynccontextmanager
async def served(
    radios: Radios, core: Core, tmp_path: Path, *, beacons: Beacons | None = None
) -> AsyncIterator[LoraRadio]:
    """The gateway's side, running inside the block."""
    radio = LoraRadio(
        radios.config("gateway"),
        core.intake,
        data_dir=tmp_path,
        count=core.counters.add,
        beacons=beacons,
        knows=lambda address: bool(core.nodes.candidates(address)),
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(radio.run())
        yield radio
        running.cancel()


async def until(fact: Callable[[], bool], *, deadline_s: float = 10.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not fact():
            await asyncio.sleep(0.01)


class Peer:
    """The node's side: sends a frame, then hears what comes in its window."""

    def __init__(self, radios: Radios, name: str = "node") -> None:
        device = open_device(radios.config(name))
        self.radio, self.close = device.radio, device.close
        self._buf = bytearray(255)

    async def send(self, frame: bytes) -> int:
        """Returns the ticks at which the frame ended."""
        self.radio.use(UP)
        await self.radio.transmit(frame)
        return int(self.radio.tx_done_us)

    async def hear(self, timeout_ms: int = 2_500) -> tuple[bytes, int] | None:
        """The next downlink, and the ticks at which its end was seen."""
        self.radio.use(DOWN)
        packet = await self.radio.receive(self._buf, timeout_ms)
        return None if packet is None else (bytes(self._buf[: packet.length]), packet.done_us)


@pytest.fixture
def peer(radios: Radios) -> Iterator[Peer]:
    radios.plug("gateway")
    radios.plug("node")
    peer = Peer(radios)
    yield peer
    peer.close()


@pytest.mark.parametrize("kind", [1, URGENT])
async def test_report_is_stored_and_acked_two_seconds_after_its_end(
    radios: Radios, core: Core, tmp_path: Path, peer: Peer, enrolment: Enrolment, kind: int
) -> None:
    node = SealedNode(enrolment)
    async with served(radios, core, tmp_path) as radio:
        await until(lambda: radio.status()["state"] == "receiving")
        ended = await peer.send(node.report(kind=kind))
        heard = await peer.hear()
        assert heard is not None
        downlink, done = heard
        began_us = driver_clock.ticks_diff(done, ended) - DOWN.airtime_us(len(downlink))
        assert node.open_ack(downlink).holds(0)
        assert 1_900_000 < began_us < 2_160_000  # both ends see the moment late on a busy machine
    audit = await core.outbox.audit()
    assert audit[0].accepted == 1
    assert core.counters["lora_acks_sent"] == 1
    assert core.counters["lora_deaf_ms"] >= DOWN.airtime_us(len(downlink)) // 1_000


class Tap:
    """Passes frames on to the intake and keeps a copy."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.uplinks: list[Uplink] = []

    async def submit(self, uplink: Uplink) -> Verdict:
        self.uplinks.append(uplink)
        return await self._intake.submit(uplink)


async def test_signal_airtime_and_time_of_reception_reach_the_intake(
    radios: Radios, core: Core, tmp_path: Path, peer: Peer
) -> None:
    tap = Tap(core.intake)
    radio = LoraRadio(radios.config("gateway"), tap, data_dir=tmp_path, count=core.counters.add)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(radio.run())
        await until(lambda: radio.status()["state"] == "receiving")
        await peer.send(b"\x41hello")
        sent_at_s = time.time()
        await until(lambda: bool(tap.uplinks))
        running.cancel()
    uplink = tap.uplinks[0]
    assert uplink.frame == b"\x41hello"
    assert uplink.airtime_us == UP.airtime_us(6)
    assert uplink.received_at_s == pytest.approx(sent_at_s, abs=0.05)
    assert uplink.rssi_dbm is not None
    assert -130 < uplink.rssi_dbm < 0


async def test_noise_is_counted_and_answered_by_silence(radios: Radios, core: Core, tmp_path: Path, peer: Peer) -> None:
    async with served(radios, core, tmp_path) as radio:
        await until(lambda: radio.status()["state"] == "receiving")
        await peer.send(b"\xff" * 40)
        assert await peer.hear(2_200) is None
    assert core.counters["lora_frames_received"] == 1
    assert core.counters["lora_acks_sent"] == 0
    assert sum(n for name, n in core.counters.snapshot().items() if name.startswith("refused_")) == 1


async def test_without_airtime_left_a_report_is_stored_and_not_acked(
    radios: Radios, core: Core, tmp_path: Path, peer: Peer, enrolment: Enrolment
) -> None:
    spent = DutyBook(tmp_path / "duty.bin", freq_hz=869_525_000, bandwidth_hz=125_000)
    spent.record(300_000_000)  # of 360 s; the last fifth is for urgent ones
    async with served(radios, core, tmp_path) as radio:
        await until(lambda: radio.status()["state"] == "receiving")
        await peer.send(SealedNode(enrolment).report())
        assert await peer.hear(2_200) is None
    assert core.counters["lora_acks_skipped_duty"] == 1
    assert (await core.outbox.audit())[0].accepted == 1


async def test_missing_radio_is_a_state_and_is_found_when_it_comes(radios: Radios, core: Core, tmp_path: Path) -> None:
    async with served(radios, core, tmp_path) as radio:
        await until(lambda: radio.status()["state"] == "missing")
        assert "start it first" in str(radio.status()["detail"])
        radios.plug("gateway")
        await until(lambda: radio.status()["state"] == "receiving")


async def test_radio_that_goes_away_is_served_again_when_it_is_back(
    radios: Radios, core: Core, tmp_path: Path, peer: Peer, enrolment: Enrolment
) -> None:
    async with served(radios, core, tmp_path) as radio:
        await until(lambda: radio.status()["state"] == "receiving")
        radios.unplug("gateway")
        await until(lambda: radio.status()["state"] == "missing")
        radios.plug("gateway")
        await until(lambda: radio.status()["state"] == "receiving")
        await peer.send(SealedNode(enrolment).report())
        assert await peer.hear() is not None


async def test_beacons_go_out_as_their_intervals_begin(radios: Radios, core: Core, tmp_path: Path, peer: Peer) -> None:
    """Heard by the clock of the machine, each in its interval: a node that knows the anchor believes them."""
    file = ChainFile(tmp_path, interval_s=1, boot_id="b")
    chain = file.current()
    memory = beacon.remember(file.anchor() or b"", file.now_ms())
    certain = []
    sender = Beacons(file, core.clock, count=core.counters.add)
    async with served(radios, core, tmp_path, beacons=sender):
        for _ in range(3):
            frame, _ = await peer.hear(2_500) or (b"", 0)
            ended_ms = file.now_ms()
            began_ms = ended_ms - DOWN.airtime_us(len(frame)) // 1_000
            assert -1 <= began_ms - chain.start_ms(beacon.parse(frame)[1]) < 250
            memory, heard = beacon.take(memory, frame, began_ms, ended_ms, lambda limit: 0)
            certain += heard
    assert len(certain) == 2
    assert certain[0][2] / 256 == pytest.approx(time.time(), abs=8)
    assert core.counters["lora_beacons_sent"] >= 3


def bearer_of(peer: Peer) -> LoraBearer:
    """The firmware's own bearer on this radio."""
    lora = parse({"bearer": "lora", "sensors": ["bme280"]}).lora
    return LoraBearer(peer.radio, lora, Uptime(driver_clock), driver_clock, RtcState(lambda image: None))


async def alarm_until_acked(bearer: LoraBearer, node: SealedNode) -> tuple[float, int]:
    """An alarm as the firmware sends it. Returns the seconds to its ack, and how many frames it took."""
    before, started_s = node.counter, time.monotonic()

    def answers(downlink: bytes, back: int) -> bool:
        try:
            return bool(node.open_ack(downlink, back=back))
        except (FrameError, InvalidTag):
            return False  # an answer to somebody else, or to another frame

    def take(downlink: bytes) -> bool:
        return any(answers(downlink, back) for back in range(node.counter - before))

    frame, is_acked = node.report(kind=URGENT), False
    while not is_acked:
        await bearer.ready()
        is_acked = await bearer.exchange(frame, take, node.repeat)
        frame = node.repeat()
    return time.monotonic() - started_s, node.counter - before


@asynccontextmanager
async def flooded(radios: Radios, site: Site, name: str, address: Callable[[], int]) -> AsyncIterator[None]:
    """A stranger asks to join three times a second, in the name of these addresses."""
    radios.plug(name)
    flooder, stranger = Peer(radios, name), JoiningNode(site.trust())

    async def flood() -> None:
        for at in itertools.count():
            message_1 = stranger.joiner._offer(bytes([at % 24])).message_1
            try:
                await flooder.send(pack_join(1, address(), 0, message_1))
            except RadioError:  # this machine had no time for the stranger's radio
                await flooder.radio.start()
            await asyncio.sleep(0.3 * random.random() + 0.1)

    async with asyncio.TaskGroup() as tasks:
        flooding = tasks.create_task(flood())
        yield
        flooding.cancel()
    flooder.close()


async def alarms_in_the_flood(
    radios: Radios, core: Core, tmp_path: Path, enrolment: Enrolment, peer: Peer, *, who: str, where: str, count: int
) -> list[float]:
    """Seconds until each of so many alarms was acked, while a stranger asks to join without end.

    who    "anybody": in any name; "the node itself": in the node's
    where  FAR, or "near": where the node is, so that its frames drown the alarms they meet, and theirs it
    """
    site = Site()
    site.endorse(tmp_path)
    node = SealedNode(enrolment)
    address = int(enrolment.address, 16)
    found: list[tuple[float, int]] = []
    async with served(radios, core, tmp_path) as radio:
        await until(lambda: radio.status()["state"] == "receiving")
        names = (lambda: random.randrange(0x10000)) if who == "anybody" else (lambda: address)
        async with flooded(radios, site, where, names):
            bearer = bearer_of(peer)
            for _ in range(count):
                found.append(await alarm_until_acked(bearer, node))
                await asyncio.sleep(random.random())
    times_s = sorted(one for one, _ in found)
    counters = {name: n for name, n in core.counters.snapshot().items() if "lora" in name or "join" in name}
    print(
        f"{who}, {where}: {count} alarms, {sum(frames for _, frames in found)} frames: p50 {times_s[count // 2]:.1f} s,"
        f" over 5 s {sum(one >= 5 for one in times_s)}, at most {times_s[-1]:.1f} s; {counters}"
    )
    return times_s


async def test_an_alarm_is_acked_while_joins_flood_the_air(radios, core, tmp_path, enrolment, peer) -> None:
    times_s = await alarms_in_the_flood(
        radios, core, tmp_path, enrolment, peer, who="the node itself", where=FAR, count=1
    )
    assert times_s[0] < 15  # how soon is measured in the soak
    assert core.counters["lora_joins_skipped_share"] > 0


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["anybody", "the node itself"])
@pytest.mark.parametrize("where", [FAR, "near"])
async def test_an_alarm_is_acked_within_five_seconds_while_joins_flood_the_air(
    radios, core, tmp_path, enrolment, peer, who, where
) -> None:
    times_s = await alarms_in_the_flood(radios, core, tmp_path, enrolment, peer, who=who, where=where, count=ALARMS)
    late = sum(one >= 5 for one in times_s)
    assert late <= (0 if where == FAR else ALARMS // 20)  # chance may drown all six frames of one that is near
