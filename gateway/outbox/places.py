"""Where records lie on pages, while tens of thousands of them wait: an object each would take more than they do."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

PLACE_BYTES = 60  # of memory for each, beside its bytes on a page


class Sheet(NamedTuple):
    """A page that is whole, and its table of names."""

    page: bytes
    names: Sequence[str]


class Places:
    """Of records of one node, oldest first.

    ids      as of a Stored
    sheets   the page of each
    offsets  where it begins there
    sizes    bytes in the log, less than a page each
    """

    __slots__ = ("ids", "offsets", "sheets", "sizes")

    def __init__(
        self,
        ids: Sequence[int] = (),
        sizes: Sequence[int] = (),
        sheets: Sequence[Sheet] = (),
        offsets: Sequence[int] = (),
    ) -> None:
        self.ids = array("Q", ids)
        self.sizes = array("H", sizes)
        self.sheets = list(sheets)
        self.offsets = array("H", offsets)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, id: int, size: int, sheet: Sheet, offset: int) -> int:
        """One more, behind the others. Returns the bytes of memory that it takes, roughly."""
        self.ids.append(id)
        self.sizes.append(size)
        self.sheets.append(sheet)
        self.offsets.append(offset)
        return PLACE_BYTES + size

    def part(self, at: int, end: int) -> Places:
        """Those from `at` to `end`."""
        return Places(self.ids[at:end], self.sizes[at:end], self.sheets[at:end], self.offsets[at:end])

    def rows(self) -> Iterator[tuple[int, int, Sheet, int]]:
        """Of each what was added."""
        return zip(self.ids, self.sizes, self.sheets, self.offsets, strict=True)
