"""A street, its gateway under fire, and the count afterwards: nothing acknowledged lost, no nonce twice, no id twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drivers.link import ack, keys
from drivers.link.frame import FrameError, aad_downlink, aad_uplink, parse, reconstruct_counter
from drivers.link.unpack import unpack
from gateway.identity.seal import Aead
from lamppost.demo.arrivals import Arrivals
from lamppost.demo.report import Issued, issued_ids
from lamppost.demo.stage import Stage
from lamppost.demo.subscriber import subscribe
from provisioning.enrol import Enrolment
from tests.faults import unsynced

CHILD = (sys.executable, "-m", "tests.faults.gateway_child")
GATEWAY = "gw-fault"


@dataclass
class Count:
    """What a campaign found. All but the first three must be empty."""

    kills: int = 0
    issued: int = 0
    acknowledged: int = 0
    lost: set[str] = field(default_factory=set)
    acknowledged_and_lost: set[str] = field(default_factory=set)
    duplicates: list[str] = field(default_factory=list)
    repeated_nonces: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.acknowledged_and_lost or self.duplicates or self.repeated_nonces)


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

    async def __aenter__(self) -> Campaign:
        await self.stage.__aenter__()
        self._subscription = subscribe(
            self.stage.broker, self.stage.topic, lambda payload, properties: _take(self.arrivals, payload, properties)
        )
        await self._subscription.__aenter__()
        await self.stage.gateway.stop()
        await self.stage.power_on()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._subscription.__aexit__(None, None, None)
        await self.stage.__aexit__(*exc)

    async def start_gateway(self, *extra: str) -> None:
        watched = ("--notes", str(self._notes), "--frames", str(self.frames), *self._mutant)
        await self.stage.gateway.start(extra=(*watched, *extra))

    async def kill_gateway(self, point: str | None, *, within_s: float = 6.0) -> None:
        """Run the gateway until it dies at `point` ("commit.before:3"), or at a random moment, and lose what was not synced."""
        try:
            await self.start_gateway(*(("--kill", point) if point else ()))
        except Exception:
            if self.stage.gateway.is_running or not point:
                raise
        moment_s = within_s if point else self.chance.uniform(0.05, within_s)
        await self.stage.gateway.wait(moment_s)
        await self.stage.gateway.kill()
        unsynced.lose(self._notes, self.chance)
        self.count.kills += 1

    async def finish(self, *, within_s: float = 90.0) -> Count:
        """Let the gateway run in peace until the city has everything; then count."""
        await self.start_gateway()
        issued = await self._quiet(within_s)
        await self.stage.gateway.stop()
        self._judge(issued)
        return self.count

    async def _quiet(self, within_s: float) -> Issued:
        """Let the nodes measure no more but once, and wait until the city has all of it."""
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
        return booted and not any(self._missing(node, issued) for node in issued)

    def _missing(self, node: str, issued: Issued) -> set[str]:
        return issued_ids({node: issued.get(node, {})}) - self.arrivals.node_ids()

    def _judge(self, issued: Issued) -> None:
        measured, delivered = issued_ids(issued), self.arrivals.node_ids()
        found = read_frames(self.frames, self.stage.enrolments())
        self.count.issued = len(measured)
        self.count.acknowledged = len(found.acknowledged)
        self.count.lost = measured - delivered
        self.count.acknowledged_and_lost = found.acknowledged - delivered
        self.count.duplicates = self.arrivals.duplicates
        self.count.repeated_nonces = found.repeated


def _take(arrivals: Arrivals, payload: bytes, properties: list[tuple[str, str]]) -> None:
    arrivals.add(payload, properties)


@dataclass
class Frames:
    """What the frames on the wire say."""

    acknowledged: set[str] = field(default_factory=set)
    repeated: list[str] = field(default_factory=list)


def read_frames(log: Path, enrolments: dict[str, Enrolment]) -> Frames:
    """Open every frame that passed with the nodes' keys, and find what was acknowledged and which nonces came twice."""
    found = Frames()
    reader = {node: _NodeReader(enrolment) for node, enrolment in enrolments.items()}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["node"] in reader and entry["reason"] is None:
            reader[entry["node"]].read(bytes.fromhex(entry["up"]), bytes.fromhex(entry["down"] or ""), found)
    return found


class _NodeReader:
    """Opens the frames of one node, in the order in which the gateway met them."""

    def __init__(self, enrolment: Enrolment) -> None:
        self._id, self._root = enrolment.id, enrolment.root_key
        self._epoch, self._highest_up, self._highest_down = enrolment.epoch, 0, 0
        self._used: dict[tuple[str, int, int], bytes] = {}
        self._sent: dict[int, set[int]] = {}  # sequences by epoch that were ever in a frame
        self._highest_seq: dict[int, int] = {}

    def read(self, up: bytes, down: bytes, found: Frames) -> None:
        frame = parse(up)
        self._epoch = frame.epoch if frame.is_full else self._epoch
        counter = frame.counter if frame.is_full else reconstruct_counter(frame.counter, self._highest_up)
        self._highest_up = max(self._highest_up, counter)
        self._note("up", counter, up, found)
        body = unpack(
            self._open(keys.UP, counter, aad_uplink(frame.head, self._epoch, counter), up, frame.header_len),
            full=frame.is_full,
        )
        epoch = body.epoch or self._epoch
        body.resolve(self._highest_seq.get(epoch, 0))
        for report in body.reports:
            self._sent.setdefault(epoch, set()).add(report.seq)
            self._highest_seq[epoch] = max(self._highest_seq.get(epoch, 0), report.seq)
        if down:
            self._read_ack(down, counter, found)

    def _read_ack(self, down: bytes, answered: int, found: Frames) -> None:
        frame = parse(down)
        counter = frame.counter if frame.is_full else reconstruct_counter(frame.counter, self._highest_down)
        self._highest_down = max(self._highest_down, counter)
        self._note("down", counter, down, found)
        aad = aad_downlink(frame.head, self._epoch, counter, answered)
        said = ack.unpack_ack(self._open(keys.DOWN, counter, aad, down, frame.header_len))
        epoch = said.epoch or self._epoch
        sent = self._sent.get(epoch, set())
        said.resolve(self._highest_seq.get(epoch, 0) + 1)
        found.acknowledged.update(f"{self._id}/{epoch}/{seq}" for seq in sent if said.holds(seq))

    def _open(self, direction: bytes, counter: int, aad: bytes, frame: bytes, header_len: int) -> bytes:
        key, iv = keys.derive(self._root, self._epoch, direction)
        try:
            return Aead(key).open(keys.nonce(iv, counter), aad, frame[header_len:])
        except FrameError as error:
            raise AssertionError(f"{self._id} {direction.decode()} {self._epoch}/{counter}: {error.reason}") from None

    def _note(self, direction: str, counter: int, frame: bytes, found: Frames) -> None:
        earlier = self._used.setdefault((direction, self._epoch, counter), frame)
        if earlier != frame:
            found.repeated.append(f"{self._id} {direction} {self._epoch}/{counter}")
