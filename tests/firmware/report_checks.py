"""What a node sends next, and what it makes of answers. Run under MicroPython by test_rules."""

from drivers.link import frame as frames
from drivers.link.ack import pack_ack
from drivers.link.pack import JOURNAL_DAMAGED, JOURNAL_FULL
from tests.firmware.judge import ADDRESS, ROOT, Judge
from tests.firmware.report_bench import Bench


def frames_are_full_until_the_first_ack_of_a_boot():
    bench = Bench()
    for _ in range(3):
        bench.measure()
        parsed, ack = bench.send()
        assert parsed.is_full
    assert bench.reporter.take_downlink(ack)
    bench.measure()
    assert not bench.exchange().is_full
    bench.boot()
    bench.measure()
    assert bench.exchange().is_full
    bench.measure()
    assert not bench.exchange().is_full


def every_16th_frame_of_an_unanswered_run_is_full():
    bench = Bench()
    bench.measure()
    bench.exchange()
    bench.measure()
    assert [bench.send()[0].is_full for _ in range(33)] == ([False] * 15 + [True]) * 2 + [False]


def frames_are_full_again_16384_counters_or_sequences_after_the_last_ack():
    for field in ("acked_counter", "acked_seq"):
        bench = Bench()
        bench.measure()
        bench.exchange()
        bench.measure()
        setattr(bench.state, field, -16_382)
        assert not bench.send()[0].is_full
        setattr(bench.state, field, -16_384)
        assert bench.send()[0].is_full


def a_frame_is_never_longer_than_the_bearer_takes():
    for max_frame in (96, 120, 255):
        bench = Bench(max_frame=max_frame)
        bench.measure(60)
        longest = 0
        while bench.reporter.has_unsent():
            frame = bench.reporter.next_frame()
            longest = max(longest, len(frame))
            assert len(frame) <= max_frame
            assert bench.reporter.take_downlink(bench.judge.take(frame))
        assert longest > max_frame - 16
        assert len(bench.judge.reports) == 60


def a_lost_ack_costs_a_new_frame_around_the_same_sequences():
    bench = Bench()
    bench.measure()
    first, _ = bench.send()
    bench.measure()
    second, ack = bench.send()
    assert second.counter == first.counter + 1
    assert [report.seq for report in bench.judge.bodies[-1].reports] == [0, 1]
    assert bench.judge.repeats == 1
    assert bench.reporter.take_downlink(ack)
    assert bench.reporter.next_frame() is None


def what_the_bitmap_holds_is_not_sent_again():
    bench = Bench()
    bench.measure(8)
    parsed = frames.parse(bench.reporter.next_frame())
    ack = bench.answer(parsed.counter, pack_ack(1, 0b1011, wide=True))  # all but 1, 4, 6, 7
    assert bench.reporter.take_downlink(ack)
    bench.judge.session = (1, 0)
    bench.judge.highest[1] = 7
    bench.send()
    assert [report.seq for report in bench.judge.bodies[-1].reports] == [1, 4, 6, 7]
    assert bench.judge.bodies[-1].floor == 1


def an_older_ack_takes_nothing_back():
    bench = Bench()
    bench.measure()
    _, first_ack = bench.send()
    bench.measure()
    _, second_ack = bench.send()
    late = first_ack
    assert bench.reporter.take_downlink(second_ack)
    bench.refuses(late, "replayed")  # its downlink counter lies below the accepted one
    assert bench.archive.count_held() == 0


def acks_that_are_not_ours_change_nothing():
    bench = Bench()
    bench.measure(3)
    parsed, good = bench.send()
    counter = parsed.counter
    body = pack_ack(3, 0, wide=True)
    bench.refuses(b"", "truncated")
    bench.refuses(good[:-1], "bad_tag")
    bench.refuses(bytes(bytearray(good[:-1]) + bytes([good[-1] ^ 1])), "bad_tag")
    bench.refuses(bytes([good[0], good[1] ^ 1]) + good[2:], "not_mine")
    bench.refuses(bench.answer(counter, body, root=b"\x08" * 32), "bad_tag")
    bench.refuses(bench.answer(counter + 1, body), "unasked")
    bench.refuses(bench.answer(counter, body, full=False), "unasked")  # the uplink was FULL
    bench.refuses(bench.reporter.next_frame(), "wrong_direction")
    assert bench.reporter.take_downlink(good)
    bench.refuses(good, "replayed")


