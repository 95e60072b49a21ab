"""Records in their shortest form, while tens of thousands of them wait: by columns, and not with their pages."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from gateway.reading import DIGEST_BYTES, Single
from gateway.row import DIGEST, Columns, Row

IN_COLUMNS_BYTES = 70  # of memory for each
_MOST_WHOLE = 1 << 53  # as a float it is still the same number


class Singles:
    """Of one node, oldest first.

    ids        as of a Stored
    values     all as floats; are_whole says which are not
    digests    of the record ids, one after the other
    """

    __slots__ = ("are_whole", "digests", "ids", "quantities", "times", "units", "values")

    def __init__(self) -> None:
        self.ids = array("Q")
        self.quantities: list[str] = []
        self.units: list[str | None] = []
        self.values = array("d")
        self.are_whole = bytearray()
        self.times = array("d")
        self.digests = bytearray()

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def takes(single: Single) -> bool:
        """Whether its value can be here."""
        value = single[3]
        return isinstance(value, float) or -_MOST_WHOLE <= value <= _MOST_WHOLE

    def add(self, id: int, single: Single) -> int:
        """One more, behind the others. Returns the bytes of memory that it takes, roughly."""
        _, quantity, unit, value, time_s, digest = single
        self.ids.append(id)
        self.quantities.append(quantity)
        self.units.append(unit)
        self.values.append(value)
        self.are_whole.append(isinstance(value, int))
        self.times.append(time_s)
        self.digests += digest
        return IN_COLUMNS_BYTES

    def part(self, at: int, end: int) -> Singles:
        """Those from `at` to `end`."""
        made = Singles()
        made.ids, made.quantities, made.units = self.ids[at:end], self.quantities[at:end], self.units[at:end]
        made.values, made.are_whole = self.values[at:end], self.are_whole[at:end]
        made.times, made.digests = self.times[at:end], self.digests[at * DIGEST_BYTES : end * DIGEST_BYTES]
        return made

    def fill(self, columns: Columns) -> None:
        """Put them behind what is there."""
        columns.quantities.extend(self.quantities)
        columns.units.extend(self.units)
        columns.values.extend(self._numbers())
        columns.times.extend(self.times)
        columns.digests.append(bytes(self.digests))

    def rows(self, node: str) -> Iterator[tuple[int, Row]]:
        """Each as a row of one."""
        texts = zip(self.quantities, self.units, self._numbers(), self.times, strict=True)
        digests = DIGEST.iter_unpack(self.digests)
        for id, (quantity, unit, value, time_s), (digest,) in zip(self.ids, texts, digests, strict=True):
            yield id, Row(node, quantity, unit, (value,), (time_s,), digest)

    def _numbers(self) -> list[float | int]:
        if not any(self.are_whole):
            return self.values.tolist()
        return [int(value) if whole else value for value, whole in zip(self.values, self.are_whole, strict=True)]
