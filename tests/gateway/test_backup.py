"""A gateway is backed up, goes on, and is restored elsewhere: no key in the file, no number and no nonce twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.link import frame, keys
from gateway.audit import AuditLog, read_entries, verify
from gateway.backup.archive import BackupError, open_archive
from gateway.backup.restoring import restore
from gateway.backup.saving import save
from gateway.clock import ClockTrust
from gateway.config import Config, parse
from gateway.core import Core
from gateway.errors import ConfigError
from gateway.outbox.files import Files
from gateway.reading import Reading
from gateway.registry import opening
from gateway.registry.keys import load_key
from gateway.registry.registry import Registry
from gateway.registry.request import read_request
from gateway.trust import Trust
from gateway.vault import Vault
from lamppost.cli import main
from provisioning.enrol import enrol
from tests.gateway.cores import ManualTime, deliver_all, hear, reading_values, running_core, stored_reports
from tests.gateway.identity.test_registered_joins import enrolment_of, speaking
from tests.gateway.joining import Bearer, JoiningNode, Site
from tests.gateway.registry.sites import carry, town
from tests.gateway.sealed_node import SealedNode
from tests.gateway.test_forget import live
from tests.traces import found_in

CONFIG = """\
[gateway]
id = "gw-1"
site = "oslo"
data_dir = "{data_dir}"
[southbound.mqtt]
listen = "mqtt://127.0.0.1:1883"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:1884"
topic = "city/{{site}}/{{node}}/senml"
"""


def settings(data_dir: Path) -> Config:
    return parse(text_of(data_dir))


def text_of(data_dir: Path) -> str:
    return CONFIG.format(data_dir=data_dir)


@dataclass
class Tape:
    """Every (key, nonce) that was used on the air, in both directions, and every record id that left."""

    nonces: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)
    ids: Counter[str] = field(default_factory=Counter)

    def note(self, root: bytes, epoch: int, up: bytes, down: bytes | None) -> None:
        sent = frame.parse_uplink(up)
        self._note(root, epoch, keys.UP, sent.counter)
        if down is not None:
            self._note(root, epoch, keys.DOWN, frame.parse_downlink(down).counter)

    def _note(self, root: bytes, epoch: int, way: bytes, counter: int) -> None:
        key, iv = keys.derive(root, epoch, way)
        self.nonces[key, keys.nonce(iv, counter)] += 1


@dataclass
class Box:
    """A gateway that runs, and the nodes that speak to it."""

    core: Core
    tape: Tape

    async def hear(self, speaker: SealedNode, *, count: int = 3) -> list[bool]:
        """Reports of this node. Whether each was accepted."""
        found = []
        for _ in range(count):
            up = speaker.report()
            verdict = await hear(self.core, up)
            made = speaker._enrolment
            self.tape.note(made.root_key, made.epoch, up, verdict.downlink)
            found.append(verdict.accepted)
        return found

    async def say(self, count: int = 3) -> None:
        """Records of the gateway's own."""
        for _ in range(count):
            await self.core.intake.submit_own([Reading(quantity="x", value=1.0)], kind="event", measured_at_s=1.8e9)

    async def deliver(self) -> None:
        self.tape.ids.update(one.record_id for one in await deliver_all(self.core))


def opened(data_dir: Path, registry: Registry) -> tuple[Trust, ClockTrust]:
    clock = ClockTrust()
    return Trust(registry, AuditLog(data_dir / "audit", actor="gw-1", signer=registry.holder), clock), clock


