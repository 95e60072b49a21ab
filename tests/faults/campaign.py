"""A street, its gateway under fire, and the count: nothing acknowledged lost, no nonce twice, no id twice, in order.

Nodes report by LoRa and at the listener; with `broker` two third-party devices publish too, one at the listener and
one at that broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boards.virtual.board import VirtualBoard
from drivers.link import ack, keys
from drivers.link.frame import FrameError, aad_downlink, aad_uplink, parse, reconstruct_counter
from drivers.link.unpack import unpack
from gateway.errors import GatewayError
from gateway.identity.seal import Aead
from lamppost.demo.arrivals import Arrivals
from lamppost.demo.report import Issued, issued_ids
from lamppost.demo.stage import Stage
from lamppost.demo.subscriber import subscribe
from provisioning.enrol import Enrolment, enrol
from tests.faults import unsynced
from tests.faults.devices import Devices
from tests.faults.gateway_child import POINTS

CHILD = (sys.executable, "-m", "tests.faults.gateway_child")
GATEWAY = "gw-fault"


@dataclass
class Count:
    """What a campaign found. All but the first four must be empty.

    acknowledged  reports of nodes
    published     messages of third-party devices that were acknowledged to them
    out_of_order  ids that came behind one of the same node, class and lane that was stored later
    """

    kills: int = 0
    issued: int = 0
    acknowledged: int = 0
    published: int = 0
    lost: set[str] = field(default_factory=set)
    acknowledged_and_lost: set[str] = field(default_factory=set)
    duplicates: list[str] = field(default_factory=list)
    repeated_nonces: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        lost = self.lost or self.acknowledged_and_lost
        return not (lost or self.duplicates or self.repeated_nonces or self.out_of_order)


class Campaign:
    """An async context manager. `kill_gateway` may be called as often as wanted, then `finish` once."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int,
        seed: int,
        mutant: str | None = None,
        bearers: Sequence[str] = ("lora", "mqtt"),
        broker_port: int | None = None,
    ) -> None:
        self.stage = Stage(
            nodes=nodes,
            city=None,
            gateway_id=GATEWAY,
            keep=folder,
            seed=seed,
            sample_s=1,
            bearers=bearers,
            gateway_command=CHILD,
        )
        self.chance = random.Random(seed)
        self.arrivals = Arrivals(GATEWAY)
        self.count = Count()
        self._mutant = ("--mutant", mutant) if mutant else ()
        self._notes = folder / "notes"
        self.frames = folder / "frames.jsonl"
        self._stored = folder / "stored.jsonl"
        self._broker_port = broker_port
        self._yesterday: dict[str, bytes] = {}

    async def __aenter__(self) -> Campaign:
        await self.stage.__aenter__()
        self.enrolments = {node: [enrolment] for node, enrolment in self.stage.enrolments().items()}
        self._subscription = subscribe(
            self.stage.broker, self.stage.topic, lambda payload, properties: _take(self.arrivals, payload, properties)
        )
        await self._subscription.__aenter__()
        await self.stage.gateway.stop()
        self.devices = await self._start_devices()
        await self.stage.power_on()
        return self

    async def _start_devices(self) -> Devices:
        """Publishers at the listener and at the broker, which the gateway has subscribed at before they begin."""
        if self._broker_port is None:
            return Devices({})
        config = self.stage.folder / "gateway.toml"
        table = "[southbound.mqtt]\n"
        config.write_text(
            config.read_text().replace(table, f'{table}broker = "mqtt://127.0.0.1:{self._broker_port}"\n')
        )
        await self.start_gateway()
        async with asyncio.timeout(20):
            while not self.stage.gateway.status()["parts"]["southbound.broker"]["is_subscribed"]:
                await asyncio.sleep(0.05)
        await self.stage.gateway.stop()
        return Devices({"meter": self.stage.listen_port, "pump": self._broker_port})

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.devices.stop)
        await self._subscription.__aexit__(None, None, None)
        await self.stage.__aexit__(*exc)

    async def start_gateway(self, *extra: str) -> None:
        watched = ("--notes", str(self._notes), "--frames", str(self.frames), "--stored", str(self._stored))
        await self.stage.gateway.start(extra=(*watched, *self._mutant, *extra))

    async def kill_often(self, kills: int) -> None:
        """`kills` deaths: at each boundary in turn, every third at a random moment."""
        for index in range(kills):
            point = POINTS[index % len(POINTS)]
            spec = None if index % 3 == 2 else f"{point}:{self.chance.randint(1, 6)}"
            if point.startswith(("commit", "ack")):
                self.stage.silence_city()  # then only the disk has what is acknowledged
            await self.kill_gateway(spec)
            self.stage.wake_city()

    async def kill_gateway(self, point: str | None, *, within_s: float = 6.0) -> None:
        """Run the gateway until it dies at `point` ("commit.before:3") or at any moment; lose what was not synced."""
        try:
            await self.start_gateway(*(("--kill", point) if point else ()))
        except GatewayError:
            if self.stage.gateway.is_running or not point:
                raise
        moment_s = within_s if point else self.chance.uniform(0.05, within_s)
        await self.stage.gateway.wait(moment_s)
        await self.stage.gateway.kill()
        unsynced.lose(self._notes, self.chance)
        self.count.kills += 1

    async def spoil_node(self, node: str, fault: str) -> None:
        """Do one thing to a node that may happen on a pole, then put it back into service as a technician would."""
        board = self.stage.boards()[node]
        await asyncio.to_thread(self._cut, board)
        if fault == "erased":
            board.erase_flash()
            board.write_files(self.stage.files_of(node))
        elif fault == "restored" and node in self._yesterday:
            board.replace_flash(self._yesterday[node])
        elif fault == "nvs":
            board.erase_nvs()
            made = enrol(self.stage.data_dir, renew=node)
            board.set_nvs("lamppost", made.nvs())
            self.enrolments[node].append(made)
            self.stage.gateway.reload()
        if self.chance.random() < 0.3:
            self._yesterday[node] = board.flash()
        await self.stage.switch_on(node)
        self.count.kills += 1

    def _cut(self, board: VirtualBoard) -> None:
        """The power goes in the middle of one of the next flash operations."""
        board.cut_at_flash_op(self.chance.randint(1, 40), torn=self.chance.random() < 0.7)
        if not board.wait_until_off(8.0):
            board.cancel_cut()
            board.power_cut()

    async def wait_for_ack(self, node: str, *, within_s: float) -> bool:
        """Whether the gateway acknowledges something new of that node in time: it goes on, and not in circles."""
        before = self._answers(node)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._answers(node) <= before:
                    await asyncio.sleep(0.2)
                return True
        return False

    def _answers(self, node: str) -> int:
        """How many frames of a node were answered so far."""
        entries = map(json.loads, self.frames.read_text().splitlines() if self.frames.exists() else ())
        return sum(entry["node"] == node and entry["down"] is not None for entry in entries)

    async def finish(self, *, within_s: float = 90.0) -> Count:
        """Let the gateway run in peace until the city has everything; then count."""
        await self.start_gateway()
        issued = await self._quiet(within_s)
        await self.stage.gateway.stop()
        self._judge(issued)
        return self.count

    async def _quiet(self, within_s: float) -> Issued:
        """Let nodes measure no more but once, devices publish no more, and wait until the city has all of it."""
        await asyncio.to_thread(self.devices.stop)
        for node in self.stage.boards():
            await self.stage.slow_down(node, sample_s=3600)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not await self._has_arrived():
                    await asyncio.sleep(0.2)
        issued: Issued = {}
        for node in self.stage.boards():
            issued |= await self.stage.switch_off(node)
        return issued

    async def _has_arrived(self) -> bool:
        booted = all(
            "reports wait" in board.console().rsplit("opens the REPL", 1)[-1] for board in self.stage.boards().values()
        )
        issued = await self.stage.issued()
        missing = any(self._missing(node, issued) for node in issued) or self.devices.missing(self.arrivals)
        return booted and not missing

    def _missing(self, node: str, issued: Issued) -> set[str]:
        return issued_ids({node: issued.get(node, {})}) - self.arrivals.node_ids()

    def _judge(self, issued: Issued) -> None:
        measured, delivered = issued_ids(issued), self.arrivals.node_ids()
        missing = self.devices.missing(self.arrivals)
        found = read_frames(self.frames, self.enrolments)
        self.count.issued = len(measured)
        self.count.acknowledged = len(found.acknowledged)
        self.count.published = self.devices.acknowledged
        self.count.lost = measured - delivered
        self.count.acknowledged_and_lost = (found.acknowledged - delivered) | missing
        self.count.duplicates = sorted({*self.arrivals.duplicates, *found.two_contents})
        self.count.repeated_nonces = found.repeated
        self.count.out_of_order = out_of_order(self.arrivals, self._stored)


