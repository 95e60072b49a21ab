"""What `gateway status` says of the clock: as data for the status file, as a line and notes for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.clock import ClockTrust

_OLD_S = 3_600.0  # since something last spoke for the time


def clock_status(clock: ClockTrust) -> dict[str, Any]:
    """State of the clock, times in UTC seconds where it knows them.

    source       what taught the time: "ntp", "rtc", "host" or "assumed"
    since_s      when it was first known in this boot
    learnt_ago_s since when nothing has spoken for it
    doubt        why it is not trusted, or what contradicts it
    steps        how often the wall clock was set since the start; the last one in step_s, step_ago_s
    """
    learnt, up_s = clock.learnt, clock.monotonic_s()
    error_s = clock.error_s
    return {
        "is_trusted": learnt is not None,
        "is_good": clock.is_good,
        "now_s": round(clock.now_s(), 3),
        "source": learnt.source if learnt else None,
        "since_s": round(learnt.start_s + clock.first_up_s, 3) if learnt and clock.first_up_s is not None else None,
        "error_s": None if error_s is None else round(error_s, 3),
        "learnt_ago_s": round(up_s - learnt.at_up_s, 1) if learnt else None,
        "floor_s": round(clock.floor_s, 3),
        "boot": clock.number,
        "doubt": clock.doubt,
        "steps": clock.steps,
        "step_s": round(clock.step.by_s, 3) if clock.step else None,
        "step_ago_s": round(up_s - clock.step.at_up_s, 1) if clock.step else None,
    }


def line(clock: Mapping[str, Any]) -> str:
    """One line for a terminal."""
    if not clock["is_trusted"]:
        return f"clock: not trusted ({clock['doubt']})"
    stepped = f"; it was set {clock['steps']} times, last by {clock['step_s']:+.0f} s" if clock["steps"] else ""
    return f"clock: {clock['source']}, within {clock['error_s']:.1f} s{stepped}"


def notes(clock: Mapping[str, Any]) -> Iterator[str]:
    """What a person should know."""
    if not clock.get("is_trusted", True):
        doubt = clock.get("doubt") or "nothing speaks for it"
        yield (
            f"the clock of this machine is not trusted: {doubt}. Readings wait for the time, then go out as untrusted. "
            "Let it reach a time server (timedatectl), or see [gateway] time"
        )
    elif clock.get("doubt") and clock.get("learnt_ago_s", 0.0) > _OLD_S:
        since = time.strftime("%H:%M:%S", time.gmtime(clock["learnt_ago_s"] % 86_400))
        days = int(clock["learnt_ago_s"] // 86_400)
        yield (
            f"nothing has spoken for the clock for {f'{days} d ' if days else ''}{since} ({clock['doubt']}); "
            f"times may be off by {clock['error_s']:.0f} s. Let it reach a time server (timedatectl)"
        )
