"""Signs for the nodes of a site: its gateways' entries, the list of those it took back, its next key.

The bytes are those of drivers.link.site, which says what they mean. Keys are `cryptography`'s; nothing is stored here.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from drivers.link import site
from drivers.link.cbor import encode
from drivers.link.edhoc import EdhocError, kid_of
from gateway.errors import GatewayError
from provisioning.identity import public_point

MAX_REVOKED = 35  # one message carries no more: raise the floor, and sign the entries that stay anew


class SiteError(GatewayError):
    """Nothing was signed: the message says what to change."""


def sign_gateway_entry(private_key: ec.EllipticCurvePrivateKey, *, version: int, public_key: bytes) -> bytes:
    """The entry of a gateway.

    version     of the list from which on it is the site's, 1 to 65535
    public_key  33 bytes, compressed
    Raises      SiteError
    """
    return _sign(private_key, [site.ENTRY, version, public_key])


def sign_gateway_list(
    private_key: ec.EllipticCurvePrivateKey, *, version: int, floor: int = 1, revoked: Sequence[bytes] = ()
) -> bytes:
    """A version of the list.

    version  higher than any before
    floor    entries below this version are void, 1 to `version`
    revoked  public keys (33 bytes) of gateways that were taken back though their entries are not below the floor
    Raises   SiteError, also if two of them share a kid, or there are more than MAX_REVOKED
    """
    kids = {kid_of(public) for public in revoked}
    if len(kids) != len(set(revoked)) or len(kids) > MAX_REVOKED:
        raise SiteError(f"{len(revoked)} revoked gateways: at most {MAX_REVOKED}, of different kids; raise the floor")
    return _sign(private_key, [site.LIST, version, floor, b"".join(sorted(kids))])


def sign_next_key(private_key: ec.EllipticCurvePrivateKey, *, generation: int, public_key: bytes) -> bytes:
    """The site's next verification key, signed by the one before. `generation`: 2 for the first successor."""
    return _sign(private_key, [site.KEY, generation, public_key])


def trust_of(private_key: ec.EllipticCurvePrivateKey, *, signed: Sequence[bytes] = (), generation: int = 1) -> bytes:
    """What a node is given at provisioning, its NVS entry "site": the site's key, and what these objects say.

    signed  the latest list and the entries of gateways near by, so that they need not be shown by radio
    Raises  SiteError
    """
    trust = site.Trust(public_point(private_key), generation)
    try:
        for one in signed:
            trust.take(one)
    except EdhocError as error:
        raise SiteError(f"{error.reason}: an object is not this site's, or of a gateway that was taken back") from None
    return bytes(trust.to_bytes())


def _sign(private_key: ec.EllipticCurvePrivateKey, items: list[object]) -> bytes:
    payload = encode(items)
    try:
        site.read_payload(payload)
    except EdhocError:
        raise SiteError(f"{items}: a version, floor or key is out of its range") from None
    r, s = decode_dss_signature(private_key.sign(site.to_sign(payload), ec.ECDSA(hashes.SHA256())))
    return bytes(payload) + r.to_bytes(32, "big") + s.to_bytes(32, "big")
