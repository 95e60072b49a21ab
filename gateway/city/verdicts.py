"""What an answer of the city means for the records it is about: settled, given up, or to go again, and when.

0x00 is delivered, 0x10 too (unheard) unless a subscriber is required; 0x90 and 0x99 are about the payload, which goes
again in smaller pieces and is set aside after three tries; 0x97 is about us, so that everything waits; any other code
is about this topic, so that its line waits. Sends nothing.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from gateway.city.lines import Line, Lines
from gateway.city.settling import Settling
from gateway.mqtt.codes import (
    NO_MATCHING_SUBSCRIBERS,
    NOT_AUTHORISED,
    PAYLOAD_FORMAT_INVALID,
    QUOTA_EXCEEDED,
    TOPIC_NAME_INVALID,
    name_of,
)
from gateway.outbox import Outcome, Stored, count_of, each_of

log = logging.getLogger(__name__)

_TRIES = 3
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_LONGEST_PAUSE_S = 30.0
_STALE_S = 10.0  # live records held up for longer are backlog
_REFUSED_PAYLOAD = "refused_payload"
_TROUBLES = {
    NO_MATCHING_SUBSCRIBERS: "no_subscriber",
    NOT_AUTHORISED: "not_authorised",
    QUOTA_EXCEEDED: "quota_exceeded",
    TOPIC_NAME_INVALID: _REFUSED_PAYLOAD,
    PAYLOAD_FORMAT_INVALID: _REFUSED_PAYLOAD,
}


@dataclass(slots=True)
class Tally:
    """What a city has said, over all connections, for `gateway status`.

    trouble     why the last connection ended with records on their way; empty once something was accepted
    is_unheard  the last answer was 0x10
    """

    last_refusal: str = ""
    trouble: str = ""
    is_unheard: bool = False
    live: int = 0
    backlog: int = 0
    set_aside: int = 0


class Verdicts:
    """Judges the answers to one connection's packs.

    paused_until_s  before it nothing may be sent; is_probing: and then one pack, until the city accepts something
    wants_rewind    what is in memory is no longer what is next, or no longer live: read the outbox anew
    """

    def __init__(
        self,
        lines: Lines,
        settling: Settling,
        tally: Tally,
        *,
        city_name: str,
        count: Callable[[str], None],
        require_subscriber: bool,
    ) -> None:
        self.paused_until_s = 0.0
        self.is_probing = False
        self.wants_rewind = False
        self._lines = lines
        self._settling = settling
        self._tally = tally
        self._city_name = city_name
        self._count = count
        self._require_subscriber = require_subscriber
        self._pauses = 0  # in a row

    def judge(self, line: Line, records: tuple[Stored, ...], code: int, now_s: float) -> None:
        """`code` is the city's answer to a pack of these records."""
        is_unheard = code == NO_MATCHING_SUBSCRIBERS
        if code < 0x80 and not (is_unheard and self._require_subscriber):
            self._accept(line, records, "unheard" if is_unheard else "delivered", now_s)
            return
        self._count(f"city_answered_{code:02x}")
        self._note(name_of(code), records)
        trouble = _TROUBLES.get(code, "refusing")
        if trouble == _REFUSED_PAYLOAD:
            line.trouble = trouble
            self._try_smaller(line, records, name_of(code), now_s)
        else:
            self._lines.trouble(line, trouble, now_s)
            self._hold(line, records, now_s, is_for_all=code == QUOTA_EXCEEDED)

    def unsendable(self, line: Line, records: tuple[Stored, ...], why: str, now_s: float) -> None:
        """It never went out: there is nothing to try again, but to try one record at a time."""
        self._note(why, records)
        each = each_of(records)
        if len(each) == 1:
            self.give_up(line, each, why)
            return
        line.tries.update((stored.id, _TRIES - 1) for stored in each)
        self._lines.put_back(line, records, until_s=now_s)

    def give_up(self, line: Line, records: tuple[Stored, ...], why: str) -> None:
        """The city will not have this record, ever: it is set aside."""
        log.error("city %s: record %s is set aside: %s", self._city_name, records[0].report.record_id, why)
        self._tally.set_aside += count_of(records)
        self._settling.add(line.lane, line.stream, records, "refused", reason=why)
        _forget_tries(line, records)
        self._lines.finish(line, records)

    def _accept(self, line: Line, records: tuple[Stored, ...], outcome: Outcome, now_s: float) -> None:
        self._settling.add(line.lane, line.stream, records, outcome)
        self._tally.trouble = ""
        self._tally.is_unheard = outcome == "unheard"
        if line.lane == "live":
            self._tally.live += count_of(records)
        else:
            self._tally.backlog += count_of(records)
        self._lines.skipped = self._pauses = 0
        self.is_probing = False
        _forget_tries(line, records)
        was_stuck = line.lane == "live" and line.retries > 0 and now_s - line.stuck_since_s > _STALE_S
        if was_stuck or (line.has_skipped and not line.count):
            self.wants_rewind = True
        self._lines.finish(line, records)

    def _hold(self, line: Line, records: tuple[Stored, ...], now_s: float, *, is_for_all: bool) -> None:
        """The city does not want these now: they, and with `is_for_all` everything, wait."""
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**line.retries) * random.uniform(0.5, 1.0)
        line.retries = min(line.retries + 1, 16)
        if is_for_all:
            if now_s >= self.paused_until_s:  # one step per round, however many were on their way
                bound_s = min(_LONGEST_PAUSE_S, _FIRST_WAIT_S * 2.0**self._pauses)
                self._pauses = min(self._pauses + 1, 16)
                self.paused_until_s = now_s + bound_s * random.uniform(0.5, 1.0)
                self.is_probing = True
            wait_s = self.paused_until_s - now_s
        self._lines.put_back(line, records, until_s=now_s + wait_s)

    def _try_smaller(self, line: Line, records: tuple[Stored, ...], why: str, now_s: float) -> None:
        """Once more in pieces, then one by one: a record that was refused three times, at last alone, is given up."""
        each = each_of(records)
        tries = line.tries.get(each[0].id, 0) + 1
        if len(each) == 1 and tries >= _TRIES:
            self.give_up(line, each, why)
            return
        if tries == 1:
            line.piece = math.isqrt(len(each) - 1) + 1
        line.tries.update((stored.id, tries) for stored in each)
        self._lines.put_back(line, records, until_s=now_s + _FIRST_WAIT_S)

    def _note(self, refusal: str, records: tuple[Stored, ...]) -> None:
        if not self._tally.last_refusal.startswith(refusal):
            log.warning("city %s refuses: %s", self._city_name, refusal)
        self._tally.last_refusal = f"{refusal}; record {records[0].report.record_id}"


def _forget_tries(line: Line, records: tuple[Stored, ...]) -> None:
    if line.tries:
        for stored in each_of(records):
            line.tries.pop(stored.id, None)
