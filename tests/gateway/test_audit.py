"""The audit log: every changed byte shows, floods stay small, the city gets every entry."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway import audit
from gateway.audit import AuditLog, Entry, read_entries, verify
from gateway.errors import CityError
from gateway.identity.cose import KeySigner
from lamppost.cli import main

KEY = KeySigner(ec.generate_private_key(ec.SECP256R1()))


def written(folder: Path, *whats: str, signer: KeySigner | None = KEY) -> AuditLog:
    made = AuditLog(folder, actor="gw-1", signer=signer)
    made.open()
    for what in whats:
        made.note(what, "urn:dev:os:32473-abcdefghijklmnop", "because")
        made.flush()
    return made


def test_entries_come_back_in_order_across_restarts(tmp_path: Path) -> None:
    written(tmp_path, "join", "command")
    written(tmp_path, "configuration")
    entries = list(read_entries(tmp_path))
    assert [(one.number, one.what, one.actor) for one in entries] == [
        (0, "join", "gw-1"),
        (1, "command", "gw-1"),
        (2, "configuration", "gw-1"),
    ]
    assert verify(tmp_path, KEY.public) == (3, [])


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    written(tmp_path, "one", "two", "three")
    for name in ("audit-0.log", "head"):
        path = tmp_path / name
        good = path.read_bytes()
        for at in range(len(good)):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1 << random.Random(at).randrange(8)]) + good[at + 1 :])
            _, problems = verify(tmp_path, KEY.public)
            assert problems, f"byte {at} of {name}"
        path.write_bytes(good)
    assert verify(tmp_path, KEY.public) == (3, [])


def test_entry_that_was_changed_and_framed_anew_does_not_follow(tmp_path: Path) -> None:
    """Somebody who mends the check sums cannot mend the chain behind."""
    written(tmp_path, "one", "two", "three")
    path = tmp_path / "audit-0.log"
    log = audit.LogFile(path)
    contents = [frame.content for frame in log.scan()]
    entries = list(read_entries(tmp_path))
    changed = Entry(**{**{name: getattr(entries[0], name) for name in Entry.__dataclass_fields__}, "what": "nothing"})
    path.unlink()
    log.append([(0x41, one) for one in (changed.encode(), *contents[1:])])
    assert verify(tmp_path, KEY.public) == (1, ["audit-0.log: entry 1 does not follow from the entry before"])


def test_entries_taken_from_the_end_are_missed(tmp_path: Path) -> None:
    written(tmp_path, "one", "two", "three")
    path = tmp_path / "audit-0.log"
    frames = list(audit.LogFile(path).scan())
    path.write_bytes(path.read_bytes()[: frames[1].end])
    assert verify(tmp_path, KEY.public) == (2, ["the last 1 of 3 entries were taken away"])


def test_head_that_another_key_signed_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "one", signer=KeySigner(ec.generate_private_key(ec.SECP256R1())))
    _, problems = verify(tmp_path, KEY.public)
    assert "head was changed" in problems[0]


def test_torn_last_entry_is_cut_off_and_said(tmp_path: Path) -> None:
    written(tmp_path, "one", "two")
    path = tmp_path / "audit-0.log"
    path.write_bytes(path.read_bytes() + b"\x41\x00\x00")
    written(tmp_path, "three")
    assert [one.what for one in read_entries(tmp_path)] == ["one", "two", "audit damaged", "three"]
    assert verify(tmp_path, KEY.public) == (4, [])


def test_flood_of_refusals_is_a_line_and_a_number(tmp_path: Path) -> None:
    log = written(tmp_path)
    for _ in range(10_000):
        log.refused("bad_tag", "lamp-1")
    log.flush(last=True)
    assert [(one.what, one.detail) for one in read_entries(tmp_path)] == [
        ("refused bad_tag", ""),
        ("refused bad_tag", "9999 times more within a minute"),
    ]


def test_flood_of_names_is_bounded(tmp_path: Path) -> None:
    log = written(tmp_path)
    for at in range(20_000):
        log.refused("unknown_node", f"n{at}")
    log.flush(last=True)
    assert len(list(read_entries(tmp_path))) < 1100


def test_old_files_go_and_the_chain_still_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_LARGEST_FILE", 2_000)
    written(tmp_path, *("entry" for _ in range(120)))
    assert len(list(tmp_path.glob("audit-*.log"))) <= 5
    first = next(iter(read_entries(tmp_path))).number
    assert first > 0
    assert verify(tmp_path, KEY.public) == (120 - first, [])
    written(tmp_path, "after")
    first = next(iter(read_entries(tmp_path))).number
    assert verify(tmp_path, KEY.public) == (121 - first, [])


async def test_city_gets_each_entry_once_it_is_there(tmp_path: Path) -> None:
    log = written(tmp_path, "one", "two")
    got: list[str] = []
    arrived = asyncio.Event()

    async def forward(entry: Entry) -> None:
        if entry.what == "two" and not got.count("two") and not got.count("away"):
            got.append("away")
            raise CityError("the disk is full")
        got.append(entry.what)
        if entry.what == "three":
            arrived.set()

    running = asyncio.create_task(log.run(forward))
    log.note("three")
    async with asyncio.timeout(30):
        await arrived.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert got == ["one", "away", "two", "three"]


def test_command_says_what_is_wrong_with_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "audit", "one", "two", signer=None)
    command = ["audit", "verify", "--data-dir", str(tmp_path)]
    assert main(command) == 0
    path = tmp_path / "audit" / "audit-0.log"
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    assert main(command) == 1
    assert "PROBLEM  audit-0.log: entry 0" in capsys.readouterr().out
    assert main(["audit", "verify", "--data-dir", str(tmp_path / "nowhere")]) == 2
