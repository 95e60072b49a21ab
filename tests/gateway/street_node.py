"""A whole node on CPython: the firmware's own join, numbers, journal and reports, with flash and NVS that lose power.

Each NVS write, and each write or removal of a journal file, is an operation of the supply: at a chosen one the power
goes, the write half done if it is a file's. What the node has sent is kept with the key it was sealed under.
"""

from __future__ import annotations

import builtins
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drivers.link import frame as frames
from drivers.link import p256
from drivers.link.keys import DOWN, UP, derive
from drivers.link.seal import Ccm
from drivers.link.site import Trust, trust_from
from firmware import journal as journals
from firmware.archive import Archive
from firmware.enrol import adopt
from firmware.entropy import draw
from firmware.identity import load, read_blob, read_u32
from firmware.join import Joiner
from firmware.journal_scan import open_journal
from firmware.recovery import begin_boot, close_what_disagrees
from firmware.rejoin import has_joined, is_join_due
from firmware.report import Reporter
from firmware.rtc import RtcState
from firmware.settings import Settings
from firmware.uptime import Uptime
from gateway.core import Core
from provisioning.enrol import enrol_public, nvs_of_born
from tests.drivers.link.boxes import openssl_ecb
from tests.firmware.bench import Clock, Nvs, PowerCut, Supply
from tests.gateway.cores import hear
from tests.gateway.identity.edhoc_node import KeyPair

CLIMATE = 1


class Wire:
    """Carries frames between nodes and a core; keeps every one, and notices a nonce that sealed two of them."""

    def __init__(self, core: Core | None, *, loss: float = 0.0, seed: int = 1) -> None:
        self.core = core
        self.at_s = 0.0
        self.up: list[bytes] = []  # every frame a node sent
        self.accepted: set[bytes] = set()
        self.joins: list[bytes] = []
        self.repeated: list[str] = []
        self._loss = loss
        self._chance = random.Random(seed)
        self._sealed: dict[tuple[str, bytes, int, int], bytes] = {}

    async def carry(self, frame: bytes, *, root: bytes, epoch: int) -> bytes | None:
        """What comes back."""
        self.up.append(frame)
        parsed = frames.parse_uplink(frame)
        self._note("up", root, epoch, parsed.counter if parsed.is_full else None, frame)
        if self.core is None or self._chance.random() < self._loss:
            return None
        verdict = await hear(self.core, frame, at_s=self.at_s)
        if verdict.accepted:
            self.accepted.add(frame)
        if verdict.downlink is not None:
            answer = frames.parse_downlink(verdict.downlink)
            self._note("down", root, epoch, answer.counter if answer.is_full else None, verdict.downlink)
        return None if self._chance.random() < self._loss else verdict.downlink

    def note_short(self, root: bytes, epoch: int, counter: int, frame: bytes) -> None:
        """The whole counter of a short uplink, which only its sender knows."""
        self._note("up", root, epoch, counter, frame)

    def _note(self, way: str, root: bytes, epoch: int, counter: int | None, frame: bytes) -> None:
        if counter is None:
            return
        if self._sealed.setdefault((way, root, epoch, counter), frame) != frame:
            self.repeated.append(f"{way} {epoch}/{counter}")


