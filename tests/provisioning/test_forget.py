"""A node that forgets: flash file and NVS file of the virtual board, read as a whole, before and after."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from boards import data
from boards.virtual.board import VirtualBoard
from boards.virtual.nvs import KIND_BLOB, Nvs
from boards.virtual.power import FlashWear
from lamppost.cli import main
from provisioning.enrol import enrol
from provisioning.provision import provision_virtual
from tests.traces import found_in

pytestmark = pytest.mark.timeout(120)


def images(board: VirtualBoard) -> bytes:
    """Everything that is in this board's flash, what is no longer valid included."""
    return board.flash_image.read_bytes() + board.flash_image.with_suffix(".nvs.json").read_bytes()


def lived(board: VirtualBoard, data_dir: Path) -> dict[str, bytes]:
    """Give a board that is off three lives: keys replaced, passwords changed. Returns every secret it ever had."""
    held: dict[str, bytes] = {}
    facts = data.load("heltec_v3")
    enrolment = enrol(data_dir, alias="lamp-1")
    for life in range(3):
        wifi, mqtt = secrets.token_urlsafe(15), secrets.token_urlsafe(15)
        config = {
            "bearer": "mqtt",
            "sensors": ["bme280"],
            "wifi": {"ssid": "street", "password": wifi},
            "mqtt": {"host": "10.0.0.1", "user": "lamp-1", "password": mqtt},
        }
        provision_virtual(board, board=facts, bundle=enrolment.bundle(), config=config)
        own = {"priv": secrets.token_bytes(32), "seed": secrets.token_bytes(32), "next": secrets.token_bytes(36)}
        board.set_nvs("lamppost", own)
        held |= {f"{name} {life}": value for name, value in own.items()}
        held |= {f"Wi-Fi password {life}": wifi.encode(), f"MQTT password {life}": mqtt.encode()}
        held[f"root key {life}"] = enrolment.root_key
        enrolment = enrol(data_dir, renew="lamp-1")
    return held


def test_nothing_of_any_secret_is_left_on_the_board(make_virtual_board, tmp_path: Path, capsys) -> None:
    board = make_virtual_board()
    held = lived(board, tmp_path / "data")
    assert found_in(images(board), held) == held.keys()
    board.power_on()
    assert main(["node", "forget", "--port", board.port, "--yes"]) == 0
    assert "blocks erased and read back" in capsys.readouterr().out
    image = images(board)
    assert found_in(image, held) == set()
    assert board.nvs == {}
    with capsys.disabled():
        print(f"\n{len(held)} secrets on the board before, none in the {len(image)} bytes of its flash and NVS after")


def test_what_was_replaced_is_there_until_its_page_is_erased(tmp_path: Path) -> None:
    """As ESP-IDF's library does it: without this, deleting a key would look like destroying it."""
    path, old = tmp_path / "board.nvs.json", bytes(range(32))
    nvs = Nvs(path, FlashWear(lambda: None))
    nvs.put("lamppost", "key", old)
    nvs.set("lamppost", "key", KIND_BLOB, bytes(32))
    nvs.erase_key("lamppost", "key")
    nvs.commit()
    assert found_in(path.read_bytes(), {"old": old}) == {"old"}
    nvs.close()
    nvs = Nvs(path, FlashWear(lambda: None))
    assert nvs.namespaces() == {}
    for page in range(nvs.pages):
        nvs.erase_page(page)
    assert not any(map(nvs.is_page_used, range(nvs.pages)))
    assert json.loads(path.read_text()) == []
    nvs.close()


def test_old_values_give_way_when_the_room_is_wanted(tmp_path: Path) -> None:
    nvs = Nvs(tmp_path / "board.nvs.json", FlashWear(lambda: None))
    for at in range(1000):
        nvs.set("lamppost", "key", KIND_BLOB, at.to_bytes(4, "big") * 8)
    assert (tmp_path / "board.nvs.json").stat().st_size < 40_000
    nvs.close()


def test_it_asks_first(capsys) -> None:
    assert main(["node", "forget", "--port", "/dev/null"]) == 2
    assert "--yes" in capsys.readouterr().err
