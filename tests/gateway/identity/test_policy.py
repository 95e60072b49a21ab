"""The decision table of the site's policy: who may do what, and under which name the rest is refused."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.identity.admission import Admission
from gateway.identity.policy import COMMAND, JOIN, REPORT, read_policy
from gateway.registry import statement as st
from provisioning.identity import Identity
from tests.gateway.registry.sites import Person, Town, about, carry, town

POLICY = """
version = 1
[[rule]]                       # every lamp of the north joins by EDHOC and tells the climate
zones = ["north"]
methods = ["edhoc"]
join = true
report = ["temperature", "humidity"]
[[rule]]                       # one lamp may switch
ids = ["lamp-1"]
methods = ["edhoc", "placed_key"]
commands = ["switch"]
[[rule]]                       # meters come with certificates and tell anything
zones = ["meters"]
methods = ["mtls"]
join = true
report = ["*"]
[[rule]]                       # visitors of bergen may join and tell the temperature
sites = ["bergen"]
join = true
report = ["temperature"]
"""


@pytest.mark.parametrize(
    "id, zone, site, method, action, what, refusal",
    [
        ("lamp-1", "north", "oslo", "edhoc", JOIN, "", None),
        ("lamp-1", "north", "oslo", "placed_key", JOIN, "", "downgrade"),
        ("lamp-1", "north", "oslo", "none", JOIN, "", "downgrade"),
        ("lamp-1", "north", "oslo", "edhoc", REPORT, "temperature", None),
        ("lamp-1", "north", "oslo", "edhoc", REPORT, "pm2_5", "not_permitted"),
        ("lamp-1", "north", "oslo", "edhoc", COMMAND, "switch", None),
        ("lamp-1", "north", "oslo", "placed_key", COMMAND, "switch", None),
        ("lamp-1", "north", "oslo", "edhoc", COMMAND, "reset", "not_permitted"),
        ("lamp-2", "north", "oslo", "edhoc", COMMAND, "switch", "not_permitted"),
        ("lamp-2", "south", "oslo", "edhoc", JOIN, "", "not_permitted"),
        ("meter", "meters", "oslo", "mtls", JOIN, "", None),
        ("meter", "meters", "oslo", "mtls", REPORT, "whatever", None),
        ("meter", "meters", "oslo", "password", JOIN, "", "downgrade"),
        ("meter", "meters", "oslo", "mtls", COMMAND, "switch", "not_permitted"),
        ("guest", "north", "bergen", "edhoc", JOIN, "", None),
        ("guest", "north", "bergen", "edhoc", REPORT, "temperature", None),
        ("guest", "north", "bergen", "edhoc", REPORT, "humidity", "not_permitted"),  # north means our north
        ("guest", "north", "stavanger", "edhoc", JOIN, "", "not_permitted"),
        ("lamp-2", "north", "oslo", None, REPORT, "humidity", None),  # how it proved itself was looked at before
    ],
)
def test_decision(
    id: str, zone: str, site: str, method: str | None, action: str, what: str, refusal: str | None
) -> None:
    policy = read_policy(tomllib.loads(POLICY))
    asked = policy.refusal(action, what, id=id, zone=zone, site=site, home="oslo", method=method)
    assert asked == refusal


def test_policy_without_rules_allows_nothing() -> None:
    policy = read_policy({"version": 1})
    assert policy.refusal(JOIN, id="x", zone="y", site="oslo", home="oslo", method="edhoc") == "not_permitted"


@pytest.mark.parametrize(
    "text, culprit",
    [
        ("", "version"),
        ("version = 2", "version"),
        ("version = 1\nrules = []", "rules"),
        ('version = 1\n[[rule]]\nzone = ["a"]', "rule[0].zone"),
        ("version = 1\n[[rule]]\nzones = []", "rule[0].zones"),
        ('version = 1\n[[rule]]\nzones = "north"', "rule[0].zones"),
        ('version = 1\n[[rule]]\nmethods = ["psk"]', "rule[0].methods"),
        ("version = 1\n[[rule]]\njoin = 1", "rule[0].join"),
        ('version = 1\nwhen_stale = "panic"', "when_stale"),
        ("version = 1\nauthority_max_age_s = 1", "authority_max_age_s"),
    ],
)
def test_policy_error_names_the_key_to_edit(text: str, culprit: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_policy(tomllib.loads(text))
    assert caught.value.key == culprit


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.is_trusted = True

    def admission(self, registry: Any) -> Admission:
        return Admission(registry, now_s=lambda: self.now_s, is_time_trusted=lambda: self.is_trusted)


@pytest.fixture
def oslo(tmp_path: Path) -> Iterator[Town]:
    with town(tmp_path) as made:
        yield made


def put(oslo: Town, text: str) -> None:
    oslo.say(about(st.POLICY, "policy", policy=tomllib.loads(text)))


def test_without_a_policy_only_the_revoked_are_refused(oslo: Town) -> None:
    asked = Clock().admission(oslo.authority)
    node, stranger = Person(), Person()
    oslo.say(node.enrol())
    assert asked.may_speak(node.id, "placed_key") is None
    assert asked.may_speak(stranger.id, "placed_key") is None
    oslo.say(about(st.REVOKE, node.id))
    assert asked.may_speak(node.id, "placed_key") == "revoked"


def test_with_a_policy_who_is_not_enrolled_is_refused(oslo: Town) -> None:
    asked = Clock().admission(oslo.authority)
    put(oslo, 'version = 1\n[[rule]]\njoin = true\nreport = ["*"]\n')
    assert asked.may_speak(Person().id, "edhoc") == "not_enrolled"
    assert not asked.may_report(Person().id, "temperature")
    node = Person()
    oslo.say(node.enrol(label="lamp-1"))
    assert asked.may_speak(node.id, "edhoc") is None
    assert asked.device_refusal("lamp-1", "none") is None
    assert asked.device_refusal("lamp-2", "none") == "not_enrolled"
    assert not asked.may_receive(node.id, "switch")


@pytest.mark.parametrize(
    "when_stale, joins, speaks", [("serve", True, True), ("no_joins", False, True), ("refuse", False, False)]
)
def test_silent_authority_has_the_effect_the_policy_states(
    oslo: Town, when_stale: str, joins: bool, speaks: bool
) -> None:
    clock, node = Clock(), Person()
    asked = clock.admission(oslo.authority)
    rule = 'authority_max_age_s = 3600\n[[rule]]\njoin = true\nreport = ["*"]\n'
    put(oslo, f'version = 1\nwhen_stale = "{when_stale}"\n{rule}')
    oslo.say(node.enrol())
    heard_at_s = oslo.authority.authority_heard_at_s()
    assert heard_at_s is not None
    clock.now_s = heard_at_s + 3600
    assert asked.may_join(node.id, "edhoc") is None
    clock.now_s = heard_at_s + 3601
    assert asked.staleness().is_stale
    assert (asked.may_join(node.id, "edhoc") is None) == joins
    assert (asked.may_speak(node.id, "edhoc") is None) == speaks
    clock.is_trusted = False  # a clock that is wrong must not shut a street out
    assert asked.may_join(node.id, "edhoc") is None


def test_endorsement_is_asked_for_if_the_policy_says_so(oslo: Town) -> None:
    clock, node = Clock(), Person()
    asked = clock.admission(oslo.authority)
    put(oslo, "version = 1\nrequire_endorsement = true\n[[rule]]\njoin = true\n")
    oslo.say(node.enrol())
    clock.now_s = 1000
    assert asked.may_speak(node.id, "edhoc") == "not_endorsed"
    oslo.say(about(st.ENDORSE, node.id, from_s=900, until_s=1100))
    assert asked.may_speak(node.id, "edhoc") is None
    clock.now_s = 1100
    assert asked.may_speak(node.id, "edhoc") == "not_endorsed"


def test_policy_of_a_newer_version_allows_nothing(oslo: Town) -> None:
    node = Person()
    oslo.say(node.enrol(), about(st.POLICY, "policy", policy={"version": 9}))
    assert Clock().admission(oslo.authority).may_speak(node.id, "edhoc") == "not_permitted"


def test_two_methods_lead_to_one_identity(oslo: Town) -> None:
    asked, node = Clock().admission(oslo.authority), Person()
    oslo.say(node.enrol())
    assert [one.id for one in asked.methods["edhoc"].candidates(node.kid)] == [node.id]
    assert [one.id for one in asked.methods["mtls"].candidates(node.point)] == [node.id]
    (found,) = asked.at_address(int.from_bytes(Identity(public_key=node.point, pen=32473).address, "big"))
    assert found.id == node.id


def test_visitor_is_admitted_by_anchor_and_policy_and_not_without_either(tmp_path: Path) -> None:
    with town(tmp_path / "a") as oslo, town(tmp_path / "b", "bergen") as bergen:
        gateway, guest = oslo.add_gateway("gw-1"), Person()
        asked = Clock().admission(gateway)
        bergen.say(guest.enrol())
        put(oslo, 'version = 1\n[[rule]]\njoin = true\nreport = ["*"]\n')
        keys = {"key": bergen.key.public.cose_key(), "recovery": bergen.recovery.public.cose_key()}
        carry(oslo.authority, gateway)
        assert asked.may_join(guest.id, "edhoc") == "not_enrolled"
        oslo.say(about(st.ANCHOR, "bergen", **keys))
        carry(oslo.authority, gateway)
        carry(bergen.authority, gateway)
        assert asked.may_join(guest.id, "edhoc") == "not_permitted"
        put(oslo, POLICY)
        carry(oslo.authority, gateway)
        assert asked.may_join(guest.id, "edhoc") is None
        assert asked.may_report(guest.id, "temperature")
        assert not asked.may_report(guest.id, "humidity")
        oslo.say(about(st.ANCHOR_REMOVE, "bergen"))
        carry(oslo.authority, gateway)
        assert asked.may_join(guest.id, "edhoc") == "not_enrolled"
        secret = bergen.key._raw.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
        held = b"".join(path.read_bytes() for path in gateway.folder.rglob("*") if path.is_file())
        assert secret not in held
