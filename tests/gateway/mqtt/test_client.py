"""The client session against real brokers, a scripted one for codes no broker gives on request, and broken links."""

import asyncio
import time

import aiomqtt
import pytest

from gateway.endpoint import Endpoint
from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.connection import Limits
from gateway.mqtt.errors import PacketError, SessionError
from gateway.mqtt.packet import Connack, Connect, Disconnect, Pingreq, Puback, Publish, Subscribe
from tests.peers.scripted_broker import ScriptedBroker, accept_all

PROTOCOL_V5 = aiomqtt.ProtocolVersion.V5


def options(port, **changes):
    given = {
        "endpoint": Endpoint(host="127.0.0.1", port=port, is_tls=False),
        "client_id": "lamppost-test",
        "connect_timeout_s": 5.0,
        **changes,
    }
    return ClientOptions(**given)


@pytest.fixture(params=["mosquitto", "iotcore"])
def broker_port(request):
    return request.getfixturevalue("mosquitto" if request.param == "mosquitto" else "iotcore_broker").port


async def test_published_message_arrives_with_its_properties(broker_port):
    async with aiomqtt.Client("127.0.0.1", broker_port, protocol=PROTOCOL_V5) as listener:
        await listener.subscribe("city/#", qos=1)
        async with open_session(options(broker_port)) as session:
            told = {
                "content_type": "application/senml+json",
                "user_properties": [("record-id", "a/1/2"), ("lane", "live")],
            }
            assert await session.publish("city/x", b"[]", told) == 0
        message = await anext(listener.messages)
    assert message.payload == b"[]"
    assert message.properties.ContentType == "application/senml+json"
    assert message.properties.UserProperty == [("record-id", "a/1/2"), ("lane", "live")]


async def test_many_publishes_in_flight_arrive_once_each_and_in_order(broker_port):
    async with aiomqtt.Client("127.0.0.1", broker_port, protocol=PROTOCOL_V5) as listener:
        await listener.subscribe("many/#", qos=1)
        async with open_session(options(broker_port)) as session, asyncio.TaskGroup() as tasks:
            for number in range(500):
                tasks.create_task(session.publish("many/x", b"%d" % number))
            seen = [int((await anext(listener.messages)).payload) for _ in range(500)]
    assert seen == list(range(500))


async def test_broker_without_subscriber_answers_0x10(mosquitto):
    async with open_session(options(mosquitto.port)) as session:
        assert await session.publish("nobody/hears", b"x") == 0x10


async def test_message_is_acknowledged_only_after_its_handler(mosquitto):
    """Left with the broker while the handler runs; delivered again to the same client id, and then no more."""
    kept = {"clean_start": False, "session_expiry_s": 3_600}
    begun = asyncio.Event()

    async def never(message):
        begun.set()
        await asyncio.Event().wait()

    async with open_session(options(mosquitto.port, **kept), on_message=never) as session:
        assert await session.subscribe(["in/#"]) == [1]
        async with open_session(options(mosquitto.port, client_id="sender")) as sender:
            assert await sender.publish("in/1", b"precious") == 0
        await begun.wait()

    taken = asyncio.Queue()

    async def take(message):
        taken.put_nowait(message)
        return 0

    async with open_session(options(mosquitto.port, **kept), on_message=take) as session:
        assert session.session_present
        message = await taken.get()
        assert (message.payload, message.dup) == (b"precious", True)
        assert await session.publish("in/2", b"last") == 0
        assert (await taken.get()).payload == b"last"
        await session.publish("elsewhere", b"")  # a round trip: the acknowledgement went before it

    async with open_session(options(mosquitto.port, **kept), on_message=take) as session:
        assert await session.publish("in/3", b"only this one") == 0
        assert (await taken.get()).payload == b"only this one"


async def test_handler_that_keeps_nothing_leaves_the_message_with_the_broker(mosquitto):
    kept = {"clean_start": False, "session_expiry_s": 3_600}

    async def unstored(message):
        return None

    async with open_session(options(mosquitto.port, **kept), on_message=unstored) as session:
        await session.subscribe(["in/#"])
        async with open_session(options(mosquitto.port, client_id="sender")) as sender:
            await sender.publish("in/1", b"x")
        with pytest.raises(SessionError) as caught:
            await session.wait_closed()
    assert caught.value.state == "unstored"
    again = asyncio.Queue()

    async def take(message):
        again.put_nowait(message.payload)
        return 0

    async with open_session(options(mosquitto.port, **kept), on_message=take):
        assert await again.get() == b"x"


async def test_acknowledgements_keep_the_order_of_arrival():
    """Handlers that end in another order: MQTT 5 section 4.6 wants PUBACKs in the order of the PUBLISHes."""
    order = []
    release = [asyncio.Event() for _ in range(3)]

    def answer(packet):
        if isinstance(packet, Subscribe):
            return [*accept_all(packet), *(Publish("a", b"%d" % n, 1, packet_id=10 + n) for n in range(3))]
        if isinstance(packet, Puback):
            order.append((packet.packet_id, packet.reason_code))
        return accept_all(packet)

    async def handle(message):
        number = int(message.payload)
        await release[number].wait()
        return 0x99 if number == 1 else 0

    async with ScriptedBroker(answer) as broker, open_session(options(broker.port), on_message=handle) as session:
        await session.subscribe(["a"])
        release[2].set()
        release[1].set()
        await session.publish("b", b"")  # a round trip: the two finished ones had their chance
        assert order == []
        release[0].set()
        await broker.wait_for(lambda: len(order) == 3)
    assert order == [(10, 0), (11, 0x99), (12, 0)]


