"""What the edge goes by: the settings of gateway.toml and the groups made by command, read anew when they change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.config import EdgeConfig
from gateway.config_edge import GroupConfig
from gateway.edge.groups import GroupError, GroupFile, Groups, merged
from gateway.edge.privacy import Privacy, load_key

log = logging.getLogger(__name__)


class EdgeSettings:
    """Of one gateway.

    label_of   the asset label of an enrolled node, for groups that name nodes by it
    count      counts what privacy took away
    """

    def __init__(
        self,
        data_dir: Path,
        edge: EdgeConfig,
        groups: Sequence[GroupConfig],
        *,
        label_of: Callable[[str], str | None],
        count: Callable[[str], None],
    ) -> None:
        self.edge = edge
        self._configured = groups
        self._file = GroupFile(data_dir)
        self._stamp = self._file.stamp()
        self._key = load_key(data_dir)
        self._label_of = label_of
        self._count = count

    def change(self, edge: EdgeConfig, groups: Sequence[GroupConfig]) -> None:
        """Go by these settings from now on."""
        self.edge, self._configured = edge, groups

    def have_changed(self) -> bool:
        """Whether groups were made or deleted by command since they were read."""
        return self._file.stamp() != self._stamp

    def try_again(self) -> None:
        """What was read could not be taken up: let `have_changed` say so."""
        self._stamp = (-1, -1)

    def groups(self) -> Groups:
        """All groups there are, taken up now. A file that is none is logged and left out."""
        self._stamp = self._file.stamp()
        return self._read()

    def _read(self) -> Groups:
        try:
            made = self._file.read()
        except GroupError as error:
            log.error("groups made by command are left out: %s", error)
            made = {}
        return Groups(merged(self._configured, made), label_of=self._label_of)

    def privacy(self, groups: Groups) -> Privacy:
        """What privacy takes away under these settings."""
        return Privacy(self.edge.privacy, groups, key=self._key, count=self._count)

    def warnings(self) -> list[str]:
        """Names of groups that the settings use and nobody has made."""
        patterns = [
            one
            for table in (self.edge.window, self.edge.report, self.edge.rule, self.edge.privacy, self.edge.action)
            for one in table
        ]
        used = sorted({name for table in patterns for name in table.nodes})
        unknown = self._read().unknown(used)
        return [f"edge: {name} is no group; make it with: lamppost group create" for name in unknown]
