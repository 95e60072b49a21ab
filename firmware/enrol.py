"""Enrolment, the node's half: writes an identity into NVS so that a cut at any moment leaves no usable half of it.

Run at provisioning, over the REPL, and after a join; the application never loads it. What the entries mean is
in settings.
"""

from firmware.epochs import close
from firmware.identity import load_history, read_blob, read_u32
from firmware.settings import Settings


def enrol(nvs, *, key, address, node_id, epoch):
    """Give the node an identity, and return the epoch it will use: `epoch`, or one above its own if that is higher.

    The counter is written last: until it is there, the node destroys the key at boot and asks again.

    key      32 fresh random bytes, never the ones of an earlier enrolment
    address  0 to 65535
    epoch    above any that the authority or gateway has seen for `node_id`
    Raises   SettingsError if NVS refuses; enrol again
    """
    settings = Settings(nvs)
    counter = read_u32(nvs, "counter") or 0
    settings.erase("counter")
    settings.erase("key")
    settings.erase("turned")
    if str(read_blob(nvs, "id", 128) or b"", "utf-8") == node_id:
        epoch = _close_before(nvs, settings, epoch)
    else:  # another identity: what the old one closed is not this one's to tell
        settings.erase("closed")
        settings.erase("lost")
    settings.write("set_blob", "id", node_id.encode())
    settings.write("set_blob", "address", bytes([address >> 8, address & 0xFF]))
    settings.write("set_blob", "key", key)
    settings.write_u32("epoch", epoch)
    settings.write_u32("seq", 0)
    settings.write_u32("counter", counter)
    return epoch


def adopt(nvs):
    """Go on under the key that a join left in NVS entry "next": 32 bytes of root key, and the epoch granted, u32.

    A cut anywhere leaves "next" there, and the next boot does it again.
    """
    settings = Settings(nvs)
    left = read_blob(nvs, "next", 36) or b""
    root, epoch = left[:32], int.from_bytes(left[32:], "big")
    is_whole = read_blob(nvs, "key", 32) is not None and read_u32(nvs, "counter") is not None  # else it was cut short
    if is_whole and read_u32(nvs, "epoch") == epoch:
        settings.write("set_blob", "key", root)  # counters and sequences go on, so one entry is all that changes
        settings.erase("turned")
    else:
        address = int.from_bytes(read_blob(nvs, "address", 2) or b"", "big")
        enrol(nvs, key=root, address=address, node_id=str(read_blob(nvs, "id", 128) or b"", "utf-8"), epoch=epoch)
    settings.erase("joins")
    settings.erase("next")


def _close_before(nvs, settings, epoch):
    """Close the epoch that a new enrolment ends. Returns the epoch to go on in: `epoch`, or higher."""
    load_history(nvs, settings)
    current = read_u32(nvs, "epoch")
    if current is None:
        return epoch
    close(settings, current, read_u32(nvs, "seq") or 0, is_known=False)
    return max(epoch, current + 1)
