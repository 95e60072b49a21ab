"""What was written is read again, however it is cut; hostile bytes raise ProtocolError and nothing else."""

import contextlib
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from gateway.mqtt.encode import encode
from gateway.mqtt.errors import ProtocolError
from gateway.mqtt.packet import (
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Puback,
    Publish,
    Publishes,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import Properties, read_properties, write_properties, write_rows
from gateway.mqtt.stream import PacketReader

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
topics = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=20)
packet_ids = st.integers(1, 65_535)
versions = st.sampled_from([V311, V5])
payloads = st.binary(max_size=300)
user_properties = st.lists(st.tuples(texts, texts), min_size=1, max_size=3)
PUBLISH_PROPERTIES = {
    "payload_format": st.integers(0, 1),
    "message_expiry_s": st.integers(0, 2**32 - 1),
    "content_type": texts,
    "response_topic": topics,
    "correlation_data": payloads,
    "user_properties": user_properties,
}
publish_properties = st.fixed_dictionaries({}, optional=PUBLISH_PROPERTIES)


@st.composite
def publishes(draw, properties=publish_properties):
    qos = draw(st.integers(0, 2))
    return Publish(
        draw(topics),
        draw(payloads),
        qos,
        draw(st.booleans()),
        qos > 0 and draw(st.booleans()),
        draw(packet_ids) if qos else 0,
        draw(properties) or None,
    )


@st.composite
def connects(draw):
    username = draw(st.none() | texts)
    return Connect(
        client_id=draw(texts),
        clean_start=draw(st.booleans()),
        keep_alive_s=draw(st.integers(0, 65_535)),
        username=username,
        password=draw(st.none() | payloads) if username is not None else None,
        will=draw(st.none() | st.builds(Will, topic=topics, payload=payloads, qos=st.integers(0, 2))),
        properties=draw(st.fixed_dictionaries({}, optional={"receive_maximum": packet_ids})),
    )


packets_v5 = st.one_of(
    publishes(),
    st.builds(Connack, st.booleans(), st.integers(0, 255)),
    st.builds(Puback, packet_ids, st.integers(0, 255)),
    st.builds(Subscribe, packet_ids, st.lists(st.builds(Subscription, topics, st.integers(0, 2)), min_size=1)),
    st.builds(Suback, packet_ids, st.lists(st.integers(0, 255), min_size=1)),
    st.builds(Unsubscribe, packet_ids, st.lists(topics, min_size=1)),
    st.builds(Unsuback, packet_ids, st.lists(st.integers(0, 255), min_size=1)),
    st.builds(Disconnect, st.integers(0, 255)),
    st.just(Pingreq()),
)


@given(st.lists(packets_v5, min_size=1, max_size=6), st.integers(1, 40))
def test_stream_of_packets_is_read_again_however_it_is_cut(packets, chunk):
    data = b"".join(encode(packet, V5) for packet in packets)
    reader = PacketReader(version=V5, max_packet_size=100_000)
    read = [packet for at in range(0, len(data), chunk) for packet in reader.feed(data[at : at + chunk])]
    assert read == packets
    assert reader.bytes_waiting == 0


few_topics = st.sampled_from(["a", "b/c", "up/d001/senml"])
usual = st.builds(Publish, few_topics, st.binary(max_size=200), st.just(1), packet_id=packet_ids)


@given(st.lists(usual | packets_v5, min_size=1, max_size=30), st.integers(1, 2_000), st.integers(2, 9), versions)
def test_messages_taken_together_are_those_taken_one_by_one(packets, chunk, together, version):
    data = b"".join(encode(one, version) for one in packets if version == V5 or not _is_of_v5_only(one))
    alone, joined = (PacketReader(version=version, max_packet_size=100_000) for _ in range(2))
    joined.together = together
    read = []
    for at in range(0, len(data), chunk):
        for packet in joined.feed(data[at : at + chunk]):
            read += _each(packet) if isinstance(packet, Publishes) else [packet]
    assert read == list(alone.feed(data))


def _each(burst):
    rows = zip(burst.topics, burst.payloads, burst.packet_ids, strict=True)
    return [Publish(topic, payload, 1, packet_id=int.from_bytes(raw, "big")) for topic, payload, raw in rows]


def _is_of_v5_only(packet):
    return isinstance(packet, (Unsuback, Disconnect))


@given(publishes(st.none()))
def test_publish_of_3_1_1_is_read_again(packet):
    assert list(PacketReader(version=V311, max_packet_size=100_000).feed(encode(packet, V311))) == [packet]


