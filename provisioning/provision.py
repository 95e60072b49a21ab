"""Putting a node together: firmware, board file and settings on its file system, identity and key in its NVS.

On a serial port through mpremote, as a technician would; a virtual board that is switched off is written directly. The
key goes to the node in a script that mpremote runs from a file of mode 0600: never on a command line, which others see.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from boards import data as boards
from drivers.link.site import trust_from
from firmware import config as node_config
from firmware.config_error import ConfigError as NodeConfigError
from gateway.errors import ConfigError, GatewayError
from provisioning.enrol import EnrolError, Enrolment, enrol_public, nvs_of, nvs_of_born
from provisioning.payload import node_files

_NAMESPACE = "lamppost"
_MPREMOTE_S = 120  # the whole firmware over a 115200 baud line takes some 20 s
_NVS_SCRIPT = """\
import esp32
nvs = esp32.NVS({namespace!r})
for name in ("key", "epoch", "counter"):  # the old ones first: a new key never meets an old counter
    try:
        nvs.erase_key(name)
    except OSError:
        pass
nvs.commit()
for name, value in {values!r}:
    (nvs.set_i32 if isinstance(value, int) else nvs.set_blob)(name, value)
    nvs.commit()
print("stored")
"""


_BIRTH_SCRIPT = """\
import esp32, network
from drivers import clock
from firmware.birth import be_born
public = be_born(esp32.NVS({namespace!r}), network.WLAN(network.STA_IF), clock)
print("public", public.hex())
"""
_NAMES_SCRIPT = """\
import esp32
nvs = esp32.NVS({namespace!r})
for name, value in {values!r}:
    nvs.set_blob(name, value)
    nvs.commit()
