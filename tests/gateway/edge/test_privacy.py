"""The privacy policy: what is left of a reading, and that what was taken away is in no file and no log line."""

import json
import logging
import stat

import pytest

from gateway.config import EdgeConfig
from gateway.config_edge import GroupConfig, PrivacyConfig
from gateway.edge.groups import Groups
from gateway.edge.privacy import KEY_FILE, Privacy, PrivacyError, load_key
from gateway.intake import Message
from gateway.reading import Reading
from tests.gateway.cores import NOW_S, ManualTime, deliver_all, hear, reading_values, running_core
from tests.gateway.link_node import LinkNode, report


def policy(action, **options):
    return PrivacyConfig(quantities=("x",), action=action, **options)


def left_of(reading, *policies, key=b"k" * 32, node="a"):
    privacy = Privacy(policies, Groups((GroupConfig(name="g", nodes=("a",)),)), key=key, count=lambda name: None)
    return privacy.readings(node, (reading,))


@pytest.mark.parametrize(
    "policies, value, expected",
    [
        ((), 1.234, [1.234]),
        ((policy("drop"),), 1.234, []),
        ((policy("local"),), 1.234, [1.234]),
        ((policy("coarsen", step=0.5),), 1.234, [1.0]),
        ((policy("coarsen", step=0.01),), 21.496, [21.5]),
        ((policy("coarsen", step=100.0),), 151, [200.0]),
        ((policy("coarsen", step=0.5),), "text", []),
        ((policy("drop", nodes=("b",)),), 1.0, [1.0]),
        ((policy("drop", nodes=("group:g",)),), 1.0, []),
        ((policy("local", nodes=("a",)), policy("drop")), 1.0, [1.0]),
        ((PrivacyConfig(quantities=("X",), action="drop"),), 1.0, []),
    ],
)
def test_what_is_left(policies, value, expected):
    assert [one.value for one in left_of(Reading(quantity="x", value=value), *policies)] == expected


def test_a_hash_is_the_same_for_the_same_value_and_key_only():
    def hashed(value, quantity="x", key=b"k" * 32):
        every = PrivacyConfig(quantities=("*",), action="hash")
        (one,) = left_of(Reading(quantity=quantity, value=value, unit="V", total=5.0), every, key=key)
        assert (one.unit, one.total) == (None, None)
        return one.value

    assert hashed("AB 123") == hashed("AB 123")
    # printf '["x", "str", "AB 123"]' | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    assert hashed("AB 123") == "648be12e3d24bfa8b7aba6a21c6868d0"
    others = [hashed("AB 124"), hashed("AB 123", quantity="y"), hashed("AB 123", key=b"j" * 32), hashed(b"AB 123")]
    assert len({hashed("AB 123"), *others}) == 5
    assert all(len(one) == 32 for one in others)


def test_the_key_is_made_once_and_is_ours_alone(tmp_path):
    key = load_key(tmp_path)
    assert len(key) == 32
    assert load_key(tmp_path) == key
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(PrivacyError, match="chmod 600"):
        load_key(tmp_path)


SECRETS = ("KL4711SECRET", "hushhush", "31337.4242", "5133742")


def forms_of(secret):
    """How a value could stand in a file or a line of log."""
    yield secret.encode()
    yield secret.encode().hex().encode()
    if "." in secret:
        yield secret.replace(".", ",").encode()


async def test_what_is_dropped_is_in_no_file_and_no_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    hidden = PrivacyConfig(quantities=("plate", "note/*", "position", "temperature"), action="drop")
    edge = EdgeConfig(window_s=60, privacy=(hidden,))
    node, time = LinkNode(1), ManualTime(now_s=NOW_S)
    node.enrol(tmp_path)
    pack = [
        {"n": "plate", "vs": SECRETS[0], "t": NOW_S},
        {"n": "note/driver", "vs": SECRETS[1], "t": NOW_S},
        {"n": "position", "u": "m", "v": float(SECRETS[2]), "t": NOW_S},
        {"n": "noise", "u": "dB", "v": 61.25, "t": NOW_S},
    ]
    async with running_core(tmp_path, edge=edge, clock=time.clock) as core:
        for record_id in (None, "one"):
            message = Message(
                device="cam-1",
                payload=json.dumps(pack).encode(),
                content_type=None,
                received_at_s=NOW_S,
                record_id=record_id,
            )
            assert (await core.intake.submit_senml(message)).accepted
        only = Message(device="cam-1", payload=json.dumps(pack[:1]).encode(), content_type=None, received_at_s=NOW_S)
        assert (await core.intake.submit_senml(only)).accepted
        measured = report(0, time_s=node.uptime_s, values=(5133, 7420, 100000))
        assert (await hear(core, node.seal(node.body([measured])))).accepted
        await core.intake.submit_own([Reading(quantity="plate", value=SECRETS[0])])
        time.advance(100)
        await core.clockwork.tell_windows()
        files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert (tmp_path / "lamppost.db-wal") in files
        delivered = await deliver_all(core)
    files |= {path.with_suffix(".end"): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    haystack = [*files.items(), ("log", caplog.text.encode())]
    found = [
        (str(name), secret)
        for name, text in haystack
        for secret in SECRETS[:3]
        for form in forms_of(secret)
        if form in text
    ]
    assert found == []
    names = {reading.quantity for one in delivered for reading in one.readings}
    assert not {name for name in names if name.startswith(("plate", "note", "position", "temperature"))}
    assert {"noise", "humidity", "noise/mean"} <= names
    assert core.counters["privacy_drop"] == 9


async def test_the_search_above_finds_what_is_not_dropped(tmp_path):
    async with running_core(tmp_path, edge=EdgeConfig()) as core:
        message = Message(
            device="cam-1",
            payload=json.dumps([{"n": "plate", "vs": SECRETS[0], "t": NOW_S}]).encode(),
            content_type=None,
            received_at_s=NOW_S,
        )
        await core.intake.submit_senml(message)
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(form in text for text in files for form in forms_of(SECRETS[0]))


async def test_messages_that_differ_only_in_what_is_dropped_are_one(tmp_path):
    """Else the record id, a hash, would tell them apart."""
    edge = EdgeConfig(window_s=0, privacy=(PrivacyConfig(quantities=("plate",), action="drop"),))
    async with running_core(tmp_path, edge=edge) as core:
        for plate in ("A", "B"):
            pack = [{"n": "plate", "vs": plate, "t": NOW_S}, {"n": "noise", "v": 1, "t": NOW_S}]
            message = Message(device="cam-1", payload=json.dumps(pack).encode(), content_type=None, received_at_s=NOW_S)
            assert (await core.intake.submit_senml(message)).accepted
        (one,) = await deliver_all(core)
    assert reading_values(one) == {"noise": 1}
