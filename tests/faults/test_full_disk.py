"""A 64 MiB disk under load while the city is away: the agent lives, alarms arrive, and what is missing is told.

The agent is the shipped command in a process of its own; the disk is ext4 on a loop device, or tmpfs where there is
none. Nothing here knows how the store works: counters come from `gateway status`, arrivals from a subscriber.
"""

import asyncio
import contextlib
import os
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from drivers.link.frame import URGENT
from gateway import status
from gateway.endpoint import parse_endpoint
from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.errors import SessionError
from lamppost.broker import free_ports
from lamppost.demo.arrivals import Arrivals
from lamppost.demo.gateway_process import GatewayProcess
from lamppost.demo.subscriber import subscribe
from lamppost.relay import Relay
from tests.gateway.link_node import LinkNode
from tools.measure.disk import DiskError, LoopDisk, Tmpfs
from tools.measure.load import Load
from tools.measure.tally import FIRST, Span, Tally

MIB = 1 << 20
DISK_BYTES = 64 * MIB
STALLED_S = 3.0  # hardly an acknowledgement for so long under full load: the store takes no more
FLOWING = 500  # acknowledgements that show that the load had begun
CONFIG = """\
[gateway]
id = "gw-full"
site = "test"
data_dir = "{data_dir}"
[southbound.mqtt]
listen = "mqtt://127.0.0.1:{port}"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:{city_port}"
topic = "city/{{site}}/{{node}}/senml"
ack_timeout_s = 5
keep_alive_s = 5
[edge]
window_s = 0
[outbox]
min_free_bytes = {floor_bytes}
"""


@pytest.fixture
def disk(tmp_path):
    """A small disk, mounted. Skips loudly where none can be made, and fails in CI."""
    with contextlib.ExitStack() as stack:
        problems = []
        for make in (LoopDisk, Tmpfs):
            try:
                made = stack.enter_context(make(tmp_path, size_bytes=DISK_BYTES))
            except DiskError as error:
                problems.append(str(error))
            else:
                break
        else:
            message = f"no small disk can be made here: {'; '.join(problems)}"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
        yield made


