"""[command]: which commands may go to nodes, and how long they wait."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.command.wish import NAMES
from gateway.config_rules import require_one_of, require_range
from gateway.config_table import option

_MONTH_S = 31 * 86_400


@dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """What `lamppost node command` and rules may ask of nodes."""

    allow: tuple[str, ...] = option(
        f"Of {', '.join(NAMES)}: what may be asked of any node. Where a policy of the site is in force, that decides.",
        default=(),
    )
    ttl_s: int = option(
        "A command that found no frame of its node to answer by then is not sent any more.", default=3600
    )
    most_waiting: int = option("Most commands that wait for one node.", default=8)

    def __post_init__(self) -> None:
        for name in self.allow:
            require_one_of("allow", name, NAMES)
        require_range("ttl_s", self.ttl_s, 10, _MONTH_S)
        require_range("most_waiting", self.most_waiting, 1, 100)
