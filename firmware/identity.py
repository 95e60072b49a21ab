"""Reads the node's identity and numbers from NVS at a start. What the entries mean is in settings.

Needed once: the application runs without it.
"""

import struct

from firmware.settings import MAX_CLOSED, Settings

NAMESPACE = "lamppost"


class NotEnrolled(Exception):
    """The node has no usable identity: it must be enrolled (again). The message says why and what to do."""


def load(nvs):
    """Return the node's Settings. Raises NotEnrolled; a key without its epoch or counter is destroyed first."""
    settings = Settings(nvs)
    key = read_blob(nvs, "key", 32)
    epoch, counter = read_u32(nvs, "epoch"), read_u32(nvs, "counter")
    if key is not None and (epoch is None or counter is None or len(key) != 32):
        settings.erase("key")
        raise NotEnrolled(
            "the key had no %s beside it, so it was destroyed: counters may have been used before; enrol this node "
            "again: lamppost enrol" % ("counter" if epoch is not None else "epoch")
        )
    if key is None:
        raise NotEnrolled("no key in NVS; enrol this node: lamppost enrol")
    address = read_blob(nvs, "address", 2)
    if address is None or len(address) != 2:
        raise NotEnrolled("no address beside the key in NVS; enrol this node again: lamppost enrol")
    settings.key = key
    settings.address = address[0] << 8 | address[1]
    settings.node_id = str(read_blob(nvs, "id", 128) or b"", "utf-8")
    settings.epoch = epoch  # pyright: ignore[reportAttributeAccessIssue]
    settings.next_seq = read_u32(nvs, "seq") or 0
    settings.counter_end = settings.next_counter = counter  # pyright: ignore[reportAttributeAccessIssue]
    settings.boot = read_u32(nvs, "boot") or 0
    turned = read_blob(nvs, "turned", 8)
    if turned is not None and len(turned) == 8:
        settings.turned = struct.unpack(">II", turned)
    else:  # new keys, or a firmware that did not count: they are in use from now on
        settings.turned = counter, 0  # pyright: ignore[reportAttributeAccessIssue]
        settings.write("set_blob", "turned", struct.pack(">II", counter, 0))
    load_history(nvs, settings)
    return settings


def load_history(nvs, settings):
    """Read how earlier epochs were closed, what was given up, and when the last boots began."""
    blob = read_blob(nvs, "closed", 12 * MAX_CLOSED) or b""
    settings.closed = [list(struct.unpack_from(">III", blob, at)) for at in range(0, len(blob) - 11, 12)]
    blob = read_blob(nvs, "lost", 16) or b""
    settings.lost = struct.unpack(">IIII", blob) if len(blob) == 16 else None
    blob = read_blob(nvs, "began", 32) or b""
    settings.began = dict([struct.unpack_from(">II", blob, at) for at in range(0, len(blob) - 7, 8)])


def read_u32(nvs, name):
    """The 32 bits of an entry, None if there is none."""
    try:
        return nvs.get_i32(name) & 0xFFFFFFFF
    except OSError:
        return None


def read_blob(nvs, name, limit):
    """The bytes of an entry of at most `limit`, None if there is none."""
    buf = bytearray(limit)
    try:
        return bytes(buf[: nvs.get_blob(name, buf)])
    except OSError:
        return None
