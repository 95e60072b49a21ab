"""`lamppost outbox audit | inspect | export`: beside a running gateway, on a copy, and in the words of a person."""

import base64
import io
import json
import shutil
import sqlite3

import cbor2
import pytest

from gateway import checkpoint
from gateway.outbox.tools.export import since
from tests.gateway.cores import NOW_S, ManualTime, running_core
from tests.gateway.outbox.stores import CITIES, made, make_store, outbox, put


@pytest.fixture
async def data_dir(tmp_path):
    await make_store(tmp_path / "data")
    return tmp_path / "data"


async def test_audit_prints_promise_1_per_platform_and_ends_with_0(data_dir, capsys):
    assert outbox("audit", data_dir, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["holds"] is True
    far, near = said["platforms"]
    assert (near["city"], near["accepted"], near["delivered"], near["stored"]) == ("near", 1212, 312, 900)
    assert (far["city"], far["accepted"], far["delivered"], far["stored"]) == ("far", 1212, 0, 1212)
    assert outbox("audit", data_dir) == 0
    words = capsys.readouterr().out.splitlines()
    assert words[2].split() == ["near", "1212", "0", "312", "0", "900", "0", "0", "0", "0", "0", "yes"]


@pytest.mark.parametrize(
    "change, words", [(+1, "1 records came and are nowhere"), (-2, "2 records are counted that never came")]
)
async def test_audit_ends_with_1_if_the_promise_does_not_hold(data_dir, capsys, change, words):
    with sqlite3.connect(data_dir / "lamppost.db") as db:
        saved = checkpoint.read(db)
        saved["ledger"]["counts"]["near"]["accepted"] += change
        checkpoint.save(db, saved)
    db.close()
    assert outbox("audit", data_dir) == 1
    assert f"near: {words}" in capsys.readouterr().out


async def test_all_of_them_work_beside_a_running_gateway_and_change_nothing(data_dir, capsys):
    async with running_core(data_dir, cities=CITIES, clock=ManualTime().clock) as core:
        await put(core, made("n", 5000), now_s=NOW_S)
        log = {path.name: path.read_bytes() for path in (data_dir / "outbox").iterdir()}
        assert outbox("audit", data_dir, "--json") == 0
        assert [one["stored"] for one in json.loads(capsys.readouterr().out)["platforms"]] == [1213, 901]
        assert outbox("inspect", data_dir, "--json") == 0
        said = json.loads(capsys.readouterr().out)
        assert said["pages_after_checkpoint"] == said["end"]["page"] - said["checkpoint"]["page"] > 0
        assert outbox("fsck", data_dir) == 0
        capsys.readouterr()
        assert outbox("export", data_dir, "--city", "near") == 0
        assert len(capsys.readouterr().out.splitlines()) == 901
        assert {path.name: path.read_bytes() for path in (data_dir / "outbox").iterdir()} == log
        await put(core, made("n", 5001), now_s=NOW_S)  # and it goes on
        assert [row.stored for row in await core.outbox.audit()] == [1214, 902]


async def test_a_copy_on_a_disk_where_nobody_may_write_can_be_read(data_dir, tmp_path, capsys, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(data_dir, copy)
    monkeypatch.setattr("gateway.database.os.access", lambda path, mode: False)  # root may write everywhere
    assert outbox("audit", copy) == 0
    assert outbox("fsck", copy) == 0
    assert sorted(path.name for path in copy.glob("lamppost.db*")) == ["lamppost.db"]
    (copy / "lamppost.db-wal").write_bytes(b"x" * 100)
    assert outbox("audit", copy) == 1
    assert "copy its folder to where you may" in capsys.readouterr().err


async def test_inspect_says_where_everything_is(data_dir, capsys):
    assert outbox("inspect", data_dir, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    classes = {one["class"]: one for one in said["classes"]}
    assert (classes["telemetry"]["records"], classes["telemetry"]["oldest_at_s"]) == (1200, NOW_S)
    cursors = {(one["platform"], one["class"]): one for one in said["cursors"]}
    assert cursors["near", "telemetry"]["done_below"] == 300
    assert cursors["near", "telemetry"]["oldest_at_s"] == NOW_S + 300
    assert cursors["near", "alarm"]["waiting"] == 0
    assert sum(one["records"]["telemetry"] for one in said["segments"]) == 1200
    assert said["checkpoint"] == said["end"]  # it was stopped cleanly
    assert outbox("inspect", data_dir) == 0
    words = capsys.readouterr().out
    assert "a start reads 0 pages after it" in words
    assert "2027-01-15 08:05:00Z" in words


async def test_export_writes_the_same_records_in_both_forms(data_dir, tmp_path, capsys):
    assert outbox("export", data_dir) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert outbox("export", data_dir, "--as", "cbor", "--output", str(tmp_path / "x.cbor")) == 0
    content = io.BytesIO((tmp_path / "x.cbor").read_bytes())
    maps = []
    while content.tell() < len(content.getbuffer()):
        maps.append(cbor2.load(content))
    assert [one["record_id"] for one in maps] == [one["record_id"] for one in lines]
    assert [one["seq"] for one in maps if one["class"] == "alarm"] == list(range(0, 1200, 100))
    assert [one["seq"] for one in maps if one["class"] == "telemetry"] == list(range(1200))
    assert maps[-1]["readings"][0] == lines[-1]["readings"][0] == {"quantity": "t", "unit": "Cel", "value": 1199.0}
    assert maps[-1]["readings"][1]["value"] == b"\xff\0" + b"x" * 40
    assert base64.b64decode(lines[-1]["readings"][1]["value"]["base64"]) == b"\xff\0" + b"x" * 40


async def test_export_takes_a_platform_and_a_time(data_dir, capsys):
    assert outbox("export", data_dir, "--city", "near", "--since", "2027-01-15T08:15:00") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["seq"] for one in lines] == list(range(900, 1200))
    assert {one["stored_at_s"] for one in lines} == {NOW_S + 900, NOW_S + 1000, NOW_S + 1100}


@pytest.mark.parametrize(
    "text, at_s",
    [("90m", 4600.0), ("2d", -162_800.0), ("1970-01-01T00:01", 60.0), ("1970-01-01T01:00:30+01:00", 30.0)],
)
def test_a_time_is_a_point_or_an_age(text, at_s):
    assert since(text, now_s=10_000.0) == at_s


@pytest.mark.parametrize(
    "options, code, words",
    [
        (("--city", "nobody"), 1, "there is no platform 'nobody' in this store; there are: near, far"),
        (("--since", "yesterday"), 2, "must be a time such as"),
        (("--output", "{data}/lamppost.db"), 2, "exists already; name a new file"),
        (("--output", "{data}/no/where"), 2, "cannot be made"),
        (("--format", "1"), 2, "needs --output FILE"),
    ],
)
async def test_what_cannot_be_exported_is_said_in_one_line(data_dir, capsys, options, code, words):
    assert outbox("export", data_dir, *(one.format(data=data_dir) for one in options)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("what", ["audit", "inspect", "fsck", "export"])
def test_where_no_gateway_has_run_all_of_them_say_so(tmp_path, capsys, what):
    assert outbox(what, tmp_path) == 1
    assert "has this gateway run yet?" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["audit", "inspect", "fsck", "export"])
async def test_a_newer_store_is_refused_by_name(data_dir, capsys, what):
    with sqlite3.connect(data_dir / "lamppost.db") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    assert outbox(what, data_dir) == 1
    assert "format 9, this lamppost knows up to 2; update lamppost" in capsys.readouterr().err
