"""A born node on a virtual board, two gateways of its site, and a witness of each frame between them.

The board runs the shipped firmware under real MicroPython and reports by MQTT; which gateway it joins can be changed.
The power can go at a chosen flash operation, or the board be cut or reset at any moment. The witness keeps every frame
with the key that is in NVS while the node waits for its answer, and names a nonce or an ephemeral key that came twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from boards import data
from boards.virtual.board import VirtualBoard
from boards.virtual.street import Street
from drivers.link import frame as frames
from drivers.link import join, p256
from gateway.core import Core
from gateway.endpoint import Endpoint
from gateway.intake import Intake, Uplink, Verdict
from gateway.southbound.mqtt import IngestListener
from provisioning.enrol import enrol_public, nvs_of_born
from provisioning.provision import files_for
from tests.gateway.cores import running_core
from tests.gateway.identity.edhoc_node import KeyPair
from tests.gateway.joining import Site

BOARD = "heltec_v3"
SPEED = 4.0  # of the street's time: a boot waits a second for a technician
DEADLINE_S = 90.0  # for what takes a second or two on a quiet machine


class Witness:
    """Stands before the intakes of both gateways: both hear the node, and `here` is the one that answers who joins."""

    def __init__(self, intakes: list[Intake]) -> None:
        self.intakes = intakes
        self.here = 0
        self.frames = 0
        self.wrong: list[str] = []
        self.board: VirtualBoard | None = None
        self.reports: dict[str, int] = {}  # by node id: uplinks that were accepted
        self._sealed: dict[tuple[bytes, int, int], bytes] = {}
        self._ephemeral: dict[bytes, tuple[int, bytes]] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self.intakes[self.here], name)

    async def submit(self, uplink: Uplink) -> Verdict:
        self._note(uplink.frame)
        verdict = await self.intakes[self.here].submit(uplink)
        if join.is_join(uplink.frame):
            return verdict
        if not verdict.accepted:  # it is still the other one's
            verdict = await self.intakes[self.here ^ 1].submit(uplink)
        if verdict.accepted and verdict.node is not None:
            self.reports[verdict.node] = self.reports.get(verdict.node, 0) + 1
        return verdict

    def _note(self, frame: bytes) -> None:
        assert self.board is not None
        self.frames += 1
        if join.begins_join(frame):
            told = self.board.boots, frame
            if self._ephemeral.setdefault(frame[8:40], told) != told:
                self.wrong.append(f"ephemeral key {frame[8:40].hex()} in boots {self.board.boots} and before")
        elif not join.is_join(frame):
            held, parsed = self.board.nvs["lamppost"], frames.parse_uplink(frame)
            place = bytes(held["key"]), int(held["epoch"]), parsed.counter  # type: ignore[arg-type]
            if self._sealed.setdefault(place, frame) != frame:
                self.wrong.append(f"nonce of epoch {place[1]}, counter {place[2]} sealed two frames")


class Scene:
    """One board that is born anew as often as wanted, at two gateways."""

    def __init__(self, board: VirtualBoard, witness: Witness, site: Site, cores: list[Core], folders: list[Path]):
        self.board = board
        self.witness = witness
        self.cores = cores
        self._site = site
        self._folders = folders
        self._blank = board.flash()
        self.node = ""

    def bear(self) -> None:
        """A node with a key pair of its own, as it leaves provisioning; both gateways know it."""
        self.board.power_cut()
        keys = KeyPair()
        made = [enrol_public(folder, public_key=keys.public) for folder in self._folders]
        born = nvs_of_born(made[0], trust=self._site.trust().to_bytes())
        self.board.replace_flash(self._blank)
        self.board.replace_nvs({"lamppost": {**born, "priv": p256.to_octets(keys.private), "seed": os.urandom(32)}})
        self.node = made[0].id

    def roam(self) -> None:
        """The other gateway answers joins from now on, and the node is told to look for one. It is off."""
        self.witness.here ^= 1
        self.board.set_nvs("lamppost", {"join": 1})

    async def live_until(self, harm: Callable[[], None] | None = None, *, after_s: float = 0.0) -> bool:
        """Power on. True once a report of it was stored, or `harm` has been done; False if the power went before.

        harm  what happens so long after the start
        """
        heard = self.witness.reports.get(self.node, 0)
        self.board.power_on()
        started_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(DEADLINE_S):
            while self.witness.reports.get(self.node, 0) == heard:
                if not self.board.is_on:
                    return False
                if harm is not None and asyncio.get_running_loop().time() - started_s >= after_s:
                    harm()
                    return True
                await asyncio.sleep(0.005)
        return True

    async def recover(self) -> str:
        """Power on until a report was stored; what went wrong otherwise. Then the power is off."""
        try:
            await self.live_until()
            return ""
        except TimeoutError:
            return f"locked out: {self.board.console()[-1500:]}"
        finally:
            self.board.power_cut()

    def half_done(self, before: dict[str, int | bytes]) -> str:
        """What of the NVS of a board that is off is neither as it was nor joined, nor on its way there; or ""."""
        held = self.board.nvs["lamppost"]
        if len(bytes(held.get("priv", b""))) != 32 or len(bytes(held.get("seed", b""))) != 32:  # type: ignore[arg-type]
            return "its key pair or its entropy is gone"
        if "next" in held:
            return "" if len(bytes(held["next"])) == 36 else "half of what a join agreed on"  # type: ignore[arg-type]
        if held.get("key") == before.get("key"):
            numbers = [(int(held.get(name, 0)), int(before.get(name, 0))) for name in ("epoch", "counter")]
            return "" if all(now >= then for now, then in numbers) else f"numbers went back: {numbers}"
        return "" if {"epoch", "seq", "counter"} <= held.keys() else f"a key without its numbers: {sorted(held)}"


@asynccontextmanager
async def scene(folder: Path, *, main: bytes | None = None) -> AsyncIterator[Scene]:
    """A street with one board and two gateways. `main` takes the place of the firmware's main.py."""
    site, folders = Site(), [folder / "gw-1", folder / "gw-2"]
    async with AsyncExitStack() as stack:
        cores = []
        for number, data_dir in enumerate(folders, start=1):
            data_dir.mkdir(parents=True)
            site.endorse(data_dir)
            cores.append(await stack.enter_async_context(running_core(data_dir, gateway_id=f"gw-{number}")))
        witness = Witness([core.intake for core in cores])
        here = Endpoint(host="127.0.0.1", port=0, is_tls=False)
        listener = IngestListener(witness, here, count=cores[0].counters.add)  # type: ignore[arg-type]
        await stack.enter_async_context(listener)
        serving = asyncio.create_task(listener.run())
        street = stack.enter_context(Street(folder / "street", speed=SPEED))
        board = witness.board = street.add_node("node")
        files = files_for(board=data.load(BOARD), config=_config(listener.port))
        board.write_files(files | ({"/main.py": main} if main else {}))
        yield Scene(board, witness, site, cores, folders)
        board.power_cut()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def _config(port: int) -> dict[str, object]:
    return {
        "bearer": "mqtt",
        "wifi": {"ssid": "street", "password": "lamplight"},
        "mqtt": {"host": "127.0.0.1", "port": port, "ack_s": 4},
        "sample_s": 1,
        "report_s": 1,
        "retry_s": 1,
        "sensors": ["bme280"],
        "repl_window_s": 1,
        "watchdog_s": 600,
        "journal_reports": 40,
    }
