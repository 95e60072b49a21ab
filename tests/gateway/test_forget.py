"""A gateway that forgets: nothing of any secret it ever had is left on its disk, in files or between them."""

from __future__ import annotations

import base64
import json
import os
import secrets
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drivers.link import keys
from gateway.audit import AuditLog
from gateway.clock import ClockTrust
from gateway.config import load
from gateway.forget import forget, named_secrets
from gateway.mqtt.access import hash_password
from gateway.store_errors import StoreBusy
from gateway.trust import Trust
from lamppost.cli import main
from provisioning.enrol import enrol
from tests.gateway.cores import hear, running_core
from tests.gateway.identity.test_registered_joins import enrolment_of, speaking
from tests.gateway.joining import Bearer, JoiningNode, Site
from tests.gateway.registry.sites import carry, town
from tests.gateway.sealed_node import SealedNode
from tests.traces import forms, found_in
from tools.measure.disk import DiskError, LoopDisk

MIB = 1 << 20
CONFIG = """\
[gateway]
id = "gw-1"
site = "oslo"
data_dir = "{folder}/data"
[southbound.mqtt]
listen = "mqtts://127.0.0.1:8883"
cert_file = "{folder}/gw.crt"
key_file = "{folder}/gw.pem"
access_file = "{folder}/access"
[[city]]
kind = "mqtt"
url = "mqtts://city:8883"
topic = "city/{{site}}/{{node}}/senml"
username = "gw-1"
password_file = "{folder}/city.password"
"""


def settings(folder: Path) -> Path:
    """gateway.toml, and the files outside data_dir that it names."""
    path = folder / "gateway.toml"
    path.write_text(CONFIG.format(folder=folder))
    return path


def named(folder: Path) -> dict[str, bytes]:
    """Make them; what is secret of them."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "gw.pem").write_bytes(key.private_bytes(*form))
    (folder / "gw.crt").write_text("a certificate is no secret\n")
    password, device = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    (folder / "city.password").write_text(password)
    hashed = hash_password(device.encode())
    (folder / "access").write_text(f"meter-1 {hashed}\n")
    return {
        "TLS key": scalar(key),
        "city password": password.encode(),
        "password hash": hashed.encode()[-32:],
    }


def scalar(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(32, "big")


async def live(data_dir: Path, folder: Path) -> dict[str, bytes]:
    """A life with joins, renewals and deletions. Returns every secret that was on this disk, by name."""
    held: dict[str, bytes] = {}
    site, placed = Site(), enrol(data_dir, alias="placed")
    held["placed root key, replaced"] = placed.root_key
    held["placed private key"] = (
        serialization.load_pem_private_key(  # the bundle goes to the node, not here
            placed.private_key_pem.encode(), None
        )
        .private_numbers()
        .private_value.to_bytes(32, "big")
    )  # type: ignore[union-attr]
    node = JoiningNode(site.trust(site.endorse(data_dir)))
    with town(folder / "site") as city:
        registry = city.add_gateway("gw-1", data_dir / "registry")
        clock = ClockTrust()
        trust = Trust(registry, AuditLog(data_dir / "audit", actor="gw-1", signer=registry.holder), clock)
        trust.audit.open()
        enrolment = enrolment_of(node)
        city.say(enrolment)
        carry(city.authority, registry)
        async with running_core(data_dir, trust=trust, clock=clock) as core:
            assert (await hear(core, SealedNode(placed).report())).accepted
            for epoch in range(1, 3):
                joined = await node.join(Bearer(core))
                assert joined is not None
                held[f"root key of join {epoch}"] = joined.root
                frame_key, _ = keys.derive(joined.root, joined.epoch, keys.UP)
                held[f"frame key of join {epoch}"] = frame_key
                assert (await hear(core, speaking(node, enrolment.subject, joined).report())).accepted
        trust.audit.flush(last=True)
    held["placed root key"] = enrol(data_dir, renew="placed").root_key
    held["join key"] = bytes.fromhex(json.loads((data_dir / "identity.json").read_text())["private_key_hex"])
    held["privacy key"] = (data_dir / "privacy.key").read_bytes()
    holder = serialization.load_pem_private_key((data_dir / "registry" / "holder.key").read_bytes(), None)
    assert isinstance(holder, ec.EllipticCurvePrivateKey)
    held["registry key"] = scalar(holder)
    return held


NEVER_THERE = {"placed private key"} | {f"frame key of join {epoch}" for epoch in range(1, 3)}


async def test_nothing_of_any_secret_is_left_on_the_whole_disk(tmp_path: Path, capsys) -> None:
    """ext4 on a loop device, its image read as a whole: files, free blocks, journal."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(LoopDisk(tmp_path / "disk", size_bytes=24 * MIB))
        except DiskError as error:
            message = f"no disk of our own can be made here: {error}"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
        config = settings(disk.path)
        data_dir = disk.path / "data"
        held = {**named(disk.path), **await live(data_dir, tmp_path)}
        os.sync()
        before = found_in(disk.image.read_bytes(), held)
        assert before == held.keys() - NEVER_THERE
        assert main(["gateway", "forget", "--config", str(config), "--gateway", "gw-1"]) == 0
        os.sync()
        image = disk.image.read_bytes()
        assert found_in(image, held) == set()
        assert sorted(path.name for path in disk.path.iterdir()) == ["gateway.toml", "gw.crt", "lost+found"]
    with capsys.disabled():
        print(f"\n{len(held)} secrets, {len(before)} of them on the disk before: none in the {len(image)} bytes after")


def test_quick_leaves_free_space_and_the_command_asks_for_the_name(tmp_path: Path, capsys) -> None:
    config = settings(tmp_path)
    held = named(tmp_path)
    data_dir = tmp_path / "data"
    held["root key"] = enrol(data_dir, alias="lamp").root_key
    assert main(["gateway", "forget", "--config", str(config), "--gateway", "gw-2"]) == 2
    assert "must be gw-1" in capsys.readouterr().err
    assert found_in(everything(tmp_path), held) == held.keys()
    assert main(["gateway", "forget", "--config", str(config), "--gateway", "gw-1", "--quick"]) == 0
    assert found_in(everything(tmp_path), held) == set()
    assert not data_dir.exists()
    assert config.exists()


async def test_a_running_gateway_is_not_forgotten(tmp_path: Path) -> None:
    config = load(settings(tmp_path))
    async with running_core(tmp_path / "data"):
        with pytest.raises(StoreBusy):
            forget(config, fills_free_space=False)
    assert (tmp_path / "data" / "privacy.key").exists()


def test_every_secret_file_that_settings_name_is_known(tmp_path: Path) -> None:
    found = named_secrets(load(settings(tmp_path)))
    assert {path.name for path in found} == {"gw.pem", "access", "city.password"}


def test_a_secret_is_found_in_any_form() -> None:
    secret = bytes(range(40, 72))
    for pad in range(3):
        text = base64.encodebytes(bytes(pad) + secret + b"more")
        assert found_in(b"xx" + text, {"it": secret}) == {"it"}
    assert found_in(secret.hex().upper().encode(), {"it": secret}) == {"it"}
    assert found_in(bytes(100), {"it": secret}) == set()
    assert len(list(forms(secret))) == 9


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
