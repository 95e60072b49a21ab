"""What the demo starts: broker, failing link, gateway, a street of nodes. All of it is gone when the stage closes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from boards.virtual.board import VirtualBoard
from boards.virtual.street import Street
from firmware.journal_image import issued
from gateway.endpoint import Endpoint, parse_endpoint
from lamppost.broker import Broker, free_ports
from lamppost.demo.gateway_process import COMMAND, GatewayProcess
from lamppost.demo.report import Issued
from lamppost.demo.truth import WeatherAt
from lamppost.demo.view import NodeState
from lamppost.relay import Relay
from provisioning.enrol import Enrolment, enrol
from provisioning.payload import node_files

SITE = "demo"
_JOURNAL = "/journal/"
_SENSORS = [{"kind": "bme280"}, {"kind": "pms5003"}]

_GATEWAY_TOML = """\
[gateway]
id = "{gateway_id}"
site = "{site}"
data_dir = "{data_dir}"
time = "assume"

[southbound.mqtt]
listen = "mqtt://127.0.0.1:{listen_port}"

[southbound.lora]
device = "virtual:{radio}"

[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:{city_port}"
topic = "city/{{site}}/{{node}}/senml"
ack_timeout_s = 5
keep_alive_s = 5

[edge]
window_s = {window_s}
"""


class Stage:
    """An async context manager: inside it the gateway runs and the nodes are provisioned but switched off."""

    def __init__(
        self,
        *,
        nodes: int,
        city: Endpoint | None,
        gateway_id: str,
        keep: Path | None = None,
        seed: int = 7,
        sample_s: int = 5,
        window_s: int = 10,
        bearers: Sequence[str] = ("lora", "mqtt"),
        gateway_command: Sequence[str] = COMMAND,
        overrides: Mapping[str, bytes] | None = None,
    ) -> None:
        """city      a broker that is there already; None: one of our own
        bearers   given to the nodes in turn
        sample_s  how often a node measures; by LoRa it reports two at a time, for the duty cycle
        overrides files on the nodes, by path, in place of those that ship
        """
        self._count = nodes
        self._city = city
        self._gateway_id = gateway_id
        self._keep = keep
        self._seed = seed
        self._sample_s = sample_s
        self._window_s = window_s
        self._bearers = bearers
        self._command = gateway_command
        self._overrides = overrides or {}
        self._exit = contextlib.AsyncExitStack()
        self._nodes: dict[str, tuple[Enrolment, VirtualBoard, str]] = {}
        self.topic = f"city/{SITE}/#"

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._exit.aclose()

    async def _open(self) -> None:
        self.folder = self._make_folder()
        self.data_dir = self.folder / "gateway"
        self.broker = self._city or parse_endpoint("broker", self._exit.enter_context(Broker()).url)
        self.relay = await self._exit.enter_async_context(Relay(self.broker.port, target_host=self.broker.host))
        self.street = self._exit.enter_context(Street(self.folder / "boards", seed=self._seed))
        (self.listen_port,) = free_ports(1)
        config = self._write_config()
        await asyncio.to_thread(self._provision)
        self.gateway = GatewayProcess(config, self.data_dir, self.folder / "gateway.log", command=self._command)
        self._exit.push_async_callback(self.gateway.stop)
        await self.gateway.start()

    def _make_folder(self) -> Path:
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            return self._keep.resolve()
        folder = Path(tempfile.mkdtemp(prefix="lamppost-demo-"))
        self._exit.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _write_config(self) -> Path:
        config = self.folder / "gateway.toml"
        config.write_text(
            _GATEWAY_TOML.format(
                gateway_id=self._gateway_id,
                site=SITE,
                data_dir=self.data_dir,
                listen_port=self.listen_port,
                radio=self.street.gateway_radio_path,
                city_port=self.relay.port,
                window_s=self._window_s,
            )
        )
        return config

    def _provision(self) -> None:
        """Enrol each node and put firmware, settings and keys on its board, before it is hung up."""
        for index in range(self._count):
            bearer = self._bearers[index % len(self._bearers)]
            enrolment = enrol(self.data_dir, alias=f"pole-{index + 1}")
            board = self.street.add_node(enrolment.alias)
            self._nodes[enrolment.id] = (enrolment, board, bearer)
            board.write_files(self.files_of(enrolment.id))
            board.set_nvs("lamppost", enrolment.nvs())

    def files_of(self, node: str) -> dict[str, bytes]:
        """Everything that provisioning puts into a node's flash, by path."""
        enrolment, board, bearer = self._nodes[node]
        settings = {
            "/config.json": self._node_config(enrolment.alias, bearer),
            "/board.json": board.board.to_json().encode(),
        }
        return {**node_files(), **self._overrides, **settings}

    def _node_config(self, alias: str, bearer: str) -> bytes:
        config: dict[str, Any] = {"node": alias, "bearer": bearer, "sample_s": self._sample_s, "sensors": _SENSORS}
        if bearer == "lora":
            config |= {"report_s": 2 * self._sample_s, "lora": {}}
        else:
            config |= {
                "report_s": self._sample_s,
                "wifi": {"ssid": "street", "password": "a street has one"},
                "mqtt": {"host": "127.0.0.1", "port": self.listen_port},
            }
        return json.dumps({**config, "retry_s": 3, "retry_max_s": 10}).encode()

    # --- the nodes ---

    def rows(self) -> dict[str, NodeState]:
        """What the view shows, by node id."""
        return {node: NodeState(alias=e.alias, bearer=bearer) for node, (e, _, bearer) in self._nodes.items()}

    def boards(self) -> dict[str, VirtualBoard]:
        return {node: board for node, (_, board, _) in self._nodes.items()}

    def enrolments(self) -> dict[str, Enrolment]:
        return {node: enrolment for node, (enrolment, _, _) in self._nodes.items()}

    async def power_on(self) -> None:
        """Switch on all nodes, a moment apart."""
        for board in self.boards().values():
            await asyncio.to_thread(board.power_on)
            await asyncio.sleep(0.2)

    async def switch_off(self, node: str) -> Issued:
        """Cut a node's power; returns what its flash says then."""
        board = self._nodes[node][1]
        await asyncio.to_thread(board.power_cut)
        return {node: await asyncio.to_thread(_issued, board)}

    async def slow_down(self, node: str, *, sample_s: int) -> None:
        """Give a node another pace; it is switched off and on for that."""
        board = self._nodes[node][1]
        await asyncio.to_thread(board.power_cut)
        config = json.loads(board.read_file("/config.json")) | {"sample_s": sample_s}
        board.write_files({"/config.json": json.dumps(config).encode()})
        await self.switch_on(node)

    async def switch_on(self, node: str) -> None:
        await asyncio.to_thread(self._nodes[node][1].power_on)

    async def issued(self) -> Issued:
        """What the nodes' flash says was issued so far."""
        return await asyncio.to_thread(lambda: {node: _issued(board) for node, board in self.boards().items()})

    def weather(self) -> dict[str, WeatherAt]:
        """By node id: what a perfect sensor there measures at a UTC second."""
        return {node: self.street.weather(board.name).at for node, board in self.boards().items()}

    # --- the gateway and the way to the city ---

    def check_alive(self) -> None:
        self.gateway.check_alive()

    def backlog(self) -> int:
        """Records that the gateway has and the city has not."""
        cities = self.gateway.status().get("cities", {})
        return sum(int(city.get("records", 0)) for city in cities.values())

    def signal_of(self, node: str) -> str:
        """How the gateway heard the node last, as text."""
        seen = self.gateway.status().get("nodes", {}).get("heard", {}).get(node, {})
        rssi_dbm, snr_db = seen.get("rssi_dbm"), seen.get("snr_db")
        return "-" if rssi_dbm is None else f"{rssi_dbm:.0f} dBm, SNR {snr_db:.0f} dB"

    def silence_city(self) -> None:
        """Bytes to and from the city vanish; nobody is told."""
        self.relay.hold()

    def wake_city(self) -> None:
        """The end of silence: what was under way is cut off, and new connections pass."""
        self.relay.release(drop_held=True)

    def refuse_city(self) -> None:
        """Connections to the city break, and new ones are refused."""
        self.relay.reset_all()
        self.relay.refuse()
        self.relay.release()

    async def restore_city(self) -> None:
        await self.relay.listen()


def _issued(board: VirtualBoard) -> dict[int, int]:
    """By epoch, one past the last sequence, from the journal in flash."""
    files = {
        path.removeprefix(_JOURNAL): content for path, content in board.files().items() if path.startswith(_JOURNAL)
    }
    return {epoch: end for epoch, (_, end) in issued(files).items() if end}
