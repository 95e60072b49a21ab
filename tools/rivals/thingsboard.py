"""ThingsBoard's gateway behind a mosquitto, with each of its three storages. Its platform is a mosquitto that answers
the one question the gateway waits for: which limits its session has (none).

It is given its own JSON of the same 60 bytes, with a time for each reading: it merges two of one device and one
millisecond.
Source: thingsboard.io/docs/iot-gateway; the package's own config folder.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

from tools.measure.mosquitto import Mosquitto
from tools.measure.process import Watched
from tools.measure.tally import Tally
from tools.rivals.city import MosquittoCity
from tools.rivals.system import Kind, System
from tools.rivals.venv import program

READING = b'{"n":"energy_sum_t","u":"J","v":%d,"ts":%d%03d}'
_ASK = "v1/devices/me/rpc/request/"
_ANSWER = "v1/devices/me/rpc/response/"
_NO_LIMITS = {"maxPayloadSize": 65_536, "maxInflightMessages": 1_000, "rateLimits": {}, "gatewayRateLimits": {}}
# Room for an outage; read in larger parts than by default (10), which would limit the rate.
_STORAGES: dict[str, dict[str, Any]] = {
    "memory": {"read_records_count": 1_000, "max_records_count": 1_000_000},
    "file": {"max_file_count": 100, "max_records_per_file": 10_000, "max_read_records_count": 1_000},
    "sqlite": {"max_read_records_count": 1_000, "messages_ttl_in_days": 7, "messages_ttl_check_in_hours": 1},
}


class Platform(MosquittoCity):
    """A mosquitto at which somebody says that there are no limits."""

    def __enter__(self) -> Platform:
        super().__enter__()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="platform")
        self._client.on_message = self._answer
        self._client.connect("127.0.0.1", self.port)
        self._client.subscribe(f"{_ASK}+", qos=1)
        self._client.loop_start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        super().__exit__(*exc)

    def listen(self, tally: Tally) -> AbstractContextManager[object]:
        return super().listen(tally)

    @staticmethod
    def _answer(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        client.publish(_ANSWER + message.topic.removeprefix(_ASK), json.dumps(_NO_LIMITS), qos=1)


def open_thingsboard(folder: Path, city_port: int, *, storage: str) -> System:
    """The gateway with one connector, which subscribes at a mosquitto in a session that outlives it."""
    broker = Mosquitto(folder / "broker", lines=["max_inflight_messages 1000"])
    config, data = folder / "config", folder / "data"
    config.mkdir()
    data.mkdir()
    files = {
        "tb_gateway.json": _main(city_port, storage, data),
        "mqtt.json": _connector(broker.port),
        "logs.json": _logs(),
    }
    for name, content in files.items():
        (config / name).write_text(json.dumps(content))
    own = Watched(
        [program("thingsboard-gateway")],
        log=folder / "gateway.log",
        cwd=folder,
        env={"TB_GW_CONFIG_DIR": str(config)},
    )
    return System(own, port=broker.port, own_port=None, beside=[broker])


def _main(city_port: int, storage: str, data: Path) -> dict[str, Any]:
    no_limit = "0:0,"
    limits = ("rateLimits", "dpRateLimits", "messagesRateLimits")
    device_limits = ("deviceMessagesRateLimits", "deviceRateLimits", "deviceDpRateLimits")
    platform = {
        "host": "127.0.0.1",
        "port": city_port,
        "remoteShell": False,
        "remoteConfiguration": False,
        "statistics": {"enable": False},
        "checkConnectorsConfigurationInSeconds": 3_600,
        "checkingDeviceActivity": {"checkDeviceInactivity": False},
        "security": {"type": "accessToken", "accessToken": "bench"},
        "qos": 1,
        "maxPayloadSizeBytes": 65_536,
        **dict.fromkeys((*limits, *device_limits), no_limit),
    }
    places = {"data_folder_path": f"{data}/", "data_file_path": f"{data}/"}
    connector = {"type": "mqtt", "name": "devices", "configuration": "mqtt.json"}
    return {
        "thingsboard": platform,
        "storage": {"type": storage, **places, **_STORAGES[storage]},
        "grpc": {"enabled": False},
        "connectors": [connector],
    }


def _connector(broker_port: int) -> dict[str, Any]:
    device = {
        "deviceNameExpressionSource": "topic",
        "deviceNameExpression": "up/(.*)/senml",
        "deviceProfileExpressionSource": "constant",
        "deviceProfileExpression": "default",
    }
    value = {"type": "integer", "key": "v", "value": "${v}"}
    converter = {"type": "json", "deviceInfo": device, "attributes": [], "timeseries": [value]}
    broker = {
        "host": "127.0.0.1",
        "port": broker_port,
        "clientId": "thingsboard-gateway",
        "version": 5,
        "cleanSession": False,
        "cleanStart": False,
        "sessionExpiryInterval": 86_400,
        "security": {"type": "anonymous"},
    }
    mapping = {"topicFilter": "up/+/senml", "subscriptionQos": 1, "converter": converter}
    return {"name": "devices", "logLevel": "ERROR", "broker": broker, "mapping": [mapping]}


def _logs() -> dict[str, Any]:
    """Errors only, to the terminal, under the names that the gateway expects."""
    names = ("service", "connector", "converter", "tb_connection", "storage", "extension", "database")
    quiet = {"handlers": ["terminal"], "level": "ERROR", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"LogFormatter": {"format": "%(asctime)s %(levelname)s %(module)s %(message)s"}},
        "handlers": {
            "terminal": {"class": "logging.StreamHandler", "formatter": "LogFormatter", "stream": "ext://sys.stdout"}
        },
        "loggers": dict.fromkeys(names, quiet),
        "root": {"level": "ERROR", "handlers": ["terminal"]},
    }


def _kind(storage: str, about: str) -> Kind:
    return Kind(
        name=f"ThingsBoard, {storage}",
        about=about,
        open=partial(open_thingsboard, storage=storage),
        city=Platform,
        reading=READING,
        needs_venv=True,
    )


MEMORY = _kind("memory", "decodes; its broker acks first, it keeps a queue in memory")
FILE = _kind("file", "decodes; its broker acks first, it appends to a file without fsync")
SQLITE = _kind("sqlite", "decodes; its broker acks first, a queue in memory stands before SQLite")
