"""`lamppost gateway backup`: what a gateway knows, into one file, also while it runs. No key goes along.

Left out: private keys, root keys of nodes (placed by hand or agreed on in joins), the privacy key, downlink counters,
passwords. Kept of a session: its epoch, so that no report gets a number that was met before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2

from gateway.audit import audit_files
from gateway.backup.archive import BackupError, NewArchive, new_archive
from gateway.backup.windows import make_windows_again
from gateway.config import Config, add_config_argument, load
from gateway.edge.groups import FILE as GROUPS
from gateway.floors import Floors
from gateway.identity.cose import Signer
from gateway.outbox.view import View, look
from gateway.reading import STREAMS, to_bytes
from gateway.registry import opening
from gateway.registry.bundle import write_pieces
from gateway.registry.logfile import LogFile
from gateway.trust import AUDIT_DIR, REGISTRY_DIR

NODES = "nodes"
# What is kept of each table: a new table is left out until somebody has thought about what is in it.
TABLES = {
    "sessions": ("node", "epoch", "boot", "heard_at_s"),
    "sequences": ("node", "epoch", "base", "above", "declared"),
    "digests": ("node", "epoch", "seq", "digest"),
    "boots": ("node", "epoch", "boot", "started_at_s", "is_trusted", "heard_at_s", "clock_boot"),
    "clock_boots": ("number", "body"),
    "devices": ("device",),
    "counters": ("name", "value"),
    "edge_state": ("kind", "owner", "subject", "at_s", "is_open", "state"),
    "quarantine": ("id", "city", "reason", "at_s", "body"),
}
_SECRETS = ("root_key_hex", "private_key_pem")
_ROWS = 1000
_RECORDS = 500


def save(
    config: Config, text: bytes, path: Path, *, has_records: bool = True, now_s: float | None = None
) -> dict[str, Any]:
    """Write a back-up to `path`. Returns what is in it, for people. Raises BackupError, StoreError.

    text  of gateway.toml
    """
    data_dir = config.gateway.data_dir
    facts: dict[str, Any] = {
        "gateway": config.gateway.id,
        "site": config.gateway.site,
        "made_at_s": int(time.time() if now_s is None else now_s),
        "cities": [city.name for city in config.city],
    }
    with new_archive(path) as archive:
        archive.add("gateway.toml", text)
        signer = _save_registry(archive, data_dir / REGISTRY_DIR, facts)
        facts["audit_entries"] = _save_audit(archive, data_dir / AUDIT_DIR)
        facts["nodes"], facts["placed"] = _save_nodes(archive, data_dir / NODES)
        if (data_dir / GROUPS).exists():
            archive.add(GROUPS, (data_dir / GROUPS).read_bytes())
        with look(data_dir) as view:
            make_windows_again(config, view)
            _save_tables(archive, view)
            facts["records"] = _save_records(archive, view) if has_records else 0
        floors = Floors(data_dir)
        floors.load(now_s=facts["made_at_s"])  # last: what the store had used by then is below
        facts |= {"epoch": floors.epoch, "downlink": floors.downlink, "command": floors.command}
        archive.finish(facts, signer)
    return facts


def _save_registry(archive: NewArchive, folder: Path, facts: dict[str, Any]) -> Signer | None:
    """Every log as a bundle, which is verified again when it is taken. Returns who can sign the back-up."""
    if not opening.exists(folder):
        return None
    with opening.open_registry(folder, read_only=True) as registry:
        archive.add("anchor.cbor", registry.site.anchor.encode())
        with archive.member("registry.bundle") as out:
            facts["entries"] = write_pieces(registry, out)
        facts["writer"] = registry.me
        return registry.holder


def _save_audit(archive: NewArchive, folder: Path) -> int:
    """The head first: what is appended meanwhile goes beyond it, and no torn frame is taken along."""
    for name in ("head", "forwarded"):
        if (folder / name).exists():
            archive.add(f"{AUDIT_DIR}/{name}", (folder / name).read_bytes())
    entries = 0
    for path in audit_files(folder):
        with archive.member(f"{AUDIT_DIR}/{path.name}") as out:
            file, at = LogFile(path), 0
            for frame in file.scan():
                out.write(file.bytes_between(at, frame.end))
                at = frame.end
                entries += 1
    return entries


def _save_nodes(archive: NewArchive, folder: Path) -> tuple[int, list[str]]:
    """Node files without keys. Returns how many, and the names of those that had a placed one."""
    found, placed = 0, []
    for path in sorted(folder.glob("*.json")):
        try:
            table = json.loads(path.read_text())
            if any(table.pop(name, None) for name in _SECRETS):
                placed.append(str(table.get("alias") or table["id"]))
        except (ValueError, AttributeError, KeyError):
            raise BackupError(f"{path} is no node file; mend it, or move it away") from None
        archive.add(f"{NODES}/{path.name}", json.dumps(table).encode())
        found += 1
    return found, placed


def _save_tables(archive: NewArchive, view: View) -> None:
    with archive.member("tables.cbor") as out:
        for table, columns in TABLES.items():
            known = {row[1] for row in view.db.execute(f"PRAGMA table_info({table})")}
            kept = [name for name in columns if name in known]
            left_out = " WHERE kind != 'basis'" if table == "edge_state" else ""  # it speaks of a log that stays here
            rows = view.db.execute(f"SELECT {', '.join(kept)} FROM {table}{left_out}") if kept else None
            while rows is not None and (some := rows.fetchmany(_ROWS)):
                out.write(cbor2.dumps([table, kept, [list(row) for row in some]]))


def _save_records(archive: NewArchive, view: View) -> int:
    """What at least one platform waits for, each with the names of those. Raises BackupError if one cannot be read."""
    count = 0
    with archive.member("records.cbor") as out:
        for stream in range(len(STREAMS)):
            for row in _waiting(view, stream):
                out.write(cbor2.dumps(row))
                count += 1
    return count


def _waiting(view: View, stream: int) -> Iterator[list[Any]]:
    ledger = view.ledger
    for first, end in ledger.gone[stream].missing(0, ledger.ends[stream]):
        for at in range(first, end, _RECORDS):
            found, unreadable = view.reader.read(stream, [(at, min(end, at + _RECORDS))], most=_RECORDS)
            if unreadable:
                raise BackupError(
                    f"{sum(last - one for one, last in unreadable)} records cannot be read just now; take the back-up "
                    "again, and if it says so again: lamppost outbox fsck"
                )
            for one in found:
                waits = [city for city in ledger.cities if one.ordinal not in ledger.settled[city, stream]]
                yield [stream, one.stored_at_s, one.is_produced, to_bytes(one.report), waits]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway backup`."""
    add_config_argument(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="a new file; it holds readings, but no key")
    add("--without-records", action="store_true", help="leave out what waits for a city")


def run(args: argparse.Namespace) -> int:
    """Write a back-up; 0."""
    config = load(args.config)
    facts = save(config, args.config.read_bytes(), args.out, has_records=not args.without_records)
    print(
        f"{args.out}: {facts.get('entries', 0)} registry entries, {facts['audit_entries']} audit entries, "
        f"{facts['nodes']} node files, {facts['records']} records; no key is in it"
    )
    for name in facts["placed"]:
        print(
            f"note: {name} has a key placed by hand, which is not in it: after a restore, lamppost enrol --renew {name}"
        )
    return 0
