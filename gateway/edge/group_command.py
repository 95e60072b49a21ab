"""`lamppost group list | show | create | update | delete`: groups of nodes and zones, beside those of gateway.toml.

A running gateway takes a change over within seconds.
"""

from __future__ import annotations

import argparse
import json

from gateway.config import Config, add_config_argument, load
from gateway.config_edge import GroupConfig
from gateway.edge.groups import GroupError, GroupFile, Groups, merged
from gateway.errors import ConfigError
from gateway.identity.nodes import Nodes

_NEXT = "a running gateway takes it over within seconds"


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost group list`."""
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the groups as JSON")


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost group show`."""
    add_list_arguments(parser)
    parser.add_argument("name")


def add_create_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost group create`."""
    add_config_argument(parser)
    parser.add_argument("name")
    parser.add_argument("--zone", action="store_true", help="a place: a node lies in one zone only")
    parser.add_argument("nodes", nargs="+", metavar="NODE", help="id or label; quote * and ? as wildcards")


def add_update_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost group update`."""
    add_config_argument(parser)
    parser.add_argument("name")
    parser.add_argument("--add", action="append", default=[], metavar="NODE", help="id or label; may be repeated")
    parser.add_argument("--remove", action="append", default=[], metavar="NODE", help="as it stands in the group")


def add_delete_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost group delete`."""
    add_config_argument(parser)
    parser.add_argument("name")


def run_list(args: argparse.Namespace) -> int:
    """Print every group and where it was made."""
    config = load(args.config)
    rows = _rows(config)
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        print(f"{row['kind']}:{row['name']:<20} {row['made_by']:<14} {' '.join(row['nodes'])}")  # type: ignore[arg-type]
    if not rows:
        print("there is no group; make one with: lamppost group create NAME NODE...")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print one group with the enrolled nodes that are in it."""
    config = load(args.config)
    row = next((row for row in _rows(config) if row["name"] == args.name), None)
    if row is None:
        raise GroupError(f"there is no group {args.name!r}; lamppost group list shows all")
    row["members"] = _members(config, f"{row['kind']}:{row['name']}")
    if args.json:
        print(json.dumps(row, indent=2))
        return 0
    for name, value in row.items():
        print(f"{name:<8} {' '.join(value) if isinstance(value, (list, tuple)) else value}")
    return 0


def run_create(args: argparse.Namespace) -> int:
    """Make one."""
    config, file = _open(args)
    groups = file.read()
    if args.name in groups or any(one.name == args.name for one in config.group):
        raise GroupError(f"there is a group {args.name!r} already; lamppost group update changes it")
    groups[args.name] = _made(args.name, "zone" if args.zone else "group", args.nodes)
    file.write(groups)
    print(f"{groups[args.name].kind} {args.name} is made; {_NEXT}")
    return 0


def run_update(args: argparse.Namespace) -> int:
    """Add and remove nodes."""
    _, file = _open(args)
    groups = file.read()
    old = _own(groups, args.name)
    missing = [one for one in args.remove if one not in old.nodes]
    if missing:
        raise GroupError(f"{missing[0]!r} does not stand in {args.name!r}; lamppost group show {args.name}")
    if not args.add and not args.remove:
        raise GroupError("nothing to change; give --add NODE or --remove NODE")
    kept = [one for one in old.nodes if one not in args.remove]
    groups[args.name] = _made(args.name, old.kind, [*kept, *(one for one in args.add if one not in kept)])
    file.write(groups)
    print(f"{old.kind} {args.name} is changed; {_NEXT}")
    return 0


def run_delete(args: argparse.Namespace) -> int:
    """Delete one, unless the settings use it."""
    config, file = _open(args)
    groups = file.read()
    old = _own(groups, args.name)
    user = _user(config, f"{old.kind}:{old.name}")
    if user:
        raise GroupError(f"{user} uses {old.kind}:{old.name}; change that in {args.config} first")
    del groups[args.name]
    file.write(groups)
    print(f"{old.kind} {args.name} is deleted; {_NEXT}")
    return 0


def _open(args: argparse.Namespace) -> tuple[Config, GroupFile]:
    config = load(args.config)
    if any(one.name == args.name for one in config.group):
        raise GroupError(f"{args.name!r} is made in {args.config}; change it there")
    return config, GroupFile(config.gateway.data_dir)


def _own(groups: dict[str, GroupConfig], name: str) -> GroupConfig:
    if name not in groups:
        raise GroupError(f"there is no group {name!r}; lamppost group list shows all")
    return groups[name]


def _made(name: str, kind: str, nodes: list[str]) -> GroupConfig:
    try:
        return GroupConfig(name=name, kind=kind, nodes=tuple(nodes))
    except ConfigError as error:
        raise GroupError(str(error)) from None


def _rows(config: Config) -> list[dict[str, object]]:
    configured = {one.name for one in config.group}
    groups = merged(config.group, GroupFile(config.gateway.data_dir).read())
    made_by = {True: "gateway.toml", False: "command"}
    return [
        {"name": one.name, "kind": one.kind, "nodes": list(one.nodes), "made_by": made_by[one.name in configured]}
        for one in groups
    ]


def _members(config: Config, full_name: str) -> list[str]:
    nodes = Nodes(config.gateway.data_dir / "nodes")
    nodes.load()
    label_of = {node.id: node.alias for node in nodes.by_id.values()}.get
    groups = Groups(merged(config.group, GroupFile(config.gateway.data_dir).read()), label_of=label_of)
    return [node.alias or node.id for node in nodes.by_id.values() if groups.takes((full_name,), node.id)]


def _user(config: Config, full_name: str) -> str | None:
    """The first table of the settings that names the group."""
    for kind in ("window", "report", "rule", "privacy"):
        for at, table in enumerate(getattr(config.edge, kind)):
            if full_name in table.nodes:
                return f"edge.{kind}[{at}]"
    return None
