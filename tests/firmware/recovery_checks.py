"""The start: a new boot or the rest of one that slept, and RTC memory that may hold anything. Run by test_rules."""

from firmware.archive import Archive, advance
from firmware.enrol import enrol
from firmware.journal import Entry
from firmware.journal_scan import open_journal
from firmware.leaving import leave, take_up
from firmware.recovery import begin_boot, close_what_disagrees, load_state, resume
from firmware.rtc import RtcState
from firmware.settings import COUNTER_BLOCK
from tests.firmware.bench import Flash, Supply, enrolled, settings_of
from tests.firmware.judge import ADDRESS, NODE_ID


class Memory:
    """machine.RTC().memory."""

    def __init__(self, data=b""):
        self.data = data

    def __call__(self, data=None):
        if data is None:
            return self.data
        self.data = bytes(data)


def opened(records=()):
    """A journal on fresh flash with these (epoch, seq, boot)."""
    Flash(Supply()).mount()
    journal, _ = open_journal("/node/journal", b"ownerown", segment_records=8)
    for epoch, seq, boot in records:
        journal.append(epoch, Entry(seq, boot, 10, 4, (1,)))
    return journal


def asleep(nvs, memory, **changes):
    """Leave in `memory` what a node leaves that used three counters of its first block."""
    settings = settings_of(nvs)
    settings.boot = 1
    settings.write_u32("boot", 1)
    for _ in range(3):
        settings.take_counter()
    state = RtcState(memory)
    for name, value in {
        "epoch": settings.epoch,
        "boot": 1,
        "next_counter": 3,
        "counter_end": COUNTER_BLOCK,
        "asleep_s": 60,
        "uptime_s": 1000,
        "uptime_ms": 250,
        "acked_base": 2,
    }.items():
        setattr(state, name, changes.get(name, value))
    state.airtime = b"airtime"
    state.save()


def woken(nvs, memory, *, slept_ms=60_000, records=((1, 0, 1), (1, 1, 1), (1, 2, 1))):
    """(uptime_ms or None, settings, state, journal) as a waking finds them."""
    settings, journal = settings_of(nvs), opened(records)
    state, is_found = load_state(memory)
    uptime_ms = resume(settings, journal, state, slept_ms) if is_found else None
    return uptime_ms, settings, state, journal


def a_waking_goes_on_at_the_exact_counter_and_clock():
    nvs, memory = enrolled(), Memory()
    asleep(nvs, memory)
    uptime_ms, settings, state, journal = woken(nvs, memory)
    assert uptime_ms == 1_060_250
    assert settings.take_counter() == 3
    assert journal.run(1).base == 2
    assert state.airtime == b"airtime"


def memory_of_another_time_is_not_resumed():
    for changes in (
        {"epoch": 2},
        {"boot": 7},
        {"counter_end": 2 * COUNTER_BLOCK},
        {"next_counter": COUNTER_BLOCK + 1},
        {"asleep_s": 1_000_000, "boot": 0},
    ):
        nvs, memory = enrolled(), Memory()
        asleep(nvs, memory, **changes)
        uptime_ms, settings, _, _ = woken(nvs, memory)
        assert uptime_ms is None, changes
        assert settings.take_counter() == COUNTER_BLOCK


def a_sleep_of_another_length_than_planned_is_not_resumed():
    for slept_ms, is_resumed in ((-1, False), (0, True), (60_000, True), (127_000, True), (128_000, False)):
        nvs, memory = enrolled(), Memory()
        asleep(nvs, memory)
        assert (woken(nvs, memory, slept_ms=slept_ms)[0] is not None) == is_resumed, slept_ms


def an_ack_state_beyond_the_journal_is_not_taken():
    nvs, memory = enrolled(), Memory()
    asleep(nvs, memory, acked_base=9)
    assert woken(nvs, memory)[3].run(1).base == 0


def the_same_memory_is_never_resumed_twice():
    nvs, memory = enrolled(), Memory()
    asleep(nvs, memory)
    assert woken(nvs, memory)[0] is not None
    assert woken(nvs, memory)[0] is None


