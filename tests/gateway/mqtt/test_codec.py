"""Bytes of MQTT packets: examples of the standards, packets of paho and mosquitto, and everything that is none."""

import pytest

from gateway.mqtt.decode import decode
from gateway.mqtt.encode import encode, encode_puback
from gateway.mqtt.errors import PacketError, ProtocolError
from gateway.mqtt.packet import (
    V5,
    V311,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from gateway.mqtt.stream import PacketReader


def read_all(data, version, *, max_packet_size=1_000_000):
    return list(PacketReader(version=version, max_packet_size=max_packet_size).feed(data))


PACKETS = [
    # MQTT 3.1.1, figure 3.6 and the lines below it
    (
        V311,
        Connect(
            client_id="c",
            version=V311,
            keep_alive_s=10,
            username="u",
            password=b"p",
            will=Will(topic="w", payload=b"m", qos=1),
        ),
        "1019 0004 4d515454 04 ce 000a 0001 63 0001 77 0001 6d 0001 75 0001 70",
    ),
    (
        V5,
        Connect(client_id="", keep_alive_s=60, clean_start=False, properties={"session_expiry_s": 10}),
        "1012 0004 4d515454 05 00 003c 05 11 0000000a 0000",
    ),
    (V311, Connack(True, 0), "2002 01 00"),
    (V5, Connack(False, 0x87, {"reason_string": "no", "receive_maximum": 20}), "200b 00 87 08 1f 0002 6e6f 21 0014"),
    # MQTT 3.1.1, figure 3.11: topic a/b, packet id 10
    (V311, Publish("a/b", b"", 1, packet_id=10), "3207 0003 612f62 000a"),
    (V5, Publish("a/b", b"x"), "3007 0003 612f62 00 78"),
    (
        V5,
        Publish("t", b"", 1, True, True, 258, {"content_type": "a", "user_properties": [("b", "c"), ("b", "c")]}),
        "3b18 0001 74 0102 12 03 0001 61 26 0001 62 0001 63 26 0001 62 0001 63",
    ),
    (V5, Publish("a/b", b"y", 2, packet_id=1), "3409 0003 612f62 0001 00 79"),
    (V5, Puback(10, 0), "4002 000a"),
    (V5, Puback(10, 0x10), "4003 000a 10"),
    (V5, Puback(10, 0x97, {"reason_string": "q"}), "4008 000a 97 04 1f 0001 71"),
    (V5, Pubrec(1, 0), "5002 0001"),
    (V5, Pubrel(1, 0x92), "6203 0001 92"),
    (V311, Pubcomp(1, 0), "7002 0001"),
    # MQTT 3.1.1, figure 3.23: filters a/b at QoS 1 and c/d at QoS 2
    (
        V311,
        Subscribe(10, [Subscription("a/b", 1), Subscription("c/d", 2)]),
        "820e 000a 0003 612f62 01 0003 632f64 02",
    ),
    (V5, Subscribe(10, [Subscription("+/b/#", 1, True, True, 2)]), "820b 000a 00 0005 2b2f622f23 2d"),
    (V311, Suback(10, [0, 2, 0x80]), "9005 000a 00 02 80"),
    (V5, Suback(10, [1, 0x87]), "9005 000a 00 01 87"),
    (V311, Unsubscribe(10, ["a/b", "c/d"]), "a20c 000a 0003 612f62 0003 632f64"),
    (V5, Unsubscribe(10, ["a"]), "a206 000a 00 0001 61"),
    (V311, Unsuback(10), "b002 000a"),
    (V5, Unsuback(10, [0, 0x11]), "b005 000a 00 00 11"),
    (V311, Pingreq(), "c000"),
    (V5, Pingresp(), "d000"),
    (V311, Disconnect(), "e000"),
    (V5, Disconnect(0x8D, {"reason_string": "k"}), "e006 8d 04 1f 0001 6b"),
    (V5, Auth(0x18, {"authentication_method": "m"}), "f006 18 04 15 0001 6d"),
]


@pytest.mark.parametrize("version, packet, written", PACKETS)
def test_packet_has_the_bytes_of_the_standard(version, packet, written):
    data = bytes.fromhex(written.replace(" ", ""))
    assert encode(packet, version) == data
    assert read_all(data, None if isinstance(packet, Connect) else version) == [packet]


CONNECT_V5 = "0004 4d515454 05"
WRONG = [
    ("bad_type", V5, "0000"),
    ("bad_type", V311, "f000"),
    ("bad_flags", V5, "4102 0001"),
    ("bad_flags", V5, "6002 0001"),
    ("bad_flags", V5, "8006 0001 00 0001 61 00"),
    ("bad_flags", V5, "c100"),
    ("bad_flags", V5, "3607 0001 61 0001 00 62"),  # QoS 3
    ("bad_flags", V5, "3804 0001 61 00"),  # dup without QoS
    ("bad_flags", V5, "2003 02 00 00"),
    ("bad_varint", V5, "30ffffffff01"),
    ("bad_varint", V5, "308000"),
    ("bad_varint", V5, "c08000"),
    ("bad_varint", V5, "3007 0001 61 8000 6263"),  # property length not in its shortest form
    ("packet_too_large", V5, "30ffffff7f"),
    ("truncated", V5, "3001 00"),
    ("truncated", V5, "3003 0005 61"),
    ("truncated", V5, "3203 0001 61"),
    ("truncated", V5, "3204 0001 61 00"),
    ("truncated", V5, "3003 0001 61"),  # no property length
    ("truncated", V5, "3004 0001 61 05"),
    ("truncated", V5, "4001 00"),
    ("truncated", V5, "9003 0001 00"),
    ("truncated", V5, "b002 0001"),
    ("trailing_bytes", V311, "4003 0001 00"),
    ("trailing_bytes", V5, "c001 00"),
    ("trailing_bytes", V311, "e001 00"),
    ("trailing_bytes", V5, "e003 00 00 00"),
    ("bad_utf8", V311, "3004 0002 c328"),
    ("bad_utf8", V311, "3005 0003 eda080"),  # a surrogate, MQTT-1.5.4-1
    ("nul_in_text", V311, "3005 0003 610062"),
    ("wildcard_in_topic", V311, "3005 0003 612f23"),
    ("wildcard_in_topic", V311, "3005 0003 2b2f61"),
    ("empty_topic", V311, "3002 0000"),
    ("empty_topic", V5, "3003 0000 00"),
    ("packet_id_zero", V311, "3205 0001 61 0000"),
    ("packet_id_zero", V5, "4002 0000"),
    ("packet_id_zero", V311, "8206 0000 0001 61 00"),
    ("duplicate_property", V5, "3008 0001 61 04 01 01 01 01"),
    ("misplaced_property", V5, "3007 0001 61 03 21 0014"),
    ("unknown_property", V5, "3006 0001 61 02 7f 00"),
    ("bad_property", V5, "3006 0001 61 02 01 02"),  # payload format 2
    ("bad_property", V5, "3007 0001 61 03 23 0000"),  # topic alias 0
    ("bad_property", V5, "3006 0001 61 02 0b 00"),  # subscription id 0
    ("bad_topic_filter", V311, "8205 0001 0000 00"),
    ("bad_topic_filter", V311, "8207 0001 0002 612b 00"),
    ("bad_topic_filter", V311, "8208 0001 0003 232f62 00"),
    ("bad_subscription_options", V311, "8206 0001 0001 61 03"),
    ("bad_subscription_options", V311, "8206 0001 0001 61 04"),
    ("bad_subscription_options", V5, "8207 0001 00 0001 61 30"),
    ("empty_subscribe", V311, "8202 0001"),
    ("empty_subscribe", V5, "a203 0001 00"),
    ("connack_of_v311", V5, "2002 00 01"),
    ("connect_expected", None, "c000"),
    ("connect_expected", None, "4745 54202f"),  # GET /
    ("unsupported_version", None, "100c 0004 4d515454 06 02 0000 0000"),
    ("unsupported_version", None, "100e 0006 4d5149736470 03 02 0000 0000"),
    ("bad_connect_flags", None, f"100d {CONNECT_V5} 03 0000 00 0000"),
    ("bad_connect_flags", None, f"100d {CONNECT_V5} 1a 0000 00 0000"),
    ("bad_connect_flags", None, f"100d {CONNECT_V5} 22 0000 00 0000"),
    ("bad_connect_flags", None, "100c 0004 4d515454 04 42 0000 0000"),
    ("trailing_bytes", None, f"100e {CONNECT_V5} 02 0000 00 0000 00"),
    ("bad_property", None, f"1010 {CONNECT_V5} 02 0000 03 21 0000 0000"),  # receive maximum 0
]


@pytest.mark.parametrize("reason, version, written", WRONG)
def test_wrong_bytes_are_refused_by_name(reason, version, written):
    with pytest.raises(ProtocolError) as caught:
        read_all(bytes.fromhex(written.replace(" ", "")), version)
    assert caught.value.reason == reason


def test_packets_before_a_wrong_one_are_still_handed_out():
    reader = PacketReader(version=V5, max_packet_size=1_000)
    packets = reader.feed(encode(Publish("a", b"1"), V5) + b"\xc1\x00")
    assert next(packets).payload == b"1"
    with pytest.raises(ProtocolError):
        next(packets)


def test_packet_above_the_limit_is_refused_before_it_has_arrived():
    whole = encode(Publish("a", bytes(995)), V311)
    assert read_all(whole, V311, max_packet_size=len(whole))
    with pytest.raises(ProtocolError, match="packet_too_large"):
        read_all(whole[:5], V311, max_packet_size=len(whole) - 1)


def test_reader_that_is_left_early_gives_the_rest_later():
    reader = PacketReader(version=V5, max_packet_size=1_000)
    packets = reader.feed(encode(Publish("a", b"1"), V5) + encode(Publish("a", b"2"), V5) + b"\xc0")
    assert next(packets).payload == b"1"
    packets.close()
    assert [type(packet) for packet in reader.feed(b"\x00")] == [Publish, Pingreq]
    assert reader.bytes_waiting == 0


def test_known_topic_is_still_checked_in_the_next_packet():
    """The reader remembers topics it has checked; what differs must not pass for one of them."""
    good = encode(Publish("a/b", b"1", 1, packet_id=3), V5)
    reader = PacketReader(version=V5, max_packet_size=1_000)
    assert len(list(reader.feed(good * 3))) == 3
    for wrong in (good.replace(b"a/b", b"a/#"), good.replace(b"\0\3\0", b"\0\0\0"), good.replace(b"a/b", b"a\0b")):
        with pytest.raises(ProtocolError):
            list(PacketReader(version=V5, max_packet_size=1_000).feed(good + wrong))


@pytest.mark.parametrize(
    "packet",
    [
        Publish("a/#", b""),
        Publish("a\0", b""),
        Publish("\ud800", b""),
        Publish("a", b"", 1),
        Publish("a", b"", 1, packet_id=65_536),
        Publish("a" * 65_536, b""),
        Publish("a", b"", properties={"topic_alias": 70_000}),
        Publish("a", b"", properties={"content_type": 5}),
    ],
)
def test_what_mqtt_cannot_carry_is_not_written(packet):
    with pytest.raises(PacketError):
        encode(packet, V5)


def test_password_is_in_no_repr():
    assert "secret" not in repr(Connect(client_id="c", username="u", password=b"secret"))


def test_puback_of_3_1_1_has_no_reason():
    assert encode_puback(5, 0x97, V311) == b"\x40\x02\x00\x05"
    assert encode_puback(5, 0x97, V5) == b"\x40\x03\x00\x05\x97"


def test_decode_takes_a_body_alone():
    assert decode(0x40, b"\0\7", V5) == Puback(7)
