"""What is kept of the values of one quantity in one window: enough for every statistic, mergeable, bounded.

Values may come in any order of time. Quantiles come from a t-digest of 300 centroids: the value given has a rank within
RANK_ERROR of the one asked for (measured over normal, exponential, lognormal and clustered values; far less at the
ends). It is fed in blocks of a fixed size, so that the state depends on the values and their order alone. Source:
Dunning and Ertl, arXiv:1902.04023.
"""

from __future__ import annotations

import base64
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from fastdigest import TDigest

RANK_ERROR = 0.015
_BLOCK = 64
_CENTROIDS = 300
_SAMPLES = 512
_PER_SECOND = {
    "m": "m/s",
    "m/s": "m/s2",
    "m3": "m3/s",
    "l": "l/s",
    "rad": "rad/s",
    "J": "W",
    "B": "B/s",
    "bit": "bit/s",
}


class Tally:
    """Count, sum, lowest, highest."""

    __slots__ = ("count", "high", "low", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.low = math.inf
        self.high = -math.inf

    def add(self, at_s: float, value: float) -> None:
        self.count += 1
        self.total += value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value

    def merge(self, other: Any) -> None:
        """Take in what another tally of the same kind holds."""
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)

    def to_state(self) -> list[Any]:
        return [self.count, self.total, self.low, self.high]

    def take_state(self, state: Sequence[Any]) -> None:
        self.count, self.total, self.low, self.high = state[:4]

    def results(self, stats: Sequence[str], unit: str | None, end_s: float) -> Iterator[tuple[str, float, str | None]]:
        """Yield (statistic, value, unit); what has no value, such as the rate of one reading, is left out."""
        for stat in stats:
            value = self.count if stat == "count" else self._result(stat, end_s)
            if value is not None and math.isfinite(value):
                yield stat, value, _unit_of(stat, unit)

    def _result(self, stat: str, end_s: float) -> float | None:
        if not self.count:
            return None
        return {"mean": self.total / self.count, "min": self.low, "max": self.high}.get(stat)


class FullTally(Tally):
    """The same with spread, first and last, and, if asked for, the course in time and the distribution."""

    __slots__ = ("_course", "_m2", "_mean", "_sketch", "first", "first_s", "last", "last_s")

    def __init__(self, *, with_course: bool, with_sketch: bool) -> None:
        super().__init__()
        self._mean = self._m2 = 0.0
        self.first = self.last = 0.0
        self.first_s, self.last_s = math.inf, -math.inf
        self._course = Course() if with_course else None
        self._sketch = Sketch() if with_sketch else None

    def add(self, at_s: float, value: float) -> None:
        self.count = count = self.count + 1
        self.total += value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value
        delta = value - self._mean  # Welford, Technometrics 4 (1962)
        self._mean += delta / count
        self._m2 += delta * (value - self._mean)
        if at_s >= self.last_s:
            self.last_s, self.last = at_s, value
        if at_s < self.first_s:
            self.first_s, self.first = at_s, value
        if self._course is not None:
            self._course.add(at_s, value)
        if self._sketch is not None:
            self._sketch.add(value)

    def merge(self, other: Any) -> None:
        both = self.count + other.count
        if not both:
            return
        delta = other._mean - self._mean
        self._mean += delta * other.count / both
        self._m2 += other._m2 + delta * delta * self.count * other.count / both
        super().merge(other)
        if other.last_s >= self.last_s:
            self.last_s, self.last = other.last_s, other.last
        if other.first_s < self.first_s:
            self.first_s, self.first = other.first_s, other.first
        if self._course is not None:
            self._course.merge(other._course)
        if self._sketch is not None:
            self._sketch.merge(other._sketch)

    def to_state(self) -> list[Any]:
        course = self._course.to_state() if self._course is not None else None
        sketch = self._sketch.to_state() if self._sketch is not None else None
        ends = [self.first_s, self.first, self.last_s, self.last]
        return [*super().to_state(), self._mean, self._m2, *ends, course, sketch]

    def take_state(self, state: Sequence[Any]) -> None:
        super().take_state(state)
        self._mean, self._m2, self.first_s, self.first, self.last_s, self.last, course, sketch = state[4:]
        if self._course is not None:
            self._course.take_state(course)
        if self._sketch is not None:
            self._sketch.take_state(sketch)

    def quantile(self, q: float) -> float | None:
        return self._sketch.quantile(q) if self._sketch is not None and self.count else None

    def _result(self, stat: str, end_s: float) -> float | None:
        if not self.count:
            return None
        if stat == "last":
            return self.last
        if stat == "std":
            return math.sqrt(max(0.0, self._m2) / (self.count - 1)) if self.count > 1 else None
        if stat == "rate":
            span_s = self.last_s - self.first_s
            return (self.last - self.first) / span_s if span_s > 0 else None
        if stat == "time_mean":
            return self._course.mean(end_s) if self._course is not None else None
        return super()._result(stat, end_s)


