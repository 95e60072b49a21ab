"""A store of the first version is carried over: no record, no number and no order is lost, whenever it is cut short."""

import errno
import gzip
import json
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.intake import Message
from gateway.outbox.files import Files
from gateway.outbox.view import look
from gateway.store_errors import StoreError, StoreFailed
from tests.gateway.cores import NOW_S, ManualTime, deliver_all, hear, running_core
from tests.gateway.link_node import LinkNode

MADE = Path(__file__).parent / "format1"
EXPECTED = json.loads((MADE / "expected.json").read_text())


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "lamppost.db").write_bytes(gzip.decompress((MADE / "lamppost.db.gz").read_bytes()))
    (tmp_path / "floors.json").write_text('{"epoch": 1, "downlink": 65792}')
    LinkNode(1).enrol(tmp_path)
    return tmp_path


def carried(data_dir, **options):
    return running_core(data_dir, cities=["one", "two"], window_s=60, clock=ManualTime(NOW_S + 84).clock, **options)


async def test_counters_and_what_waits_are_as_they_were(data_dir):
    async with carried(data_dir) as core:
        assert "carried over" in core.store.notices[0]
        assert [row.as_dict() for row in await core.outbox.audit()] == EXPECTED["audit"]
        for city in ("one", "two"):
            assert [one.record_id for one in await deliver_all(core, city)] == EXPECTED["waiting"][city]
        assert all(row.holds and not row.stored for row in await core.outbox.audit())
    async with carried(data_dir) as core:
        assert core.store.notices == []
        assert all(row.holds for row in await core.outbox.audit())


async def test_identity_and_freshness_go_on(data_dir):
    async with carried(data_dir) as core:
        frame = bytes.fromhex((MADE / "next_frame.hex").read_text())
        verdict = await hear(core, frame, at_s=NOW_S + 84)
        assert (verdict.accepted, verdict.stored) == (True, 1)
        assert (await hear(core, frame, at_s=NOW_S + 84)).reason == "replayed"
        known = {"n": "t", "u": "Cel", "t": NOW_S + 4, "v": 2}
        for pack, record_id in (([known | {"v": 2.0}], None), ([{"n": "t", "v": 1}], "mine/1")):
            device = "meter-1" if record_id is None else "meter-0"
            payload = json.dumps(pack).encode()
            message = Message(
                device=device, payload=payload, content_type=None, received_at_s=NOW_S + 84, record_id=record_id
            )
            assert (await core.intake.submit_senml(message)).stored == 0
        fresh = Message(device="meter-0", payload=b'[{"n":"t","v":1}]', content_type=None, received_at_s=NOW_S + 84)
        await core.intake.submit_senml(fresh)
        ids = [one.record_id for one in await deliver_all(core, "one")]
        assert ids[-1] == "meter-0/n/1.1"


class DyingDisk(Files):
    """Fails for good after so many calls that write."""

    def __init__(self, calls):
        self.calls = calls

    def write(self, fd, data, at):
        self._count()
        super().write(fd, data, at)

    def sync(self, fd):
        self._count()
        super().sync(fd)

    def _count(self):
        self.calls -= 1
        if self.calls < 0:
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("calls", [0, 3, 40, 64, 65, 66, 67, 68])
async def test_a_carry_over_that_is_cut_short_begins_anew(data_dir, calls):
    with suppress(StoreFailed):  # with the last of them it is done already
        async with carried(data_dir, files=DyingDisk(calls)):
            pass
    async with carried(data_dir) as core:
        assert [row.as_dict() for row in await core.outbox.audit()] == EXPECTED["audit"]
        for city in ("one", "two"):
            assert [one.record_id for one in await deliver_all(core, city)] == EXPECTED["waiting"][city]


async def test_the_older_version_will_refuse_what_was_carried_over(data_dir):
    async with carried(data_dir):
        pass
    with sqlite3.connect(data_dir / "lamppost.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_look_at_an_old_store_says_what_to_do(data_dir):
    with pytest.raises(StoreError, match="start the gateway once"), look(data_dir):
        pass
