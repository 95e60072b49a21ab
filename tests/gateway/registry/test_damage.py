"""One byte changed while the registry was off, in whichever file, is noticed and named; nothing false is believed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.registry import opening, verifying
from gateway.registry import statement as st
from gateway.registry.logfile import HEAD, LogFile
from gateway.registry.verifying import verify
from tests.gateway.registry.sites import Person, about, carry, new_key, town


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry of twelve nodes, closed."""
    with town(tmp_path) as oslo:
        gateway = oslo.add_gateway("gw-1")
        for _ in range(3):
            oslo.say(*(Person().enrol(label=f"lamp-{at}") for at in range(4)))
        carry(oslo.authority, gateway)
        gateway.append([about(st.SUSPEND, Person().id)], gateway.holder)
    return tmp_path / "oslo" / "gw-1"


def believed(folder: Path) -> tuple[str, list[str]]:
    with opening.open_registry(folder) as registry:
        return registry.state_digest(), list(registry.notices)


@pytest.mark.parametrize("name", ["checkpoint", "index-*.db"])
@pytest.mark.parametrize("seed", range(5))
def test_changed_byte_of_checkpoint_or_index_is_named_and_made_good(folder: Path, name: str, seed: int) -> None:
    digest, notices = believed(folder)
    assert notices == []
    path = next(folder.glob(name))
    content = bytearray(path.read_bytes())
    rng = random.Random(seed)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    after, notices = believed(folder)
    assert str(path) in notices[0]
    assert "was changed" in notices[0]
    assert after == digest
    assert believed(folder) == (digest, [])


@pytest.mark.parametrize("name", ["checkpoint", "index-*.db"])
def test_missing_file_is_named_and_made_good(folder: Path, name: str) -> None:
    digest, _ = believed(folder)
    path = next(folder.glob(name))
    path.unlink()
    after, notices = believed(folder)
    assert path.name in notices[0]
    assert after == digest


@pytest.mark.parametrize("seed", range(5))
def test_changed_byte_of_a_log_is_named_and_its_rest_left_out(folder: Path, seed: int) -> None:
    before, _ = believed(folder)
    path = folder / "logs" / "oslo@authority.log"
    content = bytearray(path.read_bytes())
    rng = random.Random(seed)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    _, notices = believed(folder)
    assert any("oslo@authority.log was changed while this was off" in one for one in notices)
    assert path.with_suffix(".damaged-1").read_bytes() == bytes(content)
    authority = folder.parent / "authority"
    with opening.open_registry(folder) as registry, opening.open_registry(authority) as giver:
        carry(giver, registry)
        assert registry.heads()["oslo/authority"] == giver.heads()["oslo/authority"]
        assert registry.state_digest() == before
        registry.append([about(st.SUSPEND, Person().id)], registry.holder)
        assert registry.own().size == 2


def test_changed_anchor_is_named(folder: Path) -> None:
    path = folder / "anchor.cbor"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(GatewayError, match=r"anchor\.cbor"):
        believed(folder)


def test_torn_append_is_cut_off_and_nothing_else(folder: Path) -> None:
    digest, _ = believed(folder)
    path = folder / "logs" / "oslo@gw-1.log"
    whole = path.read_bytes()
    for torn in (whole[:1], whole[:40], b"\0" * 64):
        path.write_bytes(whole + torn)
        after, notices = believed(folder)
        assert after == digest
        assert "unreadable" in notices[0]
        assert path.read_bytes() == whole


def test_power_cut_at_any_byte_of_an_append_leaves_all_or_nothing(folder: Path) -> None:
    path = folder / "logs" / "oslo@gw-1.log"
    before = path.stat().st_size
    with opening.open_registry(folder) as registry:
        registry.append([about(st.SUSPEND, Person().id)], registry.holder)
    (folder / "checkpoint").unlink()
    whole = path.read_bytes()
    for length in range(before, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        with opening.open_registry(folder, read_only=True) as registry:
            assert registry.own().size == 1
    path.write_bytes(whole)
    with opening.open_registry(folder, read_only=True) as registry:
        assert registry.own().size == 2


def test_verify_finds_what_a_checkpoint_would_hide(folder: Path) -> None:
    """Somebody who can write the check-point too still cannot sign for the authority."""
    with opening.open_registry(folder) as registry:
        assert verify(registry) == (registry.own().size + registry.writer("oslo/authority").size, [])
        log = LogFile(folder / "logs" / "oslo@authority.log")
        frames = list(log.scan())
        entry = [one for one in frames if one.kind != HEAD][3]
        content = entry.content[:-1] + bytes([entry.content[-1] ^ 1])
        log.path.unlink()
        log.append([(one.kind, content if one is entry else one.content) for one in frames])
        entries, problems = verify(registry)
        assert "entry 3 of oslo/authority" in problems[0]
        assert entries < registry.writer("oslo/authority").size


def test_verification_on_every_processor_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over a roll-over of the site key, which workers that look ahead do not know of yet."""
    with town(tmp_path) as oslo:
        node, new = Person(), new_key()
        oslo.say(node.enrol(), *(Person().enrol() for _ in range(300)), node.rotate(new_key()))
        keys = {"key": new.public.cose_key(), "recovery": oslo.recovery.public.cose_key()}
        oslo.authority.append([about(st.SITE_KEY, "oslo", **keys)], oslo.key, head_signer=new)
        oslo.key = new
        oslo.say(*(Person().enrol() for _ in range(300)))
        alone = verify(oslo.authority)
        monkeypatch.setattr(verifying, "_WORTH_A_POOL", 0)
        assert verify(oslo.authority) == alone == (oslo.authority.own().size, [])
        log = LogFile(oslo.authority.own().file.path)
        frames = list(log.scan())
        entry = [one for one in frames if one.kind != HEAD][500]
        content = entry.content[:-1] + bytes([entry.content[-1] ^ 1])
        log.path.unlink()
        log.append([(one.kind, content if one is entry else one.content) for one in frames])
        assert "entry 500 of oslo/authority" in verify(oslo.authority)[1][0]
