"""Groups of nodes and zones: which nodes a name stands for, from gateway.toml and from `lamppost group`.

What the command made is in data_dir/groups.json; a name of gateway.toml cannot be changed by it. A node is named by its
id or its label. Patterns elsewhere: an id, a label, "group:<name>", "zone:<name>", with * and ? as wildcards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

from gateway.config_edge import GroupConfig
from gateway.database import write_durably
from gateway.errors import ConfigError, GatewayError

FILE = "groups.json"
_MOST = 1000


class GroupError(GatewayError):
    """A group cannot be changed as asked."""


class Groups:
    """Membership. `label_of`: the label of a node, or None."""

    def __init__(self, groups: Iterable[GroupConfig] = (), *, label_of: Callable[[str], str | None] | None = None):
        self.all = tuple(groups)
        self._label_of = label_of or (lambda _: None)

    def names_of(self, node: str) -> tuple[str, ...]:
        """Its id, and its label if it has one."""
        label = self._label_of(node)
        return (node,) if label is None else (node, label)

    def of(self, node: str, kind: str) -> tuple[str, ...]:
        """The groups, or the one zone, of a node: "group:park"."""
        names = self.names_of(node)
        found = [f"{kind}:{one.name}" for one in self.all if one.kind == kind and _is_any(names, one.nodes)]
        return tuple(found[:1] if kind == "zone" else found)

    def takes(self, patterns: Sequence[str], node: str) -> bool:
        """Whether one of the patterns stands for the node."""
        if "*" in patterns:
            return True
        names = (*self.names_of(node), *self.of(node, "group"), *self.of(node, "zone"))
        return _is_any(names, patterns)

    def unknown(self, patterns: Iterable[str]) -> list[str]:
        """Those of the patterns that name a group which is not there."""
        known = {f"{one.kind}:{one.name}" for one in self.all}
        return [
            one
            for one in patterns
            if one.startswith(("group:", "zone:")) and not any(fnmatchcase(name, one) for name in known)
        ]


def _is_any(names: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


class GroupFile:
    """data_dir/groups.json: the groups that people made."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE

    def stamp(self) -> tuple[int, int]:
        """Changes whenever the file does."""
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)

    def read(self) -> dict[str, GroupConfig]:
        """By name. Raises GroupError if the file is not ours."""
        try:
            table = json.loads(self.path.read_text(encoding="utf-8"))
            found = [GroupConfig(**{**one, "nodes": tuple(one["nodes"])}) for one in table]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise GroupError(f"{self.path}: cannot be read ({error.strerror})") from None
        except (ValueError, TypeError, KeyError, ConfigError) as error:
            raise GroupError(f"{self.path}: {error}; mend the file, or delete it and make the groups anew") from None
        return {one.name: one for one in found}

    def write(self, groups: Mapping[str, GroupConfig]) -> None:
        """Replace the file in one step. Raises GroupError."""
        if len(groups) > _MOST:
            raise GroupError(f"there can be {_MOST} groups; delete some")
        text = json.dumps([asdict(groups[name]) for name in sorted(groups)], indent=1)
        try:
            write_durably(self.path, text.encode())
        except OSError as error:
            raise GroupError(f"{self.path}: cannot be written ({error.strerror})") from None


def merged(configured: Sequence[GroupConfig], made: Mapping[str, GroupConfig]) -> list[GroupConfig]:
    """The file's groups, then those of the command whose names are free."""
    names = {one.name for one in configured}
    return [*configured, *(one for one in made.values() if one.name not in names)]
