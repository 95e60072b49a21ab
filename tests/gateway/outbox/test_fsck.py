"""`lamppost outbox fsck` names every damaged place and just what is lost with it; a start then loses no more."""

import json
import random
import sqlite3

import pytest

from gateway import checkpoint
from gateway.outbox.page import ENTRY_BYTES, PAGE
from gateway.outbox.tools.fsck import fsck
from gateway.outbox.view import look
from tests.gateway.cores import ManualTime, deliver_all, running_core
from tests.gateway.outbox.stores import CITIES, make_store, outbox


@pytest.fixture
async def data_dir(tmp_path):
    await make_store(tmp_path)
    return tmp_path


def first_segment(data_dir):
    return sorted((data_dir / "outbox").glob("*.seg"))[0]


def spoil(path, at, data):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def lost_of(found):
    return {
        (lost["class"], ordinal)
        for one in found
        for lost in one["lost"]
        for first, end in lost["ordinals"]
        for ordinal in range(first, end)
    }


async def test_a_whole_store_has_no_damage(data_dir, capsys):
    assert outbox("fsck", data_dir) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing is damaged."


@pytest.mark.parametrize("page", [0, 5])
async def test_a_flipped_bit_is_named_by_its_place_and_costs_nothing(data_dir, capsys, page):
    path = first_segment(data_dir)
    at = page * PAGE + 1234
    spoil(path, at, bytes((path.read_bytes()[at] ^ 0x10,)))
    assert outbox("fsck", data_dir) == 1
    said = capsys.readouterr().out
    assert f"0000000001.seg page {page} offset {at}: one flipped bit" in said
    assert "no records that somebody waits for are lost" in said


async def test_a_spoilt_record_is_the_only_one_that_is_lost(data_dir, capsys):
    path = first_segment(data_dir)
    content = path.read_bytes()
    at = content.index(b"\xff\0" + b"x" * 40, 20 * PAGE)
    spoil(path, at, b"abcd")
    assert outbox("fsck", data_dir, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    (one,) = said["damage"]
    assert (one["file"], one["page"]) == ("0000000001.seg", at // PAGE)
    assert at - 200 < one["offset"] <= at
    ((first, end),) = one["lost"][0]["ordinals"]
    assert (end - first, one["lost"][0]["platforms"]) == (1, ["near", "far"])
    assert outbox("fsck", data_dir) == 1
    assert f"ordinals {first}), waited for by near, far" in capsys.readouterr().out


async def test_a_page_that_is_gone_costs_just_what_was_on_it(data_dir):
    path = first_segment(data_dir)
    spoil(path, 12 * PAGE, bytes(2 * PAGE))
    found, _ = fsck(data_dir)
    lost = lost_of(found)
    with look(data_dir) as view:
        _, unreadable = view.reader.read(2, list(view.ledger.gone[2].missing(0, 1200)), most=5000)
    assert {one for name, one in lost if name == "telemetry"} == {n for a, b in unreadable for n in range(a, b)}
    assert len(lost) > 20


async def test_what_nobody_waits_for_is_said_to_be_no_loss(data_dir, capsys):
    async with running_core(data_dir, cities=CITIES, clock=ManualTime().clock) as core:
        for city in CITIES:
            await deliver_all(core, city)
    spoil(first_segment(data_dir), 12 * PAGE, bytes(PAGE))
    assert outbox("fsck", data_dir) == 1
    said = capsys.readouterr().out
    assert "which nobody waits for any more" in said
    assert "no records that somebody waits for are lost" in said


async def test_the_log_is_checked_without_its_database_too(data_dir, capsys):
    spoil(first_segment(data_dir), 12 * PAGE, bytes(PAGE))
    spoil(data_dir / "lamppost.db", 0, b"x" * 5000)
    assert outbox("fsck", data_dir) == 1
    said = capsys.readouterr().out
    assert "lamppost.db: the database is damaged" in said
    assert "0000000001.seg page 12 offset" in said
    assert "is not known without the database" in said


async def test_counters_that_do_not_add_up_are_damage(data_dir, capsys):
    with sqlite3.connect(data_dir / "lamppost.db") as db:
        saved = checkpoint.read(db)
        saved["ledger"]["counts"]["far"]["accepted"] += 1
        checkpoint.save(db, saved)
    db.close()
    assert outbox("fsck", data_dir) == 1
    assert "the counters of platform far do not add up" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(12))
async def test_what_it_calls_lost_is_what_a_start_gives_up(data_dir, seed):
    """Damage of any kind anywhere in the segments: the tool and the gateway come to the same."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        path = chance.choice(sorted((data_dir / "outbox").glob("*.seg")))
        used = len(path.read_bytes().rstrip(b"\0")) - 2 * PAGE  # the very last commit could also be torn
        length = chance.choice((1, 3, ENTRY_BYTES, 300, PAGE, 3 * PAGE))
        spoil(path, chance.randrange(PAGE, used - length), chance.randbytes(length))
    found, _ = fsck(data_dir)
    lost = {name: {n for which, n in lost_of(found) if which == name} for name in ("alarm", "telemetry")}
    async with running_core(data_dir, cities=CITIES, clock=ManualTime().clock) as core:
        got = await deliver_all(core, "far")
        rows = await core.outbox.audit()
    assert all(row.holds for row in rows)
    assert {one.seq for one in got if one.node == "n"} == set(range(1200)) - lost["telemetry"]
    assert {one.seq // 100 for one in got if one.node == "a"} == set(range(12)) - lost["alarm"]
    far = rows[0]
    assert far.damaged == len(lost["telemetry"]) + len(lost["alarm"])