async def test_nothing_comes_twice_after_a_restore_also_if_the_old_one_runs_on(tmp_path: Path, capsys) -> None:
    site, tape, file = Site(), Tape(), tmp_path / "gw-1.backup"
    old, new = tmp_path / "old", tmp_path / "new"
    node, moves = JoiningNode(site.trust()), JoiningNode(site.trust())
    site.endorse(old)
    placed = SealedNode(enrol(old, alias="placed"))
    with ExitStack() as stack:
        city = stack.enter_context(town(tmp_path))
        registry = city.add_gateway("gw-1", old / "registry")
        for one in (node, moves):
            city.say(enrolment_of(one))
        carry(city.authority, registry)
        trust, clock = opened(old, registry)
        trust.audit.open()
        async with running_core(old, trust=trust, clock=clock) as core:
            box = Box(core, tape)
            speaker, other = await joined(node, core), await joined(moves, core)
            assert all(await box.hear(speaker) + await box.hear(other) + await box.hear(placed))
            await box.say()
            await box.deliver()
            assert all(await box.hear(speaker))  # these wait for the city when the back-up is made
            await box.say()
            trust.audit.flush()
            facts = save(settings(old), text_of(old).encode(), file)  # while it runs
            assert (facts["records"], facts["placed"], facts["nodes"]) == (6, ["placed"], 1)
            assert all(await box.hear(speaker) + await box.hear(other) + await box.hear(placed))  # it goes on
            await box.say()
            await box.deliver()

            site.endorse(new)
            with open_archive(file) as archive:
                done = restore(settings(new), archive)
            renewed = stack.enter_context(opening.open_registry(new / "registry"))
            fresh_trust, fresh_clock = opened(new, renewed)
            async with running_core(new, trust=fresh_trust, clock=fresh_clock) as again:
                second = Box(again, tape)
                assert (await again.outbox.backlog("city")).records == 6
                assert not any(await second.hear(speaker, count=1) + await second.hear(placed, count=1))
                rejoined = await joined(node, again, epoch=speaker._enrolment.epoch)
                assert rejoined._enrolment.epoch == speaker._enrolment.epoch + 1
                assert all(await second.hear(rejoined))
                assert all(await box.hear(other))  # the old one runs on beside it
                await second.say()
                await box.say()
                await box.deliver()
                await second.deliver()
                for gateway in (core, again):
                    assert all(row.holds for row in await gateway.outbox.audit())
    must_be_told_once(tape, epoch=done.epoch)
    with capsys.disabled():
        epochs = sorted({1, done.epoch})
        print(f"\n{len(tape.nonces)} (key, nonce) used, 0 twice; {len(tape.ids)} record ids, own epochs {epochs}")


def must_be_told_once(tape: Tape, *, epoch: int) -> None:
    """`epoch`: of the restored gateway."""
    twice = {name: count for name, count in tape.ids.items() if count > 1}
    assert len(twice) == 6, "what waited for the city when the back-up was made came from both, and nothing else"
    assert max(tape.nonces.values()) == 1
    own = {int(name.split("/")[1]) for name in tape.ids if name.startswith("gw-1/")}
    assert own == {1, epoch}
    assert epoch > 28_000_000, "an epoch by the clock, so that two restores of one file differ"


async def joined(node: JoiningNode, core: Core, *, epoch: int = 0) -> SealedNode:
    bearer = Bearer(core)  # a gateway that the node does not know shows its entry when it is asked again
    agreed = await node.join(bearer, epoch=epoch) or await node.join(bearer, epoch=epoch)
    assert agreed is not None, node.joiner.failure
    return speaking(node, enrolment_of(node).subject, agreed)


