"""The journal: every report stays on flash until the gateway has it. Segment files, append only, a CRC per record.

Goes in: reports with their number. Comes out: the same reports, oldest first. Knows no NVS, no frame and no gateway;
archive puts the rules on top. Integers only; runs on MicroPython, 32-bit too, and on CPython, where journal_image reads
what a flash image holds. All integers big-endian.

  file     <epoch, 8 hex digits>-<first sequence, 8 hex digits>, e.g. 00000001-00000040
  header   "LPJ1" | epoch u32 | first sequence u32 | owner 8 bytes | CRC-32 of these 20 bytes u32
  record   length u8 of what follows up to the CRC | seq u32 | boot u32 | uptime_s u32 | schema u8 | values |
           CRC-32 of the record up to here u32.   values: i32 each; of schema 31 the CBOR that the wire carries
  owner    first 8 bytes of SHA-256 of the node id: another node's journal is kept, but is not ours to send

An append is one write and one sync. Sequences ascend; a missing one was reserved and never written. What comes after
the last whole record of a segment is a torn tail: it is skipped, and nothing is ever appended behind it. Whole segments
are deleted, from the oldest on, never the newest of the current epoch: its end is the proof that nothing is missing.
"""

import os
import struct
from binascii import crc32

from drivers.constant import const

MAGIC = b"LPJ1"
HEADER_LEN = 24
_RECORD_HEAD = ">BIIIB"
_RECORD_HEAD_LEN = const(14)
_MAX_RECORD = const(260)
_SELF_DESCRIBING = const(31)


class Entry:
    """One report as it was issued. `time_s` is the uptime of boot number `boot`."""

    def __init__(self, seq, boot, time_s, schema, values):
        self.seq = seq
        self.boot = boot
        self.time_s = time_s
        self.schema = schema
        self.values = values


class Run:
    """The segments of one epoch: first sequence of each, and the sequence after the last record."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.firsts = []
        self.end = 0
        self.last_boot = 0
        self.is_torn = False  # nothing may be appended to the last segment
        self.base = 0  # what the gateway has, as far as we know: all below, and base + i for each bit i
        self.bitmap = 0


class Journal:
    """The segments on flash of all epochs that are not drained."""

    def __init__(self, folder, owner, *, segment_records=64):
        """`owner` is 8 bytes. Nothing is read: journal_scan finds what is on flash."""
        self._folder = folder
        self._owner = owner
        self._segment_records = segment_records
        self._buf = bytearray(_MAX_RECORD)
        self.runs = []  # oldest epoch first
        self.deletes_failed = 0
        self.records_damaged = 0  # CRC wrong, skipped; counted at each reading

    def run(self, epoch):
        """The run of `epoch`, None if nothing of it is on flash."""
        for run in self.runs:
            if run.epoch == epoch:
                return run
        return None

    def append(self, epoch, entry):
        """Write one report, durable when this returns. Raises OSError (full, worn); then the sequence stays a hole."""
        run = self.run(epoch)
        if run is None:
            run = Run(epoch)
            run.base = entry.seq
            self.runs.append(run)
        is_new = not run.firsts or run.is_torn or entry.seq - run.firsts[-1] >= self._segment_records
        first = entry.seq if is_new else run.firsts[-1]
        data = pack_record(entry)
        if is_new:
            data = pack_header(epoch, first, self._owner) + data
        run.is_torn = True
        with open(self.path(epoch, first), "wb" if is_new else "ab") as segment:
            segment.write(data)
        run.is_torn = False
        if is_new:
            run.firsts.append(first)
        run.end = entry.seq + 1
        run.last_boot = entry.boot

    def entries(self, run, first):
        """Yield the entries of `run` from sequence `first` on. Close the generator, it holds a file."""
        for at in range(len(run.firsts)):
            if at + 1 == len(run.firsts) or run.firsts[at + 1] > first:
                for entry in self.segment_entries(run.epoch, run.firsts[at]):
                    if entry.seq >= first:
                        yield entry

    def trim(self, run, base, *, keep_last):
        """Delete the segments that lie wholly below `base`; the newest stays if `keep_last`."""
        while run.firsts and self._segment_end(run) <= base and not (keep_last and len(run.firsts) == 1):
            self._delete_oldest(run)
        if not run.firsts:
            self.runs.remove(run)

    def give_up_oldest(self, run):
        """Delete the oldest segment of `run`, acknowledged or not."""
        self._delete_oldest(run)
        if not run.firsts:
            self.runs.remove(run)

    def oldest_end(self, run):
        """The sequence after the last one that the oldest segment of `run` may hold."""
        return self._segment_end(run)

    def segment_entries(self, epoch, first):
        """Yield the whole records of one segment."""
        buf = memoryview(self._buf)
        with open(self.path(epoch, first), "rb") as segment:
            segment.read(HEADER_LEN)
            while True:
                if segment.readinto(buf[:1]) != 1:
                    return
                size = buf[0] + 4
                got = segment.readinto(buf[1 : size + 1])
                entry = unpack_record(buf[: size + 1]) if got == size else None
                if entry is not None:
                    yield entry
                else:
                    self.records_damaged += 1
                    if got != size:
                        return

    def _segment_end(self, run):
        return run.firsts[1] if len(run.firsts) > 1 else run.end

    def _delete_oldest(self, run):
        try:
            os.remove(self.path(run.epoch, run.firsts[0]))
        except OSError:
            self.deletes_failed += 1  # worn flash; found again at the next start, and sent again at worst
        del run.firsts[0]

    def path(self, epoch, first):
        """Where a segment is."""
        return "%s/%08x-%08x" % (self._folder, epoch, first)


def pack_header(epoch, first, owner):
    """The first 24 bytes of a segment."""
    header = struct.pack(">4sII8s", MAGIC, epoch, first, owner)
    return header + struct.pack(">I", crc32(header) & 0xFFFFFFFF)


def pack_record(entry):
    """One record, its CRC included."""
    if entry.schema == _SELF_DESCRIBING:
        from drivers.link import cbor  # rare: not worth a node's memory at other times

        values = cbor.encode(entry.values)
    else:
        values = struct.pack(">%di" % len(entry.values), *entry.values)
    record = struct.pack(
        _RECORD_HEAD, _RECORD_HEAD_LEN - 1 + len(values), entry.seq, entry.boot, entry.time_s, entry.schema
    )
    record += values
    return record + struct.pack(">I", crc32(record) & 0xFFFFFFFF)


def unpack_record(record):
    """The entry in one record (length byte to CRC), None if it is damaged."""
    end = len(record) - 4
    if end < _RECORD_HEAD_LEN or crc32(record[:end]) & 0xFFFFFFFF != struct.unpack(">I", record[end:])[0]:
        return None
    _, seq, boot, time_s, schema = struct.unpack(_RECORD_HEAD, record[:_RECORD_HEAD_LEN])
    if schema == _SELF_DESCRIBING:
        from drivers.link import cbor

        values = cbor.decode(bytes(record[_RECORD_HEAD_LEN:end]))
    else:
        values = struct.unpack(">%di" % ((end - _RECORD_HEAD_LEN) >> 2), record[_RECORD_HEAD_LEN:end])
    return Entry(seq, boot, time_s, schema, values)
