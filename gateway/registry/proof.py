"""What was said of one identity, for somebody who has nothing but the site's anchor: entries, proofs, one signed head.

It shows that these statements are in the log that the head covers. That nothing else was said of the identity only the
whole log shows; so a proof is as fresh as its head, and says when that was.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.identity.cbor import decode, encode
from gateway.identity.merkle import inclusion_proof, leaf_hash, verify_inclusion
from gateway.registry import statement as st
from gateway.registry.fold import Identity, evaluate
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.rules import check_head, check_permission, check_signature
from gateway.registry.site import Anchor, Site
from gateway.registry.statement import open_signed
from gateway.registry.writer import read_head

LARGEST = 1 << 20


class ProofError(GatewayError):
    """The proof proves nothing; says why."""


@dataclass(frozen=True, kw_only=True)
class Proven:
    """`identity` as of `at_s`, when the head was signed."""

    identity: Identity
    at_s: int
    entries: int


def prove(registry: Registry, subject: str) -> bytes:
    """A proof of what this site's authority, or the one that enrolled it, said of `subject`. Raises RegistryError."""
    found = registry.identity(subject)
    if found is None:
        raise RegistryError(f"{subject} is not enrolled here")
    log = registry.writer(f"{found.domain}/{st.AUTHORITY}")
    signed = list(log.entries())
    leaves = [leaf_hash(one) for one in signed]
    wanted = []
    for index, one in enumerate(signed):
        _, statement = open_signed(one)
        if statement.kind == st.SITE_KEY or statement.subject == subject:
            wanted.append([index, one, inclusion_proof(leaves, index)])
    assert log.head is not None
    return encode([1, subject, log.head.signed, wanted])


def verify_proof(data: bytes, anchor: Anchor) -> Proven:
    """Check a proof with the anchor alone. Raises ProofError."""
    try:
        version, subject, signed_head, rows = decode(data, largest=LARGEST)
        if version != 1:
            raise ProofError("this proof is of a kind not known here; update lamppost")
        return _verified(subject, signed_head, rows, Site(anchor))
    except ProofError:
        raise
    except (GatewayError, LookupError, ValueError, TypeError) as error:
        raise ProofError(f"not proven: {error}") from None


def _verified(subject: str, signed_head: bytes, rows: list[list[object]], site: Site) -> Proven:
    head = read_head(signed_head)
    facts, keys_seen = [], 0
    for index, signed, path in rows:
        if not isinstance(index, int) or not isinstance(signed, bytes) or not isinstance(path, list):
            raise ProofError("this is no proof")
        envelope, one = open_signed(signed)
        check_signature(site, site.authority, index, envelope, one)
        if one.index != index or one.writer != site.authority:
            raise ProofError(f"entry {index} is signed for another place")
        if not verify_inclusion(leaf_hash(signed), index, head.size, path, head.root):
            raise ProofError(f"entry {index} is not in the log that the head covers")
        check_permission(one)
        if one.kind == st.SITE_KEY:
            site.take(one)
            keys_seen += 1
        elif one.subject == subject:
            facts.append(envelope.payload)
    check_head(signed_head, writer=site.authority, keys_of=lambda size: site.head_keys(site.authority, size)[:1])
    identity = evaluate(subject, facts, domain=site.anchor.site, limits={})
    if identity is None or not keys_seen:
        raise ProofError(f"nothing here enrols {subject}")
    return Proven(identity=identity, at_s=head.at_s, entries=head.size)
