"""Readings of one device and one quantity that came right after each other: most of what a busy gateway handles.

They are kept by columns from the socket to the city, for an object or two per reading, where every step would make its
own, costs more than all that is done with them (docs/decisions/0022).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import NamedTuple

from gateway.reading import DIGEST_BYTES, Assurance, Report, Single, report_of

DIGEST = struct.Struct(f"{DIGEST_BYTES}s")


class Row(NamedTuple):
    """Records of one number each, at good times, whose ids are hashes; one at least.

    values   all float or all int
    times    UTC seconds
    digests  of the ids, 16 bytes each, one after the other
    """

    node: str
    quantity: str
    unit: str | None
    values: Sequence[float | int]
    times: Sequence[float]
    digests: bytes

    def part(self, at: int, end: int) -> Row:
        """Those from `at` to `end`."""
        node, quantity, unit, values, times, digests = self
        return Row(node, quantity, unit, values[at:end], times[at:end], digests[at * DIGEST_BYTES : end * DIGEST_BYTES])

    def those(self, wanted: Sequence[bool]) -> Row | None:
        """Those that are wanted; None if none is."""
        if all(wanted):
            return self
        values, times = list(compress(self.values, wanted)), list(compress(self.times, wanted))
        digests = b"".join(compress(self.each_digest(), wanted))
        return self._replace(values=values, times=times, digests=digests) if values else None

    def each_digest(self) -> Iterator[bytes]:
        return (digest for (digest,) in DIGEST.iter_unpack(self.digests))

    def singles(self) -> Iterator[Single]:
        """Each of them."""
        node, quantity, unit = self[:3]
        for value, time_s, digest in zip(self.values, self.times, self.each_digest(), strict=True):
            yield node, quantity, unit, value, time_s, digest

    def reports(self, assurance: Assurance) -> Iterator[Report]:
        """The same as reports."""
        return (report_of(single, assurance) for single in self.singles())


class Columns(NamedTuple):
    """Records of one node, of any quantities, on their way into a message.

    digests  of one or several each, one after the other
    """

    quantities: list[str]
    units: list[str | None]
    values: list[float | int]
    times: list[float]
    digests: list[bytes]

    def add_row(self, row: Row) -> None:
        _, quantity, unit, values, times, digests = row
        count = len(values)
        self.quantities.extend((quantity,) * count)
        self.units.extend((unit,) * count)
        self.values.extend(values)
        self.times.extend(times)
        self.digests.append(digests)

    def add_single(self, single: Single) -> None:
        _, quantity, unit, value, time_s, digest = single
        self.quantities.append(quantity)
        self.units.append(unit)
        self.values.append(value)
        self.times.append(time_s)
        self.digests.append(digest)
