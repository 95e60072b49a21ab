"""The responder against our initiator and lakers' own, against RFC 9529, and each known fault of the library."""

from __future__ import annotations

import json
import random
import time

import lakers
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from drivers.link.cbor import encode
from drivers.link.edhoc import EdhocError
from gateway.identity import edhoc
from gateway.identity.edhoc import Party, Responder
from tests.drivers.link.boxes import openssl_ecb
from tests.gateway.identity.edhoc_node import KeyPair, finish, offer
from tests.peers.wasm32 import ROOT

KNOWN = (11, 12)
C_R = b"\x27"
GATEWAY, NODE, OTHER = KeyPair(), KeyPair(), KeyPair()
INVALID = [
    item
    for item in json.loads((ROOT / "tests/vectors/rfc9529_ch4_invalid.json").read_text())["items"]
    if "message_1" in item["name"]
]
TRACE = json.loads((ROOT / "tests/vectors/rfc9529_ch3_summary.json").read_text())


def refusal(call, *args, **options) -> str:
    with pytest.raises(EdhocError) as caught:
        call(*args, **options)
    return caught.value.reason


def answered(message_1: bytes, ead_2: edhoc.Ead = ()) -> edhoc.Answered:
    return GATEWAY.responder.read(message_1, known=KNOWN).answer(C_R, ead_2)


def exchange(ead_1=(), ead_2=(), ead_3=()):
    """(the node's Agreement, Answered waiting for message_3, the node's Answer)."""
    node = offer(NODE, ead_1=ead_1)
    waiting = answered(node.message_1, ead_2)
    answer = node.read(waiting.message_2)
    return finish(answer, GATEWAY, ead_3), waiting, answer


def test_both_ends_agree_in_101_bytes_and_the_longer_kids() -> None:
    agreement, waiting, _ = exchange()
    agreed = waiting.read(agreement.message_3, known=KNOWN).prove([NODE.party])
    assert agreed.party == NODE.party
    assert agreed.export(32, b"context", 32) == exported(agreement.prk_out, 32, b"context", 32)
    message_4 = agreed.message_4([(12, b"epoch")])
    assert agreement.read_message_4(message_4, aes=openssl_ecb) == [12, b"epoch"]
    sizes = [37, len(waiting.message_2), len(agreement.message_3), len(message_4)]
    assert sizes == [37, 45 + 4, 19 + 4, 9 + 7]  # a kid of four bytes for one of one


def exported(prk_out: bytes, label: int, context: bytes, length: int) -> bytes:
    """RFC 9528 section 4.2.1 on OpenSSL."""

    def kdf(prk: bytes, label: int, context: bytes, length: int) -> bytes:
        info = encode(label) + encode(context) + encode(length)
        return HKDFExpand(SHA256(), length, info).derive(prk)

    return kdf(kdf(prk_out, 10, b"", 32), label, context, length)


@pytest.mark.parametrize("label, size, length", [(0, 0, 16), (24, 3, 32), (65_535, 300, 8), (1, 0, 300)])
def test_exporter_takes_every_label_context_and_length(label, size, length) -> None:
    agreement, waiting, _ = exchange()
    agreed = waiting.read(agreement.message_3, known=KNOWN).prove([NODE.party])
    assert agreed.export(label, bytes(size), length) == exported(agreement.prk_out, label, bytes(size), length)


def test_trace_of_rfc_9529_is_accepted_up_to_the_random_key() -> None:
    """The library draws its own ephemeral key, so message_2 differs; message_1 and the credentials are the trace's."""
    octets = {name: bytes.fromhex(TRACE[name]) for name in ("message_1", "CRED_I", "CRED_R", "R", "C_I")}
    asked = Responder(octets["R"], octets["CRED_R"]).read(octets["message_1"], known=())
    assert asked.c_i == octets["C_I"]
    assert len(asked.answer(b"\x27", ()).message_2) == len(TRACE["message_2"]) // 2


@pytest.mark.parametrize("item", INVALID, ids=lambda item: item["section"])
def test_message_1_of_rfc_9529_chapter_4_is_refused(item, capfd) -> None:
    reason = refusal(GATEWAY.responder.read, bytes.fromhex(item["hex"]), known=())
    expected = {
        "Error in elliptic curve representation": "bad_point",
        "Error in elliptic curve point": "bad_point",
        "Curve point of low order": "suite",
        "Error in length of ephemeral key": "suite",
    }.get(item["section"].split(" / ")[1], "malformed")
    assert reason == expected
    assert capfd.readouterr().err == ""  # nothing panicked


def test_another_method_and_suite_are_named() -> None:
    whole = offer(NODE).message_1
    assert refusal(GATEWAY.responder.read, b"\x00" + whole[1:], known=()) == "method"
    assert refusal(GATEWAY.responder.read, b"\x03\x06" + whole[2:], known=()) == "suite"


