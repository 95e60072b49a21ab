"""The site registry of one holder (a gateway, or the authority's machine): logs, index, check-point, put together.

Open it with `open_registry`. What is asked often (identity, by_kid) costs a look-up; what is written is on disk when
the call returns. One process writes; others may open it read_only beside it.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from gateway.errors import GatewayError
from gateway.identity.cbor import encode
from gateway.identity.cose import Signer
from gateway.identity.names import key_name, point_of_did
from gateway.registry import statement as st
from gateway.registry.fold import Identity, evaluate, suspensions
from gateway.registry.index import Index
from gateway.registry.rules import Refused, Trial, check_piece, require_signed
from gateway.registry.site import Site
from gateway.registry.statement import Draft, Statement, StatementError, read
from gateway.registry.writer import MOST_ENTRIES, Head, Piece, WriterLog, sign_head

log = logging.getLogger(__name__)
FORKS = "forks"
LOGS = "logs"


class RegistryError(GatewayError):
    """The registry cannot do this; the message says what to do."""


class RegistryBusy(RegistryError):
    """Another process writes in it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one piece of a log. `problem`: why it was refused, or what it shows; None if all is well."""

    writer: str
    taken: int = 0
    problem: str | None = None
    detail: str = ""


OnStatement = Callable[[Statement], None]


class Registry:
    """`site` is the state that decides who may write; `me` is this holder as a writer, None if it writes no log."""

    def __init__(self, folder: Path, site: Site, *, me: str | None, holder: Signer) -> None:
        self.folder = folder
        self.site = site
        self.me = me
        self.holder = holder
        self.index = Index()
        self.lock = RLock()
        self.notices: list[str] = []
        self.forked: dict[str, str] = {}
        self.listeners: list[OnStatement] = []
        self.now_s: Callable[[], float] = time.time
        self.on_listen: Callable[[WriterLog], None] = lambda log: None  # opening.py sets it
        self._logs: dict[str, WriterLog] = {}

    # Asking

    def identity(self, subject: str) -> Identity | None:
        """The identity with this id, as it stands now; None if no site that is trusted here enrolled it."""
        with self.lock:
            local = self.index.facts(self.site.anchor.site, subject)
            best: Identity | None = None
            for domain in self.site.domains:
                facts = local if domain == self.site.anchor.site else self.index.facts(domain, subject)
                if facts and (best is None or best.status == "transferred"):
                    found = evaluate(subject, facts, local, domain=domain, limits=self.site.limits)
                    best = found or best
            return best

    def find(self, name: str) -> list[Identity]:
        """Every identity that has this name now: an id, or "kid:...", "label:...", "eui64:...", "did:key:..."."""
        with self.lock:
            if name.startswith("urn:"):
                itself = self.identity(name)
                return [itself] if itself is not None else []
            if name.startswith("did:"):
                try:
                    name = key_name(point_of_did(name))
                except ValueError:
                    return []
            named = {subject for _, subject in self.index.find(name)}
            found = [one for one in map(self.identity, sorted(named)) if one is not None]
            return [one for one in found if name in one.names()]

    def by_kid(self, kid: bytes) -> list[Identity]:
        """Every identity with this kid: several may have it, and are tried in turn."""
        return self.find(f"kid:{kid.hex()}")

    def identities(self) -> Iterator[Identity]:
        """All of them, by site and id."""
        for site, subject in self.index.subjects():
            found = self.identity(subject) if site in self.site.domains else None
            if found is not None and found.domain == site:
                yield found

    def heads(self) -> dict[str, tuple[int, bytes]]:
        """(entries that count, root over them) of every log that is listened to."""
        with self.lock:
            found = {}
            for writer, one in sorted(self._logs.items()):
                if self.site.is_known(writer) and one.size:
                    size = min(one.size, self.site.limits.get(writer, one.size))
                    found[writer] = (size, one.root_at(size))
            return found

    def state_digest(self) -> str:
        """Equal at two holders exactly if what they believe is equal."""
        with self.lock:
            found = hashlib.sha256(encode(self.site.digest_parts()))
            domains = set(self.site.domains)
            for site, digest in self.index.digests(self.site.limits):
                if site in domains:
                    found.update(digest)
            return found.hexdigest()

    def writer(self, writer: str) -> WriterLog:
        """The log of this writer; an empty one if nothing of it has come yet."""
        if writer not in self._logs:
            self._logs[writer] = WriterLog(self.folder / LOGS, writer)
        return self._logs[writer]

    def writers(self) -> list[WriterLog]:
        """Every log that holds something."""
        return [one for _, one in sorted(self._logs.items()) if one.size]

    def authority_heard_at_s(self) -> int | None:
        """When the authority signed the newest head that is here, by its own clock."""
        head = self.writer(self.site.authority).head
        return head.at_s if head else None

    # Writing

    def append(self, drafts: Sequence[Draft], signer: Signer, *, head_signer: Signer | None = None) -> int:
        """Say something in this holder's own log. Returns the log's new size. Raises RegistryError, LogError.

        head_signer  signs the head, if the statements change the key of the log
        """
        with self.lock:
            own = self.own()
            if own.writer in self.forked:
                raise RegistryError(f"{self.forked[own.writer]}; nothing more can be said in this log")
            for at in range(0, len(drafts), MOST_ENTRIES):
                self._append(own, drafts[at : at + MOST_ENTRIES], signer, head_signer or signer)
            return own.size

    def own(self) -> WriterLog:
        """This holder's own log. Raises RegistryError if it has none."""
        if self.me is None:
            raise RegistryError("this registry only reads; its gateway has no name in the site yet")
        return self.writer(self.me)

    def refresh_head(self, signer: Signer) -> None:
        """Sign the own log's head again with the time of now: a sign of life, and what shows a rolled-back image."""
        with self.lock:
            own = self.own()
            if own.size:
                own.extend([], sign_head(signer, writer=own.writer, frontier=own.frontier, at_s=int(self.now_s())))

    def take(self, piece: Piece) -> Outcome:
        """Take a piece of a log that came from anywhere. Never raises for what is in it."""
        with self.lock:
            try:
                return self._take(piece)
            except Refused as error:
                detail = str(error)
                if error.reason == "fork":
                    self._note_fork(piece, detail)
                return Outcome(writer=piece.writer, problem=error.reason, detail=detail)

    def lifts_of(self, subject: str) -> dict[str, int]:
        """Which suspensions by gateways an un-revocation written now would lift."""
        return suspensions(self.index.facts(self.site.anchor.site, subject))

    def restore_piece(self, one: WriterLog, piece: Piece, trial: Trial, end: int) -> None:
        """Fold a verified piece that is in the log's file already, up to byte `end`."""
        one.note(piece.entries, piece.head, one.file.bytes_between(one.file.end, end))
        one.file.end = end
        self._fold(trial.accepted)

    def forget_logs(self) -> None:
        """Read every log anew from its beginning."""
        self._logs.clear()

    def _append(self, own: WriterLog, drafts: Sequence[Draft], signer: Signer, head_signer: Signer) -> None:
        trial = Trial(self.site, own.frontier, self.index.facts)
        now_s, entries = int(self.now_s()), []
        for draft in drafts:
            try:
                signed = st.sign(signer, draft, writer=own.writer, index=trial.next_index, at_s=now_s)
                trial.entry(own.writer, signed)
            except (StatementError, Refused) as error:
                raise RegistryError(str(error)) from None
            entries.append(signed)
        head = sign_head(head_signer, writer=own.writer, frontier=trial.frontier, at_s=now_s)
        check_piece(Piece(writer=own.writer, start=own.size, entries=[], head=head), trial, [])
        own.extend(entries, head)
        self._fold(trial.accepted)

    def _take(self, piece: Piece) -> Outcome:
        writer = piece.writer
        if not self.site.is_known(writer):
            raise Refused("unknown_writer", f"{writer} is no writer of a site that is trusted here")
        if writer in self.forked:
            raise Refused("forked", self.forked[writer])
        known = self.writer(writer)
        if piece.start > known.size:
            raise Refused("missing", f"{writer} from entry {known.size} to {piece.start}: sync what comes before first")
        new = piece.entries[known.size - piece.start :]
        self._compare(known, piece)
        limit = self.site.limits.get(writer)
        if new and limit is not None and piece.start + len(piece.entries) > limit:
            raise Refused("revoked_writer", f"{writer} is revoked; only its first {limit} entries count")
        trial = Trial(self.site, known.frontier, self.index.facts)
        head = check_piece(piece, trial, new)
        if not new:
            return self._take_head(known, piece, head)
        known.extend(new, piece.head)
        self._fold(trial.accepted)
        if writer == self.me:
            detail = f"{writer}: others had {len(new)} entries more than this holder; its image was rolled back"
            self.notices.append(detail)
            return Outcome(writer=writer, taken=len(new), problem="rolled_back_here", detail=detail)
        return Outcome(writer=writer, taken=len(new))

    def _compare(self, known: WriterLog, piece: Piece) -> None:
        """What both have must be the same. Raises Refused "fork" or "tampered"."""
        mine = known.entries(piece.start)
        for at, theirs in enumerate(piece.entries[: known.size - piece.start], piece.start):
            if theirs != next(mine):
                require_signed(self.site, piece.writer, at, theirs)
                raise Refused("fork", f"{piece.writer} signed two different entries {at}")

    def _take_head(self, known: WriterLog, piece: Piece, head: Head) -> Outcome:
        """A head without new entries: a sign of life, an old one, or the trace of a fork or of a rolled-back image."""
        if head.size > known.size:
            raise Refused("missing", f"{piece.writer} has {head.size} entries, {known.size} are here")
        if head.root != known.root_at(head.size):
            raise Refused("fork", f"{piece.writer} signed two histories of {head.size} entries")
        if known.head is None or head.at_s <= known.head.at_s:
            return Outcome(writer=piece.writer)
        if head.size < known.size:
            raise Refused(
                "rolled_back",
                f"{piece.writer} says it has {head.size} entries, and earlier it had {known.size}: it was set back to "
                "an old image; give it a bundle of this registry before it writes again",
            )
        known.extend([], piece.head)
        return Outcome(writer=piece.writer)

    def _fold(self, accepted: Sequence[tuple[Statement, bytes]]) -> None:
        for one, payload in accepted:
            if one.is_of_authority:
                self.site.take(one)
            self.index.add(one, payload)
            if one.kind in (st.GATEWAY, st.ANCHOR):
                self._listen_to(one)
            if one.kind == st.GATEWAY_REVOKE:
                self.index.touch_spoken_of(one.subject)
            for listener in self.listeners:
                listener(one)

    def _listen_to(self, one: Statement) -> None:
        """A log that was kept and not listened to (an anchor removed, the authority's log damaged) counts again."""
        writer = one.subject if one.kind == st.GATEWAY else f"{one.subject}/{st.AUTHORITY}"
        known = self.writer(writer)
        if not known.size and known.file.size():
            self.on_listen(known)

    def _note_fork(self, piece: Piece, detail: str) -> None:
        known = self.writer(piece.writer)
        evidence = encode([known.head.signed if known.head else b"", piece.start, list(piece.entries), piece.head])
        (self.folder / FORKS).mkdir(exist_ok=True)
        path = self.folder / FORKS / f"{piece.writer.replace('/', '@')}.cbor"
        path.write_bytes(evidence)
        self.forked[piece.writer] = f"{detail}; both are kept in {path}"
        log.error("%s", self.forked[piece.writer])


def load_site(site: Site, facts: Sequence[tuple[str, int, bytes]]) -> None:
    """Fold what the index has of the site's own state: this site's authority first."""
    for _, _, payload in sorted(facts, key=lambda row: (row[0] != site.authority, row[0], row[1])):
        site.take(read(payload))


def lock_folder(folder: Path) -> int:
    """Keep other writers out. Raises RegistryBusy."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise RegistryBusy(f"{folder} is in use by another process") from None
    return fd
