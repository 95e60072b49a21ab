"""A NATS leaf node with `sync_interval: always`: devices speak MQTT to it, a stream keeps what they say, the hub
sources that stream and publishes what it has stored to the subscriber.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from lamppost.broker import free_ports
from tools.measure.process import Watched
from tools.measure.tally import Tally
from tools.rivals.nats_wire import NatsClient, NatsListener
from tools.rivals.system import Kind, System
from tools.rivals.venv import program

_HUB = """\
server_name: hub
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{folder}/hub", domain: hub }}
leafnodes {{ listen: "127.0.0.1:{leaf_port}" }}
"""
_LEAF = """\
server_name: leaf
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{folder}/leaf", domain: leaf, sync_interval: always }}
mqtt {{ listen: "127.0.0.1:{mqtt_port}" }}
leafnodes {{ remotes: [ {{ url: "nats-leaf://127.0.0.1:{leaf_port}" }} ], reconnect: 1 }}
"""


class NatsCity:
    """The hub. `port` is where leaves connect."""

    def __init__(self, folder: Path) -> None:
        self._client_port, self.port = free_ports(2)
        config = folder / "hub.conf"
        config.write_text(_HUB.format(port=self._client_port, leaf_port=self.port, folder=folder))
        self._server = Watched([program("nats-server"), "-c", str(config)], log=folder / "hub.log")

    def __enter__(self) -> NatsCity:
        self._server.start(port=self._client_port)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.stop()

    def listen(self, tally: Tally) -> AbstractContextManager[object]:
        return NatsListener(tally, self._client_port, "stored.>")


class NatsLeaf(System):
    """The leaf. Its stream, and the hub's that takes from it, are made once and found again after a kill."""

    def __init__(self, own: Watched, *, port: int, client_port: int) -> None:
        super().__init__(own, port=port, own_port=port)
        self._client_port = client_port
        self._has_streams = False

    def revive(self) -> None:
        super().revive()
        if not self._has_streams:
            client = NatsClient(self._client_port)
            kept = {"storage": "file", "num_replicas": 1}
            client.api("STREAM.CREATE.UP", {"name": "UP", "subjects": ["up.>"], **kept})
            source = {"name": "UP", "external": {"api": "$JS.leaf.API", "deliver": "city.deliver"}}
            hub = {"name": "CITY", "sources": [source], "republish": {"src": ">", "dest": "stored.>"}, **kept}
            client.api("STREAM.CREATE.CITY", hub, domain="hub")
            client.close()
            self._has_streams = True


def open_leaf(folder: Path, city_port: int) -> System:
    """The leaf with MQTT, connected to the hub."""
    port, mqtt_port = free_ports(2)
    config = folder / "leaf.conf"
    config.write_text(_LEAF.format(port=port, mqtt_port=mqtt_port, leaf_port=city_port, folder=folder))
    server = Watched([program("nats-server"), "-c", str(config)], log=folder / "leaf.log")
    return NatsLeaf(server, port=mqtt_port, client_port=port)


NATS = Kind(
    name="NATS leaf, sync always",
    about="looks at no payload; acks before its stream has it, syncs each message",
    open=open_leaf,
    city=NatsCity,
    needs_venv=True,
)