class JoinBearer:
    """For the Joiner: frames of a join, which are sealed under keys of their own."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def wait_s(self) -> int:
        return 0

    async def ready(self) -> None:
        """Always."""

    async def exchange(self, frame: bytes, take: Callable[[bytes], bool]) -> bool:
        self._wire.joins.append(frame)
        assert self._wire.core is not None
        verdict = await hear(self._wire.core, frame, at_s=self._wire.at_s)
        return verdict.downlink is not None and take(verdict.downlink)


class StreetNode:
    """One node from birth on. `boot` joins if that is due, else makes it ready to report."""

    def __init__(self, folder: Path, data_dir: Path, trust: Trust, wire: Wire) -> None:
        self.folder = folder
        self.wire = wire
        self.supply = Supply()
        self.nvs = Nvs(self.supply)
        self.keys = KeyPair()
        self.enrolment = enrol_public(data_dir, public_key=self.keys.public, alias=folder.name)
        born = nvs_of_born(self.enrolment, trust=trust.to_bytes())
        self.nvs.entries.update({**born, "priv": p256.to_octets(self.keys.private), "seed": os.urandom(32)})
        self.clock = Clock()
        self.issued: dict[tuple[int, int], tuple[int, ...]] = {}

    async def boot(self) -> None:
        """One start after a power loss, and the one after it if this one is spent on joining. Raises PowerCut."""
        if has_joined(self.nvs):
            adopt(self.nvs)
        if is_join_due(self.nvs):
            await self._join()
            adopt(self.nvs)
        with powered_files(self.supply):
            self._open()

    async def _join(self) -> None:
        settings = Settings(self.nvs)
        settings.erase("join")
        joiner = Joiner(
            p256.scalar(read_blob(self.nvs, "priv", 32)),
            int.from_bytes(read_blob(self.nvs, "address", 2) or b"", "big"),
            lambda: trust_from(read_blob(self.nvs, "site", 512)),
            draw=lambda: draw(self.nvs),
            aes=openssl_ecb,
            pause=_no_pause,
            random_below=lambda limit: random.randrange(limit) if limit else 0,
            keep=lambda octets: settings.write("set_blob", "site", octets),
            release=lambda: None,
        )
        bearer = JoinBearer(self.wire)
        has_session = read_blob(self.nvs, "key", 32) is not None
        epoch = (read_u32(self.nvs, "epoch") or 0) if has_session else 0
        joined = await joiner.attempt(bearer, epoch) or await joiner.attempt(bearer, epoch)
        assert joined is not None, joiner.failure
        settings.write("set_blob", "next", joined.root + joined.epoch.to_bytes(4, "big"))

    def _open(self) -> None:
        """As start does."""
        self.settings = load(self.nvs)
        owner = hashlib.sha256(self.settings.node_id.encode()).digest()[:8]
        journal, _ = open_journal(str(self.folder), owner, segment_records=4)
        self.archive = Archive(self.settings, journal, cap=400)
        close_what_disagrees(self.settings, journal)
        self.state = RtcState(lambda data=b"": b"")
        begin_boot(self.settings, journal, self.state)
        self.uptime = Uptime(self.clock, phase_ms=0)
        up, down = (derive(self.settings.key, self.settings.epoch, way) for way in (UP, DOWN))
        self.reporter = Reporter(
            self.archive,
            self.settings,
            self.state,
            self.uptime,
            max_frame=120,
            up=(Ccm(openssl_ecb(up[0])), up[1]),
            down=(Ccm(openssl_ecb(down[0])), down[1]),
        )

    def measure(self) -> None:
        """Raises PowerCut."""
        self.supply.require()
        values = (len(self.issued) % 8_000, random.randrange(10_000), 100_000)
        with powered_files(self.supply):
            seq = self.archive.add(self.settings.boot, self.uptime.nearest_s(), CLIMATE, values)
        self.supply.require()
        self.issued[self.settings.epoch, seq] = values

    async def report(self) -> bool:
        """Send one frame, and take its answer. Returns whether there was anything to send. Raises PowerCut."""
        self.supply.require()
        with powered_files(self.supply):
            frame = self.reporter.next_frame()
        if frame is None:
            return False
        root, epoch, counter = self.settings.key, self.settings.epoch, self.settings.next_counter - 1
        self.wire.note_short(root, epoch, counter, frame)
        answer = await self.wire.carry(frame, root=root, epoch=epoch)
        if answer is not None:
            with powered_files(self.supply):
                assert self.reporter.take_downlink(answer), self.reporter.counters
        return True

    def pass_s(self, seconds: int) -> None:
        self.clock.pass_s(seconds)
        self.wire.at_s += seconds


@contextmanager
def powered_files(supply: Supply) -> Iterator[None]:
    """The journal's files take part in power cuts: a write at the last operation is torn in the middle."""

    def open_(path: str, mode: str = "r") -> Any:
        file = builtins.open(path, mode)  # noqa: SIM115  whoever called closes it
        return file if mode == "rb" else _TornFile(file, supply)

    def remove(path: str) -> None:
        _spend(supply)
        os.remove(path)

    journals.open, journals.os = open_, SimpleNamespace(remove=remove)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del journals.open  # type: ignore[attr-defined]
        journals.os = os


class _TornFile:
    """A file that is being written, of which the power may leave half."""

    def __init__(self, file: Any, supply: Supply) -> None:
        self._file = file
        self._supply = supply

    def __enter__(self) -> _TornFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        self._supply.require()
        if self._supply.spend():
            self._file.write(data[: len(data) // 2])
            raise PowerCut()
        return int(self._file.write(data))


def _spend(supply: Supply) -> None:
    supply.require()
    if supply.spend():
        raise PowerCut()


async def _no_pause(seconds: int) -> None:
    """Time does not matter here."""