class Course:
    """Values in order of time: each holds until the next, the last until the end of the window.

    At most 512 are kept apart; beyond, the older half is added up, and a value that comes late into that half is left
    out of the mean over time.
    """

    __slots__ = ("_area", "_folded_s", "_from_s", "_times", "_values")

    def __init__(self) -> None:
        self._times, self._values = array("d"), array("d")
        self._area = 0.0
        self._from_s: float | None = None
        self._folded_s: float | None = None

    def add(self, at_s: float, value: float) -> None:
        times, values = self._times, self._values
        if self._folded_s is not None and at_s < self._folded_s:
            return
        if not times or at_s >= times[-1]:
            times.append(at_s)
            values.append(value)
        else:
            place = bisect_right(times, at_s)
            times.insert(place, at_s)
            values.insert(place, value)
        if len(times) > _SAMPLES:
            self._fold(len(times) // 2)

    def merge(self, other: Course) -> None:
        """`other` lies after this one in time (the next pane), or is interleaved and not folded."""
        if other._folded_s is not None and other._from_s is not None:
            self._fold_up_to(other._from_s)
            self._from_s = other._from_s if self._from_s is None else self._from_s
            self._area += other._area
            self._folded_s = other._folded_s
        for at_s, value in zip(other._times, other._values, strict=True):
            self.add(at_s, value)

    def mean(self, end_s: float) -> float | None:
        if not self._times:
            return None
        start_s = self._from_s if self._from_s is not None else self._times[0]
        end_s = max(end_s, self._times[-1])
        if end_s <= start_s:
            return self._values[-1]
        return (self._area + _area(self._times, self._values, end_s)) / (end_s - start_s)

    def to_state(self) -> list[Any]:
        return [self._from_s, self._folded_s, self._area, _packed(self._times), _packed(self._values)]

    def take_state(self, state: Sequence[Any]) -> None:
        self._from_s, self._folded_s, self._area, times, values = state
        self._times, self._values = _unpacked(times), _unpacked(values)

    def _fold(self, count: int) -> None:
        """Add up the oldest `count`."""
        times, values = self._times[:count], self._values[:count]
        del self._times[:count], self._values[:count]
        self._from_s = times[0] if self._from_s is None else self._from_s
        self._folded_s = self._times[0]
        self._area += _area(times, values, self._folded_s)

    def _fold_up_to(self, end_s: float) -> None:
        """Add up all; the last one holds until `end_s`."""
        if self._times:
            self._from_s = self._times[0] if self._from_s is None else self._from_s
            self._area += _area(self._times, self._values, end_s)
            self._times, self._values = array("d"), array("d")


def _packed(numbers: array[float]) -> str:
    """Doubles as text, in a hundredth of the time that decimals take."""
    return base64.b64encode(numbers.tobytes()).decode()


def _unpacked(text: str) -> array[float]:
    numbers = array("d")
    numbers.frombytes(base64.b64decode(text))
    return numbers


def _area(times: Sequence[float], values: Sequence[float], end_s: float) -> float:
    """Of the steps from each value to the next, the last one to `end_s`."""
    ends = [*times[1:], end_s]
    return math.fsum(value * (end - at_s) for at_s, value, end in zip(times, values, ends, strict=True))


class Sketch:
    """The distribution of values."""

    __slots__ = ("_block", "_digest")

    def __init__(self) -> None:
        self._digest = TDigest(_CENTROIDS)
        self._block = array("d")

    def add(self, value: float) -> None:
        self._block.append(value)
        if len(self._block) >= _BLOCK:
            self._digest.batch_update(self._block.tolist())
            self._block = array("d")

    def merge(self, other: Sketch) -> None:
        self._digest.merge_inplace(other._digest)
        for value in other._block:
            self.add(value)

    def quantile(self, q: float) -> float:
        """Does not change the state: what waits in the block is added to a copy."""
        digest = self._digest.copy()
        if self._block:
            digest.batch_update(self._block.tolist())
        return float(digest.quantile(q))

    def to_state(self) -> list[Any]:
        return [base64.b64encode(self._digest.to_bytes()).decode(), _packed(self._block)]

    def take_state(self, state: Sequence[Any]) -> None:
        packed, block = state
        self._digest = TDigest.from_bytes(base64.b64decode(packed))
        self._block = _unpacked(block)


def _unit_of(stat: str, unit: str | None) -> str | None:
    """Units of SenML's registry only; a rate that has none there is "per second" by its name."""
    if stat == "count":
        return "count"
    return _PER_SECOND.get(unit or "") if stat == "rate" else unit
