"""The gateway's half of EDHOC with an ephemeral key that is given, so that a join can be worked out on paper.

For examples only: at the gateway lakers draws the key. Method 3, cipher suite 2. Source: RFC 9528 sections 4 and 5.
"""

from __future__ import annotations

from drivers.link import p256, p256_base
from drivers.link.cbor import encode
from drivers.link.edhoc import id_cred, items_of, kdf, pack_ead, pack_identifier, transcript
from drivers.link.keys import hkdf_extract
from tests.drivers.link.boxes import openssl_ccm
from tests.gateway.identity.edhoc_node import KeyPair

Ead = list[tuple[int, bytes | None]]


class WorkedResponder:
    """Answers one message_1."""

    def __init__(self, keys: KeyPair, ephemeral: int, message_1: bytes) -> None:
        self._keys = keys
        self._ephemeral = ephemeral
        self._g_x = p256.lift(int.from_bytes(items_of(message_1)[2], "big"))
        self._g_y = p256.to_octets(p256_base.public(ephemeral)[0])
        self._th_2 = transcript(encode(self._g_y), encode(transcript(message_1)))
        self._prk_2e = hkdf_extract(self._th_2, _product(self._g_x, ephemeral))
        salt = kdf(self._prk_2e, 1, self._th_2, 32)
        self._prk_3e2m = hkdf_extract(salt, _product(self._g_x, keys.private))

    def message_2(self, c_r: bytes, ead_2: Ead) -> bytes:
        party, extra = self._keys.party, pack_ead(ead_2)
        context = pack_identifier(c_r) + id_cred(party.kid) + encode(self._th_2) + party.credential + extra
        mac_2 = kdf(self._prk_3e2m, 2, context, 8)
        plaintext = pack_identifier(c_r) + pack_identifier(party.kid) + encode(mac_2) + extra
        self._th_3 = transcript(encode(self._th_2), plaintext, party.credential)
        stream = kdf(self._prk_2e, 0, self._th_2, len(plaintext))
        return bytes(encode(self._g_y + bytes(a ^ b for a, b in zip(plaintext, stream, strict=True))))

    def message_4(self, message_3: bytes, node: KeyPair, ead_4: Ead) -> bytes:
        """What answers the message_3 of `node`."""
        (sealed,) = items_of(message_3)
        plaintext = openssl_ccm(kdf(self._prk_3e2m, 3, self._th_3, 16)).decrypt(
            kdf(self._prk_3e2m, 4, self._th_3, 13), sealed, _aad(self._th_3)
        )
        salt = kdf(self._prk_3e2m, 5, self._th_3, 32)
        prk_4e3m = hkdf_extract(salt, _product(node.point, self._ephemeral))
        th_4 = transcript(encode(self._th_3), plaintext, node.party.credential)
        self.prk_out = kdf(prk_4e3m, 7, th_4, 32)
        box = openssl_ccm(kdf(prk_4e3m, 8, th_4, 16))
        return bytes(encode(box.encrypt(kdf(prk_4e3m, 9, th_4, 13), pack_ead(ead_4), _aad(th_4))))


def _product(point: tuple[int, int], factor: int) -> bytes:
    return bytes(p256.to_octets(p256.multiply(point, factor)[0]))


def _aad(transcript_hash: bytes) -> bytes:
    return bytes(encode(["Encrypt0", b"", transcript_hash]))
