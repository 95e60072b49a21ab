"""`lamppost gateway restore`: a new gateway with the memory of one that was backed up.

It gets a registry key and a log of its own, whose name ends in a number that nobody used, and numbers its records in
that epoch. Every node has to join it anew; of a session only the epoch is kept, and no frame of before is fresh.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import cbor2

from gateway.audit import AuditLog, verify
from gateway.backup.archive import Archive, BackupError, open_archive
from gateway.backup.saving import NODES, TABLES
from gateway.boot_table import TABLE as BOOT_TABLE
from gateway.config import Config, add_config_argument, load
from gateway.database import make_durable_dir, write_durably
from gateway.edge.groups import FILE as GROUPS
from gateway.errors import ConfigError
from gateway.floors import Floors
from gateway.forget import named_secrets
from gateway.identity.cose import KeySigner, PublicKey, Signer
from gateway.identity.own import FILE as IDENTITY
from gateway.identity.own import public_key_in
from gateway.outbox.entries import Transaction
from gateway.outbox.files import Files
from gateway.reading import STREAMS, from_bytes
from gateway.registry import opening
from gateway.registry.bundle import take_bundle
from gateway.registry.registry import Registry
from gateway.registry.request import make_request
from gateway.tables import EDGE_TABLES
from gateway.trust import AUDIT_DIR, REGISTRY_DIR
from gateway.vault import Vault

_U32_MAX = 0xFFFFFFFF
_SEEN_ALL = b"\xff" * 8
_AT_ONCE = 200  # rows or records in one commit


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came of it. `request`: for the authority; None without a registry."""

    epoch: int
    records: int
    nodes: int
    request: bytes | None
    is_signed: bool


def restore(config: Config, archive: Archive, *, now_s: float | None = None) -> Restored:
    """Fill an empty data_dir. Raises BackupError, ConfigError, StoreError; then nothing is left there."""
    now_s = time.time() if now_s is None else now_s
    archive.check()
    facts = archive.facts
    for name, mine in (("gateway", config.gateway.id), ("site", config.gateway.site)):
        if facts[name] != mine:
            key = "gateway.id" if name == "gateway" else "gateway.site"
            raise ConfigError(key, mine, f"is not {facts[name]}, as in this back-up")
    if facts["made_at_s"] > now_s:
        raise BackupError("this machine's clock is before the time of the back-up; set it first")
    with _empty(config.gateway.data_dir) as data_dir, _named_if_malformed():
        floors = Floors(data_dir)
        floors.begin_again(epoch=facts["epoch"], downlink=facts["downlink"], command=facts["command"], now_s=now_s)
        request, signer, old = _restore_registry(archive, data_dir, f"{config.gateway.id}.{floors.epoch + 1}")
        _restore_audit(archive, data_dir / AUDIT_DIR, config, signer, old)
        nodes = _restore_nodes(archive, data_dir)
        records = _restore_store(archive, data_dir, floors)
    return Restored(epoch=floors.epoch + 1, records=records, nodes=nodes, request=request, is_signed=old is not None)


@contextmanager
def _empty(data_dir: Path) -> Iterator[Path]:
    """The folder, made; if this fails it is as it was. A key pair that was made for it may be there."""
    make_durable_dir(data_dir)
    if {path.name for path in data_dir.iterdir()} - {IDENTITY}:
        raise BackupError(f"{data_dir} is not empty; a back-up goes into a new folder: lamppost gateway forget")
    try:
        yield data_dir
    except BaseException:
        for path in data_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != IDENTITY:
                path.unlink()
        raise


@contextmanager
def _named_if_malformed() -> Iterator[None]:
    """A back-up that nobody signed may hold anything."""
    try:
        yield
    except (LookupError, TypeError, ValueError, cbor2.CBORError, sqlite3.Error) as error:
        raise BackupError(f"this back-up holds what none holds ({type(error).__name__}: {error})") from None


def _restore_registry(
    archive: Archive, data_dir: Path, name: str
) -> tuple[bytes | None, Signer | None, PublicKey | None]:
    """Returns the request for the authority, the new key, and the key of the gateway that was backed up, if known."""
    anchor = archive.read("anchor.cbor")
    if anchor is None:
        return None, None, None
    folder = data_dir / REGISTRY_DIR
    make_durable_dir(folder)
    holder = opening.make_holder(folder)
    writer = f"{archive.facts['site']}/{name}"
    opening.create(folder, anchor, me=writer)
    with opening.open_registry(folder) as registry, archive.open("registry.bundle") as bundle:
        for problem in take_bundle(registry, cast(BinaryIO, bundle)).problems:
            raise BackupError(f"the registry in this back-up is not good: {problem.detail}")
        old = _key_of(registry, archive.facts.get("writer"))
    if old is not None:
        archive.check_signature(old)
    return _request(data_dir, writer, holder), holder, old


def _key_of(registry: Registry, writer: object) -> PublicKey | None:
    gateway = registry.site.gateways.get(str(writer))
    return gateway.keys[-1][1] if gateway else None


def _request(data_dir: Path, writer: str, holder: KeySigner) -> bytes:
    public = public_key_in(data_dir)
    return make_request(writer, holder, edhoc_key=None if public is None else public.cose_key())