@pytest.mark.parametrize(
    "message_3", [b"", b"\x40", encode(bytes(7)), encode(bytes(17)), b"\x00", b"\x58\x20" + bytes(9)]
)
def test_a_short_message_3_is_refused_without_a_panic(message_3, capfd) -> None:
    agreement, waiting, _ = exchange()
    assert refusal(waiting.read, message_3, known=KNOWN) == "malformed"
    assert capfd.readouterr().err == ""
    waiting.read(agreement.message_3, known=KNOWN).prove([NODE.party])


def test_a_panic_of_the_library_is_a_refusal(capfd) -> None:
    engine = lakers.EdhocResponder(bytes(31) + b"\x05", lakers.Credential(GATEWAY.party.credential))
    engine.process_message_1(
        bytes.fromhex("03025820a04e73601df544a70ba7ea1e57030f7d4b4eb7f673924e58d54ca77a5e7d4d4a0e")
    )

    def panic() -> None:
        with edhoc._guarded():
            engine.prepare_message_2(lakers.CredentialTransfer.ByReference, [0x27], [])

    assert refusal(panic) == "library"
    assert "panicked" in capfd.readouterr().err


def test_what_is_no_panic_and_no_error_of_the_library_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt), edhoc._guarded():
        raise KeyboardInterrupt


def test_a_spoilt_message_3_does_not_spoil_the_exchange() -> None:
    agreement, waiting, _ = exchange()
    for at in range(len(agreement.message_3)):
        spoilt = bytearray(agreement.message_3)
        spoilt[at] ^= 0x10
        assert refusal(waiting.read, bytes(spoilt), known=KNOWN) in ("bad_mac", "malformed")
    claimed = waiting.read(agreement.message_3, known=KNOWN)
    assert claimed.prove([NODE.party]).export(40, b"", 32) == exported(agreement.prk_out, 40, b"", 32)


def test_kids_that_collide_are_tried_in_turn() -> None:
    agreement, waiting, _ = exchange()
    twins = [_with_kid(pair, NODE.party.kid) for pair in (KeyPair(), KeyPair())]
    agreed = waiting.read(agreement.message_3, known=KNOWN).prove([*twins, NODE.party, twins[0]])
    assert agreed.party == NODE.party


def _with_kid(pair: KeyPair, kid: bytes) -> Party:
    credential = pair.party.credential.replace(pair.party.kid, kid, 1)
    return Party(pair.public, kid, credential)


@pytest.mark.parametrize("candidates", [[], [OTHER.party], [OTHER.party, GATEWAY.party]])
def test_nobody_is_taken_for_another(candidates) -> None:
    agreement, waiting, _ = exchange()
    claimed = waiting.read(agreement.message_3, known=KNOWN)
    assert claimed.kid == NODE.party.kid
    assert refusal(claimed.prove, candidates) == "bad_mac"


def test_ead_reaches_the_other_end() -> None:
    agreement, waiting, answer = exchange([(11, b"one")], [(-11, b"x" * 80), (12, b"y" * 20)], [(-12, b"three")])
    assert answer.ead_2 == [-11, b"x" * 80, 12, b"y" * 20]
    assert waiting.read(agreement.message_3, known=KNOWN).ead_3 == {12: b"three"}


@pytest.mark.parametrize(
    "ead_3, reason",
    [
        ([(-13, b"x")], "critical_ead"),
        ([(12, b"x"), (-12, b"y")], "malformed"),
        ([(12, b"x" * 100)], "too_large"),
        ([(12, b"x" * 235)], "too_large"),
        ([(1, None), (2, None), (3, None), (4, None), (12, b"dropped by lakers")], "malformed"),
    ],
)
def test_ead_3_that_must_not_pass(ead_3, reason, capfd) -> None:
    agreement, waiting, _ = exchange(ead_3=ead_3)
    assert refusal(waiting.read, agreement.message_3, known=KNOWN) == reason
    assert capfd.readouterr().err == ""


def test_ead_1_that_must_not_pass() -> None:
    read = GATEWAY.responder.read
    assert read(offer(NODE, ead_1=[(11, b"x"), (19, None)]).message_1, known=KNOWN).ead_1 == {11: b"x"}
    assert refusal(read, offer(NODE, ead_1=[(-19, b"x")]).message_1, known=KNOWN) == "critical_ead"
    assert refusal(read, offer(NODE, ead_1=[(n, None) for n in range(1, 6)]).message_1, known=KNOWN) == "malformed"
    assert refusal(read, offer(NODE, ead_1=[(11, bytes(250))]).message_1, known=KNOWN) == "too_large"


def test_an_answer_whose_mac_lakers_would_compute_wrongly_is_refused() -> None:
    """Over a context of 256 bytes and more it agrees with itself, and with nobody else."""
    longest = next(n for n in range(255, 0, -1) if _is_answered([(12, bytes(n))]))
    exchange(ead_2=[(12, bytes(longest))])
    assert longest == 115
    assert refusal(answered, offer(NODE).message_1, [(12, bytes(longest + 1))]) == "too_large"


