"""Enrolment: names from the public key, keys for two pairs of eyes, epochs that only rise."""

import base64
import hashlib
import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.identity.nodes import read_node
from gateway.tables import FORMAT, TABLES
from lamppost.cli import main
from provisioning.enrol import EnrolError, enrol
from provisioning.identity import Identity


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_names_follow_from_the_public_key() -> None:
    """Worked by hand from docs/protocol.md with the generator of P-256 as the key (SEC 2, section 2.4.2)."""
    point = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    identity = Identity(public_key=point, pen=32473)
    digest = hashlib.sha256(point).digest()
    assert identity.address == digest[:2]
    assert identity.id == "urn:dev:os:32473-" + base64.b32encode(digest[:10]).decode().lower()
    assert len(identity.id.rpartition("-")[2]) == 16


def test_private_key_in_the_bundle_is_that_of_the_name(tmp_path: Path) -> None:
    made = enrol(tmp_path, alias="lamp-1")
    key = serialization.load_pem_private_key(made.private_key_pem.encode(), None)
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    assert Identity(public_key=point, pen=32473).id == made.id


def test_gateway_reads_what_was_written(tmp_path: Path) -> None:
    made = enrol(tmp_path, alias="lamp-1")
    node = read_node(made.gateway_file)
    assert (node.id, node.root_key, node.epoch, node.alias) == (made.id, made.root_key, 1, "lamp-1")
    assert node.address == int(made.address, 16)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = enrol(tmp_path / "data")
    made.write_bundle(tmp_path / "bundle.json")
    assert mode(made.gateway_file) == 0o600
    assert mode(tmp_path / "bundle.json") == 0o600
    assert mode(tmp_path / "data" / "nodes") == 0o700


def test_gateways_file_has_no_private_key(tmp_path: Path) -> None:
    assert "PRIVATE" not in enrol(tmp_path).gateway_file.read_text()


def test_renewal_keeps_the_name_and_changes_key_and_epoch(tmp_path: Path) -> None:
    first = enrol(tmp_path, alias="lamp-1")
    second = enrol(tmp_path, renew="lamp-1")
    assert (second.id, second.alias, second.gateway_file) == (first.id, "lamp-1", first.gateway_file)
    assert second.root_key != first.root_key
    assert second.epoch > first.epoch


def test_renewed_epoch_is_above_what_the_gateway_has_heard(tmp_path: Path) -> None:
    made = enrol(tmp_path)
    with closing(sqlite3.connect(tmp_path / "lamppost.db")) as database:
        database.executescript(f"{TABLES} PRAGMA user_version = {FORMAT};")
        database.execute("INSERT INTO sessions VALUES (?, 40, 1, x'00', 0, 1, 0)", (made.id,))
        database.execute("INSERT INTO sequences VALUES (?, 41, 0, x'', x'')", (made.id,))
        database.commit()
    assert enrol(tmp_path, renew=made.id).epoch > 41


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"alias": "a b"}, "alias 'a b'"),
        ({"alias": "lamp-1"}, "choose another with --alias"),
        ({"renew": "nobody"}, "no enrolled node"),
        ({"pen": 0}, "pen 0"),
    ],
)
def test_mistake_is_said_and_enrols_nobody(tmp_path: Path, options: dict[str, object], rule: str) -> None:
    enrol(tmp_path, alias="lamp-1")
    with pytest.raises(EnrolError, match=rule):
        enrol(tmp_path, **options)  # type: ignore[arg-type]
    assert len(list((tmp_path / "nodes").iterdir())) == 1


def test_bundle_does_not_replace_another_nodes(tmp_path: Path) -> None:
    enrol(tmp_path).write_bundle(tmp_path / "bundle.json")
    with pytest.raises(EnrolError, match="another node"):
        enrol(tmp_path).write_bundle(tmp_path / "bundle.json")


def test_keys_are_in_no_repr(tmp_path: Path) -> None:
    made = enrol(tmp_path)
    assert made.root_key.hex() not in repr(made)
    assert repr(made.root_key) not in repr(made)
    assert "PRIVATE" not in repr(made)


def test_command_prints_names_and_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bundle.json"
    assert main(["enrol", "--data-dir", str(tmp_path), "--alias", "lamp-1", "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr().out
    bundle = json.loads(out.read_text())
    assert json.loads(printed)["id"] == bundle["id"]
    assert bundle["root_key_hex"] not in printed


def test_renewed_bundle_keeps_the_private_key(tmp_path: Path) -> None:
    arguments = ["enrol", "--data-dir", str(tmp_path), "--alias", "lamp-1", "--out", str(tmp_path / "b.json")]
    main(arguments)
    first = json.loads((tmp_path / "b.json").read_text())
    main([*arguments, "--renew", "lamp-1"])
    second = json.loads((tmp_path / "b.json").read_text())
    assert second["private_key_pem"] == first["private_key_pem"]
    assert second["root_key_hex"] != first["root_key_hex"]


def test_second_enrolment_does_not_overwrite_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["enrol", "--data-dir", str(tmp_path), "--out", str(tmp_path / "b.json")]
    main(arguments)
    assert main(arguments) == 1
    assert "give another file with --out" in capsys.readouterr().err
    assert len(list((tmp_path / "nodes").iterdir())) == 1


def test_nvs_values_have_the_types_the_firmware_reads(tmp_path: Path) -> None:
    nvs = enrol(tmp_path).nvs()
    assert list(nvs) == ["id", "address", "key", "epoch", "seq", "counter"]
    assert len(nvs["key"]) == 32  # type: ignore[arg-type]
