"""Between the outbox and a city, for tests: records to store, a forwarder that runs, what the city saw."""

import asyncio
import json
from contextlib import asynccontextmanager

from gateway.city.delivery import Options
from gateway.city.forwarder import Forwarder
from gateway.city.mqtt import MqttCity
from gateway.endpoint import Endpoint
from gateway.intake import Message
from gateway.mqtt.client import ClientOptions
from gateway.reading import Reading, Report
from tests.gateway.cores import NOW_S

deadline_s = 20


async def store(core, device, *values):
    """One record per value under `device`; the record ids are device/c/value."""

    async def one(value):
        message = Message(
            device=device,
            payload=json.dumps([{"n": "count", "u": "/", "v": value, "t": NOW_S + value}]).encode(),
            content_type="application/senml+json",
            record_id=str(value),
            received_at_s=NOW_S,
        )
        assert (await core.intake.submit_senml(message)).accepted

    for value in values:  # one after the other: the order of storing is what the city must see
        await one(value)


@asynccontextmanager
async def forwarding(
    core, port, *, city=None, name="city", content="json", platform_class=MqttCity, compressor=None, **options
):
    client = {"connect_timeout_s": 1.0, "keep_alive_s": 1, "ack_timeout_s": 1.0, **(city or {})}
    platform = platform_class(
        ClientOptions(endpoint=Endpoint(host="127.0.0.1", port=port, is_tls=False), client_id="gw", **client),
        topic="city/{site}/{node}/senml",
        site="test",
        content=content,
    )
    forwarder = Forwarder(
        core.outbox,
        platform,
        city_name=name,
        count=core.counters.add,
        options=Options(**options),
        compressor=compressor,
    )
    tasks = [asyncio.create_task(platform.run()), asyncio.create_task(forwarder.run())]
    try:
        yield platform, forwarder
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


async def drained(core, *, left=0, city="city", deadline_s=deadline_s):
    """Return once only `left` records wait for the city."""
    async with asyncio.timeout(deadline_s):
        while (await core.outbox.backlog(city)).records > left:
            await asyncio.sleep(0.01)


async def audited(core, city="city"):
    """The city's counters; promise 1 must hold."""
    row = next(one for one in await core.outbox.audit() if one.city == city)
    assert row.holds
    return row


def ids(publishes):
    """The record ids of some PUBLISH packets, in order of arrival."""
    return [
        value for packet in publishes for name, value in packet.properties["user_properties"] if name == "record-id"
    ]


def made(node, seq, *, kind="telemetry", **changes):
    """A report of one reading: its number."""
    fields = {
        "node": node,
        "record_id": f"{node}/1/{seq}",
        "measured_at_s": NOW_S + seq,
        "readings": (Reading(quantity="count", value=seq, unit="/"),),
        "epoch": 1,
        "seq": seq,
        "kind": kind,
    }
    return Report(**(fields | changes))


async def put(core, *reports):
    """Store reports in one commit."""

    def change(tx):
        for report in reports:
            core.outbox.put(tx, report, is_produced=False, now_s=core.clock.now_s())

    await core.store.write(change)


def lane_of(packet):
    """The lane a PUBLISH packet says."""
    return next(value for name, value in packet.properties["user_properties"] if name == "lane")


async def until(is_there, *, deadline_s=deadline_s):
    """Return once `is_there()` holds."""
    async with asyncio.timeout(deadline_s):
        while not is_there():
            await asyncio.sleep(0.005)
