"""Sequence state against a plain set: exact for any order, any holes, any floor."""

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.link.ack import bitmap
from gateway.sequences import Sequence

SEQ = st.integers(0, 60)
STEP = st.one_of(st.tuples(st.just("add"), SEQ), st.tuples(st.just("floor"), SEQ))


class Model:
    """The same by a set of what is stored and a set of what was declared lost."""

    def __init__(self) -> None:
        self.stored: set[int] = set()
        self.lost: set[int] = set()

    @property
    def base(self) -> int:
        seq = 0
        while seq in self.stored or seq in self.lost:
            seq += 1
        return seq

    def raise_floor(self, floor: int) -> set[int]:
        missing = {seq for seq in range(floor) if seq not in self.stored and seq not in self.lost}
        self.lost |= missing
        return missing


@settings(max_examples=400)
@given(st.lists(STEP, max_size=80))
def test_base_bitmap_and_gaps_equal_those_of_a_set(steps):
    sequence, model = Sequence(), Model()
    for what, seq in steps:
        if what == "add":
            assert sequence.add(seq) is (
                seq not in model.stored
            )  # also one that was declared lost, and comes after all
            model.stored.add(seq)
            model.lost.discard(seq)
        else:
            missing = {seq for first, end in sequence.raise_floor(seq) for seq in range(first, end)}
            assert missing == model.raise_floor(seq)
        assert sequence.base == model.base
        assert all((seq in sequence) == (seq in model.stored) for seq in range(80))
        known = model.stored | model.lost
        assert bitmap(sequence.base, sequence) == bitmap(model.base, known)
        assert sequence.highest == max(known, default=-1)


@given(st.sets(st.integers(0, 400)), st.integers(0, 300))
def test_stored_form_gives_the_same_sequence_back(seqs, floor):
    sequence = Sequence()
    for seq in seqs:
        sequence.add(seq)
    sequence.raise_floor(floor)
    again = Sequence.from_row(*sequence.to_row())
    assert (again.to_row(), again.highest) == (sequence.to_row(), sequence.highest)


def test_every_second_report_of_a_full_journal_fits_and_more_is_refused_before_anything_changes():
    sequence = Sequence()
    for seq in range(1, 32_000, 2):
        assert sequence.has_room(64)
        sequence.add(seq)
    assert len(sequence.to_row()[1]) == 8 * 16_000
    for seq in range(32_001, 33_000, 2):
        if not sequence.has_room(1):
            break
        sequence.add(seq)
    assert not sequence.has_room(1)
