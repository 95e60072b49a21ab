"""When a gateway has told the time: the boot's beginning goes into NVS entry "began", 8 bytes per boot: number, and
seconds since 1970, of the last four. identity reads it. Loaded for that moment, and forgotten after.
"""

import struct

from drivers.constant import const
from firmware.forget import forget

_KEPT = const(4)


def note(settings, began_s):
    """This boot began then. Raises SettingsError."""
    began = settings.began
    began[settings.boot] = began_s
    while len(began) > _KEPT:
        del began[min(began)]
    settings.write("set_blob", "began", b"".join([struct.pack(">II", boot, began[boot]) for boot in began]))
    forget("firmware.began", "firmware.forget")
