"""What goes first, at which pace, and in which order, whatever the city answers and however the link breaks."""

import asyncio
import random
from collections import Counter, defaultdict

import pytest

from gateway.city.mqtt import MqttCity
from gateway.mqtt.packet import Connack, Connect, Puback, Publish
from gateway.reading import Reading
from tests.gateway.city.street import audited, drained, forwarding, ids, lane_of, made, put, until
from tests.gateway.cores import running_core
from tests.peers.scripted_broker import CLOSE, ScriptedBroker, accept_all


@pytest.fixture
async def core(tmp_path):
    async with running_core(tmp_path, cities=["city", "other"]) as core:
        yield core


@pytest.mark.parametrize("receive_maximum", [1, 2, 20, None])
async def test_live_readings_and_alarms_do_not_wait_for_the_backlog(core, receive_maximum):
    """The backlog alone would take ten seconds and more at its cap."""

    def answer(packet):
        if isinstance(packet, Connect) and receive_maximum:
            return [Connack(False, 0, {"receive_maximum": receive_maximum})]
        return accept_all(packet)

    await put(core, *(made(f"n{seq % 10}", seq) for seq in range(5_000)))
    async with ScriptedBroker(answer) as broker:
        async with forwarding(core, broker.port, backlog_records_per_s=500):
            await broker.wait_for(lambda: len(broker.published) > 3)
            await put(core, made("n1", 9_000), made("n2", 9_001, kind="alarm"))
            await until(lambda: {"n1/1/9000", "n2/1/9001"} <= set(ids(broker.published)))
            assert (await core.outbox.backlog("city")).records > 1_000
        told = {one: lane_of(packet) for packet in broker.published for one in ids([packet])}
    assert told["n1/1/9000"] == told["n2/1/9001"] == "live"
    assert Counter(told.values())["live"] == 2


async def test_alarms_of_the_backlog_go_before_the_rest_of_it(core):
    await put(core, *(made("a", seq, kind="alarm" if seq >= 90 else "telemetry") for seq in range(100)))
    async with ScriptedBroker() as broker, forwarding(core, broker.port):
        await drained(core)
        seen = ids(broker.published)
    assert seen == [f"a/1/{seq}" for seq in (*range(90, 100), *range(90))]


async def test_backlog_ends_though_live_readings_never_do(core):
    """One slot, and always a live reading that wants it: every fourth message is the backlog's."""
    first = []

    def answer(packet):
        if isinstance(packet, Connect):
            return [Connack(False, 0, {"receive_maximum": 1})]
        if isinstance(packet, Publish) and not first:
            first.append(packet.packet_id)
            return []
        return accept_all(packet)

    await put(core, *(made("old", seq) for seq in range(200)))
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port, pack_records=20) as (_, forwarder):
        await until(lambda: first)
        held = forwarder.status()["held_bytes"]
        await put(core, *(made(f"n{seq % 20}", 1_000 + seq) for seq in range(10_000)))
        await until(lambda: forwarder.status()["held_bytes"] > held + 1_000_000)
        broker.send(Puback(first[0]))
        await drained(core)
    lanes = [lane_of(packet) for packet in broker.published]
    last = len(lanes) - lanes[::-1].index("backlog")
    assert lanes.count("live") > 8 * lanes.count("backlog")
    assert last <= 5 * lanes.count("backlog")


class TimedCity(MqttCity):
    """Notes when each pack was sent, and how large it was."""

    sent: list

    def send(self, pack):
        records = sum(name == "record-id" for name, _ in pack.properties)
        told = sum(5 + len(name) + len(value) for name, value in pack.properties)
        self.sent.append((asyncio.get_running_loop().time(), records, len(pack.payload) + told, dict(pack.properties)))
        return super().send(pack)


@pytest.mark.parametrize(
    "cap", [{"backlog_records_per_s": 1_000}, {"backlog_bytes_per_s": 60_000}, {"backlog_records_per_s": 40}]
)
async def test_no_second_holds_more_of_the_backlog_than_the_cap(core, cap):
    TimedCity.sent = []
    records = 3_000 if "backlog_records_per_s" not in cap else 3 * cap["backlog_records_per_s"]
    await put(core, *(made(f"n{seq % 7}", seq) for seq in range(records)))
    async with ScriptedBroker() as broker, forwarding(core, broker.port, platform_class=TimedCity, **cap):
        await broker.wait_for(lambda: broker.published)
        for number in range(records, records + 50):  # live readings are not counted against it
            await put(core, made("n1", number))
        await drained(core)
    owed = [one for one in TimedCity.sent if one[3]["lane"] == "backlog"]
    assert sum(one[1] for one in owed) == records
    for column, most in ((1, cap.get("backlog_records_per_s")), (2, cap.get("backlog_bytes_per_s"))):
        for at_s, *_ in owed:
            assert most is None or sum(one[column] for one in owed if at_s <= one[0] < at_s + 1) <= most


