"""AES-CCM-16-64-128: seals and opens frames with nothing but AES in ECB mode, which is all that a board has.

Source: RFC 3610 with L = 2 (13-byte nonce) and M = 8 (8-byte tag); COSE algorithm 10.
The gateway does the same with `cryptography`; one set of vectors holds them together.
"""

from drivers.constant import const
from drivers.link.frame import TAG_LEN, FrameError

_FLAGS = 8 * ((TAG_LEN - 2) >> 1) + 1  # of the first MAC block, without associated data
_HAS_AAD = const(0x40)


class Ccm:
    """Seals under one key. Keeps three blocks of 16 bytes, so that a frame costs no more than its own bytes."""

    def __init__(self, encrypt):
        """`encrypt(source, target)` writes the AES encryption of a 16-byte block; target may be source."""
        self._encrypt = encrypt
        self._mac = bytearray(16)
        self._counter = bytearray(16)
        self._stream = bytearray(16)

    def seal(self, nonce, aad, plaintext):
        """Return ciphertext and tag. `nonce` is 13 bytes and never used twice under one key."""
        size = len(plaintext)
        out = bytearray(size + TAG_LEN)
        self._authenticate(nonce, aad, plaintext)
        self._start_stream(nonce)
        for i in range(TAG_LEN):
            out[size + i] = self._mac[i] ^ self._stream[i]
        self._apply_stream(plaintext, out, size)
        return bytes(out)

    def open(self, nonce, aad, sealed):
        """Return the plaintext. Raises FrameError: truncated, or bad_tag if anything differs from what was sealed."""
        size = len(sealed) - TAG_LEN
        if size < 0:
            raise FrameError("truncated")
        self._start_stream(nonce)
        tag = bytearray(TAG_LEN)
        for i in range(TAG_LEN):
            tag[i] = sealed[size + i] ^ self._stream[i]
        plaintext = bytearray(size)
        self._apply_stream(sealed, plaintext, size)
        self._authenticate(nonce, aad, plaintext)
        difference = 0
        for i in range(TAG_LEN):  # all of it, so that the time taken does not tell where it differs
            difference |= tag[i] ^ self._mac[i]
        if difference:
            raise FrameError("bad_tag")
        return bytes(plaintext)

    def _authenticate(self, nonce, aad, plaintext):
        """Leave the CBC-MAC in self._mac (RFC 3610 section 2.2)."""
        mac = self._mac
        size = len(plaintext)
        mac[0] = _FLAGS | (_HAS_AAD if aad else 0)
        mac[1:14] = nonce
        mac[14] = size >> 8
        mac[15] = size & 0xFF
        self._encrypt(mac, mac)
        if aad:
            mac[0] ^= len(aad) >> 8
            mac[1] ^= len(aad) & 0xFF
            self._absorb(aad, 2)
        self._absorb(plaintext, 0)

    def _absorb(self, data, used):
        """Mix `data` into the MAC, which has `used` bytes of a block already, and fill the last block with zeros."""
        mac = self._mac
        for byte in data:
            mac[used] ^= byte
            used += 1
            if used == 16:
                self._encrypt(mac, mac)
                used = 0
        if used:
            self._encrypt(mac, mac)

    def _start_stream(self, nonce):
        """Put key stream block 0, which covers the tag, into self._stream (RFC 3610 section 2.3)."""
        counter = self._counter
        counter[0] = 1  # L - 1
        counter[1:14] = nonce
        counter[14] = 0
        counter[15] = 0
        self._encrypt(counter, self._stream)

    def _apply_stream(self, source, target, size):
        stream = self._stream
        counter = self._counter
        for i in range(size):
            at = i & 15
            if at == 0:
                block = (i >> 4) + 1
                counter[14] = block >> 8
                counter[15] = block & 0xFF
                self._encrypt(counter, stream)
            target[i] = source[i] ^ stream[at]


def nonce(iv, counter):
    """Return the 13-byte nonce of a frame: `iv` with `counter` (u32) added into its last four bytes by XOR."""
    out = bytearray(iv)
    for i in range(4):
        out[12 - i] ^= (counter >> (8 * i)) & 0xFF
    return bytes(out)


def aes_ecb(key):
    """Return the `encrypt` that Ccm wants, on MicroPython's own AES."""
    import cryptolib  # only MicroPython has it

    return cryptolib.aes(key, 1).encrypt
