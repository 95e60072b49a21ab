"""Opening a registry: what the check-point vouches for is taken as it is, the rest is verified, damage is named.

The index can always be made anew from the logs. A log that was changed is set aside, its good beginning is kept, and
the rest comes again with the next sync.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.database import sync_dir, write_durably
from gateway.identity.cose import KeySigner
from gateway.registry import checkpoint
from gateway.registry.checkpoint import Checkpoint, CheckpointDamaged, Read, digest_of
from gateway.registry.keys import HOLDER_KEY, load_key, make_key
from gateway.registry.registry import FORKS, LOGS, Registry, RegistryError, load_site, lock_folder
from gateway.registry.rules import Refused, Trial, check_piece
from gateway.registry.site import AnchorError, Site, read_anchor
from gateway.registry.writer import WriterLog

log = logging.getLogger(__name__)
ANCHOR = "anchor.cbor"
HOLDER = "holder.json"
CHANGES_PER_CHECKPOINT = 8192
_LOOKS = 3


def make_holder(folder: Path) -> KeySigner:
    """The key of who will hold the registry in this folder. Raises KeyFileError if there is one."""
    return make_key(folder / HOLDER_KEY)


def create(folder: Path, anchor: bytes, *, me: str | None) -> None:
    """Make a registry's folder; its holder's key must be in it. Raises RegistryError if there is one already."""
    if (folder / HOLDER).exists():
        raise RegistryError(f"{folder} holds a registry already")
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    write_durably(folder / ANCHOR, anchor)
    write_durably(folder / HOLDER, json.dumps({"version": 1, "writer": me}).encode())


def exists(folder: Path) -> bool:
    """Whether there is a registry in this folder."""
    return (folder / HOLDER).exists()


@contextmanager
def open_registry(folder: Path, *, read_only: bool = False) -> Iterator[Registry]:
    """The registry in this folder. Leaving it writes a check-point.

    read_only  beside a process that writes; nothing is repaired, nothing can be appended
    Raises     RegistryError, RegistryBusy, KeyFileError, AnchorError
    """
    registry = _made(folder)
    fd = None if read_only else lock_folder(folder)
    registry.on_listen = lambda one: load_log(registry, one, repair=not read_only)
    try:
        _load(registry, repair=not read_only)
        yield registry
        if not read_only:
            save_if_due(registry, changes=1)
    finally:
        registry.index.close()
        if fd is not None:
            os.close(fd)


def save_if_due(registry: Registry, *, changes: int = CHANGES_PER_CHECKPOINT) -> None:
    """Write a check-point if so much changed. Look-ups go on meanwhile. Raises OSError, sqlite3.Error."""
    if registry.index.changes >= changes:
        save(registry)


def save(registry: Registry) -> None:
    """Write a check-point: the next start reads no further back than this."""
    folder = registry.folder
    with registry.lock:
        registry.index.freeze()
        logs = {one.writer: _read_of(one) for one in registry.writers()}
        limits = registry.site.limits
    old = _index_files(folder)
    number = int(old[-1].stem.partition("-")[2]) + 1 if old else 1
    new = folder / f"index-{number}.db"
    current = old[-1] if old and registry.index.has_base else None
    registry.index.write(current, new, limits)
    found = Checkpoint(index=new.name, index_digest=digest_of(new), anchor_digest=digest_of(folder / ANCHOR), logs=logs)
    sync_dir(folder)
    checkpoint.write(folder, found, registry.holder)
    with registry.lock:
        registry.index.adopt(new)
    for path in old:
        path.unlink()


def _made(folder: Path) -> Registry:
    try:
        told = json.loads((folder / HOLDER).read_text())
        anchor = read_anchor((folder / ANCHOR).read_bytes())
        holder = load_key(folder / HOLDER_KEY)
        me = told["writer"]
    except (OSError, ValueError, KeyError) as error:
        raise RegistryError(f"{folder} holds no registry ({error}); make one with `lamppost registry init`") from None
    except AnchorError as error:
        raise AnchorError(f"{folder / ANCHOR}: {error}") from None
    registry = Registry(folder, Site(anchor), me=me, holder=holder)
    for path in sorted((folder / FORKS).glob("*.cbor")):
        writer = path.stem.replace("@", "/")
        registry.forked[writer] = f"{writer} signed two histories; both are kept in {path}"
    return registry


def _load(registry: Registry, *, repair: bool) -> None:
    for tries_left in range(0 if repair else _LOOKS - 1, -1, -1):
        try:
            _load_checkpoint(registry)
            break
        except CheckpointDamaged as damage:
            _forget(registry)
            if not tries_left:  # beside a writer the files may have changed between two looks
                _notice(registry, f"{damage}; everything is verified anew from the logs")
    for path in _log_files(registry):  # the authority's first; reading it may load others already
        load_log(registry, registry.writer(_writer_of(path)), repair=repair)


def _load_checkpoint(registry: Registry) -> None:
    found = checkpoint.read(registry.folder, registry.holder)
    if found is None and any((registry.folder / LOGS).glob("*.log")):
        raise CheckpointDamaged(f"{registry.folder / checkpoint.NAME} is missing")
    if found is not None:
        _restore(registry, found)


def _restore(registry: Registry, found: Checkpoint) -> None:
    """Take up what the check-point vouches for. Raises CheckpointDamaged naming the file that does not fit."""
    folder = registry.folder
    for name, digest in ((ANCHOR, found.anchor_digest), (found.index, found.index_digest)):
        if digest_of(folder / name) != digest:
            raise CheckpointDamaged(f"{folder / name} was changed while this was off")
    registry.index.open(folder / found.index)
    load_site(registry.site, registry.index.site_facts())
    for writer, read in found.logs.items():
        one = registry.writer(writer)
        hasher = one.file.digest(read.end)
        if hasher.digest() != read.digest:
            raise CheckpointDamaged(f"{one.file.path} was changed while this was off")
        one.restore(frontier=read.frontier, head=read.head, end=read.end, hasher=hasher)


def _forget(registry: Registry) -> None:
    registry.index.open(None)
    registry.site = Site(registry.site.anchor)
    registry.forget_logs()


def load_log(registry: Registry, one: WriterLog, *, repair: bool) -> None:
    """Verify and fold what the file holds beyond what is known of it; cut off what is no good, by name."""
    if not registry.site.keys_at(one.writer, 0):
        return  # its site or its gateway is not known (any more): kept, not listened to
    good, problem = one.file.end, ""
    for piece, end in one.pieces_with_ends(one.size, from_byte=one.file.end, at=one.size):
        trial = Trial(registry.site, one.frontier, registry.index.facts)
        try:
            check_piece(piece, trial, piece.entries)
        except Refused as error:
            problem = str(error)
            break
        registry.restore_piece(one, piece, trial, end)
        good = end
        if repair:
            save_if_due(registry)
    rest = one.file.size() - good
    if rest and repair:
        _cut(registry, one, good, problem or f"{rest} bytes behind entry {one.size} of {one.writer} are unreadable")


def _cut(registry: Registry, one: WriterLog, good: int, problem: str) -> None:
    """Keep the good beginning; the whole file stays beside it under another name."""
    aside = one.file.path.with_suffix(f".damaged-{len(list(one.file.path.parent.glob('*.damaged-*'))) + 1}")
    shutil.copyfile(one.file.path, aside)
    os.chmod(aside, 0o600)
    one.file.cut(good)
    _notice(registry, f"{problem}; kept up to entry {one.size}, the whole file is {aside}; sync brings the rest again")


def _notice(registry: Registry, text: str) -> None:
    registry.notices.append(text)
    log.error("%s", text)


def _read_of(one: WriterLog) -> Read:
    return Read(
        frontier=one.frontier.copy(),
        head=one.head.signed if one.head else b"",
        end=one.file.end,
        digest=one.hasher.digest(),
    )


def _log_files(registry: Registry) -> list[Path]:
    """This site's authority first, for it says who the others are."""
    first = registry.site.authority
    paths = (registry.folder / LOGS).glob("*.log")
    return sorted(paths, key=lambda path: (_writer_of(path) != first, path.name))


def _writer_of(path: Path) -> str:
    return path.stem.replace("@", "/")


def _index_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("index-*.db"), key=lambda path: int(path.stem.partition("-")[2]))