SEEDS = [1, 2, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 20))]


@pytest.mark.parametrize("seed", SEEDS)
async def test_order_of_each_node_class_and_lane_holds_whatever_is_refused_and_however_the_link_breaks(core, seed):
    """The order in which the city accepted records for the first time, against the order of storing."""
    chance = random.Random(seed)
    accepted = defaultdict(list)
    seen = set()

    def answer(packet):
        if not isinstance(packet, Publish):
            return accept_all(packet)
        if chance.random() < 0.03:
            return [CLOSE]
        code = chance.choice([0] * 40 + [0x80, 0x83, 0x87, 0x97, 0x99])
        for one in ids([packet]) if not code else ():
            node, _, seq = one.rsplit("/", 2)
            if one not in seen:
                seen.add(one)
                accepted[node, kind_of(int(seq)), lane_of(packet)].append(int(seq))
        return [Puback(packet.packet_id, code), *([CLOSE] if chance.random() < 0.03 else [])]

    def some(first):
        return [made(f"n{chance.randrange(3)}", seq, kind=kind_of(seq)) for seq in range(first, first + 100)]

    await put(core, *some(0))
    options = {"pack_records": 9, "city": {"ack_timeout_s": 2.0, "keep_alive_s": 2, "connect_timeout_s": 2.0}}
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port, **options):
        for first in range(100, 300, 10):
            await put(core, *some(first)[:10])
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() / 10)
        await drained(core, deadline_s=90)
    row = await audited(core, "city")
    assert (row.delivered + row.refused, row.stored) == (300, 0)
    assert row.delivered <= len(seen)
    for place, numbers in accepted.items():
        assert numbers == sorted(numbers), place


def kind_of(seq):
    return "alarm" if seq % 5 == 0 else "telemetry"


async def test_refused_node_is_delivered_in_order_once_it_is_admitted_and_holds_up_nobody_before(core):
    """More of its records than are kept in memory for a refused node."""
    is_admitted = False

    def answer(packet):
        is_refused = isinstance(packet, Publish) and "/bad/" in packet.topic and not is_admitted
        return [Puback(packet.packet_id, 0x87)] if is_refused else accept_all(packet)

    await put(core, *(made("bad", seq) for seq in range(700)), *(made("good", seq) for seq in range(100)))
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port, pack_records=20) as (_, forwarder):
        await drained(core, left=700)
        await put(core, *(made("bad", seq) for seq in range(700, 900)), *(made("good", seq) for seq in range(100, 200)))
        await drained(core, left=900)
        assert forwarder.status()["state"] == "not_authorised"
        is_admitted = True
        before = len(broker.published)
        await drained(core)
        assert forwarder.status()["state"] in ("idle", "delivering")
    arrived = {"live": {}, "backlog": {}}
    for packet in broker.published[before:]:
        arrived[lane_of(packet)].update(dict.fromkeys(one for one in ids([packet]) if one.startswith("bad/")))
    assert len(arrived["live"]) + len(arrived["backlog"]) == 900
    for seen in arrived.values():
        numbers = [int(one.rpartition("/")[2]) for one in seen]
        assert numbers == sorted(numbers)
    assert (await audited(core)).delivered == 1_100


async def test_quota_makes_everything_wait_and_is_probed_with_one_message(core):
    is_full = True

    def answer(packet):
        if isinstance(packet, Publish) and is_full:
            return [Puback(packet.packet_id, 0x97)]
        return accept_all(packet)

    await put(core, *(made(f"n{seq % 30}", seq) for seq in range(300)))
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port) as (_, forwarder):
        await until(lambda: forwarder.status()["state"] == "quota_exceeded")
        await broker.wait_for(lambda: len(broker.published) >= 33)
        assert len(broker.published) == 33, "thirty lines at first, then one message per probe"
        is_full = False
        await drained(core)
        assert forwarder.status()["state"] in ("idle", "delivering")
    assert (await audited(core)).delivered == 300


async def test_payload_that_is_refused_takes_few_with_it_and_is_set_aside_after_three_tries(core):
    """One in a pack of five hundred: the pack, a piece of the pack, then alone."""
    tries = Counter()

    def answer(packet):
        if isinstance(packet, Publish):
            told = ids([packet])
            tries.update(told)
            return [Puback(packet.packet_id, 0x99 if "a/1/321" in told else 0)]
        return accept_all(packet)

    await put(core, *(made("a", seq) for seq in range(500)))
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port):
        await drained(core)
        messages = len(broker.published)
    row = await audited(core)
    assert (row.delivered, row.refused) == (499, 1)
    assert tries["a/1/321"] == max(tries.values()) == 3
    assert messages <= 60