class Street:
    """The gateway on the small disk, devices that never stop, a node with alarms, and a city that is away at first."""

    def __init__(self, folder, disk, relay, *, floor_bytes, text_bytes):
        self.data_dir = disk.path / "data"
        (self.port,) = free_ports(1)
        config = folder / "gateway.toml"
        config.write_text(
            CONFIG.format(data_dir=self.data_dir, port=self.port, city_port=relay.port, floor_bytes=floor_bytes)
        )
        self.gateway = GatewayProcess(config, self.data_dir, folder / "gateway.log")
        self.tally = Tally()
        self.load = Load(self.tally)
        self.node = LinkNode()
        self.node.enrol(self.data_dir)
        self.alarms_acknowledged = 0
        self._text = b'[{"n":"note","vs":"%d ' + b"x" * text_bytes + b'","t":%d.%03d}]'

    def start_load(self):
        """As fast as it is acknowledged, for ever; what is not acknowledged is owed until the end."""
        options = {"reading": self._text, "under_way": 1 << 40, "in_flight": 5, "patience_s": 25.0}
        self.load.start(self.port, seconds=600.0, **options)

    async def send_alarms(self):
        """One after the other, each until the gateway has it: its node keeps it in flash as long."""
        options = ClientOptions(endpoint=parse_endpoint("listen", f"mqtt://127.0.0.1:{self.port}"), client_id="pole-1")
        while True:
            with contextlib.suppress(SessionError):
                async with open_session(options) as session:
                    while True:
                        seq = self.alarms_acknowledged
                        frame = self.node.frame(seq, floor=seq, kind=URGENT)
                        if await session.publish(f"n/{self.node.address:04x}/up", frame) == 0:
                            self.alarms_acknowledged += 1
                        await asyncio.sleep(0.05)
            await asyncio.sleep(0.1)

    def row(self):
        """The counters of the platform, as an operator sees them."""
        return status.overview(self.data_dir)["cities"]["city"]

    def acknowledged(self):
        return sum(map(bool, self.tally.acked_s[: FIRST // 10]))

    async def fill(self, *, enough):
        """Load until `enough(row)`, or until next to nothing is acknowledged. Returns whether it stalled."""
        self.start_load()
        seen = []  # acknowledged so far, at each look
        async with asyncio.timeout(550):
            while not enough(await asyncio.to_thread(self.row)):
                self.gateway.check_alive()
                seen.append((time.monotonic(), self.acknowledged()))
                before = [count for at_s, count in seen if at_s < seen[-1][0] - STALLED_S]
                if before and before[-1] > FLOWING and seen[-1][1] - before[-1] < FLOWING // 10:
                    return True
                await asyncio.sleep(0.25)
        return False

    def stop_load(self):
        """No new reading; those that are not acknowledged are still owed."""
        self.load.stop()

    async def more_alarms(self, count, *, within_s):
        """Whether `count` further alarms are acknowledged in time."""
        before = self.alarms_acknowledged
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.alarms_acknowledged < before + count:
                    await asyncio.sleep(0.05)
                return True
        return False


def missing_of_acknowledged(tally, span, arrivals):
    """(Readings that were acknowledged and are not at the city, readings that were acknowledged)."""
    texts = (m.value for record in arrivals.records.values() for m in record.measurements if m.name.endswith("note"))
    there = {int(text.split()[0]) for text in texts}
    acknowledged = [serial for serial in range(span.first, span.end) if tally.acked_s[serial - FIRST]]
    return sum(serial not in there for serial in acknowledged), len(acknowledged)


def told_missing(arrivals):
    """The sum of what gap records say of other nodes than the gateway itself."""
    told = Counter()
    for record in arrivals.gateway_records():
        for one in record.measurements:
            if one.name.endswith("_gap/count"):
                told[one.name.removesuffix("_gap/count")] += one.value
    return sum(count for node, count in told.items() if node != "gw-full")


def has_given_up_some(row):
    return row["evicted"] + row["thinned"] + row["expired"] > 200


def alarms_at_city(arrivals, node):
    return {int(record.rsplit("/", 1)[1]) for record in arrivals.records if record.startswith(f"{node.id}/")}


async def until(condition, *, within_s, what):
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"after {within_s} s still: {what()}")


async def drains(street, arrivals, *, patience_s=40):
    """Wait until nothing waits for the city; False once nothing has arrived for so long."""
    seen, since_s = -1, time.monotonic()
    while (row := await asyncio.to_thread(street.row))["backlog"]:
        if len(arrivals.records) > seen:
            seen, since_s = len(arrivals.records), time.monotonic()
        elif time.monotonic() - since_s > patience_s:
            print(f"{row['backlog']} records wait, and none has arrived for {patience_s} s")
            return False
        await asyncio.sleep(0.5)
    return True


@dataclass
class Outcome:
    """What one run left; `recovers`: with the city back alarms are taken, and the store becomes empty."""

    street: Street
    arrivals: Arrivals
    span: Span
    stalled: bool
    took_alarms: bool
    recovers: bool


async def run(folder, disk, mosquitto_factory, *, floor_bytes, text_bytes, ballast_bytes, enough, alarms_while_full=3):
    """The whole story."""
    if ballast_bytes:
        with (disk.path / "somebody-elses").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, ballast_bytes)
    city = mosquitto_factory("max_queued_messages 0")
    arrivals = Arrivals("gw-full")
    async with Relay(city.port) as relay, subscribe(parse_endpoint("city", city.url), "city/#", arrivals.add):
        relay.refuse()
        street = Street(folder, disk, relay, floor_bytes=floor_bytes, text_bytes=text_bytes)
        await street.gateway.start()
        pid = street.gateway.status()["pid"]
        alarms = asyncio.create_task(street.send_alarms())
        try:
            with street.load:
                stalled = await street.fill(enough=enough)
                took_alarms = await street.more_alarms(alarms_while_full, within_s=20.0)
                street.stop_load()
                assert (await asyncio.to_thread(street.row))["holds"]
                await relay.listen()
                span = await asyncio.to_thread(street.load.finish)
                recovers = await street.more_alarms(2, within_s=30)
                alarms.cancel()
                recovers &= await drains(street, arrivals)
            street.gateway.check_alive()
            assert street.gateway.status()["pid"] == pid
        finally:
            alarms.cancel()
            await street.gateway.stop()
        delivered = street.row()["delivered"]
        await until(  # the broker has them all; its subscriber may be behind
            lambda: len(arrivals.records) >= delivered,
            within_s=30,
            what=lambda: f"the subscriber has {len(arrivals.records)} of {delivered} delivered records",
        )
    assert alarms_at_city(arrivals, street.node) >= set(range(street.alarms_acknowledged))
    return Outcome(street, arrivals, span, stalled, took_alarms, recovers)


SIZES = [
    pytest.param({"text_bytes": 3_000, "ballast_bytes": 30 * MIB}, id="large", marks=pytest.mark.timeout(300)),
    pytest.param(
        {"text_bytes": 40, "ballast_bytes": 0}, id="small", marks=[pytest.mark.soak, pytest.mark.timeout(900)]
    ),
]


@pytest.mark.parametrize("size", SIZES)
async def test_a_full_disk_costs_no_alarm_and_gap_records_add_up_to_what_is_missing(
    tmp_path, disk, mosquitto_factory, size
):
    it = await run(
        tmp_path,
        disk,
        mosquitto_factory,
        floor_bytes=16 * MIB,
        enough=has_given_up_some,
        **size,
    )
    missing, acknowledged = missing_of_acknowledged(it.street.tally, it.span, it.arrivals)
    row = it.street.row()
    told = told_missing(it.arrivals)
    print(f"\n{disk.kind}: {acknowledged} acknowledged, {missing} missing, {told} told of; {row}")
    assert it.arrivals.errors == []
    assert row["holds"]
    assert it.recovers
    assert row["stored"] == 0
    assert it.took_alarms, "no alarm was taken while the disk was full"
    assert missing > 0
    assert told == missing


@pytest.mark.parametrize("size", SIZES)
async def test_no_ack_goes_out_for_what_a_full_disk_does_not_take(tmp_path, disk, mosquitto_factory, size):
    it = await run(
        tmp_path, disk, mosquitto_factory, floor_bytes=0, alarms_while_full=0, enough=has_given_up_some, **size
    )
    missing, acknowledged = missing_of_acknowledged(it.street.tally, it.span, it.arrivals)
    print(f"\n{disk.kind}: {acknowledged} acknowledged, {missing} missing, {told_missing(it.arrivals)} told of")
    assert it.arrivals.errors == []
    row = it.street.row()
    assert it.stalled or has_given_up_some(row), "the disk was never full"
    assert row["holds"]
    assert it.recovers
    assert missing == told_missing(it.arrivals)
    assert acknowledged == it.span.end - it.span.first, "a device is left with a reading that nobody took"
