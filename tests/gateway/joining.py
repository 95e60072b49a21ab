"""Nodes that join a core: the firmware's own Joiner on CPython, a bearer that loses and spoils what it is told to."""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drivers.link import p256, site
from firmware.join import Joined, Joiner
from gateway.core import Core
from provisioning import gateway_identity
from provisioning.enrol import Enrolment, enrol_public
from provisioning.gateway_list import sign_gateway_entry, sign_gateway_list
from provisioning.identity import public_point
from tests.drivers.link.boxes import openssl_ecb
from tests.gateway.cores import hear
from tests.gateway.identity.edhoc_node import KeyPair
from tests.gateway.sealed_node import SealedNode

Spoil = Callable[[bytes], list[bytes]]


class Site:
    """An authority's key, and the gateways it endorses."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = public_point(self.key)
        self.version = 1
        self.revoked: list[bytes] = []

    def endorse(self, data_dir: Path) -> bytes:
        """Make the gateway of this folder one of the site's, with the latest list. Returns its public key."""
        public = gateway_identity.public_key_of(data_dir)
        gateway_identity.install(
            data_dir,
            site_key=self.public,
            entry=sign_gateway_entry(self.key, version=1, public_key=public),
            gateway_list=self.list(),
            keys={},
        )
        return public

    def list(self) -> bytes:
        return sign_gateway_list(self.key, version=self.version, revoked=self.revoked)

    def revoke(self, public: bytes) -> None:
        self.revoked.append(public)
        self.version += 1

    def trust(self, *known: bytes) -> site.Trust:
        """What a node is born with: the site's key, and the gateways it need not be shown."""
        return site.Trust(self.public, known=[(1, public) for public in known])


def whole(frame: bytes) -> list[bytes]:
    return [frame]


class Bearer:
    """Carries frames to a core and back; `up` and `down` say what of a frame arrives."""

    def __init__(self, core: Core, *, up: Spoil = whole, down: Spoil = whole) -> None:
        self.core = core
        self.up = up
        self.down = down
        self.frames: list[bytes] = []  # every one that was sent, in both directions
        self.reasons: list[str | None] = []

    def wait_s(self) -> int:
        return 0

    async def ready(self) -> None:
        """Always."""

    async def exchange(self, frame: bytes, take: Callable[[bytes], bool]) -> bool:
        self.frames.append(frame)
        is_taken = False
        for arrived in self.up(frame):
            verdict = await hear(self.core, arrived)
            self.reasons.append(verdict.reason)
            if verdict.downlink is not None:
                self.frames.append(verdict.downlink)
                for downlink in self.down(verdict.downlink):
                    is_taken = take(downlink) or is_taken
        return is_taken


class JoiningNode:
    """A node with a key pair of its own."""

    def __init__(self, trust: site.Trust, *, keys: KeyPair | None = None) -> None:
        """keys: another node's, for a copy of it."""
        self.keys = keys or KeyPair()
        self.trust = trust
        self.kept: list[bytes] = []
        self.enrolment: Enrolment | None = None
        self.pauses_s: list[int] = []
        self.joiner = self._joiner()

    def enrol(self, data_dir: Path) -> Enrolment:
        self.enrolment = enrol_public(data_dir, public_key=self.keys.public)
        return self.enrolment

    @property
    def address(self) -> int:
        return int.from_bytes(_hash_of(self.keys.public)[:2], "big")

    def _joiner(self) -> Joiner:
        async def pause(seconds: int) -> None:
            self.pauses_s.append(seconds)

        return Joiner(
            self.keys.private,
            self.address,
            lambda: self.trust,
            draw=lambda: p256.to_octets(1 + secrets.randbelow(p256.N - 1)),
            aes=openssl_ecb,
            pause=pause,
            random_below=lambda limit: random.randrange(limit) if limit else 0,
            keep=self.kept.append,
            release=lambda: None,
        )

    async def join(self, bearer: Bearer, *, epoch: int = 0) -> Joined | None:
        return await self.joiner.attempt(bearer, epoch)


def _hash_of(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()


def speaker(enrolment: Enrolment, joined: Joined) -> SealedNode:
    """The node after its join: reports under the new key."""
    return SealedNode(replace(enrolment, root_key=joined.root, epoch=joined.epoch))
