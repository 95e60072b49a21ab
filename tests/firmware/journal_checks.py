"""The journal's files, cut, damaged and deleted. Run under MicroPython by test_rules; also on 32 bits and CPython."""

import os

from firmware.journal import Entry
from firmware.journal_image import issued, records
from firmware.journal_scan import open_journal

OWNER = b"ownerown"


def fresh(folder):
    """An empty folder."""
    try:
        for name in os.listdir(folder):
            os.remove(folder + "/" + name)
        os.rmdir(folder)
    except OSError:
        pass
    return folder


def entry(seq, *, boot=1, schema=3, values=None):
    return Entry(seq, boot, 1000 + 10 * seq, schema, values or (-4000 + seq, 5000, 101325, 1, 2, 70000))


def written(folder, count, *, segment_records=8, epoch=1, first=0):
    journal, _ = open_journal(fresh(folder) if epoch == 1 else folder, OWNER, segment_records=segment_records)
    for seq in range(first, first + count):
        journal.append(epoch, entry(seq))
    return journal


def opened(folder):
    return open_journal(folder, OWNER, segment_records=8)[0]


def seqs(journal, epoch, first=0):
    run = journal.run(epoch)
    return [] if run is None else [kept.seq for kept in journal.entries(run, first)]


def damage(path, at, mask=0x40):
    """Flip one bit of a file."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[at] ^= mask
    with open(path, "wb") as file:
        file.write(data)


def cut(path, length):
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data[:length])
    return len(data)


def what_was_appended_is_there_after_a_restart(folder):
    journal = written(folder, 20)
    for reader in (journal, opened(folder)):
        run = reader.run(1)
        assert (run.firsts, run.end, run.last_boot) == ([0, 8, 16], 20, 1)
        kept = list(reader.entries(run, 0))
        assert [report.seq for report in kept] == list(range(20))
        assert kept[7].values == (-3993, 5000, 101325, 1, 2, 70000)
        assert (kept[7].boot, kept[7].time_s, kept[7].schema) == (1, 1070, 3)
        assert seqs(reader, 1, 13) == [13, 14, 15, 16, 17, 18, 19]


def numbers_up_to_u32_and_self_describing_values_survive(folder):
    journal = opened(fresh(folder))
    high = 0xFFFFFFF0
    values = [["temperature", "Cel", -2, -123456], ["count", "/", 0, 1 << 40]]
    journal.append(high, Entry(high, high, high, 31, values))
    journal.append(high, Entry(high + 1, high, high, 4, (-32768,)))
    run = opened(folder).run(high)
    kept = list(opened(folder).entries(run, high))
    assert [list(value) for value in kept[0].values] == values
    assert (kept[0].seq, kept[0].boot, kept[0].time_s, kept[1].values) == (high, high, high, (-32768,))


def a_tail_torn_at_any_byte_costs_only_itself(folder):
    record_len = 14 + 24 + 4
    for missing in range(1, record_len + 1):
        written(folder, 3)
        cut(folder + "/00000001-00000000", 24 + 3 * record_len - missing)
        journal = opened(folder)
        assert seqs(journal, 1) == [0, 1], missing
        assert journal.run(1).end == 2
        journal.append(1, entry(3))  # 2 was reserved: it is not used again
        assert seqs(journal, 1) == [0, 1, 3]
        assert seqs(opened(folder), 1) == [0, 1, 3]


def a_segment_cut_in_its_header_is_deleted(folder):
    for length in (0, 1, 23):
        written(folder, 9)
        cut(folder + "/00000001-00000008", length)
        assert opened(folder).run(1).end == 8
        assert len(os.listdir(folder)) == 1


def one_flipped_bit_costs_one_record(folder):
    for byte in range(1, 42):  # any but the length, which costs the rest of its segment
        written(folder, 10)
        damage(folder + "/00000001-00000000", 24 + 3 * 42 + byte)
        assert seqs(opened(folder), 1) == [0, 1, 2, 4, 5, 6, 7, 8, 9], byte


def a_flipped_length_costs_at_most_the_rest_of_its_segment(folder):
    for bit in range(8):
        written(folder, 10)
        damage(folder + "/00000001-00000000", 24 + 3 * 42, 1 << bit)
        kept = seqs(opened(folder), 1)
        assert (kept[:3], kept[-2:]) == ([0, 1, 2], [8, 9])
        assert kept == sorted(set(kept))


def another_nodes_journal_is_kept_and_not_ours(folder):
    written(folder, 5)
    journal, foreign = open_journal(folder, b"stranger")
    assert journal.runs == []
    assert foreign == 1
    assert seqs(opened(folder), 1) == [0, 1, 2, 3, 4]


def other_files_are_passed_over(folder):
    written(folder, 2)
    for name in ("notes.txt", "00000001-0000000", "0000000x-00000000", "00000001_00000000"):
        with open(folder + "/" + name, "w") as file:
            file.write("x")
    journal, foreign = open_journal(folder, OWNER)
    assert (seqs(journal, 1), foreign) == ([0, 1], 0)


def trimming_deletes_whole_segments_and_keeps_the_last(folder):
    journal = written(folder, 20)
    for base, firsts in ((7, [0, 8, 16]), (8, [8, 16]), (15, [8, 16]), (20, [16])):
        journal.trim(journal.run(1), base, keep_last=True)
        assert opened(folder).run(1).firsts == firsts == journal.run(1).firsts
    assert opened(folder).run(1).end == 20
    journal.trim(journal.run(1), 20, keep_last=False)
    assert (os.listdir(folder), journal.runs) == ([], [])


def epochs_are_kept_apart_and_oldest_first(folder):
    written(folder, 3)
    journal = opened(folder)
    journal.append(2, entry(0, boot=5))
    journal.append(10, entry(0, boot=4))
    journal = opened(folder)
    assert [(run.epoch, run.end, run.last_boot) for run in journal.runs] == [(1, 3, 1), (2, 1, 5), (10, 1, 4)]


def a_hole_in_the_sequences_is_a_hole(folder):
    journal = opened(fresh(folder))
    for seq in (0, 1, 5, 6, 20):
        journal.append(1, entry(seq))
    assert seqs(opened(folder), 1) == [0, 1, 5, 6, 20]


def the_host_reads_the_same_files(folder):
    journal = written(folder, 20)
    journal.append(4, entry(0))
    journal.trim(journal.run(1), 9, keep_last=True)
    files = {}
    for name in os.listdir(folder):
        with open(folder + "/" + name, "rb") as file:
            files[name] = file.read()
    files["notes.txt"] = b"x"
    assert issued(files) == {1: (8, 20), 4: (0, 1)}
    assert [kept.seq for kept in records(files["00000001-00000008"])] == list(range(8, 16))


CHECKS = (
    what_was_appended_is_there_after_a_restart,
    numbers_up_to_u32_and_self_describing_values_survive,
    a_tail_torn_at_any_byte_costs_only_itself,
    a_segment_cut_in_its_header_is_deleted,
    one_flipped_bit_costs_one_record,
    a_flipped_length_costs_at_most_the_rest_of_its_segment,
    another_nodes_journal_is_kept_and_not_ours,
    other_files_are_passed_over,
    trimming_deletes_whole_segments_and_keeps_the_last,
    epochs_are_kept_apart_and_oldest_first,
    a_hole_in_the_sequences_is_a_hole,
    the_host_reads_the_same_files,
)
