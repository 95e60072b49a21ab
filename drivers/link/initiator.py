"""The node's side of EDHOC, a step at a time: Offer -> Answer -> Proven -> Agreement.

Each step is the only way to the next and can be taken once: what fails ends the attempt, and the node begins another
with a new ephemeral key (RFC 9528 section 5). One step makes up to 1 MB of garbage: collect in between.
"""

from drivers.constant import const
from drivers.link import p256
from drivers.link.cbor import encode
from drivers.link.edhoc import (
    HASH_LEN,
    MAC_LEN,
    METHOD,
    POINT_LEN,
    SUITE,
    EdhocError,
    id_cred,
    items_of,
    kdf,
    pack_ead,
    pack_identifier,
    read_identifier,
    transcript,
)
from drivers.link.frame import FrameError
from drivers.link.keys import hkdf_extract
from drivers.link.seal import Ccm

_KEY_LEN = const(16)
_IV_LEN = const(13)


class Owner:
    """Who joins: private scalar, credential and its kid."""

    __slots__ = ("credential", "kid", "private")

    def __init__(self, private, credential, kid):
        self.private = private
        self.credential = credential
        self.kid = kid


class _Step:
    """Something that can be used once; its secrets are gone afterwards."""

    def __init__(self, *secrets):
        self._secrets = secrets

    def _take(self):
        secrets, self._secrets = self._secrets, None
        if secrets is None:
            raise EdhocError("spent")
        return secrets


class Offer(_Step):
    """message_1. Make it while idle: it needs a product of the generator, and one more per gateway expected."""

    def __init__(self, owner, ephemeral, g_x, *, c_i, ead_1=(), suites=(SUITE,)):
        """ephemeral: a fresh random scalar; g_x: the x of its point; suites: in order of preference, ours last."""
        preferred = encode(suites[0]) if len(suites) == 1 else encode(suites)
        self.message_1 = (
            encode(METHOD) + preferred + encode(p256.to_octets(g_x)) + pack_identifier(c_i) + pack_ead(ead_1)
        )
        self._expected = {}
        super().__init__(owner, ephemeral)

    def expect(self, point):
        """Compute now what an answer of this gateway will need."""
        if self._secrets is None:
            raise EdhocError("spent")
        self._expected[point] = p256.multiply(point, self._secrets[1])[0]

    def read(self, message_2):
        """Decrypt message_2. Returns the Answer, whose content nobody has vouched for yet. Raises EdhocError."""
        owner, ephemeral = self._take()
        items = items_of(message_2)
        if len(items) != 1 or not isinstance(items[0], bytes) or len(items[0]) <= POINT_LEN:
            raise EdhocError("malformed")
        g_y, ciphertext = items[0][:POINT_LEN], items[0][POINT_LEN:]
        try:
            point = p256.lift(int.from_bytes(g_y, "big"))
        except p256.CurveError:
            raise EdhocError("bad_point")
        g_xy, g_iy = p256.multiply_by_both(point, ephemeral, owner.private)
        th_2 = transcript(encode(g_y), encode(transcript(self.message_1)))
        prk_2e = hkdf_extract(th_2, p256.to_octets(g_xy[0]))
        plaintext = bytearray(kdf(prk_2e, 0, th_2, len(ciphertext)))
        for at in range(len(plaintext)):
            plaintext[at] ^= ciphertext[at]
        salt = kdf(prk_2e, 1, th_2, HASH_LEN)
        return Answer(owner, ephemeral, self._expected, p256.to_octets(g_iy[0]), th_2, salt, bytes(plaintext))