def _is_answered(ead_2: edhoc.Ead) -> bool:
    try:
        return bool(answered(offer(NODE).message_1, ead_2))
    except EdhocError:
        return False


def test_more_items_than_lakers_sends_are_refused() -> None:
    assert refusal(answered, offer(NODE).message_1, [(n, None) for n in range(5)]) == "too_large"


def test_each_step_comes_once() -> None:
    agreement, waiting, _ = exchange()
    asked = GATEWAY.responder.read(offer(NODE).message_1, known=())
    asked.answer(C_R, ())
    assert refusal(asked.answer, C_R, ()) == "spent"
    claimed = waiting.read(agreement.message_3, known=KNOWN)
    assert refusal(waiting.read, agreement.message_3, known=KNOWN) == "spent"
    agreed = claimed.prove([NODE.party])
    assert refusal(claimed.prove, [NODE.party]) == "spent"
    agreed.message_4(())
    assert refusal(agreed.message_4, ()) == "spent"


def test_lakers_own_initiator_agrees_with_the_responder() -> None:
    initiator = lakers.EdhocInitiator()
    message_1 = bytes(initiator.prepare_message_1(None, []))
    waiting = answered(message_1)
    initiator.parse_message_2(waiting.message_2)
    credentials = [lakers.Credential(pair.party.credential) for pair in (NODE, GATEWAY)]
    initiator.verify_message_2(NODE.private.to_bytes(32, "big"), *credentials)
    message_3, prk_out = initiator.prepare_message_3(lakers.CredentialTransfer.ByReference, [])
    agreed = waiting.read(bytes(message_3), known=()).prove([NODE.party])
    assert agreed.export(7, b"", 16) == exported(bytes(prk_out), 7, b"", 16)


def test_a_credential_by_value_is_refused() -> None:
    initiator = lakers.EdhocInitiator()
    waiting = answered(bytes(initiator.prepare_message_1(None, [])))
    initiator.parse_message_2(waiting.message_2)
    credentials = [lakers.Credential(pair.party.credential) for pair in (NODE, GATEWAY)]
    initiator.verify_message_2(NODE.private.to_bytes(32, "big"), *credentials)
    message_3, _ = initiator.prepare_message_3(lakers.CredentialTransfer.ByValue, [])
    assert refusal(waiting.read, bytes(message_3), known=()) == "credential"


def mutated(dice: random.Random, message: bytes) -> bytes:
    """The message with bits flipped, bytes cut, doubled or put in; now and then noise."""
    out = bytearray(message)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        at = dice.randrange(len(out) + 1)
        how = dice.randrange(6)
        if how < 3 and at < len(out):
            out[at] ^= 1 << dice.randrange(8)
        elif how == 3:
            del out[at : at + dice.randrange(1, 5)]
        elif how == 4:
            out[at:at] = dice.randbytes(dice.randrange(1, 5))
        else:
            out = bytearray(dice.randbytes(dice.randrange(60))) if not dice.randrange(4) else out[: at + 1] * 2
    return bytes(out)


def fuzz(count: int, seed: int) -> dict[str, int]:
    """Give mutated messages to both entrances. Returns how often each reason was given."""
    dice = random.Random(seed)
    reasons: dict[str, int] = {}
    node = offer(NODE, ead_1=[(11, b"\x00\x05")])
    agreement, waiting, _ = exchange([(11, b"\x00\x05")], ead_3=[(12, b"\0\0\0\1")])
    for _ in range(count):
        if dice.randrange(2):
            message = mutated(dice, node.message_1)
            call = lambda: GATEWAY.responder.read(message, known=KNOWN).answer(C_R, ())  # noqa: B023, E731
        else:
            message = mutated(dice, agreement.message_3)
            if message == agreement.message_3:
                continue
            call = lambda: waiting.read(message, known=KNOWN)  # noqa: B023, E731
        try:
            call()
            reason = "taken"
        except EdhocError as error:
            reason = error.reason
        reasons[reason] = reasons.get(reason, 0) + 1
    waiting.read(agreement.message_3, known=KNOWN).prove([NODE.party])
    return reasons


def test_mutated_messages_are_refused_by_name(capfd) -> None:
    reasons = fuzz(20_000, 1)
    print(reasons)
    assert {"malformed", "bad_mac", "bad_point", "method", "suite"} <= set(reasons)
    assert "library" not in reasons
    assert "spent" not in reasons
    assert capfd.readouterr().err == ""


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_million_mutated_messages(capfd) -> None:
    reasons = fuzz(1_000_000, int(time.time()))
    print(reasons)
    assert "library" not in reasons
    assert capfd.readouterr().err == ""
