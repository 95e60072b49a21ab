"""`lamppost outbox audit`: promise 1 as of the last commit, one row per platform. Exit code 1 if it does not hold."""

from __future__ import annotations

import argparse

from gateway.outbox.ledger import AuditRow
from gateway.outbox.tools.place import add_json_argument, add_place_arguments, data_dir_of, print_json, print_table
from gateway.outbox.view import look

_COLUMNS = (
    "accepted", "produced", "delivered", "unheard", "stored", "evicted", "expired", "thinned", "damaged", "refused",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the rows. Returns the exit code."""
    data_dir = data_dir_of(args)
    with look(data_dir) as view:
        rows, missing = view.ledger.audit(), view.damaged
    holds = all(row.holds for row in rows)
    if args.json:
        platforms = [row.as_dict() for row in rows]
        print_json({"data_dir": str(data_dir), "holds": holds, "found_missing": missing, "platforms": platforms})
    else:
        _print(rows, missing)
    return 0 if holds else 1


def _print(rows: list[AuditRow], missing: int) -> None:
    if not rows:
        print("No platform was ever configured here, so nothing is owed to anybody.")
        return
    table = [(row.city, *(row.as_dict()[name] for name in _COLUMNS), "yes" if row.holds else "NO") for row in rows]
    print_table(("platform", *_COLUMNS, "holds"), table)
    if missing:
        print(f"{missing} records cannot be found in the log; they are counted as damaged. See `lamppost outbox fsck`.")
    for row in rows:
        if not row.holds:
            print(f"{row.city}: {_gap(row)}; please report this with the output of `lamppost outbox inspect --json`")
    print("accepted + produced = delivered + stored + evicted + expired + thinned + damaged + refused")
    print("(unheard is part of delivered: the platform said that nobody was subscribed)")


def _gap(row: AuditRow) -> str:
    gone = row.delivered + row.evicted + row.expired + row.thinned + row.damaged + row.refused
    left = row.accepted + row.produced - gone - row.stored
    return f"{left} records came and are nowhere" if left > 0 else f"{-left} records are counted that never came"
