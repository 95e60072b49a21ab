"""When this node's last boots began, as a gateway told in each: NVS entry "began", 8 bytes per boot: number, and
seconds since 1970. Loaded when a gateway has told, and for what is left of an older boot; forgotten after.
"""

import struct

from drivers.constant import const
from firmware.forget import forget

_LEN = const(32)


def note(settings, began_s):
    """A gateway has told when this boot began. Raises SettingsError."""
    kept, this = _kept(settings), settings.boot.to_bytes(4, "big")
    if kept[-8:-4] == this:
        kept = kept[:-8]
    settings.write("set_blob", "began", kept[8 - _LEN :] + this + began_s.to_bytes(4, "big"))
    forget("firmware.began", "firmware.forget")


def began_s(settings, boot):
    """Seconds since 1970 when `boot` began, None if no gateway told, or too many boots ago."""
    kept, found = _kept(settings), None
    for at in range(0, len(kept) - 7, 8):
        number, told_s = struct.unpack_from(">II", kept, at)
        if number == boot:
            found = told_s
    forget("firmware.began", "firmware.forget")
    return found


def _kept(settings):
    kept = bytearray(_LEN)
    try:
        return bytes(kept[: settings.nvs.get_blob("began", kept)])
    except OSError:
        return b""
