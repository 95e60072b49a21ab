"""Lines: of each node, class and lane one pack on its way, in order, whatever comes when. No clock, no I/O."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.city.lines import GROUPS, LIVE, LIVE_ALARMS, OWED, OWED_ALARMS, RANKS, Lines, ranks_of
from gateway.outbox import Batch, Sheet, Stored, each_of
from gateway.outbox.frame import Frame
from gateway.outbox.page import ENTRY_BYTES, PAGE, entries_of, header_of, names_of
from gateway.outbox.ranges import joined_runs
from gateway.outbox.stored import count_of, runs_in
from gateway.reading import STREAMS, Reading
from gateway.row import Row
from tests.gateway.city.street import made

TELEMETRY = STREAMS.index("telemetry")
RANK = RANKS.index((LIVE, TELEMETRY))


def batch(nodes, first=0, *, lane="live", stream=TELEMETRY):
    numbered = enumerate(nodes, first)
    records = tuple(Stored.of(at * len(STREAMS) + stream, made(node, at)) for at, node in numbered)
    return Batch(city="city", stream=stream, lane=lane, records=records)


def row_batch(node, count, first):
    """So many records of a node, as what was just stored comes."""
    values = range(first, first + count)
    row = Row(node, "count", None, values, values, bytes(16 * count))
    records = (Stored.in_row(TELEMETRY, first, row, "none", 0.0),)
    return Batch(city="city", stream=TELEMETRY, lane="live", records=records)


def page_batch(node, values, assurance, first):
    """One record of a node for each value, as they come from the disk, and their reports."""
    frame = Frame([0, 0, first, 0])
    reports = [replace(on_disk(node, at, value), assurance=assurance) for at, value in enumerate(values, first)]
    for report in reports:
        frame.put_record(report, TELEMETRY, is_produced=False, now_s=0.0)
    data = frame.to_bytes(1, 7)
    records = []
    for at in range(0, len(data), PAGE):
        page = data[at : at + PAGE]
        sheet, base = Sheet(page, names_of(page, 7)), header_of(page).firsts[TELEMETRY]
        for _, slot, start, end in entries_of(page):
            id_ = (base + slot) * len(STREAMS) + TELEMETRY
            records.append(Stored.on_page(id_, sheet, start, ENTRY_BYTES + end - start))
    return Batch(city="city", stream=TELEMETRY, lane="live", records=tuple(records)), reports


def on_disk(node, number, value):
    """A report in its shortest form there, unless its value has none."""
    reading = Reading(quantity="count", value=value)
    report = replace(made(node, number), record_id=f"{node}/h/{number:032x}", epoch=None, seq=None)
    return replace(report, readings=(reading,))


VALUES = st.one_of(st.just(2.5), st.just(7), st.just(1 << 60), st.just("text"))
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add page"),
            st.tuples(
                st.sampled_from("abc"), st.lists(VALUES, min_size=1, max_size=30), st.sampled_from(["none", "mtls"])
            ),
        ),
        st.tuples(st.just("add row"), st.tuples(st.sampled_from("abc"), st.integers(1, 7))),
        st.tuples(st.just("add"), st.lists(st.sampled_from("abc"), min_size=1, max_size=5)),
        st.tuples(st.just("start"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["accept", "refuse"]), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
    ),
    max_size=80,
)


class Life:
    """Lines to which anything happens, and what must come of it."""

    def __init__(self):
        self.lines = Lines()
        self.now_s = 0.0
        self.stored = 0
        self.said = {}  # by ordinal, of what came from pages
        self.under_way = []
        self.accepted = {}

    def add(self, batch_, reports=()):
        self.lines.add(batch_, self.now_s)
        self.said |= enumerate(reports, self.stored)
        self.stored += count_of(batch_.records)

    def start(self, most):
        line = self.lines.first(RANK)
        if line is not None:
            self.under_way.append((line, self.lines.start(line, min(most, line.count))))
        assert len({line.node for line, _ in self.under_way}) == len(self.under_way)

    def wait(self, seconds):
        self.now_s += seconds
        self.lines.release(self.now_s)

    def accept(self, which):
        line, records = self.under_way.pop(which % len(self.under_way))
        each = each_of(records)
        assert {one.node for one in each} == {line.node}
        assert all(repr(one.report) == repr(self.said[one.ordinal]) for one in each if one.ordinal in self.said)
        assert runs_in(records) == joined_runs(one.run for one in each)
        self.accepted.setdefault(line.node, []).extend(one.ordinal for one in each)
        self.lines.finish(line, records)

    def refuse(self, which):
        line, records = self.under_way.pop(which % len(self.under_way))
        assert count_of(records) <= 3
        self.lines.put_back(line, records, until_s=self.now_s + which)

    def end(self):
        """All of it is accepted."""
        while self.under_way:
            self.accept(0)
        self.wait(10)
        while self.lines.first(RANK) is not None:
            self.start(2)
            self.accept(0)


@given(STEPS)
@settings(max_examples=300)
def test_each_line_has_one_pack_on_its_way_and_ends_in_order_with_nothing_lost(steps):
    life = Life()
    for step, value in steps:
        if step == "add":
            life.add(batch(value, life.stored))
        elif step == "add row":
            life.add(row_batch(*value, life.stored))
        elif step == "add page":
            life.add(*page_batch(*value, life.stored))
        elif step in ("start", "wait") or life.under_way:
            getattr(life, step)(value)
    life.end()
    assert sorted(one for ids in life.accepted.values() for one in ids) == list(range(life.stored))
    assert all(ids == sorted(ids) for ids in life.accepted.values())
    assert life.lines.is_empty
    assert not any(life.lines.weights)


def test_nodes_take_turns():
    lines = Lines()
    lines.add(batch("aaaabc"), 0.0)
    seen = []
    while (line := lines.first(RANK)) is not None:
        records = lines.start(line, 1)
        seen.append(line.node)
        lines.finish(line, records)
    assert seen == ["a", "b", "c", "a", "a", "a"]


def test_behind_a_refused_record_few_are_kept_and_the_rest_is_marked_to_be_read_anew():
    lines = Lines()
    lines.add(batch("a" * 10), 0.0)
    line = lines.first(RANK)
    records = lines.start(line, 10)
    lines.trouble(line, "not_authorised", 0.0)
    line.retries = 1
    lines.put_back(line, records, until_s=5.0)
    lines.add(batch("a" * 1_000 + "b", 10), 1.0)
    assert lines.held[LIVE] == line.count + 1 < 100
    assert line.has_skipped
    assert lines.skipped + lines.held[LIVE] == 1_011
    assert [one.ordinal for one in each_of(line.waiting)] == list(range(line.count))
    assert [one.node for one in lines.troubled()] == ["a"]


def test_alarms_are_ahead_of_live_and_live_ahead_of_the_backlog_by_class():
    order = [(GROUPS[group][0], STREAMS[stream]) for group, stream in (RANKS[rank] for rank in ranks_of(range(4)))]
    assert order == [
        ("live", "alarm"),
        ("backlog", "alarm"),
        *(("live", name) for name in ("event", "telemetry", "bulk")),
        *(("backlog", name) for name in ("event", "telemetry", "bulk")),
    ]
    assert ranks_of((LIVE_ALARMS, OWED_ALARMS, OWED, LIVE))[2:5] == ranks_of((OWED,))


def test_columns_are_short_enough_to_take_one_record_at_a_time_from_a_long_line():
    """What is left of columns is copied each time: of one that held all it took milliseconds."""
    lines = Lines()
    for first in range(0, 3_000, 1_000):
        records, _ = page_batch("a", [2.5] * 1_000, "none", first)
        lines.add(records, 0.0)
    line = lines.first(RANK)
    assert max(one.span for one in line.waiting) <= 128
    assert [one.ordinal for one in each_of(line.waiting)] == list(range(3_000))
    assert len(line.waiting) < 50


def test_columns_go_on_where_a_message_left_off():
    """Behind messages of one record each there would be columns of one each, which take more than objects."""
    lines = Lines()
    for number in range(200):
        records, _ = page_batch("a", [2.5] * (100 if number == 0 else 1), "none", 0 if number == 0 else 99 + number)
        lines.add(records, 0.0)
        line = lines.first(RANK)
        assert len(line.waiting) <= 10
        taken = lines.start(line, 1)
        assert [one.ordinal for one in each_of(taken)] == [number]
        lines.finish(line, taken)