def an_older_copy_left_by_a_torn_write_is_not_resumed():
    nvs, memory = enrolled(), Memory()
    asleep(nvs, memory)
    _, settings, state, _ = woken(nvs, memory)
    settings.take_counter()
    state.boot, state.next_counter = settings.boot, settings.next_counter
    state.save()
    spoilt = bytearray(memory.data)
    spoilt[len(spoilt) // 2 + 60] ^= 1  # the copy with the odd sequence is the second one
    spoilt_first = bytearray(memory.data)
    spoilt_first[60] ^= 1
    for data in (spoilt, spoilt_first):
        uptime_ms, settings, _, _ = woken(nvs, Memory(bytes(data)))
        assert uptime_ms is None or settings.take_counter() == 4


def memory_that_holds_anything_is_empty():
    for data in (b"", bytes(10), bytes(2048), b"\xff" * 2048, bytes(range(256)) * 8, b"LPR1" * 512):
        state, is_found = load_state(Memory(data))
        assert not is_found
        assert (state.epoch, state.boot, state.airtime) == (0, 0, b"")


def any_flipped_bit_costs_the_copy_it_is_in():
    memory = Memory()
    asleep(enrolled(), memory)
    for at in range(len(memory.data)):
        data = bytearray(memory.data)
        data[at] ^= 0x10
        state, is_found = load_state(Memory(bytes(data)))
        if is_found:
            assert (state.next_counter, state.uptime_s, state.airtime) == (3, 1000, b"airtime")


def a_new_boot_is_numbered_above_nvs_and_journal_and_keeps_only_the_airtime():
    for before, in_journal, wanted in ((0, 0, 1), (1, 0, 2), (4, 9, 10), (9, 4, 10)):
        nvs, memory = enrolled(), Memory()
        asleep(nvs, memory)
        nvs.entries["boot"] = before
        settings, (state, _) = settings_of(nvs), load_state(memory)
        begin_boot(settings, opened([(1, 0, in_journal)]), state)
        assert settings.boot == wanted == nvs.entries["boot"]
        assert (state.uptime_s, state.acked_base, state.airtime) == (0, 0, b"airtime")


# journal's records as (epoch, seq), NVS epoch and next sequence -> epoch to go on in, closed epochs (epoch, end)
STARTS = (
    ((), 1, 0, 1, ()),  # just enrolled
    (((1, 0), (1, 1)), 1, 2, 1, ()),  # intact
    (((1, 0), (1, 1)), 1, 3, 2, ((1, 3),)),  # cut between reserving and writing, or a restored image
    (((1, 0), (1, 1)), 1, 1, 2, ((1, 2),)),  # impossible, so damaged
    ((), 1, 5, 2, ((1, 5),)),  # flash erased
    (((1, 0),), 3, 0, 3, ((1, 1),)),  # NVS erased and enrolled again
    (((1, 0),), 3, 2, 4, ((1, 1), (3, 2))),  # and flash restored from before that
    (((5, 0), (7, 0)), 3, 0, 8, ((3, 0), (5, 1), (7, 1))),  # enrolled with an epoch that is too low
    (((3, 0),), 3, 0, 4, ((3, 1),)),  # enrolled with the epoch that flash holds
)


def flash_and_nvs_that_disagree_close_the_epoch():
    for records, epoch, next_seq, goes_on_in, closed in STARTS:
        nvs = enrolled(epoch=epoch)
        nvs.set_i32("seq", next_seq)
        settings = settings_of(nvs)
        told = close_what_disagrees(settings, opened([(of, seq, 1) for of, seq in records]))
        again = settings_of(nvs)
        assert (again.epoch, again.next_seq) == (goes_on_in, next_seq if goes_on_in == epoch else 0), records
        assert tuple((of, end) for of, end, _ in again.untold()) == closed, (records, again.untold())
        assert bool(told) == (goes_on_in != epoch)


def closing_an_epoch_cut_at_any_write_is_finished_at_the_next_start():
    from tests.firmware.bench import PowerCut

    for cut_at in range(1, 6):
        supply = Supply()
        nvs = enrolled(supply)
        nvs.set_i32("seq", 5)
        supply.cut_after(cut_at)
        try:
            close_what_disagrees(settings_of(nvs), opened())
        except PowerCut:
            pass
        supply.restore()
        settings = settings_of(nvs)
        close_what_disagrees(settings, opened())
        assert (settings.epoch, settings.next_seq, settings.untold()) == (2, 0, [(1, 5, False)]), cut_at


class Left:
    """The parts that a boot leaves behind which looks for another gateway."""

    def __init__(self, settings, journal):
        self.settings = settings
        self.archive = Archive(settings, journal, cap=100)


def left(*, acked, moves_to=2):
    """Sequences 0 to 19 of epoch 1 in segments of 8, so many acknowledged; the node left, joined, is in a new epoch."""
    nvs, journal = enrolled(), opened([(1, seq, 1) for seq in range(20)])
    settings = settings_of(nvs)
    settings.write_u32("seq", 20)
    settings.next_seq = 20
    advance(journal.run(1), acked)
    leave(Left(settings, journal))
    if moves_to > 1:
        enrol(nvs, key=b"\x07" * 32, address=ADDRESS, node_id=NODE_ID, epoch=moves_to)
    again, _ = open_journal("/node/journal", b"ownerown", segment_records=8)
    assert again.run(1).base == 0  # flash does not say what was acknowledged
    return nvs, again


def unsent(nvs, journal):
    settings = settings_of(nvs)
    close_what_disagrees(settings, journal)
    take_up(nvs, settings, journal)
    archive = Archive(settings, journal, cap=100)
    run = archive.next_run()
    return archive, [entry.seq for entry in archive.unsent(run)] if run else []


def check_what_one_gateway_has_is_not_sent_to_another():
    nvs, journal = left(acked=17)
    assert unsent(nvs, journal)[1] == [17, 18, 19]


def check_an_epoch_that_was_acknowledged_whole_is_drained_after_a_move():
    nvs, journal = left(acked=20)
    archive, seqs = unsent(nvs, journal)
    assert seqs == []
    assert [epoch for epoch, _, _ in archive.endings(3)] == [1]


def check_a_node_that_found_no_other_gateway_sends_what_was_not_acknowledged():
    nvs, journal = left(acked=17, moves_to=1)
    assert unsent(nvs, journal)[1] == [17, 18, 19]


def check_what_was_acknowledged_to_another_identity_means_nothing():
    nvs, journal = left(acked=17)
    settings = settings_of(nvs)
    settings.write("set_blob", "id", b"urn:dev:os:32473-another")
    assert unsent(nvs, journal)[1][0] == 0


def check_an_older_flash_image_is_sent_as_a_whole():
    nvs, _ = left(acked=17)
    journal = opened([(1, seq, 1) for seq in range(5)])
    assert unsent(nvs, journal)[1] == [0, 1, 2, 3, 4]
