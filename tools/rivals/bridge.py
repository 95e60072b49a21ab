"""mosquitto's own bridge with persistence on: the usual store-and-forward without a gateway."""

from __future__ import annotations

from pathlib import Path

from tools.measure.mosquitto import Mosquitto
from tools.rivals.city import MosquittoCity
from tools.rivals.system import Kind, System

# No limit to the queue, which its default of 1,000 would overrun in an outage; the database is saved as by default,
# every 1,800 s and at a clean end.
_LINES = """\
persistence true
persistence_location {folder}/
connection city
address 127.0.0.1:{city_port}
topic up/# out 1
cleansession false
try_private false
notifications false
restart_timeout 1
max_inflight_messages 1000"""


def open_bridge(folder: Path, city_port: int) -> System:
    """An edge mosquitto whose bridge leads to the city."""
    broker = Mosquitto(folder / "edge", lines=_LINES.format(folder=folder, city_port=city_port).splitlines())
    return System(broker, port=broker.port, own_port=broker.port)


BRIDGE = Kind(
    name="mosquitto bridge",
    about="looks at no payload; acks from memory, saves every 1,800 s",
    open=open_bridge,
    city=MosquittoCity,
)
