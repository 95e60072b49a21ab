"""What time is it, and may we believe it: UTC by the monotonic clock, learnt from a wall clock with a witness.

The wall clock is never shown to anybody. It is evidence: once it is plausible and a witness (gateway/time_evidence)
speaks for it, the start of this boot in UTC is known, and time runs on by CLOCK_BOOTTIME, which nobody can set. So a
step of the wall clock moves nothing by itself, and hours without a time server only widen the error. Before that,
moments are seconds since this boot began; gateway/boot_times gives them their UTC later.
Source: docs/decisions/0008.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

RELEASED_AT_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z: no gateway with this code ran before
RELATIVE_BELOW_S = float(2**28)  # seconds below this count from the start of a boot, as in RFC 8428 section 4.5.3
GOOD_WITHIN_S = 60.0  # a time whose error is larger is an interval, not a point

_LONGEST_UP_S = RELATIVE_BELOW_S / 2
_LOOK_S = 1.0
DRIFT = 100e-6  # of CLOCK_BOOTTIME once no time server steers it: a crystal in a cabinet in summer
_STEP_S = 1.0  # a wall clock that moves more than this against the monotonic one was set
_SLEW = 1e-3  # adjtimex slews 500 ppm, and some daemons more
_CONTEST_S = 900.0  # how long another time from a time server must stand before it replaces the one we had
_DAY_S = 86_400.0
_FLOOR_CONTEST_S = _DAY_S  # and a time before what we hold for passed: else one wrong clock would bar the right one
_NEW_REACH_S = 3_652 * _DAY_S  # a machine that never knew the time may be this far past the release
_OFF_REACH_S = 2 * 365 * _DAY_S  # and one that did, this far past the last time it knew
_FLOOR_SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Word:
    """What a witness says for the wall clock at this moment.

    source   "ntp", "rtc", "host" or "assumed"
    error_s  how far off it may be
    drift    and how much more per second since the time was last known here
    """

    source: str
    error_s: float
    drift: float = 0.0

    @property
    def is_steered(self) -> bool:
        """Something sets this clock right again and again, so a step may be a correction."""
        return self.source == "ntp"


Witness = Callable[[float], Word | None]


@dataclass(frozen=True, slots=True)
class Learnt:
    """The UTC of the start of this boot, as known at `at_up_s` seconds after it."""

    start_s: float
    error_s: float
    at_up_s: float
    source: str

    def error_at(self, up_s: float) -> float:
        """How far off it may be then, if nothing has spoken for it since."""
        return self.error_s + DRIFT * max(0.0, up_s - self.at_up_s)


@dataclass(frozen=True, slots=True)
class Step:
    """The wall clock was set: by how much, seconds after the boot began, and whether we went along."""

    by_s: float
    at_up_s: float


def assumed(wall_s: float) -> Word:
    """The witness of a machine whose operator vouches for its clock."""
    return Word("assumed", 0.0)


def since_boot_s() -> float:
    """Runs through suspend and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockTrust:
    """UTC with a verdict, for any thread. Looks at the wall clock at most once a second."""

    def __init__(
        self,
        *,
        floor_s: float = RELEASED_AT_S,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = since_boot_s,
        witness: Witness = assumed,
        boot_id: str | None = None,
    ) -> None:
        """
        floor_s  a time that is known to have passed
        boot_id  the same for every process of this boot; without it, this object's life is a boot of its own
        """
        counted_s = monotonic()
        if counted_s > _LONGEST_UP_S:  # a sandbox whose monotonic clock counts from anywhere
            boot_id = None
        began_s = 0.0 if boot_id else counted_s
        self._floor_s = max(floor_s, RELEASED_AT_S)
        self._wall = wall
        self.monotonic_s: Callable[[], float] = (lambda: monotonic() - began_s) if began_s else monotonic
        self._witness = witness
        self.boot_id = boot_id or uuid.uuid4().hex
        self.number = 0  # of this boot, in the table of boots
        self.after_s: float | None = None  # this boot began later than this; None: later than the floor
        self.step: Step | None = None
        self.steps = 0
        self.doubt = "nothing has been looked at yet"
        self.first_up_s: float | None = None  # when the time was learnt, by this process or one before it
        self._learnt: Learnt | None = None
        self._looked_up_s = float("-inf")
        self._claim_s: float | None = None  # what the wall clock said last of this boot's start
        self._contest: tuple[float, float] | None = None  # another start, and since when a time server insists on it
        self._lock = threading.Lock()

    # What time is it

    @property
    def is_trusted(self) -> bool:
        """Whether UTC is known; how well, says error_s."""
        return self.learnt is not None

    @property
    def learnt(self) -> Learnt | None:
        if self.monotonic_s() - self._looked_up_s >= _LOOK_S:
            self.observe()
        return self._learnt

    def trusted_s(self) -> float | None:
        """UTC, None while nobody knows: for certificates, tokens and whatever else must not run on a wrong clock."""
        learnt = self.learnt
        return None if learnt is None else learnt.start_s + self.monotonic_s()

    def now_s(self) -> float:
        """UTC; while it is not trusted, a time that has certainly passed. Never goes back within a boot but by a
        correction from a time server."""
        known_s = self.trusted_s()
        return self._passed_at_s(self.monotonic_s()) if known_s is None else known_s

    @property
    def error_s(self) -> float | None:
        """How far off now_s may be; grows while no time server is heard. None while it is not trusted."""
        learnt = self.learnt
        return None if learnt is None else learnt.error_at(self.monotonic_s())

    @property
    def is_good(self) -> bool:
        """Trusted, and near enough to call a time a point."""
        error_s = self.error_s
        return error_s is not None and error_s <= GOOD_WITHIN_S

    def stamp_s(self) -> float:
        """This moment: UTC if trusted, else seconds since the boot began, which are below RELATIVE_BELOW_S."""
        known_s = self.trusted_s()
        return self.monotonic_s() if known_s is None else known_s

    def place(self, stamp_s: float) -> tuple[float, int | None]:
        """A stamp of this boot as (UTC, None); while that is unknown as (seconds since the boot began, its number)."""
        if stamp_s >= RELATIVE_BELOW_S:
            return stamp_s, None
        learnt = self.learnt
        return (stamp_s, self.number) if learnt is None else (learnt.start_s + stamp_s, None)

    def at_least_s(self, stamp_s: float) -> float:
        """A UTC that had certainly passed at a stamp of this boot."""
        at_s, boot = self.place(stamp_s)
        return at_s if boot is None else self._passed_at_s(at_s)

    def _passed_at_s(self, up_s: float) -> float:
        after_s = self._floor_s if self.after_s is None else self.after_s
        return max(self._floor_s, after_s + up_s)

    # What has passed

    @property
    def floor_s(self) -> float:
        return self._floor_s

    def raise_floor(self, passed_s: float) -> None:
        """Note that `passed_s` has passed; a lower one changes nothing. Before the first look at the wall clock."""
        self._floor_s = max(self._floor_s, passed_s)

    def passed_s(self) -> float | None:
        """What may be kept as a floor for later boots; None while the time is not trusted."""
        known_s, error_s = self.trusted_s(), self.error_s
        return None if known_s is None or error_s is None else known_s - error_s - _FLOOR_SLACK_S

    def resume(self, learnt: Learnt) -> None:
        """Go on with what an earlier process of this boot had learnt."""
        self._learnt = learnt
        self.first_up_s = learnt.at_up_s

    # Looking at the wall clock

    def observe(self) -> None:
        """Hear the wall clock and its witness, if the last time is a second ago."""
        with self._lock:
            up_s = self.monotonic_s()
            if up_s - self._looked_up_s >= _LOOK_S:  # no other thread has, meanwhile
                self._look(up_s)

    def _look(self, up_s: float) -> None:
        wall_s = self._wall()
        up_s = (up_s + self.monotonic_s()) / 2
        claim_s = wall_s - up_s
        self._note_step(claim_s, up_s)
        self._looked_up_s = up_s
        word = self._witness(wall_s)
        if word is None:
            self.doubt = "no time server, and nothing else here keeps the time"
            self._contest = None
        elif self._is_believed(wall_s, claim_s, word, up_s):
            self.first_up_s = up_s if self.first_up_s is None else self.first_up_s
            self._learnt = Learnt(claim_s, self._error_of(word, wall_s), up_s, word.source)
            self.doubt = ""

    def _is_believed(self, wall_s: float, claim_s: float, word: Word, up_s: float) -> bool:
        if not self._is_plausible(wall_s, word):
            if not word.is_steered or not RELEASED_AT_S <= wall_s < self._floor_s:
                self._contest = None
            elif self._has_stood(claim_s, up_s, _FLOOR_CONTEST_S):
                self._floor_s = wall_s
                return True
            return False
        return self._agrees(claim_s, word, up_s) or (word.is_steered and self._has_stood(claim_s, up_s, _CONTEST_S))

    def _note_step(self, claim_s: float, up_s: float) -> None:
        if self._claim_s is not None:
            by_s = claim_s - self._claim_s
            if abs(by_s) > _STEP_S + _SLEW * (up_s - self._looked_up_s):
                self.step = Step(by_s, up_s)
                self.steps += 1
        self._claim_s = claim_s

    def _is_plausible(self, wall_s: float, word: Word) -> bool:
        """Not before what has passed, and not absurdly far after it."""
        is_new = self._floor_s <= RELEASED_AT_S
        reach_s = _NEW_REACH_S if is_new or word.is_steered else _OFF_REACH_S
        if wall_s < self._floor_s:
            self.doubt = f"the clock says {_day(wall_s)}, but {_day(self._floor_s)} has passed"
        elif wall_s > self._floor_s + reach_s:
            self.doubt = f"the clock says {_day(wall_s)}, years after {_day(self._floor_s)}, the last time known here"
        else:
            return True
        return False

    def _agrees(self, claim_s: float, word: Word, up_s: float) -> bool:
        """Whether the wall clock tells nothing that contradicts what we know already."""
        known = self._learnt
        if known is None:
            return True
        allowed_s = _STEP_S + known.error_s + word.error_s + (DRIFT + _SLEW) * (up_s - known.at_up_s)
        if abs(claim_s - known.start_s) <= allowed_s:
            self._contest = None
            return True
        self.doubt = f"the clock was set by {claim_s - known.start_s:+.0f} s; time goes on by the monotonic clock"
        return False

    def _error_of(self, word: Word, wall_s: float) -> float:
        was_known = self._floor_s > RELEASED_AT_S
        return word.error_s + (word.drift * max(0.0, wall_s - self._floor_s) if was_known else 0.0)

    def _has_stood(self, claim_s: float, up_s: float, long_s: float) -> bool:
        """Whether a time server has insisted on another time long enough."""
        if self._contest is None or abs(self._contest[0] - claim_s) > _STEP_S:
            self._contest = (claim_s, up_s)
        if up_s - self._contest[1] < long_s:
            return False
        self._contest = None
        return True


def _day(time_s: float) -> str:
    """A date for people; a clock may say anything, so years that no calendar has are told as seconds."""
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(time_s))
    except (OverflowError, ValueError, OSError):
        return f"{time_s:.0f} s"
