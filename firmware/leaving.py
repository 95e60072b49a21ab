"""The end of a boot whose gateway fell silent: the next one looks for another, and must not send it what one has.

How far each run is acknowledged is in RAM only, for the gateway tells it again with its next answer. Another gateway
cannot. So it goes into NVS entry "acked": 8 bytes of the owner's hash, then epoch and base, u32 each, of two runs.
Loaded for the last moment of such a boot, and at a start that finds the entry.
"""

import hashlib
import struct

from firmware.archive import advance
from firmware.identity import read_blob

_LONGEST = 24


def leave(parts):
    """Keep what is acknowledged, and have the next boot join. Raises SettingsError."""
    settings, archive = parts.settings, parts.archive
    runs = [run for run in (archive.next_run(), archive.current()) if run is not None]
    kept = b"".join([struct.pack(">II", run.epoch, run.base) for run in runs])
    settings.write("set_blob", "acked", owner_of(settings) + kept)
    settings.write_u32("join", 1)


def take_up(nvs, settings, journal):
    """Forget what a gateway had acknowledged before this node left it."""
    kept = read_blob(nvs, "acked", _LONGEST) or b""
    if kept[:8] == owner_of(settings):
        for at in range(8, len(kept) - 7, 8):
            epoch, base = struct.unpack_from(">II", kept, at)
            run = journal.run(epoch)
            if run is not None and base <= run.end:
                advance(run, base)
                journal.trim(run, run.base, keep_last=epoch == settings.epoch)


def owner_of(settings):
    """Whose it is: epochs of another identity mean nothing."""
    return hashlib.sha256(settings.node_id.encode()).digest()[:8]
