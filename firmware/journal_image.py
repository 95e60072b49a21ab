"""The journal in a flash image, read on the host: what was issued, and the entries. A node never loads it."""

from firmware.journal import HEADER_LEN, unpack_record
from firmware.journal_scan import parse_name, unpack_header


def issued(files):
    """What a flash image says was issued: {epoch: (oldest sequence still there, end)}.

    files  {name: content} of the journal's folder; other names are passed over
    """
    ranges = {}
    for name in sorted(files):
        place = parse_name(name)
        if place is None or unpack_header(files[name], place[0], place[1]) is None:
            continue
        epoch, first = place
        end = first
        for entry in records(files[name]):
            end = entry.seq + 1
        ranges[epoch] = (ranges[epoch][0] if epoch in ranges else first, end)
    return ranges


def records(segment):
    """The entries in the bytes of one segment, damaged ones left out."""
    entries = []
    at = HEADER_LEN
    while at < len(segment):
        end = at + 1 + segment[at] + 4
        entry = unpack_record(segment[at:end]) if end <= len(segment) else None
        if entry is not None:
            entries.append(entry)
        at = end
    return entries