class Answer(_Step):
    """What message_2 says, before it is proven: `kid` of the gateway, `c_r`, and the items of `ead_2`."""

    def __init__(self, owner, ephemeral, expected, g_iy, th_2, salt, plaintext):
        self.c_r, self.kid, mac_2, self.ead_2 = read_plaintext_2(plaintext)
        super().__init__(owner, ephemeral, expected, g_iy, th_2, salt, plaintext, mac_2)

    def verify(self, candidates):
        """Find who sent message_2 among (point, credential) pairs: kids may collide, so all are tried in turn.

        Returns Proven, whose `at` is the place of the right one. Raises EdhocError("bad_mac").
        """
        owner, ephemeral, expected, g_iy, th_2, salt, plaintext, mac_2 = self._take()
        head = pack_identifier(self.c_r) + id_cred(self.kid) + encode(th_2)
        extra = b"".join([encode(item) for item in self.ead_2])
        for at, (point, credential) in enumerate(candidates):
            g_rx = expected.get(point)
            if g_rx is None:
                g_rx = p256.multiply(point, ephemeral)[0]
            prk_3e2m = hkdf_extract(salt, p256.to_octets(g_rx))
            if _is_equal(kdf(prk_3e2m, 2, head + credential + extra, MAC_LEN), mac_2):
                return Proven(at, owner, g_iy, prk_3e2m, transcript(encode(th_2), plaintext, credential))
        raise EdhocError("bad_mac")


class Proven(_Step):
    """The gateway is who it says: the candidate at this place."""

    def __init__(self, at, *secrets):
        self.at = at
        super().__init__(*secrets)

    def finish(self, ead_3, *, aes):
        """Make message_3 and agree on the keys. `aes(key)` returns what Ccm wants. Returns the Agreement."""
        owner, g_iy, prk_3e2m, th_3 = self._take()
        prk_4e3m = hkdf_extract(kdf(prk_3e2m, 5, th_3, HASH_LEN), g_iy)
        extra = pack_ead(ead_3)
        context = id_cred(owner.kid) + encode(th_3) + owner.credential + extra
        mac_3 = kdf(prk_4e3m, 6, context, MAC_LEN)
        plaintext = pack_identifier(owner.kid) + encode(mac_3) + extra
        box = Ccm(aes(kdf(prk_3e2m, 3, th_3, _KEY_LEN)))
        sealed = box.seal(kdf(prk_3e2m, 4, th_3, _IV_LEN), _aad(th_3), plaintext)
        th_4 = transcript(encode(th_3), plaintext, owner.credential)
        return Agreement(encode(sealed), prk_4e3m, th_4)


class Agreement:
    """message_3 to send, and PRK_out. The gateway has it too once it answered with message_4."""

    def __init__(self, message_3, prk_4e3m, th_4):
        self.message_3 = message_3
        self.prk_out = kdf(prk_4e3m, 7, th_4, HASH_LEN)
        self._prk_4e3m = prk_4e3m
        self._th_4 = th_4

    def read_message_4(self, message_4, *, aes):
        """The decoded items of EAD_4: the gateway has taken message_3. May be tried again. Raises EdhocError."""
        items = items_of(message_4)
        if len(items) != 1 or not isinstance(items[0], bytes):
            raise EdhocError("malformed")
        box = Ccm(aes(kdf(self._prk_4e3m, 8, self._th_4, _KEY_LEN)))
        try:
            plaintext = box.open(kdf(self._prk_4e3m, 9, self._th_4, _IV_LEN), _aad(self._th_4), items[0])
        except FrameError:
            raise EdhocError("bad_mac")
        return items_of(plaintext)


def read_plaintext_2(plaintext):
    """(C_R, kid, MAC_2, decoded items of EAD_2). Raises EdhocError("malformed")."""
    items = items_of(plaintext)
    if len(items) < 3 or not isinstance(items[2], bytes) or len(items[2]) != MAC_LEN:
        raise EdhocError("malformed")
    return read_identifier(items[0]), read_identifier(items[1]), items[2], items[3:]


def _aad(transcript_hash):
    return encode(["Encrypt0", b"", transcript_hash])


def _is_equal(one, other):
    difference = len(one) ^ len(other)
    for a, b in zip(one, other):
        difference |= a ^ b
    return not difference
