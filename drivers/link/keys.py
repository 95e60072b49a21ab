"""Frame keys and nonces from a node's root key. HMAC and HKDF on hashlib alone, for a board has no hmac module.

Source: RFC 2104 (HMAC), RFC 5869 (HKDF), RFC 8152 section 3.1 (nonce from IV and partial IV).
"""

import hashlib

from drivers.link.seal import Ccm, aes_ecb
from drivers.link.seal import nonce as nonce  # belongs here too, but a node that has its keys forgets this module

UP = b"up"
DOWN = b"down"
KEY_LEN = 16
NONCE_LEN = 13
_LABEL = b"lamppost v1 "
_NO_SALT = bytes(32)


def derive(root, epoch, direction, purpose=b"frame"):
    """Return (key, iv) of 16 and 13 bytes for one node, epoch and direction (UP or DOWN)."""
    info = _LABEL + direction + b" " + purpose + epoch.to_bytes(4, "big")
    material = hkdf_expand(hkdf_extract(_NO_SALT, root), info, KEY_LEN + NONCE_LEN)
    return material[:KEY_LEN], material[KEY_LEN:]


def seals_of(root, epoch):
    """(Ccm, iv) for either direction, up and down, on MicroPython's own AES."""
    up_key, up_iv = derive(root, epoch, UP)
    down_key, down_iv = derive(root, epoch, DOWN)
    return (Ccm(aes_ecb(up_key)), up_iv), (Ccm(aes_ecb(down_key)), down_iv)


def hkdf_extract(salt, secret):
    return hmac_sha256(salt, secret)


def hkdf_expand(prk, info, length):
    """Return `length` (at most 8160) bytes."""
    out = b""
    block = b""
    count = 1
    while len(out) < length:
        block = hmac_sha256(prk, block + info + bytes([count]))
        out += block
        count += 1
    return out[:length]


def hmac_sha256(key, data):
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    pad = bytearray(64)  # no lists: a join has no room for them
    for at in range(64):
        pad[at] = 0x36 ^ (key[at] if at < len(key) else 0)
    digest = hashlib.sha256(pad)
    digest.update(data)
    inner = digest.digest()
    for at in range(64):
        pad[at] ^= 0x36 ^ 0x5C
    digest = hashlib.sha256(pad)
    digest.update(inner)
    return digest.digest()
