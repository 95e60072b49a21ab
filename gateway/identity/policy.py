"""What the site's owner allows: who may join, report which quantities, receive which commands. The rest is refused.

A policy is a table that the authority signed. Rules add up: what any rule that fits somebody allows, is allowed.
Does no I/O and knows no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import ConfigError

METHODS = ("edhoc", "placed_key", "mtls", "password", "none")
JOIN, REPORT, COMMAND = "join", "report", "command"
STALE = ("serve", "no_joins", "refuse")
ANY = "*"
_DAY_S = 86_400
_RULE_KEYS = ("zones", "ids", "sites", "methods", "join", "report", "commands")
_TOP_KEYS = ("version", "rule", "authority_max_age_s", "when_stale", "require_endorsement")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Whom it fits (None: everybody), and what they may."""

    zones: frozenset[str] | None
    ids: frozenset[str] | None
    sites: frozenset[str] | None
    methods: frozenset[str] | None
    join: bool
    report: frozenset[str]
    commands: frozenset[str]

    def fits(self, *, id: str, zone: str, site: str, home: str) -> bool:
        """Whether it is about this identity; visitors only if their site is named."""
        is_site = site in self.sites if self.sites is not None else site == home
        return is_site and (self.zones is None or zone in self.zones) and (self.ids is None or id in self.ids)

    def allows(self, action: str, what: str) -> bool:
        if action == JOIN:
            return self.join
        allowed = self.report if action == REPORT else self.commands
        return what in allowed or ANY in allowed


@dataclass(frozen=True, kw_only=True)
class Policy:
    """All rules.

    authority_max_age_s  how old the authority's last word may be; None: any
    when_stale           what then: "serve" and say so, "no_joins", or "refuse" everything
    """

    rules: tuple[Rule, ...]
    authority_max_age_s: int | None = None
    when_stale: str = "serve"
    require_endorsement: bool = False

    def refusal(
        self, action: str, what: str = "", *, id: str, zone: str, site: str, home: str, method: str | None
    ) -> str | None:
        """Why not: "not_permitted", or "downgrade" if only a stronger method may; None if it is allowed.

        method  how it proved who it is, one of METHODS; None if that was looked at before
        """
        allowing = [one for one in self.rules if one.fits(id=id, zone=zone, site=site, home=home)]
        allowing = [one for one in allowing if one.allows(action, what)]
        if not allowing:
            return "not_permitted"
        if method is None or any(one.methods is None or method in one.methods for one in allowing):
            return None
        return "downgrade"


def read_policy(table: Mapping[str, Any]) -> Policy:
    """Raises ConfigError naming the key to edit."""
    _refuse_unknown(table, _TOP_KEYS, "")
    if table.get("version") != 1:
        raise ConfigError("version", table.get("version"), "must be 1")
    rules = table.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(one, Mapping) for one in rules):
        raise ConfigError("rule", None, "must be tables: write [[rule]] in double brackets")
    max_age_s = table.get("authority_max_age_s")
    if max_age_s is not None and not (isinstance(max_age_s, int) and 60 <= max_age_s <= 3650 * _DAY_S):
        raise ConfigError("authority_max_age_s", max_age_s, "must be seconds, 60 to ten years")
    when_stale = table.get("when_stale", "serve")
    if when_stale not in STALE:
        raise ConfigError("when_stale", when_stale, f"must be {' or '.join(STALE)}")
    return Policy(
        rules=tuple(_rule(one, f"rule[{at}]") for at, one in enumerate(rules)),
        authority_max_age_s=max_age_s,
        when_stale=when_stale,
        require_endorsement=_flag(table, "require_endorsement", ""),
    )


def _rule(table: Mapping[str, Any], place: str) -> Rule:
    _refuse_unknown(table, _RULE_KEYS, place)
    methods = _texts(table, "methods", place)
    for one in methods or ():
        if one not in METHODS:
            raise ConfigError(f"{place}.methods", one, f"must be among {', '.join(METHODS)}")
    return Rule(
        zones=_texts(table, "zones", place),
        ids=_texts(table, "ids", place),
        sites=_texts(table, "sites", place),
        methods=methods,
        join=_flag(table, "join", place),
        report=_texts(table, "report", place) or frozenset(),
        commands=_texts(table, "commands", place) or frozenset(),
    )


def _texts(table: Mapping[str, Any], name: str, place: str) -> frozenset[str] | None:
    value = table.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ConfigError(f"{place}.{name}", None, "must be a list of texts, not empty; leave it out for any")
    return frozenset(value)


def _flag(table: Mapping[str, Any], name: str, place: str) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{place}.{name}" if place else name, value, "must be true or false")
    return value


def _refuse_unknown(table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for name in table:
        if name not in known:
            raise ConfigError(f"{place}.{name}" if place else str(name), None, f"is not known; {', '.join(known)} are")
