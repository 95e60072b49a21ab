"""Random bytes that are random: the ESP32's generator is a pseudo-random one while its radio is off.

So a seed is born with the key pair, while Wi-Fi is on, and kept in NVS. Every draw replaces it before it is used; what
the generator gives then is mixed in, so that a seed that leaks tells nothing of draws before it, and a poor generator
spoils nothing. Source: ESP-IDF "Random Number Generation"; the construction follows SP 800-90A HMAC_DRBG in spirit.
"""

import hashlib
import os

from drivers.link.keys import hmac_sha256
from firmware.identity import read_blob
from firmware.settings import Settings, SettingsError

_SEED_LEN = 32
_ROUNDS = 8


def gather(wlan, clock):
    """32 bytes from the hardware generator with the radio on. `wlan`: a network.WLAN; it is left as it was."""
    was_active = wlan.active()
    wlan.active(True)
    digest = hashlib.sha256()
    for _ in range(_ROUNDS):
        digest.update(os.urandom(32))
        digest.update(clock.ticks_us().to_bytes(4, "big"))
    if not was_active:
        wlan.active(False)
    return digest.digest()


def draw(nvs):
    """32 bytes that nobody had before. Raises SettingsError if there is no seed, or it cannot be replaced."""
    seed = read_blob(nvs, "seed", _SEED_LEN)
    if seed is None or len(seed) != _SEED_LEN:
        raise SettingsError("no seed in NVS; give this node a key pair again: lamppost provision --born")
    fresh = os.urandom(32)
    Settings(nvs).write("set_blob", "seed", hmac_sha256(seed, b"next" + fresh))
    return hmac_sha256(seed, b"draw" + fresh)
