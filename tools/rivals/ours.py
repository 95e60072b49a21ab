"""Lamppost itself, through its own listener and through an external mosquitto; the shipped command, nothing switched off
but the edge windows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lamppost.broker import free_ports
from tools.measure.mosquitto import Mosquitto
from tools.measure.process import Watched
from tools.rivals.city import MosquittoCity
from tools.rivals.system import Kind, System

CONFIG = """\
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
[edge]
window_s = 0
"""


def gateway(folder: Path, config: str) -> Watched:
    """`lamppost gateway run` on this configuration."""
    path = folder / "gateway.toml"
    path.write_text(config)
    command = [sys.executable, "-m", "lamppost.cli", "gateway", "run", "--config", str(path)]
    return Watched(command, log=folder / "gateway.log")


def open_listener(folder: Path, city_port: int) -> System:
    """Devices connect to the gateway."""
    (port,) = free_ports(1)
    config = CONFIG.format(data_dir=folder / "data", way="listen", port=port, city_port=city_port)
    return System(gateway(folder, config), port=port, own_port=port)


def open_broker(folder: Path, city_port: int) -> System:
    """Devices connect to a mosquitto, where the gateway subscribes."""
    broker = Mosquitto(folder / "broker", lines=["max_inflight_messages 1000"])
    config = CONFIG.format(data_dir=folder / "data", way="broker", port=broker.port, city_port=city_port)
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
