"""What P-256 and the EDHOC initiator must do on every interpreter; runs on CPython and MicroPython.

Each check takes (vectors, aes): the two files of RFC 9529 as {"trace": ..., "invalid": ...}, and the AES to seal with.
"""

import hashlib

from drivers.link import edhoc, p256, p256_base
from drivers.link.edhoc import EdhocError
from drivers.link.initiator import Offer, Owner, read_plaintext_2

# RFC 6979 appendix A.2.5: the P-256 key, and the signature of "sample" with SHA-256.
_SIGNER = (
    0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6,
    0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299,
)
_SIGNATURE = bytes.fromhex(
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)
# The other messages of that chapter are for the responder.
_FOR_THE_INITIATOR = ("Invalid message_2", "Invalid PLAINTEXT_2")


def refused(reason, call, *args, **options):
    """Whether the call raises EdhocError with this reason."""
    said = None
    try:
        call(*args, **options)
    except EdhocError as error:
        said = error.reason
    return said == reason


def offer_of(trace):
    """The initiator of the trace, message_1 ready."""
    octets = bytes.fromhex
    ephemeral = p256.scalar(octets(trace["X"]))
    owner = Owner(p256.scalar(octets(trace["I"])), octets(trace["CRED_I"]), octets(trace["kid_I"]))
    g_x = p256_base.public(ephemeral)[0]
    return Offer(owner, ephemeral, g_x, c_i=octets(trace["C_I"]), suites=(6, 2))


def check_trace_of_chapter_3(vectors, aes):
    trace, octets = vectors["trace"], bytes.fromhex
    offer = offer_of(trace)
    assert offer.message_1.hex() == trace["message_1"]
    gateway = p256_base.public(p256.scalar(octets(trace["R"])))
    offer.expect(gateway)
    answer = offer.read(octets(trace["message_2"]))
    assert (answer.kid.hex(), answer.c_r.hex(), answer.ead_2) == (trace["kid_R"], trace["C_R"], [])
    agreement = answer.verify([(gateway, octets(trace["CRED_R"]))]).finish((), aes=aes)
    assert agreement.message_3.hex() == trace["message_3"]
    assert agreement.prk_out.hex() == trace["PRK_out"]
    assert agreement.read_message_4(octets(trace["message_4"]), aes=aes) == []
    assert edhoc.export(agreement.prk_out, 0, b"", 16).hex() == trace["oscore_secret"]
    assert edhoc.export(agreement.prk_out, 1, b"", 8).hex() == trace["oscore_salt"]
    updated = edhoc.update(agreement.prk_out, octets(trace["keyupdate_context"]))
    assert updated.hex() == trace["PRK_out_after_update"]
    assert edhoc.kdf(updated, 10, b"", 32).hex() == trace["PRK_exporter_after_update"]


def check_messages_of_chapter_4_are_refused(vectors, aes):
    count = 0
    for item in vectors["invalid"]["items"]:
        octets = bytes.fromhex(item["hex"])
        name = item["name"].split(" (")[0]
        if name == "Invalid PLAINTEXT_2":
            assert refused("malformed", read_plaintext_2, octets), item["section"]
        elif name == "Invalid message_2":
            assert refused("malformed", offer_of(vectors["trace"]).read, octets), item["section"]
        count += name in _FOR_THE_INITIATOR
    assert count == 4


def check_a_step_comes_once(vectors, aes):
    trace, octets = vectors["trace"], bytes.fromhex
    offer = offer_of(trace)
    answer = offer.read(octets(trace["message_2"]))
    assert refused("spent", offer.read, octets(trace["message_2"]))
    assert refused("spent", offer.expect, _SIGNER)
    gateway = p256_base.public(p256.scalar(octets(trace["R"])))
    proven = answer.verify([(gateway, octets(trace["CRED_R"]))])
    assert refused("spent", answer.verify, [(gateway, octets(trace["CRED_R"]))])
    proven.finish((), aes=aes)
    assert refused("spent", proven.finish, (), aes=aes)


