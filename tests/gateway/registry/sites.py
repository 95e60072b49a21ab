"""A site for tests: an authority and gateways, each with a registry in a folder of its own."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.identity.cose import KeySigner
from gateway.identity.merkle import Frontier, leaf_hash
from gateway.identity.names import compressed, device_id
from gateway.registry import bundle, opening
from gateway.registry import statement as st
from gateway.registry.keys import HOLDER_KEY, make_key
from gateway.registry.registry import Registry
from gateway.registry.site import Anchor
from gateway.registry.statement import Draft
from gateway.registry.writer import Piece, WriterLog, sign_head

_numbers = itertools.count(1)


def new_key() -> KeySigner:
    return KeySigner(ec.generate_private_key(ec.SECP256R1()))


class Person:
    """A node: its key and its name."""

    def __init__(self) -> None:
        self.key = new_key()
        self.point = compressed(self.key.public.raw)
        self.id = device_id(self.point, 32473)
        self.kid = self.point[1:5]

    def enrol(self, *, zone: str = "north", **aliases: str) -> Draft:
        fields = {"key": self.key.public.cose_key(), "kid": self.kid, "zone": zone, "aliases": aliases}
        return Draft(kind=st.ENROL, subject=self.id, fields=fields)

    def rotate(self, new: KeySigner, *, signed_by: KeySigner | None = None) -> Draft:
        key = new.public.cose_key()
        proof = st.rotation_proof(signed_by or self.key, key, self.id)
        return Draft(kind=st.ROTATE, subject=self.id, fields={"key": key, "kid": b"new", "proof": proof})


def about(kind: int, subject: str, **fields: Any) -> Draft:
    return Draft(kind=kind, subject=subject, fields=fields)


class Town:
    """One site. `authority` and `gateways[...]` are open registries."""

    def __init__(self, folder: Path, stack: ExitStack, site: str = "oslo") -> None:
        self.folder, self.stack, self.site = folder, stack, site
        self.key, self.recovery = new_key(), new_key()
        self.anchor = Anchor(site=site, key=self.key.public, recovery=self.recovery.public)
        self.gateways: dict[str, Registry] = {}
        self.authority = self.open("authority")
        keys = {"key": self.key.public.cose_key(), "recovery": self.recovery.public.cose_key()}
        self.say(about(st.SITE_KEY, site, **keys))

    def folder_of(self, name: str) -> Path:
        return self.folder / self.site / name

    def open(self, name: str, folder: Path | None = None) -> Registry:
        folder = folder or self.folder_of(name)
        if not opening.exists(folder):
            folder.mkdir(parents=True)
            make_key(folder / HOLDER_KEY)
            opening.create(folder, self.anchor.encode(), me=f"{self.site}/{name}")
        return self.stack.enter_context(opening.open_registry(folder))

    def say(self, *drafts: Draft) -> None:
        """The authority says this."""
        self.authority.append(drafts, self.key)

    def add_gateway(self, name: str, folder: Path | None = None) -> Registry:
        """folder: where its registry is to be, if it is that of a whole gateway."""
        made = self.gateways[name] = self.open(name, folder)
        fields = {"key": made.holder.public.cose_key(), "from": 0}
        self.say(about(st.GATEWAY, f"{self.site}/{name}", **fields))
        carry(self.authority, made)
        return made


@contextmanager
def town(folder: Path, site: str = "oslo") -> Iterator[Town]:
    with ExitStack() as stack:
        yield Town(folder, stack, site)


def carry(giver: Registry, taker: Registry, *, signer: KeySigner | None = None) -> bundle.Taken:
    """Sync by a bundle, as by a stick. `signer`: sign the giver's head anew first, as an export does."""
    if signer is not None:
        giver.refresh_head(signer)
    path = giver.folder / f"out-{next(_numbers)}.bundle"
    bundle.write_bundle(giver, path)
    return bundle.take_bundle(taker, io.BytesIO(path.read_bytes()))


def forged(
    log: WriterLog, signer: KeySigner, drafts: Sequence[Draft], *, start: int | None = None, later_s: int = 0
) -> Piece:
    """A piece that a holder of the writer's key makes past all rules, on top of the first `start` entries."""
    start = log.size if start is None else start
    frontier = Frontier()
    for entry in itertools.islice(log.entries(), start):
        frontier.add(leaf_hash(entry))
    now_s = int(time.time()) + later_s
    entries = [
        st.sign(signer, draft, writer=log.writer, index=start + at, at_s=now_s) for at, draft in enumerate(drafts)
    ]
    for entry in entries:
        frontier.add(leaf_hash(entry))
    head = sign_head(signer, writer=log.writer, frontier=frontier, at_s=now_s)
    return Piece(writer=log.writer, start=start, entries=entries, head=head)
