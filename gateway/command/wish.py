"""What a node can be asked to do, in the words of operators, configuration and policy; and as the wire wants it.

report   sample now and report everything
output   switch the node's output on or off for a stated time, or back to its safe state
pace     sample and report every so many seconds; 0: as the node's configuration says
restart  reset the node
Knows no node and no queue. docs/protocol.md, "Command".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.link import order
from drivers.link.frame import FrameError
from gateway.errors import GatewayError

NAMES = ("report", "output", "pace", "restart")
STATES = ("on", "off", "safe")
_CODES = {"report": order.REPORT, "output": order.OUTPUT, "pace": order.PACE, "restart": order.RESTART}
_OPTIONS = {"report": (), "output": ("state", "for_s"), "pace": ("sample_s", "report_s"), "restart": ()}
OUTCOMES = {order.DONE: "done", order.REFUSED: "refused", order.UNKNOWN: "unknown", order.STALE: "stale"}
_REASONS = {
    order.NO_SUCH_ORDER: "the node's firmware does not know it",
    order.BAD_ARGUMENTS: "out of the node's bounds",
    order.NO_OUTPUT: "the node has no such output",
}
_POWER_LOST = "the node lost power meanwhile; it may have been done"


class CommandError(GatewayError):
    """A command cannot be sent as asked: the message says why, and what next."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One command, without number and node. `words`: for people."""

    name: str
    words: str
    code: int
    arguments: bytes

    def order(self, number: int, tag: int) -> bytes:
        """As the node reads it."""
        packed: bytes = order.pack_order(number, tag, self.code, self.arguments)
        return packed


def wish(name: str, options: Mapping[str, object]) -> Wish:
    """What is asked for. Raises CommandError.

    options  state and for_s of output (safe needs no for_s); sample_s and report_s of pace
    """
    if name not in NAMES:
        raise CommandError(f"{name!r} is no command; there are {', '.join(NAMES)}")
    unknown = sorted(set(options) - set(_OPTIONS[name]))
    if unknown:
        raise CommandError(f"{name} takes no {unknown[0]}")
    try:
        words, arguments = _ARGUMENTS[name](options)
    except FrameError:
        raise CommandError(
            f"{name}: out of bounds; an output changes for 1 to {order.LONGEST_S} s, intervals are 0 or "
            f"{order.SHORTEST_PACE_S} to {order.LONGEST_PACE_S} s"
        ) from None
    return Wish(name=name, words=f"{name} {words}".strip(), code=_CODES[name], arguments=arguments)


def detail_of(outcome: int, detail: int) -> str:
    """Why, in words; empty if there is nothing to say."""
    if outcome == order.REFUSED:
        return _REASONS.get(detail, f"reason {detail}")
    return _POWER_LOST if outcome == order.UNKNOWN else ""


def _as_nothing(options: Mapping[str, object]) -> tuple[str, bytes]:
    return "", b""


def _as_output(options: Mapping[str, object]) -> tuple[str, bytes]:
    state, for_s = options.get("state"), options.get("for_s")
    if state not in STATES:
        raise CommandError(f"output needs a state: {', '.join(STATES)}")
    if state == "safe":
        if for_s is not None:
            raise CommandError("output safe takes no time: it holds until another command")
        return "safe", order.output_arguments(0, 0, 0)
    seconds = _whole(for_s, "output on and off need a time (for_s)")
    if not seconds:
        raise CommandError("output: 0 seconds would be nothing; say how long, or safe")
    return f"{state} for {seconds} s", order.output_arguments(0, seconds, int(state == "on"))


def _as_pace(options: Mapping[str, object]) -> tuple[str, bytes]:
    if not options:
        raise CommandError("pace needs sample_s or report_s; 0 is as the node's configuration says")
    sample_s, report_s = (_whole(options.get(name, 0), f"pace: {name}") for name in ("sample_s", "report_s"))
    return f"sample {sample_s} s, report {report_s} s", order.pace_arguments(sample_s, report_s)


def _whole(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CommandError(f"{what}: must be whole seconds")
    return value


_ARGUMENTS = {"report": _as_nothing, "output": _as_output, "pace": _as_pace, "restart": _as_nothing}
