"""`lamppost outbox export --format 1`: the first version itself opens what comes out, with every record and number."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.intake import Message
from gateway.outbox.view import look
from gateway.reading import STREAMS
from tests.gateway.cores import NOW_S, ManualTime, deliver_all, hear, running_core
from tests.gateway.link_node import LinkNode
from tests.gateway.outbox.stores import CITIES, made, outbox, put
from tests.gateway.packs import packs_of

REPOSITORY = Path(__file__).parents[3]
FIRST_VERSION = "6981e7b"  # the last commit whose store was of format 1

# Runs under the first version's own code: prints the audit, what waits, and how known identities are met again.
OLD_GATEWAY = """
import asyncio, json, sys
from contextlib import suppress
from pathlib import Path
from gateway.clock import ClockTrust
from gateway.core import open_core
from gateway.intake import Message, Uplink
from tests.gateway.packs import packs_of

async def main(data_dir, frames):
    clock = ClockTrust(wall=lambda: 1.8e9 + 100, monotonic=lambda: 100.0)
    found = {"waiting": {}}
    async with open_core(data_dir=data_dir, gateway_id="gw-1", cities=["near", "far"], window_s=0, clock=clock) as core:
        running = asyncio.create_task(core.run())
        found["notices"] = core.store.notices + core.notices
        found["audit"] = [row.as_dict() for row in await core.outbox.audit()]
        found["verdicts"] = []
        for frame in frames:
            verdict = await core.intake.submit(
                Uplink(frame=bytes.fromhex(frame), bearer="mqtt", received_at_s=1.8e9 + 100))
            found["verdicts"].append([verdict.accepted, verdict.reason, verdict.stored])
        message = Message(device="meter", payload=b'[{"n":"t","u":"Cel","t":1800000001,"v":1.5}]', content_type=None,
                          received_at_s=1.8e9 + 100)
        found["repeat"] = (await core.intake.submit_senml(message)).stored
        found["own"] = await core.intake.submit_own([])
        for city in ("near", "far"):
            found["waiting"][city] = []
            while (await core.outbox.backlog(city)).records:
                batch = await core.outbox.oldest(city, 100)
                found["waiting"][city] += [stored.report.record_id for stored in batch.records]
                await core.outbox.mark_delivered(batch)
        found["after"] = [row.as_dict() for row in await core.outbox.audit()]
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    print(json.dumps(found))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
"""


@pytest.fixture
def first_version(tmp_path):
    """The first version's code, out of the repository's history."""
    made_ = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", FIRST_VERSION, "gateway", "drivers"], capture_output=True, check=False
    )
    if made_.returncode:
        pytest.skip(f"the history has no commit {FIRST_VERSION}: {made_.stderr.decode().strip()}")
    (tmp_path / "old").mkdir()
    subprocess.run(["tar", "-x", "-C", tmp_path / "old"], input=made_.stdout, check=True)
    (tmp_path / "old" / "run.py").write_text(OLD_GATEWAY)
    return tmp_path / "old"


async def fill(data_dir):
    """Records of a node, a device and the gateway; "near" has some of them, not in order. Returns what waits."""
    node = LinkNode(1)
    node.enrol(data_dir)
    async with running_core(data_dir, cities=CITIES, clock=ManualTime().clock) as core:
        for at in range(0, 300, 50):
            await put(core, *(made("n", seq) for seq in range(at, at + 50)), made("a", at, kind="alarm"))
        old = node.frame(0, 1)
        await hear(core, old)
        payload = json.dumps([{"n": "t", "u": "Cel", "t": NOW_S + 1, "v": 1.5}]).encode()
        await core.intake.submit_senml(
            Message(device="meter", payload=payload, content_type=None, received_at_s=NOW_S + 1)
        )
        own = await core.intake.submit_own([])
        while (batch := await core.outbox.oldest("near", 200)).stream != STREAMS.index("telemetry"):
            await core.outbox.mark_delivered(batch)
        packs = packs_of(batch, 40)
        await core.outbox.settle([(packs[0], "delivered"), (packs[2], "unheard")])
        audit = [row.as_dict() for row in await core.outbox.audit()]
    return {"old": old, "new": node.frame(2), "own": own, "audit": audit, "waiting": waiting_in(data_dir)}


def waiting_in(data_dir):
    with look(data_dir) as view:
        found = {}
        for city in CITIES:
            found[city] = []
            for stream in range(4):
                runs = list(view.ledger.settled[city, stream].missing(0, view.ledger.ends[stream]))
                found[city] += [one.report.record_id for one in view.reader.read(stream, runs, most=5000)[0]]
    return found


def exported(data_dir, folder):
    """A data_dir for the first version."""
    folder.mkdir()
    assert outbox("export", data_dir, "--format", "1", "--output", str(folder / "lamppost.db")) == 0
    shutil.copytree(data_dir / "nodes", folder / "nodes")
    shutil.copy(data_dir / "floors.json", folder)
    return folder


async def test_the_first_version_goes_on_with_every_record_and_number(tmp_path, first_version):
    made_ = await fill(tmp_path / "new")
    folder = exported(tmp_path / "new", tmp_path / "exported")
    frames = [made_["old"].hex(), made_["new"].hex()]
    command = [sys.executable, "-P", "run.py", str(folder), *frames]
    done = subprocess.run(
        command, cwd=first_version, env={"PYTHONPATH": str(first_version)}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["notices"] == []
    assert found["audit"] == made_["audit"]
    assert found["verdicts"] == [[False, "replayed", 0], [True, None, 1]]  # a replay is known, the next one is good
    assert found["repeat"] == 0
    assert found["own"].rpartition("/")[0] == made_["own"].rpartition("/")[0]
    assert int(found["own"].rpartition("/")[2]) > int(made_["own"].rpartition("/")[2])
    for city in CITIES:
        ids = found["waiting"][city]
        assert len(set(ids)) == len(ids)
        assert [one for one in ids if one in made_["waiting"][city]] == made_["waiting"][city]
    assert all(row["holds"] and not row["stored"] for row in found["after"])


async def test_there_and_back_again_loses_nothing(tmp_path):
    made_ = await fill(tmp_path / "new")
    folder = exported(tmp_path / "new", tmp_path / "exported")
    async with running_core(folder, cities=CITIES, clock=ManualTime().clock) as core:
        assert "carried over" in core.store.notices[0]
        assert [row.as_dict() for row in await core.outbox.audit()] == made_["audit"]
        for city in CITIES:
            assert [one.record_id for one in await deliver_all(core, city)] == made_["waiting"][city]


async def test_its_tables_say_format_1(tmp_path):
    await fill(tmp_path / "new")
    with sqlite3.connect(exported(tmp_path / "new", tmp_path / "exported") / "lamppost.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = db.execute("SELECT count(*), sum(size + 96) FROM records").fetchone()
        assert db.execute("SELECT sum(records), sum(bytes) FROM streams").fetchone() == stored
    db.close()