@given(connects())
def test_connect_tells_the_reader_the_version(packet):
    reader = PacketReader(version=None, max_packet_size=100_000)
    assert list(reader.feed(encode(packet, V5) + encode(Pingreq(), V5))) == [packet, Pingreq()]


PAHO_NAMES = {
    "payload_format": "PayloadFormatIndicator",
    "message_expiry_s": "MessageExpiryInterval",
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "user_properties": "UserProperty",
}


@given(publish_properties)
def test_properties_are_what_paho_reads_and_writes(properties):
    theirs = PahoProperties(PacketTypes.PUBLISH)
    for name, value in properties.items():
        for one in value if name == "user_properties" else [value]:
            setattr(theirs, PAHO_NAMES[name], one)
    packed = theirs.pack()
    assert read_properties(packed, 0, "publish") == (properties, len(packed))
    again = PahoProperties(PacketTypes.PUBLISH)
    again.unpack(write_properties(properties))
    assert again.json() == theirs.json()


def corpus():
    """One valid packet of each kind, to mutate."""
    told = {"content_type": "application/senml+json", "user_properties": [("record-id", "a/1/2")]}
    packets = [
        Publish("up/d/senml", b'[{"n":"t","v":1}]', 1, packet_id=7, properties=told),
        Publish("n/ab12/up", bytes(range(40))),
        Connack(True, 0, {"receive_maximum": 20, "maximum_packet_size": 10_000}),
        Puback(7, 0x97, {"reason_string": "full"}),
        Subscribe(8, [Subscription("n/ab12/down", 1)], {"subscription_ids": [5]}),
        Suback(8, [1, 0x87]),
        Unsubscribe(9, ["a/+/b/#"]),
        Unsuback(9, [0]),
        Disconnect(0x8B, {"server_reference": "other"}),
        Connect(client_id="c", username="u", password=b"p", will=Will(topic="w", payload=b"x", qos=1)),
        Connect(client_id="c", version=V311, username="u", password=b"p"),
    ]
    return [encode(packet, V5) for packet in packets] + [encode(Publish("a", b"b", 1, packet_id=1), V311)]


def mutated(rng, seed_bytes):
    data = bytearray(rng.choice(seed_bytes))
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(5)
        at = rng.randrange(len(data) + 1)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 5))
        elif kind == 3 and at < len(data):
            data[at] = rng.choice((0, 1, 2, 0x26, 0x7F, 0x80, 0xFF))
        elif data:
            data += rng.choice(seed_bytes)
    return bytes(data)


@pytest.mark.parametrize("version", [None, V311, V5])
def test_hostile_bytes_only_raise_protocol_errors(version):
    rng = random.Random(f"hostile {version}")
    seeds = corpus()
    errors = []
    for round_ in range(35_000):
        data = mutated(rng, seeds) if round_ % 5 else rng.randbytes(rng.randint(1, 40))
        reader = PacketReader(version=version, max_packet_size=2_000)
        try:
            for packet in reader.feed(data):
                assert packet is not None
        except ProtocolError as error:
            errors.append(error)
    assert len(errors) > 10_000  # else the mutations are too tame to say anything
    assert all(error.reason.isidentifier() and 0x80 <= error.code <= 0xA2 for error in errors)


@given(st.sampled_from([None, V311, V5]), st.integers(0, 255), st.binary(max_size=60))
def test_any_body_behind_a_right_length_only_raises_protocol_errors(version, header, body):
    reader = PacketReader(version=version, max_packet_size=2_000)
    with contextlib.suppress(ProtocolError):
        list(reader.feed(bytes((header, len(body))) + body))


VALUES = st.text(alphabet="ab/1", min_size=0, max_size=4) | st.text(max_size=3).filter(lambda text: "\0" not in text)


@given(st.lists(st.tuples(VALUES, st.sampled_from(["1", "2", "10"])), min_size=1, max_size=5))
@example([("meter/h/ab", "1"), ("meter/h/cd", "1")])
@example([("meter/h/ab", "1"), ("meter/h/cd", "2")])
@example([("é", "1"), ("è", "1")])
@example([("x" * 300, "1")])
def test_rows_are_the_user_properties_that_they_stand_for(rows):
    rows = [(one, n) for one, n in rows if one.isprintable()] or [("a", "1")]
    pairs = [pair for one, n in rows for pair in (("record-id", one), ("record-n", n))]
    written = write_rows(("record-id", [one for one, _ in rows]), ("record-n", [n for _, n in rows]))
    assert write_properties(Properties(written=written)) == write_properties(Properties(user_properties=pairs))