@pytest.mark.parametrize("code", [0x00, 0x10, 0x87, 0x90, 0x97, 0x99])
async def test_puback_reason_reaches_the_caller(code):
    def answer(packet):
        return [Puback(packet.packet_id, code)] if isinstance(packet, Publish) else accept_all(packet)

    async with ScriptedBroker(answer) as broker, open_session(options(broker.port)) as session:
        assert await session.publish("a", b"x") == code


async def test_receive_maximum_is_honoured():
    waiting = []

    def answer(packet):
        if isinstance(packet, Connect):
            return [Connack(False, 0, {"receive_maximum": 3})]
        if isinstance(packet, Publish):
            waiting.append(packet.packet_id)
            return []
        if isinstance(packet, Pingreq):
            acks = [Puback(packet_id) for packet_id in waiting]
            waiting.clear()
            return [*acks, *accept_all(packet)]
        return accept_all(packet)

    async with ScriptedBroker(answer) as broker:
        # Once a step nothing was heard for long enough, a ping is sent, and this broker then acknowledges what it has.
        async with open_session(options(broker.port, keep_alive_s=1)) as session, asyncio.TaskGroup() as tasks:
            assert session.receive_maximum == 3
            for number in range(7):
                tasks.create_task(session.publish("a", b"%d" % number))
            await broker.wait_for(lambda: len(broker.published) == 7)
        kinds = [type(packet) for packet in broker.received if isinstance(packet, (Publish, Pingreq))]
    assert "".join("p" if kind is Publish else "." for kind in kinds).strip(".") == "ppp.ppp.p"


async def test_maximum_packet_size_is_honoured():
    def answer(packet):
        return [Connack(False, 0, {"maximum_packet_size": 100})] if isinstance(packet, Connect) else accept_all(packet)

    async with ScriptedBroker(answer) as broker, open_session(options(broker.port)) as session:
        with pytest.raises(PacketError, match="at most 100"):
            await session.publish("a", bytes(100))
        assert await session.publish("a", bytes(80)) == 0
        assert session.in_flight == 0


@pytest.mark.parametrize(
    "code, state",
    [
        (0x84, "downgraded"),
        (0x86, "refused_credentials"),
        (0x87, "not_authorised"),
        (0x88, "busy"),
        (0x89, "busy"),
        (0x97, "busy"),
        (0x9F, "busy"),
        (0x85, "refused"),
    ],
)
async def test_refused_connection_is_a_named_state(code, state):
    async with ScriptedBroker(lambda packet: [Connack(False, code, {"reason_string": "go away"})]) as broker:
        with pytest.raises(SessionError, match="go away") as caught:
            async with open_session(options(broker.port)):
                pass
    assert caught.value.state == state


@pytest.mark.parametrize("return_code", [0, 1])
async def test_broker_of_3_1_1_is_a_downgrade(return_code):
    async with ScriptedBroker(lambda packet: [bytes((0x20, 2, 0, return_code))]) as broker:
        with pytest.raises(SessionError) as caught:
            async with open_session(options(broker.port)):
                pass
    assert caught.value.state == "downgraded"


async def test_broker_of_3_1_1_that_just_closes_says_what_to_check(iotcore_broker):
    with pytest.raises(SessionError, match="does it speak MQTT 5") as caught:
        async with open_session(options(iotcore_broker.port_v311)):
            pass
    assert caught.value.state == "closed"


async def test_wrong_password_is_named_and_the_right_one_works(mosquitto_factory):
    broker = mosquitto_factory(passwords={"gw": "secret"})
    with pytest.raises(SessionError) as caught:
        async with open_session(options(broker.port, username="gw", password=b"wrong")):
            pass
    # mosquitto 2.0 answers 0x87 to a wrong password, where the standard has 0x86.
    assert caught.value.state in ("refused_credentials", "not_authorised")
    assert "wrong" not in str(caught.value)
    async with open_session(options(broker.port, username="gw", password=b"secret")) as session:
        assert await session.publish("a", b"x") in (0, 0x10)


async def test_access_list_of_the_broker_answers_0x87(mosquitto_factory):
    broker = mosquitto_factory(acl=["topic write allowed/#"])
    async with open_session(options(broker.port)) as session:
        assert await session.publish("forbidden/x", b"x") == 0x87
        assert await session.publish("allowed/x", b"x") in (0, 0x10)


async def test_nobody_listening_is_unreachable(unused_tcp_port):
    with pytest.raises(SessionError) as caught:
        async with open_session(options(unused_tcp_port)):
            pass
    assert caught.value.state == "unreachable"