def an_ack_of_what_was_never_issued_is_refused():
    for body in (pack_ack(4, 0, wide=True), pack_ack(3, 1, wide=True), pack_ack(0, 0b100, wide=True)):
        bench = Bench()
        bench.measure(3)
        parsed, _ = bench.send()
        bench.refuses(bench.answer(parsed.counter, body), "bad_sequence")
    bench = Bench()
    bench.measure(3)
    parsed, _ = bench.send()
    bench.refuses(bench.answer(parsed.counter, pack_ack(0, 0, wide=True, epoch=9)), "bad_sequence")


def each_uplink_takes_one_answer_and_the_last_eight_are_remembered():
    bench = Bench()
    bench.measure()
    answers = [bench.send()[1] for _ in range(10)]
    bench.refuses(answers[0], "unasked")
    bench.refuses(answers[1], "unasked")
    assert bench.reporter.take_downlink(answers[2])
    counter = bench.reporter.sent[-1][0]
    assert bench.reporter.take_downlink(bench.answer(counter, pack_ack(1, 0, wide=True)))
    bench.refuses(bench.answer(counter, pack_ack(1, 0, wide=True)), "replayed")


def an_ack_from_before_a_reboot_is_refused():
    bench = Bench()
    bench.measure()
    _, ack = bench.send()
    bench.boot()
    bench.measure()
    bench.refuses(ack, "unasked")
    bench.send()
    bench.refuses(ack, "bad_tag")  # the low bits of the counter are those of the uplink it answered


def reports_of_an_older_boot_go_with_its_number_and_clock():
    bench = Bench()
    bench.measure(2)
    older = bench.settings.boot
    bench.boot()
    bench.measure(2)
    bench.exchange()
    body = bench.judge.bodies[-1]
    assert (body.older_boot, [(report.seq, report.uptime_s) for report in body.reports]) == (older, [(0, 10), (1, 20)])
    bench.exchange()
    body = bench.judge.bodies[-1]
    assert (body.older_boot, [report.seq for report in body.reports]) == (None, [2, 3])
    assert bench.reporter.next_frame() is None


def an_alarm_overtakes_the_backlog_until_it_is_acknowledged():
    bench = Bench()
    bench.measure(40)
    alarm = bench.measure()
    bench.reporter.mark_urgent(alarm)
    bench.measure(3)
    parsed, _ = bench.send()
    assert parsed.kind == frames.URGENT
    body = bench.judge.bodies[-1]
    assert ([report.seq for report in body.reports], body.floor) == ([alarm], 0)
    parsed, ack = bench.send()
    assert parsed.kind == frames.URGENT
    assert bench.reporter.take_downlink(ack)  # its bitmap does not reach the alarm above the backlog
    assert not bench.reporter.has_urgent
    assert bench.send()[0].kind == frames.REPORT
    while bench.reporter.has_unsent():
        bench.exchange()
    assert len(bench.judge.reports) == 44


def a_full_journal_gives_up_the_oldest_and_says_so_until_acknowledged():
    bench = Bench(cap=32, segment_records=4)
    bench.measure(50)
    assert bench.archive.count_held() <= 32
    given_up = bench.archive.reports_given_up
    assert given_up == 50 - bench.archive.count_held()
    bench.send()
    body = bench.judge.bodies[-1]
    assert (body.lost, body.lost_reason, body.floor, body.seq) == (given_up, JOURNAL_FULL, given_up, given_up)
    bench.boot()  # the loss outlives a power cut
    bench.send()
    body = bench.judge.bodies[-1]
    assert (body.lost, body.lost_reason, body.floor) == (given_up, JOURNAL_FULL, given_up)
    bench.measure(20)  # and grows while nobody hears of it
    more = bench.archive.reports_given_up
    bench.exchange()
    assert bench.judge.bodies[-1].floor == given_up + more
    assert bench.judge.bodies[-1].lost == given_up + more
    bench.measure()
    bench.exchange()
    assert bench.judge.bodies[-1].lost == 0
    assert set(bench.judge.lost.values()) == {JOURNAL_FULL}


def a_damaged_record_is_declared_lost_and_blocks_nothing():
    from tests.firmware.journal_checks import damage

    bench = Bench(segment_records=8)
    bench.measure(6)
    damage("/node/journal/00000001-00000000", 24 + 2 * 30 + 20)
    while bench.reporter.has_unsent():
        bench.exchange()
        bench.measure()
        if bench.judge.base(1) > 7:
            break
    assert bench.judge.lost == {(1, 2): JOURNAL_DAMAGED}


