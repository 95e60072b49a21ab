"""A node's key pair is born here, on the board, and its private half never leaves it.

Run once at provisioning, over the REPL; the application never loads it. NVS entries: "seed" (entropy), "priv" (32
bytes, the private scalar). What the node is called follows from the public key, so that is all the host learns.
"""

import gc

from drivers.link import p256, p256_base
from firmware.entropy import draw, gather
from firmware.identity import read_blob
from firmware.settings import Settings


def be_born(nvs, wlan, clock):
    """Return the public key (33 bytes) of a new key pair; of the one that is there, if the node has one.

    nvs   esp32.NVS of our namespace
    wlan  network.WLAN, switched on while entropy is gathered
    Raises SettingsError if NVS refuses
    """
    private = read_blob(nvs, "priv", 32)
    if private is None or len(private) != 32:
        settings = Settings(nvs)
        settings.write("set_blob", "seed", gather(wlan, clock))
        private = draw_scalar(nvs)
        settings.write("set_blob", "priv", p256.to_octets(private))
    else:
        private = p256.scalar(private)
    gc.collect()
    return p256.compress(p256_base.public(private))


def draw_scalar(nvs):
    """A random scalar of the curve."""
    while True:
        try:
            return p256.scalar(draw(nvs))
        except p256.CurveError:
            pass  # one in 2**32 draws