def check_another_gateway_is_not_believed(vectors, aes):
    trace, octets = vectors["trace"], bytes.fromhex
    for point, credential in ((_SIGNER, octets(trace["CRED_R"])), (None, octets(trace["CRED_I"]))):
        point = point or p256_base.public(p256.scalar(octets(trace["R"])))
        answer = offer_of(trace).read(octets(trace["message_2"]))
        assert refused("bad_mac", answer.verify, [(point, credential)])


def check_gateways_with_one_kid_are_tried_in_turn(vectors, aes):
    trace, octets = vectors["trace"], bytes.fromhex
    right = p256_base.public(p256.scalar(octets(trace["R"]))), octets(trace["CRED_R"])
    proven = offer_of(trace).read(octets(trace["message_2"])).verify([(_SIGNER, octets(trace["CRED_R"])), right])
    assert proven.at == 1
    assert proven.finish((), aes=aes).message_3.hex() == trace["message_3"]


def check_a_point_off_the_curve_is_refused(vectors, aes):
    trace = vectors["trace"]
    g_y = bytes.fromhex("a04e73601df544a70ba7ea1e57030f7d4b4eb7f673924e58d54ca77a5e7d4d4a")  # RFC 9529 section 4.2
    for x in (g_y, b"\xff" * 32):
        assert refused("bad_point", offer_of(trace).read, b"\x58\x2b" + x + bytes(11))


def check_ead_is_read_strictly(vectors, aes):
    pack = edhoc.pack_ead
    read = edhoc.read_ead
    assert read(edhoc.items_of(pack([(1, b"x"), (0, b"pad"), (-2, None), (5, b"?")])), (1, 2)) == {1: b"x", 2: None}
    assert refused("critical_ead", read, [-3, b"x"], (1, 2))
    assert refused("malformed", read, [b"x"], (1, 2))
    assert refused("malformed", read, [True], (1, 2))
    assert refused("malformed", read, [1, b"x", -1, b"y"], (1, 2))
    assert refused("malformed", read, [0, 0, 0, 0, 0], (1, 2))
    assert refused("malformed", edhoc.items_of, b"\x41")
    assert refused("malformed", edhoc.items_of, b"\x18\x01")  # not the shortest form
    assert refused("malformed", edhoc.items_of, b"\x61\xff")  # not UTF-8


def check_identifiers_have_one_form(vectors, aes):
    for octets, wire in ((b"\x00", "00"), (b"\x17", "17"), (b"\x37", "37"), (b"\x18", "4118"), (b"", "40")):
        packed = edhoc.pack_identifier(octets)
        assert packed.hex() == wire
        assert edhoc.read_identifier(edhoc.items_of(packed)[0]) == octets
    assert refused("malformed", edhoc.read_identifier, b"\x0e")
    assert refused("malformed", edhoc.read_identifier, 24)
    assert refused("malformed", edhoc.read_identifier, {4: b"2"})


def check_signature_of_rfc_6979(vectors, aes):
    digest = hashlib.sha256(b"sample").digest()
    assert p256_base.is_signed(_SIGNER, digest, _SIGNATURE)
    for at in (0, 31, 32, 63):
        changed = bytearray(_SIGNATURE)
        changed[at] ^= 1
        assert not p256_base.is_signed(_SIGNER, digest, bytes(changed))
    assert not p256_base.is_signed(_SIGNER, digest, bytes(64))
    assert not p256_base.is_signed(_SIGNER, digest, _SIGNATURE[:63])


def check_points_and_products(vectors, aes):
    trace = vectors["trace"]
    x, y = (p256.scalar(bytes.fromhex(trace[name])) for name in ("X", "Y"))
    g_x, g_y = p256_base.public(x), p256_base.public(y)
    shared = p256.multiply(g_y, x)
    assert shared == p256.multiply(g_x, y)
    assert p256.multiply_by_both(g_y, x, y) == [shared, p256.multiply(g_y, y)]
    assert p256.decompress(p256.compress(g_x)) == g_x
    for edge in (1, 2, 3, 15, 16, 17, p256.N - 1, p256.N - 2):
        point = p256_base.public(edge)
        assert p256.multiply(g_x, edge) == p256.multiply_by_both(g_x, edge, 1)[0]
        assert p256.multiply(point, 1) == point


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
