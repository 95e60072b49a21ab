"""[[edge.rule]]: when an alarm is raised and cleared. Expressions are compiled and tried out when the file is read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.config_edge import SEVERITIES, require_patterns
from gateway.config_rules import require_name, require_one_of, require_range
from gateway.config_table import option
from gateway.errors import ConfigError

KINDS = ("threshold", "rate", "silent", "stuck", "jump", "expression")
_NEEDS = {  # the keys of a kind; "above" stands for above or below
    "threshold": ("quantity", "above"),
    "rate": ("quantity", "above"),
    "silent": ("for_s",),
    "stuck": ("quantity", "for_s"),
    "jump": ("quantity", "step"),
    "expression": ("expression",),
}
_KEYS = ("quantity", "above", "for_s", "step", "expression")
_QUANTITY = re.compile(r"[A-Za-z0-9][-A-Za-z0-9:./_]{0,127}")
_MONTH_S = 31 * 86_400


@dataclass(frozen=True, kw_only=True)
class RuleConfig:
    """One rule. It is kept apart for each node, and speaks of that node."""

    name: str = option("Its name; letters, digits and _, so that expressions can use it.", example="flood")
    kind: str = option(f"Of {', '.join(KINDS)}.", example="threshold")
    quantity: str | None = option("What it looks at.", default=None, example="water_level")
    nodes: tuple[str, ...] = option('Which nodes: ids, labels, "group:<name>", "zone:<name>".', default=("*",))
    above: float | None = option("Threshold, rate (per second): raise above this.", default=None, example=1.5)
    below: float | None = option("Threshold, rate (per second): raise below this.", default=None, example=-0.5)
    hysteresis: float = option("Clear only when it is back by so much.", default=0.0)
    hold_s: int = option("Raise only when it has held for so many seconds.", default=0)
    for_s: int | None = option("Silent, stuck: raise after so many seconds.", default=None, example=7200)
    tolerance: float = option("Stuck: changes up to this are none.", default=0.0)
    step: float | None = option("Jump: a change above this from one reading to the next.", default=None, example=10.0)
    expression: str | None = option(
        "CEL, true to raise: quantities (numbers) and names of other rules (true while raised).",
        default=None,
        example="flood && temperature < 2.0",
    )
    max_age_s: int = option("Readings older than this when they come raise nothing.", default=900)
    severity: str = option(f"Of {', '.join(SEVERITIES)}.", default="warning")
    latching: bool = option("Clear only after it was acknowledged.", default=False)
    actions: tuple[str, ...] = option("Names of [[edge.action]] that it holds while raised.", default=())

    def __post_init__(self) -> None:
        require_name("name", self.name)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise ConfigError("name", self.name, "must be letters, digits and _, beginning with a letter")
        require_one_of("kind", self.kind, KINDS)
        require_one_of("severity", self.severity, SEVERITIES)
        require_patterns("nodes", self.nodes)
        require_range("hold_s", self.hold_s, 0, _MONTH_S)
        require_range("max_age_s", self.max_age_s, 1, _MONTH_S)
        self._require_keys()
        self._require_numbers()

    def _require_keys(self) -> None:
        limits = self.above if self.above is not None else self.below
        given = {
            "quantity": self.quantity,
            "above": limits,
            "for_s": self.for_s,
            "step": self.step,
            "expression": self.expression,
        }
        for key in _KEYS:
            if (key in _NEEDS[self.kind]) != (given[key] is not None):
                rule = "is missing; {} needs it" if given[key] is None else "is not for {}"
                words = "above or below" if key == "above" and given[key] is None else key
                raise ConfigError(words, given[key], rule.format(f'kind = "{self.kind}"'))

    def _require_numbers(self) -> None:
        if self.hold_s and self.kind in ("silent", "stuck", "jump"):
            raise ConfigError("hold_s", self.hold_s, f'is not for kind = "{self.kind}"')
        if self.quantity is not None and not _QUANTITY.fullmatch(self.quantity):
            raise ConfigError("quantity", self.quantity, "must be the name of one quantity")
        if self.for_s is not None:
            require_range("for_s", self.for_s, 1, _MONTH_S)
        for key in ("hysteresis", "tolerance"):
            if not 0 <= getattr(self, key) < 1e15:
                raise ConfigError(key, getattr(self, key), "must not be negative")
        if self.step is not None and not 0 < self.step < 1e15:
            raise ConfigError("step", self.step, "must be more than 0")
        if self.above is not None and self.below is not None and self.below >= self.above:
            raise ConfigError("below", self.below, "must be less than above")
