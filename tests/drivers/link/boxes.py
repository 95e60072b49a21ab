"""Other implementations of AES and AES-CCM (OpenSSL's), to hold ours against."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB


def openssl_ecb(key: bytes) -> Callable[[bytearray, bytearray], None]:
    """Return encrypt(source, target) for drivers.link.seal.Ccm."""
    encryptor = Cipher(AES(key), ECB()).encryptor()

    def encrypt(source: bytearray, target: bytearray) -> None:
        target[:] = encryptor.update(bytes(source))

    return encrypt


def openssl_ccm(key: bytes) -> AESCCM:
    return AESCCM(key, tag_length=8)
