"""`lamppost node command NODE ...` asks a running gateway for a command; `lamppost node commands` shows all of them."""

from __future__ import annotations

import argparse
import getpass
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from gateway.command.note import LONGEST_TTL_S, Note, fetch, leave
from gateway.command.rows import WAITING
from gateway.command.wish import CommandError
from gateway.config import add_config_argument, load
from gateway.identity.nodes import Nodes
from gateway.outbox.view import look
from gateway.status import read_status
from gateway.store_errors import translated

_ANSWER_S = 10.0
_LOOK_S = 0.05
_LOOK_AGAIN_S = 1.0


def add_command_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost node command`."""
    _add_options(parser)
    parser.add_argument("node", help="id or label of the node")
    below = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    behind = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_options(behind)  # they may also stand behind the command's name; left out there, those before it hold

    def add(name: str, about: str) -> argparse.ArgumentParser:
        return below.add_parser(name, help=about, parents=[behind])

    add("report", "sample now, and report everything")
    output = add("output", "switch the node's output for a time, or to its safe state")
    output.add_argument("state", choices=("on", "off", "safe"))
    output.add_argument("--for", type=int, dest="for_s", metavar="S", help="for so many seconds; not with safe")
    pace = add("pace", "sample and report every so many seconds; 0: as the node is configured")
    pace.add_argument("--sample", type=int, dest="sample_s", metavar="S")
    pace.add_argument("--report", type=int, dest="report_s", metavar="S")
    add("restart", "reset the node")
    parser.epilog = (
        "It goes with the answer to the node's next frame. Exit code 1 if it is refused; with --wait also if nothing "
        "came of it by then. Example: lamppost node command --wait 600 lamp-3 output on --for 60"
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--by", metavar="NAME", help="who asks for it (default: your user name)")
    parser.add_argument("--ttl", type=int, metavar="S", help="how long it may wait (default: as configured)")
    parser.add_argument("--wait", type=int, metavar="S", help="wait so long for what comes of it")


def add_commands_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost node commands`."""
    add_config_argument(parser)
    parser.add_argument("node", nargs="?", help="id or label of a node (default: all)")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def run_command(args: argparse.Namespace) -> int:
    """Ask; wait until the running gateway has it on disk, and, if told to, until the node said what came of it."""
    data_dir = load(args.config).gateway.data_dir
    given = {name: getattr(args, name, None) for name in ("state", "for_s", "sample_s", "report_s")}
    options = {name: value for name, value in given.items() if value is not None}
    note = Note(node=args.node, name=args.name, options=options, by=args.by or getpass.getuser(), ttl_s=args.ttl)
    wished = note.wish()
    if args.ttl is not None and not 0 < args.ttl <= LONGEST_TTL_S:
        raise CommandError(f"--ttl must be seconds, 1 to {LONGEST_TTL_S}")
    status = read_status(data_dir)
    if status is None or not status.is_running:
        raise CommandError("the gateway is not running; start it with: lamppost gateway run")
    told = _answer(leave(data_dir, note))
    number, node = told["number"], str(told["node"])
    print(f"command {number} to {node}: {wished.words}; it goes with the answer to its next frame")
    return _await_outcome(data_dir, node, number, args.wait) if args.wait else 0


def run_commands(args: argparse.Namespace) -> int:
    """Print them, those that wait and the last that ended, by node."""
    rows = known(load(args.config).gateway.data_dir)
    if args.node:
        rows = [row for row in rows if args.node in (row["node"], row["label"])]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        detail = f" ({row['detail']})" if row["detail"] else ""
        sends = f", sent {row['sends']} times" if row["state"] == WAITING and row["sends"] else ""
        who = row["label"] or row["node"]
        print(f"{row['number']:>8}  {who}  {row['words']}  by {row['actor']}: {row['state']}{detail}{sends}")
    if not rows:
        print("nothing was asked of any node")
    return 0


def known(data_dir: Path) -> list[dict[str, Any]]:
    """Commands of a gateway, running or not, as of its last commit. Raises StoreError."""
    nodes = Nodes(data_dir / "nodes")
    nodes.load()
    names = ("node", "number", "words", "actor", "state", "detail", "sends", "queued_at_s")
    with look(data_dir) as view:
        try:
            kept = view.db.execute(f"SELECT {', '.join(names)} FROM commands ORDER BY node, number").fetchall()
        except sqlite3.OperationalError:  # of a gateway that never had any
            kept = []
        except sqlite3.Error as error:
            raise translated(error) from None
    rows = [dict(zip(names, row, strict=True)) for row in kept]
    for row in rows:
        node = nodes.by_id.get(row["node"])
        row["label"] = node.alias if node else None
    return rows


def _answer(path: Path) -> dict[str, object]:
    """What the gateway says to the note. Raises CommandError."""
    give_up_s = time.monotonic() + _ANSWER_S
    while time.monotonic() <= give_up_s:
        told = fetch(path)
        if told is not None:
            return told
        time.sleep(_LOOK_S)
    raise CommandError("the gateway has not taken it up yet; it will when its disk works: lamppost gateway status")


def _await_outcome(data_dir: Path, node: str, number: object, wait_s: int) -> int:
    give_up_s = time.monotonic() + wait_s
    while time.monotonic() <= give_up_s:
        time.sleep(_LOOK_AGAIN_S)
        row = next((row for row in known(data_dir) if (row["node"], row["number"]) == (node, number)), None)
        if row is None:  # it goes on under another number
            print("the node had taken up higher numbers; lamppost node commands shows how it goes on")
            return 1
        if row["state"] != WAITING:
            print(f"{row['state']}{': ' if row['detail'] else ''}{row['detail']}")
            return 0 if row["state"] == "done" else 1
    print(f"nothing came of it in {wait_s} s; lamppost node commands shows how it goes on")
    return 1