async def test_dead_city_neither_blocks_nor_repeats_another(core):
    def never(packet):
        return [] if isinstance(packet, Publish) else accept_all(packet)

    await put(core, *(made(f"n{seq % 5}", seq) for seq in range(200)))
    async with ScriptedBroker(never) as dead, ScriptedBroker() as alive:
        async with forwarding(core, dead.port, name="other") as (_, stuck), forwarding(core, alive.port):
            await drained(core)
            await until(lambda: stuck.status()["state"] == "unacknowledged")
            await put(core, *(made(f"n{seq % 5}", seq) for seq in range(200, 300)))
            await drained(core)
        assert Counter(ids(alive.published)) == Counter({f"n{seq % 5}/1/{seq}": 1 for seq in range(300)})
    assert (await audited(core)).delivered == 300
    assert (await audited(core, "other")).stored == 300


@pytest.mark.parametrize(
    "answer, state",
    [
        (lambda packet: [Connack(False, 0x86)], "refused_credentials"),
        (lambda packet: [b"\x20\x02\x00\x01"], "downgraded"),
        (lambda packet: [Puback(packet.packet_id, 0x87)] if isinstance(packet, Publish) else None, "not_authorised"),
        (lambda packet: [Puback(packet.packet_id, 0x97)] if isinstance(packet, Publish) else None, "quota_exceeded"),
        (lambda packet: [Puback(packet.packet_id, 0x83)] if isinstance(packet, Publish) else None, "refusing"),
        (lambda packet: [Puback(packet.packet_id, 0x99)] if isinstance(packet, Publish) else None, "refused_payload"),
        (lambda packet: [Puback(packet.packet_id, 0x10)] if isinstance(packet, Publish) else None, "unheard"),
        (lambda packet: [] if isinstance(packet, Publish) else None, "unacknowledged"),
        (lambda packet: [b"\x40\x02\x00", CLOSE] if isinstance(packet, Publish) else None, "closed"),
        (lambda packet: [b"\x00\x00"] if isinstance(packet, Publish) else None, "protocol_error"),
    ],
)
async def test_each_way_in_which_a_city_misbehaves_has_a_name_in_status_and_a_sentence(core, answer, state):
    def script(packet):
        told = answer(packet)
        return accept_all(packet) if told is None else told

    await put(core, *(made("a", seq) for seq in range(5)))
    async with ScriptedBroker(script) as broker, forwarding(core, broker.port) as (platform, forwarder):
        await until(lambda: state in (platform.status()["state"], forwarder.status()["state"]))
        told = forwarder.status() if forwarder.status()["state"] == state else platform.status()
        assert told["detail"]


async def test_no_subscriber_is_a_state_where_one_is_required(core, mosquitto):
    await put(core, made("a", 1))
    async with forwarding(core, mosquitto.port, require_subscriber=True) as (_, forwarder):
        await until(lambda: forwarder.status()["state"] == "no_subscriber")
    assert (await audited(core)).stored == 1


async def test_slow_city_is_named_and_loses_nothing(core):
    held = []

    def answer(packet):
        if isinstance(packet, Publish) and len(held) < 3:
            held.append(packet.packet_id)
            return []
        return accept_all(packet)

    await put(core, *(made(f"n{seq}", seq) for seq in range(3)))
    slow = {"ack_timeout_s": 60.0, "keep_alive_s": 60}
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port, city=slow) as (_, forwarder):
        await until(lambda: forwarder.status()["state"] == "slow")
        assert "owed us an answer" in str(forwarder.status()["detail"])
        broker.send(*(Puback(packet_id) for packet_id in held))
        await drained(core)
        assert forwarder.status()["state"] == "idle"
    assert (await audited(core)).delivered == 3


async def test_long_records_are_read_ahead_by_their_bytes(core):
    """A bound of their number alone would let the longest take gigabytes."""
    text = "x" * 3_000
    for first in range(0, 7_000, 500):
        readings = [(Reading(quantity="note", value=f"{seq} {text}"),) for seq in range(first, first + 500)]
        await put(core, *(made(f"n{seq % 20}", first + seq, readings=one) for seq, one in enumerate(readings)))
    answers = accept_all

    def answer(packet):
        return answers(packet)

    def silent(packet):
        return [] if isinstance(packet, Publish) else accept_all(packet)

    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port, city={"ack_timeout_s": 60.0}) as it:
        answers = silent
        await until(lambda: it[1].status()["held_bytes"] > 7 << 20)
        for _ in range(100):  # what it still wants to read comes in between
            await core.store.fetch(lambda: None)
        held = it[1].status()["held_bytes"]
        answers = accept_all
        broker.send(*(Puback(packet.packet_id) for packet in broker.published))
        await drained(core)
    assert held < 10 << 20
    assert (await audited(core)).delivered == 7_000