async def test_connection_that_goes_silent_is_found_within_the_keep_alive_time(iotcore_broker, relay_to):
    relay = await relay_to(iotcore_broker.port)
    async with open_session(options(relay.port, keep_alive_s=1)) as session:
        await session.publish("a", b"x")
        relay.hold()
        started_s = time.monotonic()
        publishing = asyncio.ensure_future(session.publish("a", b"lost"))
        with pytest.raises(SessionError) as caught:
            await session.wait_closed()
        assert caught.value.state == "silent"
        assert time.monotonic() - started_s < 1.6
        with pytest.raises(SessionError):
            await publishing


async def test_silence_before_the_connack_is_bounded(iotcore_broker, relay_to):
    relay = await relay_to(iotcore_broker.port)
    relay.hold()
    with pytest.raises(SessionError) as caught:
        async with open_session(options(relay.port, connect_timeout_s=0.3)):
            pass
    assert caught.value.state == "silent"


async def test_broker_that_lives_and_never_acknowledges_is_found():
    def answer(packet):
        return [] if isinstance(packet, Publish) else accept_all(packet)

    async with ScriptedBroker(answer) as broker:
        async with open_session(options(broker.port, keep_alive_s=30, ack_timeout_s=0.3)) as session:
            with pytest.raises(SessionError) as caught:
                await session.publish("a", b"x")
    assert caught.value.state == "unacknowledged"


@pytest.mark.parametrize("end", ["close_all", "reset_all"])
async def test_end_of_the_connection_fails_what_waits(iotcore_broker, relay_to, end):
    relay = await relay_to(iotcore_broker.port)
    async with open_session(options(relay.port)) as session:
        relay.hold()
        publishing = [asyncio.ensure_future(session.publish("a", b"x")) for _ in range(10)]
        await asyncio.sleep(0)
        getattr(relay, end)()
        results = await asyncio.gather(*publishing, return_exceptions=True)
        assert {result.state for result in results} == {"closed"}
        with pytest.raises(SessionError):
            await session.publish("a", b"too late")


async def test_disconnect_by_the_broker_says_why():
    def answer(packet):
        return [Disconnect(0x8B, {"reason_string": "update"})] if isinstance(packet, Publish) else accept_all(packet)

    async with ScriptedBroker(answer) as broker, open_session(options(broker.port)) as session:
        with pytest.raises(SessionError, match="server shutting down update") as caught:
            await session.publish("a", b"x")
    assert caught.value.state == "busy"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\x00",
        b"\x40\x02\x00\x09",  # an answer to what we did not send
        b"\x30\x05\x00\x03a/#\x00",
        b"\x30\xff\xff\xff\xff",
        b"\x30\x07\x00\x01a\x03\x23\x00\x01",  # a topic alias, though we allow none
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00",
    ],
)
async def test_nonsense_from_the_broker_ends_the_session_by_name(nonsense):
    def answer(packet):
        return [nonsense] if isinstance(packet, Publish) else accept_all(packet)

    async with ScriptedBroker(answer) as broker, open_session(options(broker.port)) as session:
        with pytest.raises(SessionError) as caught:
            await session.publish("a", b"x")
    assert caught.value.state == "protocol_error"


async def test_broker_that_sends_more_than_we_allow_is_slowed_down_and_loses_nothing():
    limits = Limits(max_waiting=2)
    handled, may_go_on = [], asyncio.Event()

    def answer(packet):
        if isinstance(packet, Subscribe):
            return [*accept_all(packet), *(Publish("a", b"x", 1, packet_id=n) for n in range(1, 9))]
        return accept_all(packet)

    async def hold(message):
        handled.append(message.packet_id)
        await may_go_on.wait()
        return 0

    async with ScriptedBroker(answer) as broker:
        async with open_session(options(broker.port, limits=limits), on_message=hold) as session:
            assert broker.received[0].properties["receive_maximum"] == 2
            await session.subscribe(["a"])
            async with asyncio.timeout(10):
                while len(handled) < 3:
                    await asyncio.sleep(0)
                assert handled == [1, 2, 3]  # one more than allowed shows that there is no room, and no more is read
                may_go_on.set()
                while sum(isinstance(packet, Puback) for packet in broker.received) < 8:
                    await asyncio.sleep(0.01)
    assert handled == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_unexpected_error_of_a_handler_reaches_the_owner(mosquitto):
    async def broken(message):
        raise ZeroDivisionError("a mistake of ours")

    async with open_session(options(mosquitto.port), on_message=broken) as session:
        await session.subscribe(["a"])
        session.publish_unacknowledged("a", b"x")
        with pytest.raises(ZeroDivisionError):
            await session.wait_closed()


async def test_cancelled_publish_keeps_its_packet_id_until_it_is_answered():
    held = []

    def answer(packet):
        if isinstance(packet, Publish) and not held:
            held.append(packet.packet_id)
            return []
        return accept_all(packet)

    async with ScriptedBroker(answer) as broker, open_session(options(broker.port)) as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await session.publish("a", b"x")
        for _ in range(3):
            await session.publish("a", b"y")
        assert held[0] not in [packet.packet_id for packet in broker.published[1:]]
        assert session.in_flight == 1