def _restore_audit(
    archive: Archive, folder: Path, config: Config, signer: Signer | None, old: PublicKey | None
) -> None:
    """The log as it was, and from here on under the new key."""
    make_durable_dir(folder)
    for name in archive.names(AUDIT_DIR):
        write_durably(folder / Path(name).name, archive.read(name) or b"")
    entries, problems = verify(folder, old)
    if problems:
        raise BackupError(f"the audit log in this back-up is not good: {problems[0]}")
    log = AuditLog(folder, actor=config.gateway.id, signer=signer)
    log.open()
    log.note("restored", "", f"from a back-up of {archive.facts['made_at_s']} with {entries} entries")
    log.flush(last=True)


def _restore_nodes(archive: Archive, data_dir: Path) -> int:
    groups = archive.read(GROUPS)
    if groups is not None:
        write_durably(data_dir / GROUPS, groups)
    make_durable_dir(data_dir / NODES)
    names = archive.names(NODES)
    for name in names:
        write_durably(data_dir / NODES / Path(name).name, archive.read(name) or b"")
    return len(names)


def _restore_store(archive: Archive, data_dir: Path, floors: Floors) -> int:
    vault = Vault(data_dir, Files())
    vault.open()
    try:
        _in_commits(vault, [lambda tx: tx.set_cities(archive.facts["cities"])])
        _in_commits(vault, _tables(archive, floors))
        return _in_commits(vault, _records(archive))
    finally:
        vault.close()


Change = Callable[[Transaction], object]


def _in_commits(vault: Vault, changes: Iterable[Change]) -> int:
    count = 0
    tx = vault.begin()
    for change in changes:
        change(tx)
        count += 1
        if count % _AT_ONCE == 0:
            vault.commit()
            tx = vault.begin()
    vault.commit()
    return count


def _tables(archive: Archive, floors: Floors) -> Iterator[Change]:
    for statement in filter(str.strip, f"{EDGE_TABLES};{BOOT_TABLE}".split(";")):
        yield partial(_execute, sql=statement)
    for table, columns, rows in _sequence(archive, "tables.cbor"):
        if table not in TABLES or not set(columns) <= set(TABLES[table]):
            raise BackupError(f"there is no table {table!r} that a back-up may fill")
        if table == "sessions":
            columns = [*columns, "highest", "seen", "down_reserved"]
            rows = [[*row, _U32_MAX, _SEEN_ALL, floors.downlink] for row in rows]
        sql = f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        for row in rows:
            yield partial(_execute, sql=sql, row=row)


def _execute(tx: Transaction, sql: str, row: Any = ()) -> None:
    tx.execute(sql, row)


def _records(archive: Archive) -> Iterator[Change]:
    """Each record waits for the platforms that it waited for; for the others it counts as delivered."""
    cities = archive.facts["cities"]
    if "records.cbor" in archive.members:
        for row in _sequence(archive, "records.cbor"):
            yield partial(_put, row=row, cities=cities)


def _put(tx: Transaction, row: list[Any], cities: list[str]) -> None:
    stream, stored_at_s, is_produced, stored, waits = row
    if not isinstance(stream, int) or not 0 <= stream < len(STREAMS):
        raise BackupError("a record of no class is in this back-up")
    ordinal = tx.state.ledger.ends[stream]
    tx.put(from_bytes(stored), stream, is_produced=bool(is_produced), now_s=float(stored_at_s))
    for city in cities:
        if city not in waits:
            tx.settle(city, stream, "delivered", [(ordinal, ordinal + 1)])


def _sequence(archive: Archive, name: str) -> Iterator[Any]:
    with archive.open(name) as member:
        decoder = cbor2.CBORDecoder(member)
        while True:
            try:
                yield decoder.decode()
            except cbor2.CBORDecodeEOF:
                return


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway restore`."""
    add_config_argument(parser)
    add = parser.add_argument
    add("--from", dest="source", type=Path, required=True, metavar="FILE", help="made by `lamppost gateway backup`")
    add("--request", type=Path, metavar="FILE", help="where the request for the authority goes, if there is a registry")
    parser.epilog = (
        "Run it as the gateway's user. data_dir must be empty, but for a key pair made by `lamppost gateway identity`."
    )


def run(args: argparse.Namespace) -> int:
    """Restore; 0."""
    with open_archive(args.source) as archive:
        if not args.config.exists():
            archive.check()
            write_durably(args.config, archive.read("gateway.toml") or b"")
            print(f"{args.config}: as it was")
        config = load(args.config)
        if "anchor.cbor" in archive.members and args.request is None:
            raise ConfigError("--request", None, "is missing; the authority has to issue this gateway")
        done = restore(config, archive)
    print(f"{config.gateway.id} restored: {done.records} records wait, {done.nodes} node files, epoch {done.epoch}")
    _say_what_next(args, config, done)
    return 0


def _say_what_next(args: argparse.Namespace, config: Config, done: Restored) -> None:
    if done.request is not None:
        args.request.write_bytes(done.request)
        print(f"next: lamppost authority revoke {config.gateway.id} --gateway   (the one that was backed up)")
        print(f"      lamppost authority issue --gateway {args.request}, then sync its bundle here")
        if not done.is_signed:
            print("note: the gateway was not enrolled, so nothing but the checksums speaks for this back-up")
    if not (config.gateway.data_dir / IDENTITY).exists():
        print("      lamppost gateway identity --data-dir DIR: nodes join under its key, and none can before")
    for path in named_secrets(config):
        if not path.exists():
            print(f"      {path} is named in the settings and not here")
