"""Statements by subject and by name: a SQLite file that is written once and then only read, and what came since.

The file is made anew at each check-point, so its hash can be signed; the logs are the truth, this only finds things.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from gateway.registry import statement as st
from gateway.registry.fold import Limits, evaluate, row_digest
from gateway.registry.statement import Statement, reread

Key = tuple[str, str]  # (site that says it, subject)
_TABLES = """
CREATE TABLE subject (n INTEGER PRIMARY KEY, site TEXT, subject TEXT, facts BLOB, digest BLOB, UNIQUE (site, subject));
CREATE TABLE name (name TEXT, n INTEGER, PRIMARY KEY (name, n)) WITHOUT ROWID;
CREATE TABLE spoke (writer TEXT, n INTEGER, PRIMARY KEY (writer, n)) WITHOUT ROWID;
CREATE TABLE site_fact (writer TEXT, place INTEGER, payload BLOB, PRIMARY KEY (writer, place)) WITHOUT ROWID;
"""
_CACHE_KIB = 2048


class Layer:
    """Changes above the file. `facts`: the whole list of each subject that changed."""

    def __init__(self) -> None:
        self.facts: dict[Key, list[bytes]] = {}
        self.names: dict[str, set[Key]] = {}
        self.site_facts: dict[tuple[str, int], bytes] = {}


class Index:
    """Find facts. Not thread-safe; the registry has the lock."""

    def __init__(self) -> None:
        self._base: sqlite3.Connection | None = None
        self._live = Layer()
        self._frozen: Layer | None = None

    @property
    def changes(self) -> int:
        """Subjects changed since the file was written."""
        return len(self._live.facts) + len(self._live.site_facts)

    @property
    def has_base(self) -> bool:
        """Whether there is a file below the changes."""
        return self._base is not None

    def open(self, path: Path | None) -> None:
        """Read from this file (none: an empty one), dropping every change above it."""
        self.close()
        self._live, self._frozen = Layer(), None
        if path is not None:
            self._base = sqlite3.connect(f"file:{path}?immutable=1", uri=True, check_same_thread=False)
            self._base.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def add(self, one: Statement, payload: bytes) -> None:
        """Take up a statement that was accepted."""
        if one.kind in st.OF_SITE:
            self._live.site_facts[(one.writer, one.index)] = payload
            return
        key = (one.site, one.subject)
        facts = self._live.facts.get(key)
        if facts is None:
            facts = self._live.facts[key] = list(self.facts(*key))
        if payload not in facts:
            facts.append(payload)
        for name in _names(facts, key, one):
            self._live.names.setdefault(name, set()).add(key)

    def facts(self, site: str, subject: str) -> list[bytes]:
        """The payloads about `subject` in the logs of `site`."""
        for layer in self._layers():
            if (site, subject) in layer.facts:
                return layer.facts[(site, subject)]
        if self._base is None:
            return []
        row = self._base.execute("SELECT facts FROM subject WHERE site = ? AND subject = ?", (site, subject)).fetchone()
        return _unpack(row[0]) if row else []

    def find(self, name: str) -> list[Key]:
        """Who has, or once had, this name ("kid:...", "label:...", ...)."""
        found = {key for layer in self._layers() for key in layer.names.get(name, ())}
        if self._base is not None:
            rows = self._base.execute("SELECT site, subject FROM name JOIN subject USING (n) WHERE name = ?", (name,))
            found.update((site, subject) for site, subject in rows)
        return sorted(found)

    def touch_spoken_of(self, writer: str) -> None:
        """Have every subject that a gateway spoke of counted anew."""
        if self._base is None:
            return
        rows = self._base.execute("SELECT site, subject FROM spoke JOIN subject USING (n) WHERE writer = ?", (writer,))
        for key in rows.fetchall():
            self._live.facts.setdefault(key, list(self.facts(*key)))

    def site_facts(self) -> list[tuple[str, int, bytes]]:
        """What the site's own state was folded from: (writer, place, payload) in order."""
        found = {key: one for layer in reversed(list(self._layers())) for key, one in layer.site_facts.items()}
        if self._base is not None:
            rows = self._base.execute("SELECT writer, place, payload FROM site_fact")
            found = {(writer, place): one for writer, place, one in rows} | found
        return [(*key, found[key]) for key in sorted(found)]

    def count(self) -> int:
        """How many subjects there are."""
        if self._base is None:
            return len({key for layer in self._layers() for key in layer.facts})
        new = {key for layer in self._layers() for key in layer.facts if not self._is_below(key)}
        return int(self._base.execute("SELECT count(*) FROM subject").fetchone()[0]) + len(new)

    def _is_below(self, key: Key) -> bool:
        assert self._base is not None
        found = self._base.execute("SELECT 1 FROM subject WHERE site = ? AND subject = ?", key).fetchone()
        return found is not None

    def subjects(self) -> Iterator[Key]:
        """Every subject, by site and name."""
        found = {key for layer in self._layers() for key in layer.facts}
        if self._base is not None:
            found.update(self._base.execute("SELECT site, subject FROM subject"))
        yield from sorted(found)

    def digests(self, limits: Limits) -> Iterator[tuple[str, bytes]]:
        """(site, digest) of every subject, by site and name."""
        changed: dict[Key, list[bytes]] = {}
        for layer in reversed(list(self._layers())):
            changed.update(layer.facts)
        fresh = ((key, row_digest(key[1], facts, domain=key[0], limits=limits)) for key, facts in changed.items())
        merged = dict(fresh)
        waiting = sorted(merged)
        at = 0
        for site, subject, digest in self._base_digests():
            while at < len(waiting) and waiting[at] < (site, subject):
                yield waiting[at][0], merged[waiting[at]]
                at += 1
            if at < len(waiting) and waiting[at] == (site, subject):
                continue
            yield site, digest
        yield from ((key[0], merged[key]) for key in waiting[at:])

    def freeze(self) -> None:
        """Set apart what `write` will put into the new file; later changes go above it."""
        below = self._frozen
        self._frozen, self._live = self._live, Layer()
        if below is not None:  # an earlier write failed
            _pour(below, self._frozen)

    def write(self, old: Path | None, new: Path, limits: Limits) -> None:
        """Make the new file: the old one and what was frozen. Look-ups go on. Raises OSError, sqlite3.Error."""
        if old is not None:
            shutil.copyfile(old, new)
        else:
            new.unlink(missing_ok=True)
        os.chmod(new, 0o600) if old is not None else os.close(os.open(new, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(new, isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode = OFF")
            file.execute("PRAGMA synchronous = OFF")
            if old is None:
                file.executescript(_TABLES)
            file.execute("BEGIN")
            assert self._frozen is not None
            _store(file, self._frozen, limits)
            file.execute("COMMIT")
        fd = os.open(new, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def adopt(self, path: Path) -> None:
        """Read from the new file from now on; what was frozen is in it."""
        live = self._live
        self.open(path)
        self._live = live

    def _layers(self) -> Iterator[Layer]:
        yield self._live
        if self._frozen is not None:
            yield self._frozen

    def _base_digests(self) -> Iterator[tuple[str, str, bytes]]:
        if self._base is not None:
            yield from self._base.execute("SELECT site, subject, digest FROM subject ORDER BY site, subject")


def _names(facts: list[bytes], key: Key, one: Statement) -> list[str]:
    """The names this statement gives its subject."""
    if one.kind not in (st.ENROL, st.ROTATE, st.TRANSFER):
        return []
    known = evaluate(key[1], facts, domain=key[0], limits={})
    return known.names() if known else []


def _store(file: sqlite3.Connection, layer: Layer, limits: Limits) -> None:
    for (site, subject), facts in layer.facts.items():
        digest = row_digest(subject, facts, domain=site, limits=limits)
        file.execute(
            "INSERT INTO subject (site, subject, facts, digest) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (site, subject) DO UPDATE SET facts = excluded.facts, digest = excluded.digest",
            (site, subject, _pack(facts), digest),
        )
        for writer in {one.writer for one in map(reread, facts) if not one.is_of_authority}:
            file.execute(f"INSERT OR IGNORE INTO spoke VALUES (?, {_WHICH})", (writer, site, subject))
    rows = ((name, *key) for name, keys in layer.names.items() for key in keys)
    file.executemany(f"INSERT OR IGNORE INTO name VALUES (?, {_WHICH})", rows)
    facts_of_site = ((*key, payload) for key, payload in layer.site_facts.items())
    file.executemany("INSERT OR IGNORE INTO site_fact VALUES (?, ?, ?)", facts_of_site)


_WHICH = "(SELECT n FROM subject WHERE site = ? AND subject = ?)"


def _pour(below: Layer, above: Layer) -> None:
    above.facts = below.facts | above.facts
    above.site_facts = below.site_facts | above.site_facts
    for name, keys in below.names.items():
        above.names.setdefault(name, set()).update(keys)


def _pack(facts: list[bytes]) -> bytes:
    return b"".join(len(one).to_bytes(2, "big") + one for one in facts)


def _unpack(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return found
