"""The edge half of gateway.toml: windows, report by exception, rules, actions, privacy, and groups of nodes.

Names and limits are checked here; whether a group exists or a pin is there is the running gateway's business.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.command.wish import CommandError, Wish, wish
from gateway.config_rules import require_name, require_one_of, require_range
from gateway.config_table import option, section
from gateway.errors import ConfigError

STATS = ("count", "mean", "min", "max", "std", "last", "time_mean", "rate")
SEVERITIES = ("info", "warning", "critical")
_PATTERN = re.compile(r"[A-Za-z0-9*?][-A-Za-z0-9:./_*?]*")
_MOST_PANES = 64  # of a sliding window: each reading may revise so many records
_DAY_S = 86_400
_MONTH_S = 31 * _DAY_S


def require_patterns(key: str, patterns: Sequence[str]) -> None:
    """Names in which * stands for any text and ? for any one character; at least one."""
    if not patterns:
        raise ConfigError(key, [], 'is empty; write ["*"] for all')
    for one in patterns:
        if len(one) > 128 or not _PATTERN.fullmatch(one):
            raise ConfigError(key, one, "may hold letters, digits and -:./_ with * and ? as wildcards")


def require_unique(key: str, names: Sequence[str]) -> None:
    """Names of the tables of one list. Raises ConfigError for the second of two."""
    for at, name in enumerate(names):
        if name in names[:at]:
            raise ConfigError(f"{key}[{at}].name", name, f"is taken; give each [[{key}]] a name of its own")


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """[[group]]: nodes under one name."""

    name: str = option('Its name; elsewhere it is written "group:<name>" or "zone:<name>".', example="park")
    kind: str = option('"group" for any set of nodes, "zone" for a place. A node lies in one zone.', default="group")
    nodes: tuple[str, ...] = option("Ids or labels of its nodes; * and ? are wildcards.", example=("lamp-1*",))

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_one_of("kind", self.kind, ("group", "zone"))
        require_patterns("nodes", self.nodes)


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """[[edge.window]]: what is computed over a span of time."""

    name: str = option("Its name, in the records it makes.", example="hourly")
    kind: str = option('"tumbling", "sliding" or "session".', default="tumbling")
    length_s: int = option("Seconds of one window; of a session unused.", default=3600)
    slide_s: int | None = option("Sliding: a window begins every so many seconds.", default=None, example=600)
    gap_s: int | None = option("Session: it ends when so long nothing was measured.", default=None, example=300)
    quantities: tuple[str, ...] = option("Which quantities; * and ? are wildcards.", default=("*",))
    nodes: tuple[str, ...] = option('Which nodes: ids, labels, "group:<name>", "zone:<name>".', default=("*",))
    by: str = option('One window per "node", "group" or "zone".', default="node")
    stats: tuple[str, ...] = option(f"Of {', '.join(STATS)}.", default=("count", "mean", "min", "max"))
    quantiles: tuple[float, ...] = option("Between 0 and 1, to 1.5 percent of rank.", default=(), example=(0.5,))
    delay_s: int = option("Seconds after its end at which a window is told.", default=10)
    lateness_s: int = option("Seconds for which a late reading still makes a revised record.", default=_DAY_S)

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_one_of("kind", self.kind, ("tumbling", "sliding", "session"))
        require_one_of("by", self.by, ("node", "group", "zone"))
        require_range("length_s", self.length_s, 1, _MONTH_S)
        require_range("delay_s", self.delay_s, 0, _DAY_S)
        require_range("lateness_s", self.lateness_s, 0, _MONTH_S)
        require_patterns("quantities", self.quantities)
        require_patterns("nodes", self.nodes)
        self._require_stats()
        self._require_shape()

    def _require_stats(self) -> None:
        for stat in self.stats:
            require_one_of("stats", stat, STATS)
        for quantile in self.quantiles:
            if not 0 <= quantile <= 1:
                raise ConfigError("quantiles", quantile, "must be 0 to 1")
        if not self.stats and not self.quantiles:
            raise ConfigError("stats", [], "is empty, and so is quantiles; nothing would be told")

    def _require_shape(self) -> None:
        for kind, key, value in (("sliding", "slide_s", self.slide_s), ("session", "gap_s", self.gap_s)):
            if (self.kind == kind) != (value is not None):
                rule = f'is missing; kind = "{kind}" needs it' if value is None else f'is for kind = "{kind}" only'
                raise ConfigError(key, value, rule)
        if self.gap_s is not None:
            require_range("gap_s", self.gap_s, 1, _DAY_S)
        if self.slide_s is not None:
            require_range("slide_s", self.slide_s, 1, self.length_s)
            if self.length_s % self.slide_s or self.length_s // self.slide_s > _MOST_PANES:
                raise ConfigError(
                    "slide_s", self.slide_s, f"must divide length_s = {self.length_s}, into at most {_MOST_PANES} parts"
                )


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """[[edge.report]]: report by exception. What changes nothing stays here, counted, and its number is told."""

    quantities: tuple[str, ...] = option("Which quantities; * and ? are wildcards.", example=("temperature",))
    nodes: tuple[str, ...] = option('Which nodes: ids, labels, "group:<name>", "zone:<name>".', default=("*",))
    dead_band: float | None = option("Forward if it moved by more than this.", default=None, example=0.5)
    dead_band_pct: float | None = option("Forward if it moved by more percent than this.", default=None, example=5.0)
    on_change: bool = option("Forward if it is another value.", default=False)
    heartbeat_s: int = option("Forward at the latest after so many seconds.", default=3600)

    def __post_init__(self) -> None:
        require_patterns("quantities", self.quantities)
        require_patterns("nodes", self.nodes)
        require_range("heartbeat_s", self.heartbeat_s, 1, _MONTH_S)
        for key, value in (("dead_band", self.dead_band), ("dead_band_pct", self.dead_band_pct)):
            if value is not None and not 0 < value < 1e15:
                raise ConfigError(key, value, "must be more than 0")
        if self.on_change and (self.dead_band or self.dead_band_pct):
            raise ConfigError("on_change", True, "contradicts a dead band; keep one of them")


@dataclass(frozen=True, kw_only=True)
class ActionConfig:
    """[[edge.action]]: what an alarm does on the spot, also while the city is away."""

    name: str = option("Its name, for rules.", example="siren")
    kind: str = option(
        '"gpio" (an output of this machine), "mqtt" (a message on act/<name>) or "command" (to nodes).', example="gpio"
    )
    pin: int | None = option("GPIO (BCM) of the output.", default=None, example=17)
    active_high: bool = option("Whether the output is high when on.", default=True)
    safe: str = option('The state it goes to at stop, and when link or authority is lost: "off", "on".', default="off")
    link_timeout_s: int = option("A node not heard for so long holds no output any more; 0: no limit.", default=3600)
    command: str | None = option('Command: "report" or "output".', default=None, example="output")
    state: str = option('Command "output": "on" or "off" when raised; it is safe again when cleared.', default="on")
    for_s: int | None = option("Command output: for so many seconds at most.", default=None, example=600)
    nodes: tuple[str, ...] = option(
        'Command: to which nodes (ids, labels, "group:<name>", "zone:<name>"); without any to the alarm\'s own.',
        default=(),
    )

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_one_of("kind", self.kind, ("gpio", "mqtt", "command"))
        require_one_of("safe", self.safe, ("off", "on"))
        require_range("link_timeout_s", self.link_timeout_s, 0, _MONTH_S)
        if self.kind == "gpio" and self.pin is None:
            raise ConfigError("pin", None, 'is missing; kind = "gpio" needs it')
        if self.kind != "gpio" and self.pin is not None:
            raise ConfigError("pin", self.pin, 'is for kind = "gpio" only')
        if self.pin is not None:
            require_range("pin", self.pin, 0, 27)
        self._require_command()

    def wish(self, *, is_raised: bool) -> Wish | None:
        """What nodes are asked to do when an alarm is raised, or cleared; None if nothing."""
        if self.command == "report":
            return wish("report", {}) if is_raised else None
        if self.command == "output":
            return wish("output", {"state": self.state, "for_s": self.for_s} if is_raised else {"state": "safe"})
        return None

    def _require_command(self) -> None:
        if (self.kind == "command") != (self.command is not None):
            rule = 'is missing; kind = "command" needs it' if self.command is None else 'is for kind = "command" only'
            raise ConfigError("command", self.command, rule)
        if (self.command == "output") != (self.for_s is not None):
            rule = "is missing; an output needs it" if self.for_s is None else 'is for command = "output" only'
            raise ConfigError("for_s", self.for_s, rule)
        if self.command is None:
            return
        require_one_of("command", self.command, ("report", "output"))
        require_one_of("state", self.state, ("on", "off"))
        if self.nodes:
            require_patterns("nodes", self.nodes)
        try:
            self.wish(is_raised=True)
        except CommandError as error:
            raise ConfigError("for_s", self.for_s, str(error)) from None


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """[[edge.privacy]]: what is done to a quantity before anything is stored. The first that matches holds."""

    quantities: tuple[str, ...] = option("Which quantities; * and ? are wildcards.", example=("plate",))
    nodes: tuple[str, ...] = option('Which nodes: ids, labels, "group:<name>", "zone:<name>".', default=("*",))
    action: str = option(
        '"drop", "coarsen" to multiples of step, "hash" with this gateway\'s key, "local": never forwarded.',
        example="drop",
    )
    step: float | None = option("Coarsen: the nearest multiple of this is kept.", default=None, example=0.01)

    def __post_init__(self) -> None:
        require_patterns("quantities", self.quantities)
        require_patterns("nodes", self.nodes)
        require_one_of("action", self.action, ("drop", "coarsen", "hash", "local"))
        if (self.action == "coarsen") != (self.step is not None):
            rule = "is missing; coarsen needs it" if self.step is None else 'is for action = "coarsen" only'
            raise ConfigError("step", self.step, rule)
        if self.step is not None and not 0 < self.step < 1e15:
            raise ConfigError("step", self.step, "must be more than 0")


def optional_tables() -> tuple[object, ...]:
    """The default of a list of tables."""
    return ()


__all__ = [
    "SEVERITIES",
    "STATS",
    "ActionConfig",
    "GroupConfig",
    "PrivacyConfig",
    "ReportConfig",
    "WindowConfig",
    "option",
    "require_patterns",
    "require_unique",
    "section",
]
