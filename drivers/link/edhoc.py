"""What both ends of EDHOC share: key schedule, exporter, credentials by kid, external authorization data.

Method 3 (static Diffie-Hellman on both sides), cipher suite 2: AES-CCM-16-64-128, SHA-256, MACs of 8 bytes, P-256.
Bytes in, bytes out; no key is kept. Everything is read in its deterministic form only. Source: RFC 9528, RFC 8392
(CWT Claims Set), RFC 9053 section 7.1.1 (EC2 keys).
"""

import hashlib
from binascii import hexlify

from drivers.constant import const
from drivers.link.cbor import encode, take
from drivers.link.frame import FrameError
from drivers.link.keys import hkdf_expand

METHOD = 3
SUITE = 2
MAC_LEN = 8
POINT_LEN = 32
HASH_LEN = 32
KID_LEN = 4  # of our own credentials; kids may collide, the MAC decides
MAX_EAD_ITEMS = 4
_EXPORTER = const(10)
_UPDATE = const(11)
_KID = const(4)
_DEPTH = const(8)


class EdhocError(Exception):
    """A message is unusable, or a step came twice: `reason` is the name of the counter that moves."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


def kdf(prk, label, context, length):
    """EDHOC_KDF of RFC 9528 section 4.1.2: `length` bytes."""
    return hkdf_expand(prk, encode(label) + encode(context) + encode(length), length)


def export(prk_out, label, context, length):
    """EDHOC_Exporter of RFC 9528 section 4.2.1, for any label (uint) and context (bytes)."""
    return kdf(kdf(prk_out, _EXPORTER, b"", HASH_LEN), label, context, length)


def update(prk_out, context):
    """EDHOC_KeyUpdate of appendix H: the next PRK_out."""
    return kdf(prk_out, _UPDATE, context, HASH_LEN)


def transcript(*parts):
    """The hash over a CBOR sequence that is already encoded."""
    return hashlib.sha256(b"".join(parts)).digest()


def kid_of(public):
    """The kid of a compressed public point: the first bytes of its hash, which is also its owner's name."""
    return hashlib.sha256(public).digest()[:KID_LEN]


def credential(public, point):
    """The credential that both sides derive from a public key, so that it never travels: a CWT Claims Set.

    public  33 bytes, compressed; point: the same as (x, y)
    """
    kid = kid_of(public)
    subject = str(hexlify(kid), "ascii")  # short: see docs/decisions/0010 on what the credential leaves room for
    x, y = (encode(coordinate.to_bytes(32, "big")) for coordinate in point)
    key = b"\xa5\x01\x02\x02" + encode(kid) + b"\x20\x01\x21" + x + b"\x22" + y  # dicts have no order there
    return b"\xa2\x02" + encode(subject) + b"\x08\xa1\x01" + key


def id_cred(kid):
    """ID_CRED_x as it goes into transcripts."""
    return encode({_KID: kid})


def pack_identifier(octets):
    """An identifier or kid on the wire: one byte that is the encoding of -24 to 23 goes bare (section 3.3.2)."""
    return octets if _is_bare(octets) else encode(octets)


def read_identifier(item):
    """The bytes that pack_identifier wrote, from the decoded item. Raises EdhocError("malformed")."""
    if isinstance(item, int) and not isinstance(item, bool) and -24 <= item <= 23:
        return encode(item)
    if isinstance(item, bytes) and not _is_bare(item):
        return item
    raise EdhocError("malformed")


def _is_bare(octets):
    return len(octets) == 1 and octets[0] & 0xDF <= 0x17  # 0x00..0x17 and 0x20..0x37


def items_of(sequence):
    """Decode a CBOR sequence; each item must be in its deterministic form. Raises EdhocError("malformed")."""
    items = []
    at = 0
    try:
        while at < len(sequence):
            item, end = take(sequence, at, _DEPTH)
            if encode(item) != sequence[at:end]:
                raise EdhocError("malformed")
            items.append(item)
            at = end
    except (FrameError, UnicodeError, TypeError):
        raise EdhocError("malformed")
    return items


def pack_ead(items):
    """External authorization data: (label, value) pairs, value bytes or None; a negative label is critical."""
    return b"".join(encode(label) + (b"" if value is None else encode(value)) for label, value in items)


def read_ead(items, known):
    """{label: value} of decoded EAD items; unknown ones are left out, unless they are critical: EdhocError.

    known  labels, all positive; one that is given twice is malformed
    """
    found = {}
    at = count = 0
    while at < len(items):
        label = items[at]
        value = None
        if not isinstance(label, int) or isinstance(label, bool):
            raise EdhocError("malformed")
        at += 1
        if at < len(items) and isinstance(items[at], bytes):
            value = items[at]
            at += 1
        count += 1
        if count > MAX_EAD_ITEMS or abs(label) in found:
            raise EdhocError("malformed")
        if abs(label) in known:
            found[abs(label)] = value
        elif label < 0:
            raise EdhocError("critical_ead")
    return found
