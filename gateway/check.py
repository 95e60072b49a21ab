"""`lamppost gateway check`: what would stop the gateway, found before it starts, each with the key to edit.

config.py knows the rules of the file; here are those of the machine: folders, files, and ports that are taken.
"""

import argparse
import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from gateway.config import Config, add_config_argument, load
from gateway.edge.groups import GroupError, GroupFile, Groups, merged
from gateway.endpoint import Endpoint
from gateway.errors import ConfigError
from gateway.mqtt.access import AccessList
from gateway.tls import client_context, read_password, server_context

EDIT = 2


def problems(config: Config) -> list[ConfigError]:
    """Everything wrong between `config` and this machine, in the order of the file."""
    found: list[ConfigError] = []
    for check in (_data_dir, _southbound_files, _listen_port, _city_files, _sync_files, _device, _groups):
        with _collected(found):
            check(config)
    return found


def _data_dir(config: Config) -> None:
    path = config.gateway.data_dir
    where = path if path.exists() else next(parent for parent in path.parents if parent.exists())
    if not where.is_dir():
        raise ConfigError("gateway.data_dir", path, f"{where} is not a folder")
    if not os.access(where, os.W_OK | os.X_OK):
        raise ConfigError(
            "gateway.data_dir", path, f"{where} cannot be written by this user; sudo chown it, or run as its owner"
        )


def _southbound_files(config: Config) -> None:
    mqtt = config.southbound.mqtt
    if mqtt is None:
        return
    place = "southbound.mqtt"
    _require_files(mqtt, place)
    if mqtt.access_file:
        AccessList.load(mqtt.access_file)
    if mqtt.cert_file and mqtt.key_file:
        server_context(place, cert_file=mqtt.cert_file, key_file=mqtt.key_file, client_ca_file=mqtt.client_ca_file)
    if mqtt.broker_ca_file or mqtt.broker_cert_file:
        client_context(
            place,
            ca_file=mqtt.broker_ca_file,
            cert_file=mqtt.broker_cert_file,
            key_file=mqtt.broker_key_file,
            prefix="broker_",
        )
    if mqtt.broker_password_file:
        read_password(f"{place}.broker_password_file", mqtt.broker_password_file)


def _listen_port(config: Config) -> None:
    endpoint = config.southbound.mqtt and config.southbound.mqtt.listen_endpoint
    if not endpoint or _is_running(config.gateway.data_dir):
        return  # our own agent holds the port
    try:
        _bind(endpoint)
    except OSError as error:
        rule = f"cannot be listened on ({error.strerror}); another program may have the port: ss -ltnp"
        raise ConfigError("southbound.mqtt.listen", endpoint, rule) from None


def _city_files(config: Config) -> None:
    for at, city in enumerate(config.city):
        place = f"city[{at}]"
        _require_files(city, place)
        if city.ca_file or city.cert_file:
            client_context(place, ca_file=city.ca_file, cert_file=city.cert_file, key_file=city.key_file)
        if city.password_file:
            read_password(f"{place}.password_file", city.password_file)


def _sync_files(config: Config) -> None:
    sync = config.sync
    if sync is None:
        return
    _require_files(sync, "sync")
    if sync.ca_file or sync.cert_file:
        client_context("sync", ca_file=sync.ca_file, cert_file=sync.cert_file, key_file=sync.key_file)
    if sync.password_file:
        read_password("sync.password_file", sync.password_file)


def _device(config: Config) -> None:
    """A radio that is absent is only a state of the running gateway; a device file that does not exist is a typo."""
    lora = config.southbound.lora
    if lora and lora.device.startswith("spi:"):
        path = Path(f"/dev/spidev{lora.device[4:]}")
        if not path.exists():
            raise ConfigError(
                "southbound.lora.device", lora.device, f"{path} does not exist; switch SPI on, or correct it"
            )


def _groups(config: Config) -> None:
    """A group that nobody has made is a typo; a running gateway only warns, since it may be made later."""
    file = GroupFile(config.gateway.data_dir)
    try:
        groups = Groups(merged(config.group, file.read()))
    except GroupError as error:
        raise ConfigError("gateway.data_dir", config.gateway.data_dir, str(error)) from None
    for kind in ("window", "report", "rule", "privacy"):
        for at, table in enumerate(getattr(config.edge, kind)):
            for name in groups.unknown(table.nodes):
                rule = f"is no group; make it with: lamppost group create {name.partition(':')[2]} NODE..."
                raise ConfigError(f"edge.{kind}[{at}].nodes", name, rule)


def _require_files(section: object, place: str) -> None:
    """Each *_file must be there and readable; one with a secret must be closed to others."""
    for one in fields(section):  # type: ignore[arg-type]
        path = getattr(section, one.name)
        if not one.name.endswith("_file") or path is None:
            continue
        key = f"{place}.{one.name}"
        try:
            mode = path.stat().st_mode
            path.open("rb").close()
        except OSError as error:
            raise ConfigError(key, path, f"cannot be read ({error.strerror})") from None
        if one.name.endswith(("key_file", "password_file")) and stat.S_IMODE(mode) & 0o007:
            raise ConfigError(key, path, f"can be read by everybody; run: chmod 600 {path}")


def _is_running(data_dir: Path) -> bool:
    from gateway.status import read_status

    status = read_status(data_dir)
    return status is not None and status.is_running


def _bind(endpoint: Endpoint) -> None:
    family, _, _, _, address = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


@contextmanager
def _collected(found: list[ConfigError]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        found.append(error)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway check`."""
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong: 0 if nothing, 2 if the file or the machine must be changed."""
    try:
        config = load(args.config)
        found, warnings = problems(config), config.warnings()
    except ConfigError as error:
        found, warnings = [error], []
    if args.json:
        errors = [{"key": one.key, "message": str(one)} for one in found]
        print(json.dumps({"file": str(args.config), "errors": errors, "warnings": warnings}))
        return EDIT if found else 0
    for one in found:
        print(f"{args.config}: {str(one).removeprefix(f'{args.config}: ')}")  # where the whole file is wrong
    for warning in warnings:
        print(f"{args.config}: warning: {warning}")
    print(f"{args.config}: {f'{len(found)} to correct' if found else 'all right'}")
    return EDIT if found else 0
