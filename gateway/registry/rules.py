"""Which statements may enter a log: signed by the key for that place, allowed to that writer, possible at that point.

Tried out on a copy of the site's state, so that a piece with one bad entry changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gateway.errors import GatewayError
from gateway.identity.cose import CoseError, PublicKey, Sign1, key_of
from gateway.identity.merkle import Frontier, leaf_hash
from gateway.registry import statement as st
from gateway.registry.fold import evaluate
from gateway.registry.site import Site
from gateway.registry.statement import Statement, StatementError, open_signed
from gateway.registry.writer import HEAD_CONTEXT, Head, HeadError, Piece, read_head

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
FactsOf = Callable[[str, str], Sequence[bytes]]  # (site, subject) -> payloads


class Refused(GatewayError):
    """A piece of a log that is not taken. `reason` names the counter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Trial:
    """Checks entries one after the other as if they were taken."""

    def __init__(self, site: Site, frontier: Frontier, facts_of: FactsOf) -> None:
        self.site = site.copy()
        self.frontier = frontier.copy()
        self.next_index = frontier.size
        self.accepted: list[tuple[Statement, bytes]] = []  # since the last `settle`
        self._facts_of = facts_of
        self._new: dict[tuple[str, str], list[bytes]] = {}

    def entry(self, writer: str, signed: bytes) -> None:
        """Check the next entry of `writer`. Raises Refused naming entry and fault."""
        place = f"entry {self.frontier.size} of {writer}"
        try:
            envelope, one = open_signed(signed)
            check_signature(self.site, writer, self.next_index, envelope, one)
            self.statement(writer, one, envelope.payload)
        except StatementError as error:
            raise Refused(error.reason, f"{place}: {error}") from None
        except CoseError as error:
            raise Refused(
                "tampered" if error.reason == "bad_signature" else error.reason, f"{place}: {error}"
            ) from None
        self.frontier.add(leaf_hash(signed))

    def statement(self, writer: str, one: Statement, payload: bytes) -> None:
        """Check what is said, the signature apart, and note it. Raises StatementError, CoseError."""
        if one.writer != writer or one.index != self.next_index:
            raise StatementError("misplaced", f"it is signed as entry {one.index} of {one.writer}")
        check_permission(one)
        self._check_content(one)
        self.next_index += 1
        self.accepted.append((one, payload))
        if one.is_of_authority:
            self.site.take(one)
        if one.kind not in st.OF_SITE:
            self._new.setdefault((one.site, one.subject), []).append(payload)

    def settle(self) -> None:
        """What was accepted so far is known to `facts_of` now."""
        self.accepted.clear()
        self._new.clear()

    def _check_content(self, one: Statement) -> None:
        for name in ("key", "recovery", "edhoc_key"):
            if name in one.fields:
                key_of(one.fields[name])
        if one.kind == st.ENROL:
            st.check_name(one)
        elif one.kind == st.ROTATE:
            self._check_rotation(one)
        elif one.kind == st.SITE_KEY and one.index == 0:
            self._check_first(one)
        elif one.kind in (st.GATEWAY, st.GATEWAY_REVOKE):
            if not re.fullmatch(f"{re.escape(one.site)}/{NAME}", one.subject) or one.subject.endswith(
                f"/{st.AUTHORITY}"
            ):
                raise StatementError("name", f"{one.subject} cannot be a gateway of {one.site}")
        elif one.kind == st.ANCHOR and (not re.fullmatch(NAME, one.subject) or one.subject == one.site):
            raise StatementError("name", f"{one.subject} cannot be another site")

    def _check_rotation(self, one: Statement) -> None:
        facts = [*self._facts_of(one.site, one.subject), *self._new.get((one.site, one.subject), ())]
        known = evaluate(one.subject, facts, domain=one.site, limits={})
        if known is None:
            raise StatementError("rotation", f"{one.subject} is not enrolled, so it has no key to rotate")
        st.check_rotation(one, known.key)

    def _check_first(self, one: Statement) -> None:
        trusted = [key.kid for key in self.site.keys_at(one.writer, 0)]
        if [key_of(one.fields[name]).kid for name in ("key", "recovery")] != trusted:
            raise StatementError("anchor", f"the log of {one.site} does not begin with the keys of its anchor")


def check_signature(site: Site, writer: str, index: int, envelope: Sign1, one: Statement) -> None:
    """Whether this is signed by who may write entry `index` of this log. Raises CoseError, StatementError."""
    keys = site.keys_at(writer, index)
    if one.is_of_authority and one.kind != st.SITE_KEY:
        keys = keys[:1]  # the recovery key can only make new keys
    envelope.verify(keys, external=st.STATEMENT_CONTEXT)


def require_signed(site: Site, writer: str, index: int, signed: bytes) -> None:
    """Whether the writer ever signed this as entry `index`. Raises Refused "tampered"."""
    try:
        envelope, one = open_signed(signed)
        check_signature(site, writer, index, envelope, one)
        if (one.writer, one.index) != (writer, index):
            raise StatementError("misplaced", f"it is signed as entry {one.index} of {one.writer}")
    except (StatementError, CoseError) as error:
        raise Refused("tampered", f"entry {index} of {writer}: {error}") from None


def check_permission(one: Statement) -> None:
    """Only the authority enrols, endorses, rotates, transfers, un-revokes; a gateway may suspend and record."""
    if one.is_of_authority or one.kind in st.GATEWAY_MAY:
        if one.index == 0 and one.is_of_authority and one.kind != st.SITE_KEY:
            raise StatementError("anchor", f"the log of {one.site} does not begin with its keys")
        return
    raise StatementError("not_allowed", f"a gateway may not say {st.name_of(one.kind)}; only the authority may")


def check_head(signed: bytes, *, writer: str, keys_of: Callable[[int], list[PublicKey]]) -> Head:
    """A head that its writer signed. Raises Refused "tampered"."""
    try:
        head = read_head(signed)
        if head.writer != writer:
            raise HeadError(f"it is the head of {head.writer}")
        head.envelope.verify(keys_of(head.size), external=HEAD_CONTEXT)
    except (HeadError, CoseError) as error:
        raise Refused("tampered", f"head of {writer}: {error}") from None
    return head


def check_piece(piece: Piece, trial: Trial, new: Sequence[bytes]) -> Head:
    """Check the `new` entries of a piece and its head against what is there. Raises Refused."""
    for entry in new:
        trial.entry(piece.writer, entry)
    head = check_head(
        piece.head, writer=piece.writer, keys_of=lambda size: trial.site.head_keys(piece.writer, size)[:1]
    )
    here = (trial.frontier.size, trial.frontier.root())
    if (new or head.size == here[0]) and (head.size, head.root) != here:
        why = f"its head of {head.size} entries does not follow from the {trial.frontier.size} that are here"
        raise Refused("fork", f"{piece.writer} signed two histories: {why}")
    return head
