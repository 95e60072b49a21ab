"""AES-128 encryption of one block in plain Python, for an interpreter without cryptolib. Test code: not constant-time.

Source: FIPS 197 sections 5.1 and 5.2. Runs on CPython and MicroPython.
"""


def _times_two(byte):
    return (byte << 1) ^ (0x11B if byte & 0x80 else 0)


def _make_sbox():
    """FIPS 197 section 5.1.1: inverse in GF(2^8), then the affine map. 3 generates the field, 0xF6 is its inverse."""
    sbox = bytearray(256)
    sbox[0] = 0x63
    power = inverse = 1
    for _ in range(255):
        power ^= _times_two(power)
        inverse ^= inverse << 1
        inverse ^= inverse << 2
        inverse ^= inverse << 4
        inverse &= 0xFF
        if inverse & 0x80:
            inverse ^= 0x09
        turned = inverse
        value = inverse
        for _ in range(4):
            turned = (turned << 1 | turned >> 7) & 0xFF
            value ^= turned
        sbox[power] = value ^ 0x63
    return sbox


_SBOX = _make_sbox()


def _expand(key):
    words = bytearray(176)
    words[:16] = key
    constant = 1
    for at in range(16, 176, 4):
        last = [words[at - 4], words[at - 3], words[at - 2], words[at - 1]]
        if at % 16 == 0:
            last = [_SBOX[last[1]] ^ constant, _SBOX[last[2]], _SBOX[last[3]], _SBOX[last[0]]]
            constant = _times_two(constant)
        for i in range(4):
            words[at + i] = words[at - 16 + i] ^ last[i]
    return words


def aes_ecb(key):
    """Return encrypt(source, target) for drivers.link.seal.Ccm."""
    round_keys = _expand(key)

    def encrypt(source, target):
        state = bytearray(16)
        for i in range(16):
            state[i] = source[i] ^ round_keys[i]
        for round_number in range(1, 11):
            shifted = bytearray(16)
            for i in range(16):
                shifted[i] = _SBOX[state[(i + 4 * (i % 4)) % 16]]
            state = _mix(shifted) if round_number < 10 else shifted
            for i in range(16):
                state[i] ^= round_keys[16 * round_number + i]
        target[:] = state

    return encrypt


def _mix(state):
    mixed = bytearray(16)
    for at in range(0, 16, 4):
        whole = state[at] ^ state[at + 1] ^ state[at + 2] ^ state[at + 3]
        for i in range(4):
            mixed[at + i] = state[at + i] ^ whole ^ (_times_two(state[at + i] ^ state[at + (i + 1) % 4]) & 0xFF)
    return mixed