print("stored")
"""


class ProvisionError(GatewayError):
    """The node is not ready: the message says at which step, and what to do."""


class SwitchedOffBoard(Protocol):
    """A virtual board whose flash and NVS can be written."""

    def write_files(self, files: Mapping[str, bytes]) -> None: ...
    def set_nvs(self, namespace: str, values: Mapping[str, int | bytes]) -> None: ...


def files_for(*, board: boards.Board, config: Mapping[str, object]) -> dict[str, bytes]:
    """All files of a node by absolute path. Raises ConfigError for a setting that the firmware would refuse."""
    try:
        node_config.parse(dict(config))
    except NodeConfigError as error:
        raise ConfigError(error.key, None, str(error).removeprefix(f"{error.key}: ")) from None
    return {
        **{path if path.startswith("/") else f"/{path}": content for path, content in node_files().items()},
        "/config.json": json.dumps(config).encode(),
        "/board.json": board.to_json().encode(),
    }


def provision_virtual(
    virtual: SwitchedOffBoard, *, board: boards.Board, bundle: Mapping[str, object], config: Mapping[str, object]
) -> None:
    """Write a virtual board. It must be off."""
    virtual.write_files(files_for(board=board, config=config))
    virtual.set_nvs(_NAMESPACE, nvs_of(bundle))


def provision_port(
    port: str, *, board: boards.Board, bundle: Mapping[str, object], config: Mapping[str, object]
) -> None:
    """Write a board on a serial port, and reset it. Raises ProvisionError, ConfigError, EnrolError."""
    files, values = files_for(board=board, config=config), nvs_of(bundle)
    with tempfile.TemporaryDirectory(prefix="lamppost-") as name:
        folder = Path(name)  # mode 0700
        _lay_out(folder / "node", files)
        _say(f"copying {len(files)} files")
        mpremote(port, "fs", "cp", "-r", *sorted(map(str, (folder / "node").iterdir())), ":", step="copying files")
        script = folder / "identity.py"
        script.write_text(_NVS_SCRIPT.format(namespace=_NAMESPACE, values=list(values.items())))
        _say("writing identity and key")
        answer = mpremote(port, "run", str(script), step="writing the key")
    if "stored" not in answer:
        raise ProvisionError(f"{port}: the key was not stored; the board said: {last_line(answer)}")
    mpremote(port, "reset", step="reset")


def bear_port(port: str, *, board: boards.Board, config: Mapping[str, object]) -> bytes:
    """Copy the firmware, and have the node make its key pair. Returns its public key; a node that has one keeps it.

    Raises ProvisionError, ConfigError
    """
    files = files_for(board=board, config=config)
    with tempfile.TemporaryDirectory(prefix="lamppost-") as name:
        folder = Path(name)
        _lay_out(folder / "node", files)
        _say(f"copying {len(files)} files")
        mpremote(port, "fs", "cp", "-r", *sorted(map(str, (folder / "node").iterdir())), ":", step="copying files")
        answer = run_script(port, folder, _BIRTH_SCRIPT.format(namespace=_NAMESPACE), step="making the key pair")
    words = last_line(answer).split()
    if len(words) != 2 or words[0] != "public":
        raise ProvisionError(f"{port}: no key pair was made; the board said: {last_line(answer)}")
    return bytes.fromhex(words[1])


def name_port(port: str, made: Enrolment, *, trust: bytes) -> None:
    """Tell a node that has its own key pair what it is called and whom it may trust, and reset it: it joins then.

    trust   provisioning.gateway_list.trust_of
    Raises  ProvisionError
    """
    values = list(nvs_of_born(made, trust=trust).items())
    with tempfile.TemporaryDirectory(prefix="lamppost-") as name:
        script = _NAMES_SCRIPT.format(namespace=_NAMESPACE, values=values)
        answer = run_script(port, Path(name), script, step="writing its names")
    if "stored" not in answer:
        raise ProvisionError(f"{port}: the node's names were not stored; the board said: {last_line(answer)}")
    mpremote(port, "reset", step="reset")


def run_script(port: str, folder: Path, text: str, *, step: str) -> str:
    """Run this text on the board, by way of a file in `folder`; what it printed. Raises ProvisionError."""
    script = folder / "script.py"
    script.write_text(text)
    return mpremote(port, "run", str(script), step=step)


def _lay_out(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def mpremote(port: str, *words: str, step: str) -> str:
    """Run one mpremote command; what it printed. Raises ProvisionError."""
    command = [sys.executable, "-m", "mpremote", "connect", port, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MPREMOTE_S, check=False)
    except subprocess.TimeoutExpired:
        raise ProvisionError(f"{port}: {step} took over {_MPREMOTE_S} s; reset the board and try again") from None
    if done.returncode:
        said = last_line(done.stderr or done.stdout)
        raise ProvisionError(f"{port}: {step} failed: {said}; hold the node's button while it starts, and try again")
    return done.stdout


def last_line(text: str) -> str:
    """What a board said last: its answer, or its complaint."""
    return (text.strip().splitlines() or ["nothing"])[-1]


def _say(what: str) -> None:
    print(what, file=sys.stderr)


def _read_json(path: Path, option: str) -> dict[str, object]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(option, path, f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(option, path, f"is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(option, path, "must hold one JSON object")
    return content


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost provision`."""
    add = parser.add_argument
    add("--port", required=True, metavar="PORT", help="the board's serial port, e.g. /dev/ttyACM0")
    add("--bundle", type=Path, metavar="FILE", help="the node's secrets, from `lamppost enrol`")
    add("--born", action="store_true", help="instead: the node makes its own key pair, and joins")
    add(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="with --born: the gateway's data folder, where the node is enrolled",
    )
    add("--trust", metavar="HEX", help="with --born: whom the node may trust, from the site's authority")
    add("--alias", default="", metavar="NAME", help="with --born: what people call the node")
    add("--config", type=Path, required=True, metavar="FILE", help="the node's settings, its config.json")
    add("--board", default="heltec_v3", metavar="NAME", help=f"{', '.join(boards.names())} (default: heltec_v3)")


def _run_born(args: argparse.Namespace) -> int:
    if args.data_dir is None or args.trust is None:
        raise ConfigError("--born", True, "needs --data-dir and --trust as well")
    try:
        trust = bytes.fromhex(args.trust)
        trust_from(trust)
    except ValueError:
        raise ConfigError("--trust", args.trust, "must be the hex digits that the site's authority gave") from None
    config = _read_json(args.config, "--config")
    try:
        public_key = bear_port(args.port, board=boards.load(args.board), config=config)
        made = enrol_public(args.data_dir, public_key=public_key, alias=args.alias)
    except boards.BoardError as error:
        raise ConfigError("--board", args.board, str(error)) from None
    name_port(args.port, made, trust=trust)
    print(f"{made.alias} ({made.id}) is ready on {args.port}; its private key is on the board alone, and it joins now")
    return 0


def run(args: argparse.Namespace) -> int:
    """Do what the command line says; the exit code."""
    if args.born:
        return _run_born(args)
    if args.bundle is None:
        raise ConfigError("--bundle", None, "is missing; or give --born for a node that makes its own key pair")
    bundle, config = _read_json(args.bundle, "--bundle"), _read_json(args.config, "--config")
    try:
        board = boards.load(args.board)
        provision_port(args.port, board=board, bundle=bundle, config=config)
    except boards.BoardError as error:
        raise ConfigError("--board", args.board, str(error)) from None
    except EnrolError as error:
        raise ConfigError("--bundle", args.bundle, str(error)) from None
    print(f"{bundle['alias']} ({bundle['id']}) is ready on {args.port}; the bundle {args.bundle} can be deleted")
    return 0
