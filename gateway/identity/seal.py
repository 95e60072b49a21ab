"""AES-CCM-16-64-128 at the gateway: the same two methods as drivers.link.seal.Ccm, on OpenSSL."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from drivers.link.frame import TAG_LEN, FrameError


class Aead:
    """One key of one direction. Source: RFC 9053 section 4.2, algorithm 10; RFC 3610."""

    def __init__(self, key: bytes) -> None:
        self._ccm = AESCCM(key, tag_length=TAG_LEN)

    def seal(self, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return self._ccm.encrypt(nonce, plaintext, aad)

    def open(self, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
        """Return the plaintext. Raises FrameError("bad_tag")."""
        try:
            return self._ccm.decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise FrameError("bad_tag") from None
