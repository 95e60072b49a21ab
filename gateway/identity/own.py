"""Who this gateway is to nodes that join: its key pair, and what the site signed about it. One file, identity.json.

Made by `lamppost gateway identity`, read at start and again when it changed. Without it joins are refused by name.
"""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drivers.link import p256, p256_base, site
from drivers.link.edhoc import EdhocError
from gateway.identity.cose import PublicKey
from gateway.identity.edhoc import Party, Responder

log = logging.getLogger(__name__)
FILE = "identity.json"


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a join needs of the gateway's side.

    entry       this gateway's, signed by the site
    list        the latest gateway list, signed, and its version
    keys        by the generation it succeeds: the signed next key of the site
    generation  of the site's key that signed entry and list
    """

    responder: Responder = field(repr=False)
    party: Party
    entry: bytes
    list: bytes
    list_version: int
    keys: Mapping[int, bytes]
    generation: int


class OwnFile:
    """The file under data_dir."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._seen: tuple[int, int] | None = None
        self._own: Own | None = None
        self.problem: str | None = None

    def get(self) -> Own | None:
        """What the file says now; None without one, or if it cannot be used: `problem` says why."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen, self._own, self.problem = stamp, None, None
            if stamp is not None:
                try:
                    self._own = read_own(self._path)
                except ValueError as error:
                    self.problem = f"{self._path}: {error}"
                    log.warning("joins are refused: %s", self.problem)
        return self._own

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino


def public_key_in(data_dir: Path) -> PublicKey | None:
    """The public half of this gateway's key pair; None if it has none yet. Raises ValueError; it never holds a key."""
    try:
        private = p256.scalar(bytes.fromhex(json.loads((data_dir / FILE).read_text())["private_key_hex"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, p256.CurveError):
        raise ValueError(f"{data_dir / FILE} holds no key; make one: lamppost gateway identity") from None
    point = p256.compress(p256_base.public(private))
    return PublicKey.of(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes(point)))


def read_own(path: Path) -> Own:
    """Read and check the file. Raises ValueError saying what to mend; the message never holds a key."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        mode = stat.S_IMODE(path.stat().st_mode)
        private = bytes.fromhex(table["private_key_hex"])
        site_key, entry, list_ = (bytes.fromhex(table[name]) for name in ("site_key", "entry", "list"))
        keys = {int(generation): bytes.fromhex(signed) for generation, signed in table.get("keys", {}).items()}
        generation = int(table.get("generation", 1))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("is not what `lamppost gateway identity` writes; run it again") from None
    if mode & 0o077:
        raise ValueError("others can read this gateway's key; have the authority revoke it, and make a new one")
    try:
        public = p256.compress(p256_base.public(p256.scalar(private)))
        _, version, entered = site.open_signed(entry, site_key)
        kind, list_version, floor, _ = site.open_signed(list_, site_key)
    except (p256.CurveError, EdhocError, ValueError):
        raise ValueError("key, entry or list is not the site's; ask the authority for them again") from None
    if entered != public or kind != site.LIST:
        raise ValueError("the entry is another gateway's; ask the authority for this one's")
    if version < floor:
        raise ValueError("the entry is older than the list allows; ask the authority for a new one")
    party = Party.of(public)
    return Own(
        responder=Responder(private, party.credential),
        party=party,
        entry=entry,
        list=list_,
        list_version=list_version,
        keys=keys,
        generation=generation,
    )
