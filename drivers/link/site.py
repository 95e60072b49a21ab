"""What the site signs for its nodes: who its gateways are, which of them it took back, and its next key.

A signed object is a payload in CBOR and an ECDSA signature of 64 bytes behind it; the first item says what it is.

    [1, version, public key]              entry: this gateway is the site's since this version of the list
    [2, version, floor, kids]             list: entries below the floor are void, and so are gateways with these kids
    [3, generation, public key]           key: the site's next one, signed by the one before

Signed is the Sig_structure of COSE_Sign1 with protected {alg: ES256} (RFC 9052 section 4.4), so that any COSE library
makes and checks it. Versions and generations only rise. `Trust` is what one node holds. No I/O.
"""

import hashlib

from drivers.constant import const
from drivers.link import p256, p256_base
from drivers.link.cbor import encode
from drivers.link.edhoc import KID_LEN, EdhocError, items_of, kid_of

ENTRY = 1
LIST = 2
KEY = 3
CONTEXT = b"lamppost site v1"
SIGNATURE_LEN = 64
_PROTECTED = b"\xa1\x01\x26"  # {1: -7}, ES256
_POINT_LEN = const(33)
_MAX_VERSION = const(0xFFFF)
_MAX_GENERATION = const(0xFF)
_MAX_KNOWN = const(8)
_HEAD_LEN = const(39)  # of Trust in bytes: generation, key, version, floor, number of kids


def to_sign(payload):
    """The bytes under the signature."""
    return encode(["Signature1", _PROTECTED, CONTEXT, payload])


def open_signed(signed, site_key):
    """Return the items of an object that `site_key` (33 bytes) signed. Raises EdhocError("bad_signature")."""
    payload, signature = signed[:-SIGNATURE_LEN], signed[-SIGNATURE_LEN:]
    items = read_payload(payload)
    digest = hashlib.sha256(to_sign(payload)).digest()
    try:
        if not p256_base.is_signed(p256.decompress(site_key), digest, signature):
            raise EdhocError("bad_signature")
    except p256.CurveError:
        raise EdhocError("bad_signature")
    return items


def read_payload(payload):
    """The items of a payload in one of the three forms. Raises EdhocError("malformed")."""
    found = items_of(payload)
    items = found[0] if len(found) == 1 else None
    if not isinstance(items, list) or len(items) < 3 or not _is_number(items[0], KEY):
        raise EdhocError("malformed")
    kind = items[0]
    is_right = _is_number(items[1], _MAX_GENERATION if kind == KEY else _MAX_VERSION)
    if kind == LIST:
        is_right = is_right and len(items) == 4 and _is_number(items[2], items[1])
        is_right = is_right and isinstance(items[3], bytes) and len(items[3]) % KID_LEN == 0
    else:
        is_right = is_right and len(items) == 3 and isinstance(items[2], bytes) and len(items[2]) == _POINT_LEN
    if not is_right:
        raise EdhocError("malformed")
    return items


def _is_number(value, limit):
    return type(value) is int and 1 <= value <= limit


class Trust:
    """Whom a node believes: the site's key, the list, and the gateways whose entries it has seen (newest last)."""

    def __init__(self, site_key, generation=1, version=0, floor=0, revoked=b"", known=()):
        """site_key: 33 bytes; revoked: kids in a row; known: (version, public key) of gateways."""
        self.site_key = site_key
        self.generation = generation
        self.version = version
        self.floor = floor
        self.revoked = revoked
        self.known = list(known)

    def take(self, signed):
        """Learn from a signed object. Returns the public key in an entry, else None.

        Raises EdhocError: bad_signature, malformed, revoked_gateway, or old_list where a version would fall.
        """
        kind, number, content, *rest = open_signed(signed, self.site_key)
        if kind == ENTRY:
            if number < self.floor or self.is_revoked(content):
                raise EdhocError("revoked_gateway")
            self._remember(number, content)
            return content
        if kind == KEY:
            if number != self.generation + 1:
                raise EdhocError("old_list")
            self.site_key, self.generation = content, number
        else:
            if number < self.version:
                raise EdhocError("old_list")
            self.version, self.floor, self.revoked = number, content, rest[0]
            self.known = [one for one in self.known if one[0] >= content and not self.is_revoked(one[1])]
        return None

    def is_revoked(self, public):
        """Whether the list takes back the gateway with this public key."""
        kid = kid_of(public)
        return any(self.revoked[at : at + KID_LEN] == kid for at in range(0, len(self.revoked), KID_LEN))

    def candidates(self, kid):
        """Public keys of the gateways that may have this kid and are not taken back."""
        return [public for _, public in self.known if kid_of(public) == kid]

    def _remember(self, version, public):
        self.known = [one for one in self.known if one[1] != public]
        self.known.append((version, public))
        del self.known[:-_MAX_KNOWN]

    def to_bytes(self):
        """Everything, for one entry of NVS."""
        head = (
            bytes([self.generation]) + self.site_key + self.version.to_bytes(2, "big") + self.floor.to_bytes(2, "big")
        )
        gateways = b"".join([version.to_bytes(2, "big") + public for version, public in self.known])
        return head + bytes([len(self.revoked) // KID_LEN]) + self.revoked + gateways


def trust_from(octets):
    """Read Trust.to_bytes. Raises ValueError if it is none."""
    if len(octets) < _HEAD_LEN:
        raise ValueError("too short")
    at = _HEAD_LEN + KID_LEN * octets[_HEAD_LEN - 1]
    step = 2 + _POINT_LEN
    if (len(octets) - at) % step or at > len(octets):
        raise ValueError("not whole")
    known = [(int.from_bytes(octets[i : i + 2], "big"), octets[i + 2 : i + step]) for i in range(at, len(octets), step)]
    version, floor = int.from_bytes(octets[34:36], "big"), int.from_bytes(octets[36:38], "big")
    return Trust(octets[1:34], octets[0], version, floor, octets[_HEAD_LEN:at], known)
