"""The whole join that docs/protocol.md writes out: both halves make its bytes, and the node ends with its root key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from drivers.link import join, p256, p256_base
from drivers.link.cbor import encode
from drivers.link.edhoc import export, pack_ead
from drivers.link.initiator import Agreement, Answer, Offer
from tests.drivers.link import document
from tests.drivers.link.boxes import openssl_ecb
from tests.drivers.link.responder import WorkedResponder
from tests.gateway.identity.edhoc_node import KeyPair


@pytest.fixture(scope="module")
def page() -> document.Example:
    (example,) = document.examples("join")
    return example


@pytest.fixture(scope="module")
def worked(page: document.Example) -> dict[str, str]:
    """Everything that the example shows, made anew from the four private keys and what both sides say."""
    return dict(work(page.octets))


def work(given: Callable[[str], bytes]) -> list[tuple[str, str]]:
    node, gateway = (KeyPair(p256.scalar(given(f"{who}_private"))) for who in ("node", "gateway"))
    ephemeral = p256.scalar(given("node_ephemeral"))
    g_x = p256_base.public(ephemeral)[0]
    c_i, c_r, state, grant = given("c_i"), given("c_r"), given("state"), given("grant")
    address = hashlib.sha256(node.public).digest()[:2]
    offer = Offer(node.owner, ephemeral, g_x, c_i=c_i)
    responder = WorkedResponder(gateway, p256.scalar(given("gateway_ephemeral")), offer.message_1)
    message_2 = responder.message_2(c_r, [])
    agreement = agree(offer.read(message_2), gateway, state)
    message_4 = responder.message_4(agreement.message_3, node, [(join.GRANT, grant)])
    assert agreement.read_message_4(message_4, aes=openssl_ecb) == [join.GRANT, grant]
    assert agreement.prk_out == responder.prk_out
    made = {
        "node_public": node.public,
        "node_kid": node.party.kid,
        "node_credential": node.party.credential,
        "gateway_public": gateway.public,
        "gateway_kid": gateway.party.kid,
        "gateway_credential": gateway.party.credential,
        "address": address,
        "g_x": p256.to_octets(g_x),
        "ead_3": pack_ead([(join.STATE, state)]),
        "ead_4": pack_ead([(join.GRANT, grant)]),
        "prk_out": agreement.prk_out,
        "root": export(agreement.prk_out, join.ROOT_LABEL, join.ROOT_CONTEXT, join.ROOT_LEN),
    }
    messages = ((offer.message_1, b"\0"), (message_2, c_i), (agreement.message_3, c_r), (message_4, c_i))
    for number, (message, connection) in enumerate(messages, 1):
        made[f"message_{number}"] = message
        made[f"frame_{number}"] = join.pack_join(number, int.from_bytes(address, "big"), connection[0], message)
    return [(name, octets.hex()) for name, octets in made.items()]


def agree(answer: Answer, gateway: KeyPair, state: bytes) -> Agreement:
    return answer.verify([(gateway.point, gateway.party.credential)]).finish([(join.STATE, state)], aes=openssl_ecb)


def test_every_line_of_the_join_is_what_the_code_makes(page: document.Example, worked: dict[str, str]) -> None:
    shown = {name: page.text(name) for name in worked}
    assert shown == worked
    assert len(page.lines) == len(worked) + 8  # and what is given


def test_the_join_says_what_its_lines_say(page: document.Example) -> None:
    assert page.octets("state") == join.pack_state(1, 3, 1)
    assert page.octets("grant") == join.pack_grant(1, 1_790_000_000)
    for number in range(1, 5):
        frame = join.parse_join(page.octets(f"frame_{number}"))
        assert (frame.number, frame.message) == (number, page.octets(f"message_{number}"))
    assert len(page.octets("message_1")) == 37
    assert page.octets("message_1") == bytes([3, 2]) + encode(page.octets("g_x")) + page.octets("c_i")
