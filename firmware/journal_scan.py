"""Finds the journal's segments on flash at a start. Needed once: the application runs without it. Format: journal."""

import os
import struct
from binascii import crc32

from firmware.journal import HEADER_LEN, MAGIC, Journal, Run


def open_journal(folder, owner, *, segment_records=64):
    """Return (Journal, how many segments are another node's: they are kept, and not ours to send).

    Reads every header, and the records of the last segment of each epoch. A segment without a whole header (cut before
    its first record, or worn) is deleted.

    folder  need not exist
    owner   8 bytes: first of SHA-256 of the node id
    """
    try:
        os.mkdir(folder)
    except OSError:
        pass  # it is there
    journal, foreign = Journal(folder, owner, segment_records=segment_records), 0
    for epoch, first in sorted(filter(None, map(parse_name, os.listdir(folder)))):
        foreign += _admit(journal, owner, epoch, first)
    for run in journal.runs:
        _find_end(journal, run)
    return journal, foreign


def parse_name(name):
    """(epoch, first) of a segment's name, None for other files."""
    try:
        if len(name) == 17 and name[8] == "-":
            return int(name[:8], 16), int(name[9:], 16)
    except ValueError:
        pass
    return None


def unpack_header(header, epoch, first):
    """The owner of a segment whose header is whole and says the same as its name, else None."""
    if len(header) < HEADER_LEN or header[:20] + struct.pack(">I", crc32(header[:20]) & 0xFFFFFFFF) != header[:24]:
        return None
    magic, its_epoch, its_first, owner = struct.unpack(">4sII8s", header[:20])
    return owner if (magic, its_epoch, its_first) == (MAGIC, epoch, first) else None


def _admit(journal, owner, epoch, first):
    """Put one segment into its run, if it is whole and ours. Returns 1 if it is another node's, else 0."""
    path = journal.path(epoch, first)
    with open(path, "rb") as segment:
        its_owner = unpack_header(segment.read(HEADER_LEN), epoch, first)
    if its_owner is None:
        os.remove(path)
        return 0
    if its_owner != owner:
        return 1
    run = journal.run(epoch)
    if run is None:
        run = Run(epoch)
        run.base = first
        journal.runs.append(run)
    run.firsts.append(first)
    return 0


def _find_end(journal, run):
    run.end = run.firsts[-1]
    damaged_before = journal.records_damaged
    for entry in journal.segment_entries(run.epoch, run.firsts[-1]):
        run.end = entry.seq + 1
        run.last_boot = max(run.last_boot, entry.boot)
    run.is_torn = journal.records_damaged > damaged_before
