"""What a commit in the making gives up: nobody takes it meanwhile, or it would be told as missing and arrive.

The commit thread chooses among what is on its way to nobody, the event loop hands out; each looks at what the other has
done, under one lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from gateway.outbox.ranges import Ranges, Run
from gateway.outbox.stored import Stored, each_of
from gateway.reading import STREAMS


class Leaving:
    """Of one outbox."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = [Ranges() for _ in STREAMS]

    def choose(self, stream: int, pick: Callable[[], list[Run]]) -> list[Run]:
        """What `pick` finds on its way to nobody; it is not handed out until the commit is over."""
        with self._lock:
            runs = pick()
            for first, end in runs:
                self._runs[stream].add(first, end)
        return runs

    def clear(self) -> None:
        """The commit is over: what it gave up is gone, or stays."""
        with self._lock:
            self._runs = [Ranges() for _ in STREAMS]

    def hand_over(
        self, stream: int, found: Sequence[Stored], gone: Callable[[], Ranges], passed: Callable[[int], None]
    ) -> list[Stored]:
        """The first of `found`, at least one, that may go out; none if the very first is leaving.

        gone    what the last commit has given up or settled
        passed  called with the ordinal behind them
        """
        with self._lock:
            leaving, already = self._runs[stream], gone()
            first, end = found[0].ordinal, found[-1].run[1]
            if not (leaving.touches(first, end) or already.touches(first, end)):
                passed(end)
                return list(found)
            kept: list[Stored] = []
            for one in each_of(found):
                if one.ordinal in leaving and one.ordinal not in already:
                    break
                passed(one.ordinal + 1)
                if one.ordinal not in already:
                    kept.append(one)
            return kept
