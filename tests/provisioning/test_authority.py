"""The authority from the command line: what its commands do, refuse and never print."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.registry import opening
from gateway.registry import statement as st
from gateway.registry.proof import ProofError, verify_proof
from gateway.registry.site import read_anchor
from lamppost.cli import main
from provisioning.authority_key import KEY_FILE, RECOVERY_FILE
from tests.gateway.registry.sites import Person, new_key

SOFTHSM = next(
    (
        path
        for path in (
            Path("/usr/lib/softhsm/libsofthsm2.so"),
            Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
            Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
        )
        if path.exists()
    ),
    None,
)


class Office:
    """An authority's folder, and its commands."""

    def __init__(self, folder: Path, *init: str) -> None:
        self.folder, self.home = folder, folder / "authority"
        self.secret = folder / "secret"
        self.secret.write_text("correct horse\n")
        self.secret.chmod(0o600)
        words = ["--site", "oslo", "--recovery-passphrase-file", str(self.secret), *init]
        assert self.do("init", *words) == 0

    def do(self, what: str, *words: str) -> int:
        common = ["--home", str(self.home), "--passphrase-file", str(self.secret)]
        return main(["authority", what, *common, *words])

    def status(self, node: Person) -> str:
        with opening.open_registry(self.home / "registry", read_only=True) as registry:
            found = registry.identity(node.id)
            return found.status if found else "unknown"

    def enrol(self, node: Person, *words: str) -> None:
        assert self.do("issue", "--public-key", node.point.hex(), *words) == 0


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_node_goes_through_its_life(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    node = Person()
    office.enrol(node, "--label", "lamp-1", "--zone", "north", "--days", "30")
    for command, status in (("suspend", "suspended"), ("unrevoke", "active"), ("revoke", "revoked")):
        assert office.do(command, "lamp-1", "--reason", "tried") == 0
        assert office.status(node) == status
    assert office.do("unrevoke", node.id) == 0
    assert office.do("transfer", node.id, "--zone", "south") == 0
    assert office.do("endorse", "label:lamp-1", "--days", "1", "--by", "workshop") == 0
    store = str(office.home / "registry")
    capsys.readouterr()
    assert main(["identity", "resolve", "lamp-1", "--store", store, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["zone"], shown["status"]) == (node.id, "south", "active")
    assert shown["endorsed"][1] - shown["endorsed"][0] == 86_400 + 300
    assert office.do("transfer", node.id, "--to-site", "bergen") == 0
    assert office.status(node) == "transferred"


def test_key_rotation_needs_the_old_key(office: Office, tmp_path: Path) -> None:
    node, new = Person(), new_key()
    office.enrol(node)
    request = tmp_path / "request.json"
    point = new.public.raw.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    for signer, code in ((new, 1), (node.key, 0)):
        proof = st.rotation_proof(signer, new.public.cose_key(), node.id)
        request.write_text(json.dumps({"public_key": point.hex(), "proof": proof.hex()}))
        assert office.do("rotate", node.id, "--request", str(request)) == code


def test_batch_enrols_one_per_line(office: Office, tmp_path: Path) -> None:
    nodes = [Person() for _ in range(100)]
    rows = ({"public_key": one.point.hex(), "label": f"lamp-{at}"} for at, one in enumerate(nodes))
    batch = tmp_path / "batch.jsonl"
    batch.write_text("\n".join(map(json.dumps, rows)))
    assert office.do("issue", "--batch", str(batch)) == 0
    assert office.status(nodes[99]) == "active"


def test_site_key_rolls_over_and_the_old_one_says_nothing_more(office: Office) -> None:
    old = (office.home / KEY_FILE).read_bytes()
    assert office.do("rotate", "--site-key", "--new-passphrase-file", str(office.secret)) == 0
    office.enrol(Person())
    new = (office.home / KEY_FILE).read_bytes()
    assert new != old
    (office.home / KEY_FILE).write_bytes(old)
    assert office.do("issue", "--public-key", Person().point.hex()) == 1
    (office.home / KEY_FILE).write_bytes(new)
    assert main(["registry", "verify", "--store", str(office.home / "registry")]) == 0


def test_site_key_moves_to_another_algorithm_by_a_command(office: Office) -> None:
    words = ["--site-key", "--algorithm", "EdDSA", "--new-passphrase-file", str(office.secret)]
    assert office.do("rotate", *words) == 0
    node = Person()
    office.enrol(node)
    assert office.status(node) == "active"
    assert main(["registry", "verify", "--store", str(office.home / "registry")]) == 0


def test_lost_key_is_replaced_with_the_recovery_key(office: Office, tmp_path: Path) -> None:
    safe = tmp_path / "safe.key"
    (office.home / RECOVERY_FILE).rename(safe)
    (office.home / KEY_FILE).unlink()
    assert office.do("issue", "--public-key", Person().point.hex()) == 1
    words = ["--recovery-key", str(safe), "--recovery-passphrase-file", str(office.secret)]
    assert office.do("rotate", "--site-key", *words, "--new-passphrase-file", str(office.secret)) == 0
    office.enrol(Person())


def test_wrong_passphrase_is_said_in_one_line(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    office.secret.write_text("wrong\n")
    assert office.do("issue", "--public-key", Person().point.hex()) == 1
    said = capsys.readouterr().err
    assert "wrong passphrase" in said
    assert "Traceback" not in said


def test_key_is_in_no_file_in_the_clear_and_in_no_output(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    office.enrol(Person())
    assert office.do("export", "--out", str(tmp_path / "out.bundle"), "--anchor", str(tmp_path / "anchor.cbor")) == 0
    pem = serialization.load_pem_private_key((office.home / KEY_FILE).read_bytes(), b"correct horse")
    secret = pem.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert secret not in content
            assert secret.hex().encode() not in content.lower()
    assert secret.hex() not in capsys.readouterr().out
    assert (office.home / KEY_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "words, code",
    [
        (["issue", "--public-key", "02" + "ff" * 32], 2),
        (["issue", "--public-key", "nonsense"], 2),
        (["revoke", "nobody"], 1),
        (["revoke", "--gateway", "gw-9"], 1),
        (["transfer", "lamp-1"], 2),
        (["policy", "missing.toml"], 2),
        (["export"], 2),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(
    office: Office, words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert office.do(*words) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_policy_that_cannot_be_read_is_not_signed(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('version = 1\n[[rule]]\nzone = ["north"]\n')
    assert office.do("policy", str(path)) == 2
    path.write_text('version = 1\n[[rule]]\nzones = ["north"]\njoin = true\nreport = ["temperature"]\n')
    assert office.do("policy", str(path)) == 0


def test_proof_is_checked_with_the_anchor_alone(office: Office, tmp_path: Path) -> None:
    nodes = [Person() for _ in range(5)]
    for node in nodes:
        office.enrol(node)
    assert office.do("revoke", nodes[2].id) == 0
    assert office.do("rotate", "--site-key", "--new-passphrase-file", str(office.secret)) == 0
    assert office.do("export", "--anchor", str(tmp_path / "anchor")) == 0
    store, proof = str(office.home / "registry"), tmp_path / "proof"
    assert main(["registry", "prove", nodes[2].id, "--store", store, "--out", str(proof)]) == 0
    check = ["registry", "verify", "--proof", str(proof), "--anchor", str(tmp_path / "anchor")]
    assert main(check) == 0
    good = proof.read_bytes()
    anchor = read_anchor((tmp_path / "anchor").read_bytes())
    assert verify_proof(good, anchor).identity.status == "revoked"
    for at in range(0, len(good), 5):
        with pytest.raises(ProofError):
            verify_proof(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], anchor)
    other = Office(tmp_path / "other") if (tmp_path / "other").mkdir() is None else None
    assert other is not None
    assert other.do("export", "--anchor", str(tmp_path / "anchor")) == 0
    assert main(check) == 1


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A SoftHSM token; the real library behind PKCS#11."""
    if SOFTHSM is None or shutil.which("softhsm2-util") is None:
        if os.environ.get("CI"):
            pytest.fail("softhsm2 is missing; tools/peers installs it")
        pytest.skip("softhsm2 is missing, so a key in a token was NOT tested; run tools/peers")
    conf = tmp_path / "softhsm2.conf"
    (tmp_path / "tokens").mkdir()
    conf.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
    pin = "correct horse"
    command = ["softhsm2-util", "--init-token", "--free", "--label", "city", "--pin", pin, "--so-pin", "12345678"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return str(SOFTHSM)


def test_key_in_a_token_signs_and_never_leaves_it(tmp_path: Path, token: str) -> None:
    office = Office(tmp_path, "--pkcs11-module", token, "--pkcs11-token", "city")
    node = Person()
    office.enrol(node)
    assert office.do("revoke", node.id) == 0
    assert office.status(node) == "revoked"
    assert not (office.home / KEY_FILE).exists()
    assert main(["registry", "verify", "--store", str(office.home / "registry")]) == 0
    office.secret.write_text("wrong PIN\n")
    assert office.do("revoke", node.id) == 1
