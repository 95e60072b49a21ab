"""Provisioning a real MicroPython over its serial port with the real mpremote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from boards import data
from boards.virtual.board import VirtualBoard
from drivers.link import p256, p256_base
from gateway.errors import ConfigError
from lamppost.cli import main
from provisioning.enrol import Enrolment, enrol
from provisioning.gateway_list import trust_of
from provisioning.identity import make_private_key
from provisioning.provision import files_for, provision_virtual

pytestmark = pytest.mark.timeout(120)
CONFIG = {"bearer": "lora", "sensors": ["bme280"], "sample_s": 2, "report_s": 2}


@pytest.fixture
def enrolment(tmp_path: Path) -> Enrolment:
    return enrol(tmp_path / "data", alias="lamp-1")


def test_node_on_a_port_gets_firmware_settings_and_key(
    virtual_board: VirtualBoard, enrolment: Enrolment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrolment.write_bundle(tmp_path / "bundle.json")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    words = ["--bundle", str(tmp_path / "bundle.json"), "--config", str(tmp_path / "config.json")]
    assert main(["provision", "--port", virtual_board.port, *words]) == 0
    printed = capsys.readouterr()
    assert enrolment.id in printed.out
    assert enrolment.root_key.hex() not in printed.out + printed.err
    nvs = virtual_board.nvs["lamppost"]
    assert (nvs["key"], nvs["epoch"], nvs["counter"]) == (enrolment.root_key, 1, 0)
    files = virtual_board.files()
    assert json.loads(files["/config.json"]) == CONFIG
    assert files["/main.py"] == Path("firmware/main.py").read_bytes()
    assert json.loads(files["/board.json"])["name"] == "heltec_v3"
    assert not any(enrolment.root_key.hex().encode() in content for content in files.values())


def test_node_on_a_port_makes_its_own_key_pair(virtual_board: VirtualBoard, tmp_path: Path, capsys) -> None:
    site = make_private_key()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    words = ["--data-dir", str(tmp_path / "data"), "--trust", trust_of(site).hex(), "--alias", "lamp-9"]
    words += ["--config", str(tmp_path / "config.json")]
    assert main(["provision", "--port", virtual_board.port, "--born", *words]) == 0
    printed = capsys.readouterr()
    nvs = virtual_board.nvs["lamppost"]
    public = p256.compress(p256_base.public(p256.scalar(nvs["priv"])))
    (file,) = (tmp_path / "data" / "nodes").iterdir()
    node = json.loads(file.read_text())
    assert (node["public_key"], node["alias"]) == (public.hex(), "lamp-9")
    assert nvs["id"].decode() == node["id"]
    assert nvs["site"] == trust_of(site)
    assert "key" not in nvs
    assert "root_key_hex" not in node
    secret = nvs["priv"].hex()
    assert secret not in printed.out + printed.err + virtual_board.console() + file.read_text()
    assert not any(nvs["priv"] in content for content in virtual_board.files().values())


def test_virtual_board_that_is_off_gets_the_same(make_virtual_board, enrolment: Enrolment) -> None:
    board = make_virtual_board()
    facts = data.load("heltec_v3")
    provision_virtual(board, board=facts, bundle=enrolment.bundle(), config=CONFIG)
    expected = files_for(board=facts, config=CONFIG)
    assert {path: board.files()[path] for path in expected} == expected
    assert board.nvs["lamppost"]["key"] == enrolment.root_key


def test_setting_the_firmware_would_refuse_is_refused_before_anything_is_written() -> None:
    with pytest.raises(ConfigError) as caught:
        files_for(board=data.load("heltec_v3"), config={**CONFIG, "bearer": "lorra"})
    assert caught.value.key == "bearer"


@pytest.mark.parametrize(
    "changed, exit_code, said",
    [
        ({"--port": "/dev/none"}, 1, "copying files failed"),
        ({"--bundle": "none.json"}, 2, "--bundle"),
        ({"--config": "none.json"}, 2, "--config"),
        ({"--board": "heltec"}, 2, "heltec_v3"),
    ],
)
def test_mistake_is_one_line(
    changed: dict[str, str], exit_code: int, said: str, enrolment: Enrolment, tmp_path: Path, capsys
) -> None:
    enrolment.write_bundle(tmp_path / "bundle.json")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    options = {
        "--port": "/dev/none",
        "--bundle": str(tmp_path / "bundle.json"),
        "--config": str(tmp_path / "config.json"),
        **changed,
    }
    assert main(["provision", *[word for pair in options.items() for word in pair]]) == exit_code
    assert said in capsys.readouterr().err.splitlines()[-1]
