"""`lamppost alarm list` shows what is raised; `lamppost alarm ack` says that somebody has seen it."""

from __future__ import annotations

import argparse
import getpass
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from gateway.config import add_config_argument, load
from gateway.edge.acknowledgement import Acknowledgement, leave
from gateway.edge.alarm import Alarm
from gateway.errors import GatewayError
from gateway.identity.nodes import Nodes
from gateway.outbox.view import look
from gateway.status import read_status
from gateway.store_errors import translated

_WAIT_S = 10.0
_LOOK_S = 0.05


class AlarmError(GatewayError):
    """An alarm cannot be acknowledged as asked."""


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost alarm list`."""
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the alarms as JSON")
    parser.epilog = "Exit code 1 if an alarm is raised that nobody has acknowledged."


def add_ack_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost alarm ack`."""
    add_config_argument(parser)
    parser.add_argument("rule", help="the name of the rule")
    parser.add_argument("node", help="id or label of the node")
    parser.add_argument("--by", default=None, metavar="NAME", help="who has seen it (default: your user name)")


def run_list(args: argparse.Namespace) -> int:
    """Print the raised alarms; 1 if one is not acknowledged."""
    data_dir = load(args.config).gateway.data_dir
    rows = raised(data_dir)
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['phase']:<13} {row['rule']:<20} {row['label'] or row['node']}  (time {row['n']})")
        if not rows:
            print("no alarm is raised")
    return 1 if any(row["phase"] == "raised" for row in rows) else 0


def run_ack(args: argparse.Namespace) -> int:
    """Acknowledge one; waits until the running gateway has stored that."""
    data_dir = load(args.config).gateway.data_dir
    rows = [row for row in raised(data_dir) if row["rule"] == args.rule and args.node in (row["node"], row["label"])]
    if not rows:
        raise AlarmError(f"alarm {args.rule} is not raised at {args.node}; lamppost alarm list shows what is")
    if rows[0]["phase"] != "raised":
        raise AlarmError(f"alarm {args.rule} of {args.node} is acknowledged already")
    status = read_status(data_dir)
    if status is None or not status.is_running:
        raise AlarmError("the gateway is not running; start it with: lamppost gateway run")
    note = Acknowledgement(rule=args.rule, node=str(rows[0]["node"]), by=args.by or getpass.getuser())
    _wait_gone(leave(data_dir, note))
    print(f"alarm {args.rule} of {args.node} is acknowledged")
    return 0


def raised(data_dir: Path) -> list[dict[str, Any]]:
    """The raised alarms of a gateway, running or not, as of its last commit. Raises StoreError."""
    nodes = Nodes(data_dir / "nodes")
    nodes.load()
    with look(data_dir) as view:
        try:
            query = "SELECT owner, subject, state FROM edge_state WHERE kind = 'alarm' AND is_open = 1"
            kept = view.db.execute(query).fetchall()
        except sqlite3.Error as error:
            raise translated(error) from None
    rows = []
    for rule, node, state in kept:
        alarm = Alarm(rule, node, "")
        alarm.take_state(state)
        if alarm.is_raised:
            known = nodes.by_id.get(node)
            label = known.alias if known else None
            rows.append({"rule": rule, "node": node, "label": label, "phase": alarm.phase, "n": alarm.n})
    return rows


def _wait_gone(path: Path) -> None:
    give_up_s = time.monotonic() + _WAIT_S
    while path.exists():
        if time.monotonic() > give_up_s:
            raise AlarmError(
                "the gateway has not taken it up yet; it will when its disk works: lamppost gateway status"
            )
        time.sleep(_LOOK_S)
