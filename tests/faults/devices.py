"""Third-party devices that publish numbers, each once, and know which of them were acknowledged."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping

import paho.mqtt.client as paho

from lamppost.demo.arrivals import Arrivals

Publish = Callable[[int, list[int], threading.Event], None]  # port, what was acknowledged, when to stop


def senml(value: int) -> bytes:
    return json.dumps([{"n": "count", "u": "/", "v": value, "t": 1_800_000_000 + value}]).encode()


def publish_with_paho(
    port: int, acknowledged: list[int], stop: threading.Event, *, device: str = "meter", every_s: float = 0.01
) -> None:
    """Publish numbers one after the other; a number counts once its PUBACK is there."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=device, protocol=paho.MQTTv311)
    value_of: dict[int, int] = {}
    client.on_publish = lambda _c, _u, mid, _r, _p: acknowledged.append(value_of[mid]) if mid in value_of else None
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    value = 0
    while not stop.wait(every_s):
        if client.is_connected() and value - len(acknowledged) < 15:
            value_of[client.publish(f"up/{device}/senml", senml(value), qos=1).mid] = value
            value += 1
    client.disconnect()
    client.loop_stop()


def publish_with_mosquitto(port: int, acknowledged: list[int], stop: threading.Event) -> None:
    """One mosquitto_pub per number; it ends with 0 only after the PUBACK."""
    value = 1_000_000
    while not stop.is_set():
        topic = ("-t", "up/pump/senml", "-q", "1", "-i", "pump")
        command = ("mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), *topic, "-m", senml(value).decode())
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        if done.returncode == 0:
            acknowledged.append(value)
        else:
            time.sleep(0.02)  # nobody listens while the gateway is down
        value += 1


class Devices:
    """Devices that publish until `stop`, each at a port of its own."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._stop = threading.Event()
        self._acknowledged: dict[str, list[int]] = {device: [] for device in ports}
        self._threads = [
            threading.Thread(
                target=publish_with_paho,
                args=(port, self._acknowledged[device], self._stop),
                kwargs={"device": device, "every_s": 0.05},
            )
            for device, port in ports.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Publish no more. Can be called twice."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def acknowledged(self) -> int:
        return sum(len(values) for values in self._acknowledged.values())

    def missing(self, arrivals: Arrivals) -> set[str]:
        """What was acknowledged to a device and has not arrived."""
        arrived = {
            f"{record.node} {measurement.value:.0f}"
            for record in arrivals.records.values()
            if record.node in self._acknowledged
            for measurement in record.measurements
        }
        return {f"{device} {value}" for device, values in self._acknowledged.items() for value in values} - arrived
