"""The windows of a gateway as of now, in the copy of its tables that a view holds, and not in the gateway's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.config import Config
from gateway.edge import basis
from gateway.edge.groups import GroupError, GroupFile, Groups, merged
from gateway.identity.nodes import Nodes
from gateway.outbox.recent import records_since
from gateway.outbox.view import View
from gateway.recorder import as_it_came


def make_windows_again(config: Config, view: View) -> None:
    """Feed them what was stored since the last checkpoint, where their rows are not in the log (edge/basis)."""
    if not view.db.execute("PRAGMA table_info(edge_state)").fetchall():
        return  # this gateway has never run
    found = basis.read(view.db)
    if found.is_fed:
        basis.catch_up(view.db, found, _groups(config), _recent(config.gateway.id, view))


def _recent(gateway_id: str, view: View) -> Iterator[basis.Recent]:
    for report, stored_at_s, is_produced in records_since(view.log, view.position):
        came = report if is_produced else as_it_came(report, gateway_id=gateway_id)
        yield basis.Recent(came, stored_at_s, is_produced)


def _groups(config: Config) -> Groups:
    data_dir: Path = config.gateway.data_dir
    nodes = Nodes(data_dir / "nodes")
    nodes.load()
    try:
        made = GroupFile(data_dir).read()
    except GroupError:  # the gateway says so, and goes without them, too
        made = {}
    labels = {node.id: node.alias for node in nodes.by_id.values()}
    return Groups(merged(config.group, made), label_of=labels.get)