async def test_no_secret_is_in_the_file(tmp_path: Path) -> None:
    held = await live(tmp_path / "data", tmp_path)
    save(settings(tmp_path / "data"), b"", tmp_path / "backup")
    with zipfile.ZipFile(tmp_path / "backup") as file:
        content = b"\n".join([file.read(name) for name in file.namelist()])
    assert len(content) > 5000
    assert found_in(content, held) == set()
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A back-up of a gateway that has a registry and said something in it."""
    data_dir = tmp_path / "old"
    with ExitStack() as stack:
        city = stack.enter_context(town(tmp_path))
        registry = city.add_gateway("gw-1", data_dir / "registry")
        audit = AuditLog(data_dir / "audit", actor="gw-1", signer=registry.holder)
        audit.open()
        audit.note("configuration", "", "as it was")
        audit.flush()
        _make_store(data_dir)
        (tmp_path / "gateway.toml").write_text(text_of(data_dir))
        words = ["--config", str(tmp_path / "gateway.toml"), "--out", str(tmp_path / "file")]
        assert main(["gateway", "backup", *words]) == 0
    return tmp_path / "file"


def _make_store(data_dir: Path) -> None:
    vault = Vault(data_dir, Files())
    vault.open()
    vault.close()


def test_the_restored_gateway_is_another_writer_whom_the_authority_has_to_issue(
    saved: Path, tmp_path: Path, capsys
) -> None:
    config = tmp_path / "new.toml"
    config.write_text(text_of(tmp_path / "new"))
    words = ["--config", str(config), "--from", str(saved), "--request", str(tmp_path / "request")]
    assert main(["gateway", "restore", *words]) == 0
    said = capsys.readouterr().out
    assert "authority revoke gw-1 --gateway" in said
    request = read_request((tmp_path / "request").read_bytes())
    site, _, name = request.writer.partition("/")
    assert (site, name.split(".")[0]) == ("oslo", "gw-1")
    assert name != "gw-1"
    holder = load_key(tmp_path / "new" / "registry" / "holder.key").public
    assert holder.fingerprint() == request.fingerprint
    assert holder.fingerprint() != load_key(tmp_path / "old" / "registry" / "holder.key").public.fingerprint()
    entries = list(read_entries(tmp_path / "new" / "audit"))
    assert [one.what for one in entries] == ["configuration", "restored"]
    assert verify(tmp_path / "new" / "audit", holder) == (2, [])


def test_two_restores_of_one_file_have_nothing_in_common(saved: Path, tmp_path: Path) -> None:
    epochs = set()
    for at in range(2):
        with open_archive(saved) as archive:
            made_at_s = archive.facts["made_at_s"]
            done = restore(settings(tmp_path / f"new-{at}"), archive, now_s=made_at_s + 60 + at)
        epochs.add(done.epoch)
        assert done.request is not None
    assert len(epochs) == 2


@pytest.mark.parametrize(
    "member", ["manifest.json", "gateway.toml", "registry.bundle", "audit/head", "tables.cbor", "records.cbor"]
)
def test_a_changed_member_is_named_and_nothing_is_left(saved: Path, tmp_path: Path, member: str) -> None:
    changed = tmp_path / "changed"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == member:
                content = content.replace(b'"nodes": 0', b'"nodes": 7') if name == "manifest.json" else b"X" + content
            target.writestr(name, content)
    with open_archive(changed) as archive, pytest.raises(BackupError, match=r"manifest|changed") as caught:
        restore(settings(tmp_path / "new"), archive)
    assert member.partition("/")[2] in str(caught.value)
    assert list((tmp_path / "new").glob("*")) == []


def test_manifest_made_to_fit_a_changed_member_is_not_signed(saved: Path, tmp_path: Path) -> None:
    changed, extra = tmp_path / "changed", b"[]"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(changed, "w") as target:
        table = json.loads(source.read("manifest.json"))
        table["members"]["groups.json"] = hashlib.sha256(extra).hexdigest()
        for name in source.namelist():
            target.writestr(name, json.dumps(table) if name == "manifest.json" else source.read(name))
        target.writestr("groups.json", extra)
    with open_archive(changed) as archive, pytest.raises(BackupError, match="manifest was changed"):
        restore(settings(tmp_path / "new"), archive)
    assert list((tmp_path / "new").iterdir()) == []


def test_restore_refuses_what_does_not_fit(saved: Path, tmp_path: Path) -> None:
    with open_archive(saved) as archive:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "lamppost.db").touch()
        with pytest.raises(BackupError, match="not empty"):
            restore(settings(tmp_path / "full"), archive)
        other = parse(text_of(tmp_path / "new").replace("gw-1", "gw-2"))
        with pytest.raises(ConfigError, match=r"gateway\.id"):
            restore(other, archive)
        with pytest.raises(BackupError, match="clock"):
            restore(settings(tmp_path / "new"), archive, now_s=1e9)
    with pytest.raises(BackupError, match="no back-up"), open_archive(tmp_path / "gateway.toml"):
        pass


def test_settings_that_are_not_there_are_put_back(saved: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "old")
    (tmp_path / "gateway.toml").unlink()
    words = ["--config", str(tmp_path / "gateway.toml"), "--from", str(saved), "--request", str(tmp_path / "request")]
    assert main(["gateway", "restore", *words]) == 0
    assert (tmp_path / "gateway.toml").read_text() == text_of(tmp_path / "old")
    assert (tmp_path / "old" / "registry" / "holder.key").exists()


async def test_windows_are_as_of_the_back_up_and_not_of_the_last_checkpoint(tmp_path: Path) -> None:
    """What came since and was delivered is in no record that the file holds."""
    time = ManualTime()
    old, new = tmp_path / "old", tmp_path / "new"
    async with running_core(old, cities=["city"], window_s=60, clock=time.clock) as core:
        for value in range(5):
            await core.intake.submit_own([Reading(quantity="x", value=float(value))])
        await deliver_all(core)
        save(settings(old), text_of(old).encode(), tmp_path / "b", now_s=time.now_s)
    with open_archive(tmp_path / "b") as archive:
        restore(settings(new), archive, now_s=time.now_s)
    time.advance(1000)
    async with running_core(new, cities=["city"], window_s=60, clock=time.clock) as core:
        await core.clockwork.tell_windows()
        (told,) = [one for one in await stored_reports(core) if one.kind == "window"]
    assert reading_values(told)["x/count"] == 5
