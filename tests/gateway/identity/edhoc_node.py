"""A node that joins, as far as EDHOC goes: the firmware's own initiator on CPython, with a key pair of its own."""

from __future__ import annotations

import secrets

from drivers.link import p256, p256_base
from drivers.link.initiator import Agreement, Answer, Offer, Owner
from gateway.identity.edhoc import Party, Responder
from tests.drivers.link.boxes import openssl_ecb


class KeyPair:
    """A private scalar and what follows from it."""

    def __init__(self, private: int | None = None) -> None:
        self.private = private or 1 + secrets.randbelow(p256.N - 1)
        self.point = p256_base.public(self.private)
        self.public = p256.compress(self.point)
        self.party = Party.of(self.public)

    @property
    def responder(self) -> Responder:
        return Responder(p256.to_octets(self.private), self.party.credential)

    @property
    def owner(self) -> Owner:
        return Owner(self.private, self.party.credential, self.party.kid)


def offer(keys: KeyPair, *, c_i: bytes = b"\x07", ead_1: tuple = ()) -> Offer:
    ephemeral = 1 + secrets.randbelow(p256.N - 1)
    return Offer(keys.owner, ephemeral, p256_base.public(ephemeral)[0], c_i=c_i, ead_1=ead_1)


def finish(answer: Answer, gateway: KeyPair, ead_3: tuple = ()) -> Agreement:
    return answer.verify([(gateway.point, gateway.party.credential)]).finish(ead_3, aes=openssl_ecb)