def _take(arrivals: Arrivals, payload: bytes, properties: list[tuple[str, str]]) -> None:
    arrivals.add(payload, properties)


def out_of_order(arrivals: Arrivals, stored: Path) -> list[str]:
    """Ids that first came behind one of the same node, class and lane that was stored after them."""
    place: dict[str, tuple[int, str]] = {}  # by id: when it was stored, and its class; the last note is the true one
    for index, line in enumerate(stored.read_text().splitlines()):
        record_id, stream = json.loads(line)
        place[record_id] = (index, stream)
    latest: dict[tuple[str, str, str], int] = {}
    wrong = []
    for record in arrivals.records.values():
        index, stream = place[record.record_id]
        line_of = (record.node, stream, record.lane)
        if index < latest.get(line_of, -1):
            wrong.append(record.record_id)
        latest[line_of] = max(index, latest.get(line_of, -1))
    return wrong


@dataclass
class Frames:
    """What the frames on the wire say."""

    acknowledged: set[str] = field(default_factory=set)
    repeated: list[str] = field(default_factory=list)  # nonces under which two different frames went out
    two_contents: list[str] = field(default_factory=list)  # sequences under which two different reports went out


def read_frames(log: Path, enrolments: Mapping[str, Sequence[Enrolment]]) -> Frames:
    """Open every frame that passed with the nodes' keys; find what was acknowledged, and what came twice.

    enrolments  of each node, oldest first
    """
    found = Frames()
    reader = {node: _NodeReader(enrolment) for node, enrolment in enrolments.items()}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["node"] in reader and entry["reason"] is None:
            reader[entry["node"]].read(bytes.fromhex(entry["up"]), bytes.fromhex(entry["down"] or ""), found)
    return found


