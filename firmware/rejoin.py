"""Whether a node with a key pair of its own is to join, at a start. Loaded by such nodes only, and forgotten after.

NVS entries: see admission.
"""

from drivers.constant import const
from firmware.identity import read_blob, read_u32

_JOIN_AFTER = const(6)  # with the default intervals after some five minutes
_MOST_DOUBLINGS = const(5)


def check(parts):
    """Adopt what a join left, and say in `parts` what is next. False if this boot is for joining."""
    nvs = parts.nvs
    if has_joined(nvs):
        from firmware.enrol import adopt

        adopt(nvs)
    parts.is_joining = not parts.woke and is_join_due(nvs)
    parts.join_after = join_after(nvs)
    return not parts.is_joining


def has_joined(nvs):
    """Whether a join left a key to go on under: firmware.enrol.adopt."""
    return read_blob(nvs, "next", 36) is not None


def is_join_due(nvs):
    """Whether a node with a key pair of its own is to join before anything else: it has no key, or was told to."""
    return read_blob(nvs, "priv", 32) is not None and (
        read_blob(nvs, "key", 32) is None or read_u32(nvs, "join") is not None
    )


def join_after(nvs):
    """Unanswered reports in a row after which to look for another gateway; more after each failure. 0: it cannot."""
    if read_blob(nvs, "priv", 32) is None:
        return 0
    return _JOIN_AFTER << min(read_u32(nvs, "joins") or 0, _MOST_DOUBLINGS)
