"""Lamppost itself, through its own listener and through an external mosquitto: the shipped command, with nothing
switched off but the edge windows.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from gateway.config import CityConfig
from lamppost.broker import free_ports
from tools.measure.mosquitto import Mosquitto
from tools.measure.process import Watched
from tools.rivals.city import MosquittoCity
from tools.rivals.system import Kind, System

_CONFIG = """\
[gateway]
id = "gw-bench"
site = "bench"
data_dir = "{data_dir}"
log_level = "warning"
[southbound.mqtt]
{way} = "mqtt://127.0.0.1:{port}"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:{city_port}"
topic = "city/{{site}}/{{node}}/senml"
{uncapped}
[edge]
window_s = 0
"""


def gateway_toml(*, data_dir: Path, way: str, port: int, city_port: int) -> str:
    """The configuration. `way` is "listen" or "broker". The cap that protects a city after an outage is lifted."""
    caps = [one.name for one in fields(CityConfig) if one.name.startswith("backlog_")]
    uncapped = "\n".join(f"{name} = 0" for name in caps)
    return _CONFIG.format(data_dir=data_dir, way=way, port=port, city_port=city_port, uncapped=uncapped)


def gateway(folder: Path, config: str) -> Watched:
    """`lamppost gateway run` on this configuration."""
    path = folder / "gateway.toml"
    path.write_text(config)
    command = [sys.executable, "-m", "lamppost.cli", "gateway", "run", "--config", str(path)]
    return Watched(command, log=folder / "gateway.log")


def open_listener(folder: Path, city_port: int) -> System:
    """Devices connect to the gateway."""
    (port,) = free_ports(1)
    config = gateway_toml(data_dir=folder / "data", way="listen", port=port, city_port=city_port)
    return System(gateway(folder, config), port=port, own_port=port)


def open_broker(folder: Path, city_port: int) -> System:
    """Devices connect to a mosquitto, where the gateway subscribes."""
    broker = Mosquitto(folder / "broker", lines=["max_inflight_messages 1000"])
    config = gateway_toml(data_dir=folder / "data", way="broker", port=broker.port, city_port=city_port)
    return System(gateway(folder, config), port=broker.port, own_port=None, beside=[broker])


LISTENER = Kind(
    name="lamppost, listener",
    about="decodes, validates, removes duplicates; acks after fdatasync",
    open=open_listener,
    city=MosquittoCity,
)
BROKER = Kind(
    name="lamppost, mosquitto",
    about="the same behind an external broker, which acks the device first",
    open=open_broker,
    city=MosquittoCity,
)
