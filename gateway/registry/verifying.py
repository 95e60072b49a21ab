"""Verifying every signature of every log again, from the anchor on: for an auditor, and after a doubt.

A check-point is not believed here. The form of each statement was looked at when it was taken; what counts here is that
its writer signed it, in this place, that the writer was allowed to, and that the heads cover all of it.
"""

from __future__ import annotations

import cbor2

from gateway.identity.cose import CoseError, parse
from gateway.identity.merkle import Frontier, leaf_hash
from gateway.identity.names import is_named_after, point_of
from gateway.registry import statement as st
from gateway.registry.fold import evaluate
from gateway.registry.registry import LOGS, Registry
from gateway.registry.rules import Refused, check_head, check_permission
from gateway.registry.site import Site
from gateway.registry.statement import Statement, StatementError, reread
from gateway.registry.writer import Piece, WriterLog

_OF_AUTHORITY = f"/{st.AUTHORITY}"


def verify(registry: Registry) -> tuple[int, list[str]]:
    """Verify all of it. Returns how many entries are good, and what is wrong."""
    entries = 0
    problems: list[str] = []
    site = Site(registry.site.anchor)
    for one in sorted(registry.writers(), key=lambda one: (one.writer != registry.site.authority, one.writer)):
        frontier = Frontier()
        try:
            for piece in WriterLog(registry.folder / LOGS, one.writer).pieces():
                _verify_piece(registry, site, piece, frontier)
        except Refused as error:
            problems.append(str(error))
        if frontier.size != one.size:
            problems.append(f"{one.writer}: {one.size} entries are known, {frontier.size} can be verified")
        entries += frontier.size
    return entries, problems


def _verify_piece(registry: Registry, site: Site, piece: Piece, frontier: Frontier) -> None:
    for signed in piece.entries:
        try:
            _verify_entry(registry, site, piece.writer, signed, frontier.size)
        except (StatementError, CoseError, cbor2.CBORError, LookupError, TypeError) as error:
            raise Refused("tampered", f"entry {frontier.size} of {piece.writer}: {error}") from None
        frontier.add(leaf_hash(signed))
    head = check_head(piece.head, writer=piece.writer, keys_of=lambda size: site.head_keys(piece.writer, size)[:1])
    if (head.size, head.root) != (frontier.size, frontier.root()):
        raise Refused("fork", f"a head of {piece.writer} does not cover the {frontier.size} entries before it")


def _verify_entry(registry: Registry, site: Site, writer: str, signed: bytes, index: int) -> None:
    envelope = parse(signed)
    keys = site.keys_at(writer, index)
    table = cbor2.loads(envelope.payload)  # read as it is: its form was looked at when it was taken
    kind = table[1]
    is_of_authority = writer.endswith(_OF_AUTHORITY)
    envelope.verify(keys if kind == st.SITE_KEY else keys[:1], external=st.STATEMENT_CONTEXT)
    if table[2] != writer or table[3] != index:
        raise StatementError("misplaced", f"it is signed as entry {table[3]} of {table[2]}")
    if kind == st.ENROL and is_of_authority:
        if not is_named_after(table[5], point_of(table[6][1])):
            raise StatementError("name", f"{table[5]} is not the name of the key enrolled under it")
        return
    one = reread(envelope.payload)
    check_permission(one)
    if kind == st.ROTATE:
        _verify_rotation(registry, one)
    elif is_of_authority and kind in st.OF_SITE:
        site.take(one)


def _verify_rotation(registry: Registry, one: Statement) -> None:
    said = registry.index.facts(one.site, one.subject)
    before = [fact for fact in said if (earlier := reread(fact)).writer == one.writer and earlier.index < one.index]
    known = evaluate(one.subject, before, domain=one.site, limits={})
    if known is None:
        raise StatementError("rotation", f"{one.subject} has no key to rotate")
    st.check_rotation(one, known.key)