class _NodeReader:
    """Opens the frames of one node, in the order in which the gateway met them."""

    def __init__(self, enrolments: Sequence[Enrolment]) -> None:
        self._id = enrolments[0].id
        self._roots = [(enrolment.epoch, enrolment.root_key) for enrolment in enrolments]
        self._epoch, self._highest_up, self._highest_down = enrolments[0].epoch, 0, 0
        self._used: dict[tuple[str, bytes, int, int], bytes] = {}
        self._contents: dict[
            int, dict[int, object]
        ] = {}  # by epoch and sequence: every report that was ever in a frame

    def read(self, up: bytes, down: bytes, found: Frames) -> None:
        frame = parse(up)
        self._epoch = frame.epoch if frame.is_full else self._epoch
        counter = frame.counter if frame.is_full else reconstruct_counter(frame.counter, self._highest_up)
        self._highest_up = max(self._highest_up, counter) if not frame.is_full else counter
        self._note("up", counter, up, found)
        plain = self._open(keys.UP, counter, aad_uplink(frame.head, self._epoch, counter), up[frame.header_len :])
        body = unpack(plain, full=frame.is_full)
        epoch = body.epoch or self._epoch
        contents = self._contents.setdefault(epoch, {})
        for report in body.resolve(max(contents, default=0)).reports:
            content = (report.schema, repr(report.values))
            if contents.setdefault(report.seq, content) != content:
                found.two_contents.append(f"{self._id}/{epoch}/{report.seq}")
        if down:
            self._read_ack(down, counter, found)

    def _read_ack(self, down: bytes, answered: int, found: Frames) -> None:
        frame = parse(down)
        counter = frame.counter if frame.is_full else reconstruct_counter(frame.counter, self._highest_down)
        self._highest_down = max(self._highest_down, counter)
        self._note("down", counter, down, found)
        aad = aad_downlink(frame.head, self._epoch, counter, answered)
        said = ack.unpack_ack(self._open(keys.DOWN, counter, aad, down[frame.header_len :]))
        epoch = said.epoch or self._epoch
        sent = self._contents.get(epoch, {})
        said.resolve(max(sent, default=-1) + 1)
        found.acknowledged.update(f"{self._id}/{epoch}/{seq}" for seq in sent if said.holds(seq))

    def _open(self, direction: bytes, counter: int, aad: bytes, sealed: bytes) -> bytes:
        key, iv = keys.derive(self._root(), self._epoch, direction)
        try:
            return Aead(key).open(keys.nonce(iv, counter), aad, sealed)
        except FrameError as error:
            raise AssertionError(f"{self._id} {direction.decode()} {self._epoch}/{counter}: {error.reason}") from None

    def _root(self) -> bytes:
        """The root key that was in force in the epoch."""
        return [root for epoch, root in self._roots if epoch <= self._epoch][-1]

    def _note(self, direction: str, counter: int, frame: bytes, found: Frames) -> None:
        earlier = self._used.setdefault((direction, self._root(), self._epoch, counter), frame)
        if earlier != frame:
            found.repeated.append(f"{self._id} {direction} {self._epoch}/{counter}")