def a_gateway_with_a_new_database_gets_what_flash_holds_and_hears_of_the_rest():
    bench = Bench(segment_records=8)
    for _ in range(30):
        bench.measure()
        bench.exchange()
    before = dict(bench.judge.reports)
    bench.judge = Judge(ROOT)
    bench.judge.down_counter = 1000
    bench.judge.session = (1, 0)
    bench.judge.highest[1] = 29
    bench.measure()
    for _ in range(8):
        if bench.reporter.has_unsent():
            bench.exchange()
    assert not bench.reporter.has_unsent()
    assert bench.judge.base(1) == 31
    assert sorted(seq for _, seq in bench.judge.lost) == list(range(24))
    assert all(before[number] == bench.judge.reports[number] for number in before if number in bench.judge.reports)


def a_closed_epoch_goes_first_under_its_old_ids_then_its_end_is_told():
    bench = Bench()
    bench.measure(3)
    bench.settings.take_seq()  # reserved, and the power goes before it is written
    bench.boot()
    assert (bench.settings.epoch, bench.settings.next_seq) == (2, 0)
    bench.measure()
    parsed = bench.exchange()
    body = bench.judge.bodies[-1]
    assert (parsed.is_full, parsed.epoch, body.epoch, body.epochs_opened) == (True, 2, 1, ())
    assert [report.seq for report in body.reports] == [0, 1, 2]
    bench.send()
    body = bench.judge.bodies[-1]
    assert (body.epoch, list(body.epochs_opened), body.reports[0].seq) == (None, [(1, 4, False)], 0)
    bench.exchange()
    assert list(bench.judge.bodies[-1].epochs_opened) == [(1, 4, False)]  # until it is acknowledged
    bench.measure()
    bench.exchange()
    assert bench.judge.bodies[-1].epochs_opened == ()
    assert bench.judge.lost == {(1, 3): "epoch ended"}


def more_closed_epochs_than_a_frame_can_name_are_told_one_after_the_other():
    bench = Bench(max_frame=96)
    for _ in range(12):
        bench.settings.take_seq()
        bench.boot()
    assert bench.settings.epoch == 13
    for _ in range(12):
        bench.measure()
        bench.exchange()
    assert sorted(bench.judge.endings) == list(range(1, 13))
    assert bench.settings.untold() == []


def a_self_describing_report_fits_the_smallest_frame_with_all_extensions():
    bench = Bench(max_frame=96, cap=32, segment_records=4)
    values = [["temperature", "Cel", -2, -(1 << 31)]]
    for _ in range(40):
        bench.clock.pass_s(10)
        bench.archive.add(bench.settings.boot, bench.uptime.nearest_s(), 31, values)
    bench.settings.take_seq()
    bench.boot()
    bench.measure()
    for _ in range(60):
        if bench.reporter.has_unsent():
            bench.exchange()
    assert not bench.reporter.has_unsent()
    assert "out_of_range" not in bench.reporter.counters
    first = bench.judge.bodies[0]
    assert (first.older_boot, first.epoch, first.lost > 0) == (1, 1, True)


def nothing_to_say_is_nothing_sent():
    bench = Bench()
    assert bench.reporter.next_frame() is None
    assert bench.nvs.entries["counter"] == 0


def the_address_is_the_enrolled_one():
    bench = Bench()
    bench.measure()
    assert bench.send()[0].address == ADDRESS


def several_alarms_go_one_by_one_and_an_acknowledged_one_is_not_repeated():
    bench = Bench()
    bench.measure(3)
    alarms = [bench.measure() for _ in range(3)]
    for alarm in alarms:
        bench.reporter.mark_urgent(alarm)
    sent = []
    while bench.reporter.has_urgent:
        if bench.exchange().kind == frames.URGENT:
            sent.append(bench.judge.bodies[-1].reports[0].seq)
    assert sent == alarms
    bench.exchange()
    assert bench.reporter.next_frame() is None


def an_alarm_the_journal_gave_up_holds_nothing_up():
    bench = Bench(cap=32, segment_records=4)
    bench.reporter.mark_urgent(bench.measure())
    bench.measure(60)
    assert bench.exchange().kind == frames.REPORT
    assert not bench.reporter.has_urgent
