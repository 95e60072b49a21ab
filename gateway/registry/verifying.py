"""Verifying every signature of every log again, from the anchor on: for an auditor, and after a doubt.

A check-point is not believed here. The form of each statement was looked at when it was taken; what counts here is that
its writer signed it, in this place, that the writer was allowed to, and that the heads cover all of it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import cbor2

from gateway.identity.cose import CoseError, PublicKey, key_of, parse, to_be_signed
from gateway.identity.merkle import Frontier, leaf_hash
from gateway.identity.names import is_named_after, point_of
from gateway.registry import statement as st
from gateway.registry.fold import evaluate
from gateway.registry.registry import LOGS, Registry
from gateway.registry.rules import Refused, check_head, check_permission, check_signature
from gateway.registry.site import Site
from gateway.registry.statement import Statement, StatementError, reread
from gateway.registry.writer import Piece, WriterLog

_OF_AUTHORITY = f"/{st.AUTHORITY}"
_WORTH_A_POOL = 20_000
_AHEAD = 8  # pieces per worker that wait, so that memory is bounded


def verify(registry: Registry) -> tuple[int, list[str]]:
    """Verify all of it, on every processor. Returns how many entries are good, and what is wrong."""
    entries = 0
    problems: list[str] = []
    site = Site(registry.site.anchor)
    logs = sorted(registry.writers(), key=lambda one: (one.writer != registry.site.authority, one.writer))
    with _workers(sum(one.size for one in logs)) as workers:
        for one in logs:
            frontier = Frontier()
            try:
                for piece, doubtful in workers.look_through(site, WriterLog(registry.folder / LOGS, one.writer)):
                    _verify_piece(registry, site, piece, frontier, doubtful)
            except Refused as error:
                problems.append(str(error))
            if frontier.size != one.size:
                problems.append(f"{one.writer}: {one.size} entries are known, {frontier.size} can be verified")
            entries += frontier.size
    return entries, problems


class _Workers:
    """Looks through pieces ahead of their turn; alone if there is one processor or little to do."""

    def __init__(self, pool: ProcessPoolExecutor | None, count: int) -> None:
        self._pool = pool
        self._ahead = _AHEAD * count

    def look_through(self, site: Site, log: WriterLog) -> Iterator[tuple[Piece, list[int]]]:
        """Each piece, and which of its entries need a closer look."""
        if self._pool is None or not site.keys_at(log.writer, 0):
            yield from ((piece, list(range(len(piece.entries)))) for piece in log.pieces())
            return
        waiting: deque[tuple[Piece, Future[list[int]]]] = deque()
        for piece in log.pieces():
            key = site.keys_at(log.writer, piece.start)[0].cose_key()  # a newer one than is known yet: a closer look
            job = self._pool.submit(doubtful_of, piece.writer, piece.start, list(piece.entries), key)
            waiting.append((piece, job))
            if len(waiting) > self._ahead:
                first, found = waiting.popleft()
                yield first, found.result()
        yield from ((piece, found.result()) for piece, found in waiting)


@contextmanager
def _workers(entries: int) -> Iterator[_Workers]:
    count = os.cpu_count() or 1
    if count == 1 or entries < _WORTH_A_POOL:
        yield _Workers(None, 1)
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield _Workers(pool, count)


def doubtful_of(writer: str, start: int, entries: list[bytes], cose_key: dict[int, Any]) -> list[int]:
    """Which of these are not plain statements about a node under this key: somebody has to look closer at those."""
    key = key_of(cose_key)
    is_of_authority = writer.endswith(_OF_AUTHORITY)
    plain = _PLAIN if is_of_authority else st.GATEWAY_MAY
    return [at for at, signed in enumerate(entries) if not _is_plain(signed, writer, start + at, key, plain)]


_PLAIN = frozenset((st.ENROL, st.ENDORSE, st.TRANSFER, st.SUSPEND, st.REVOKE, st.UNREVOKE, st.RECORD))


def _is_plain(signed: bytes, writer: str, index: int, key: PublicKey, kinds: frozenset[int]) -> bool:
    try:
        envelope = parse(signed)
        table = cbor2.loads(envelope.payload)  # read as it is: its form was looked at when it was taken
        if table[1] not in kinds or table[2] != writer or table[3] != index:
            return False
        if table[1] == st.ENROL and not is_named_after(table[5], point_of(table[6][1])):
            return False
        if (envelope.alg, envelope.kid) != (key.alg, key.kid):
            return False
        return key.verifies(
            envelope.signature, to_be_signed(envelope.protected, st.STATEMENT_CONTEXT, envelope.payload)
        )
    except (CoseError, cbor2.CBORError, LookupError, TypeError):
        return False


def _verify_piece(registry: Registry, site: Site, piece: Piece, frontier: Frontier, doubtful: list[int]) -> None:
    first = frontier.size
    for at, signed in enumerate(piece.entries):
        if doubtful and doubtful[0] == at:
            doubtful.pop(0)
            try:
                _verify_entry(registry, site, piece.writer, signed, first + at)
            except (StatementError, CoseError) as error:
                raise Refused("tampered", f"entry {first + at} of {piece.writer}: {error}") from None
        frontier.add(leaf_hash(signed))
    head = check_head(piece.head, writer=piece.writer, keys_of=lambda size: site.head_keys(piece.writer, size)[:1])
    if (head.size, head.root) != (frontier.size, frontier.root()):
        raise Refused("fork", f"a head of {piece.writer} does not cover the {frontier.size} entries before it")


def _verify_entry(registry: Registry, site: Site, writer: str, signed: bytes, index: int) -> None:
    envelope, one = st.open_signed(signed)
    check_signature(site, writer, index, envelope, one)
    if (one.writer, one.index) != (writer, index):
        raise StatementError("misplaced", f"it is signed as entry {one.index} of {one.writer}")
    check_permission(one)
    if one.kind == st.ENROL:
        st.check_name(one)
    elif one.kind == st.ROTATE:
        _verify_rotation(registry, one)
    elif one.is_of_authority and one.kind in st.OF_SITE:
        site.take(one)


def _verify_rotation(registry: Registry, one: Statement) -> None:
    said = registry.index.facts(one.site, one.subject)
    before = [fact for fact in said if (earlier := reread(fact)).writer == one.writer and earlier.index < one.index]
    known = evaluate(one.subject, before, domain=one.site, limits={})
    if known is None:
        raise StatementError("rotation", f"{one.subject} has no key to rotate")
    st.check_rotation(one, known.key)
