"""The gateway's side of EDHOC, a step at a time: Responder -> Asked -> Answered -> Claimed -> Agreed.

The arithmetic is lakers-python's. It gets nothing that we have not read ourselves: it panics on some input, which is
no Exception and would end the gateway, and it accepts what RFC 9528 forbids. A refusal is EdhocError, whose reason is
the name of a counter. Method 3, cipher suite 2, credentials by kid. Knows no node, no frame and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import lakers

from drivers.link import edhoc, p256
from drivers.link.cbor import encode
from drivers.link.edhoc import MAC_LEN, METHOD, POINT_LEN, SUITE, EdhocError

__all__ = ["Agreed", "Answered", "Asked", "Claimed", "EdhocError", "Party", "Responder"]

Ead = Sequence[tuple[int, bytes | None]]
MAX_MESSAGE = 251  # what a frame carries; lakers fails above 256
MAX_EAD_3 = 100  # lakers panics from 235 bytes on; and see _MAX_CONTEXT
_MAX_CONTEXT = 255  # lakers computes a MAC over a longer context in a way that no other implementation does


@dataclass(frozen=True)
class Party:
    """One end's public identity: everything follows from its compressed public point (33 bytes)."""

    public: bytes
    kid: bytes
    credential: bytes

    @classmethod
    def of(cls, public: bytes) -> Party:
        """Raises drivers.link.p256.CurveError if these bytes are no point."""
        return cls(public, edhoc.kid_of(public), edhoc.credential(public, p256.decompress(public)))


@dataclass(frozen=True)
class Responder:
    """Who answers: the gateway's own private scalar (32 bytes) and its credential."""

    private: bytes = field(repr=False)
    credential: bytes

    def read(self, message_1: bytes, *, known: Sequence[int]) -> Asked:
        """Take message_1. `known`: the EAD labels we understand. Raises EdhocError."""
        c_i, ead_1 = _read_message_1(message_1, known)
        engine = lakers.EdhocResponder(self.private, lakers.Credential(self.credential))
        with _guarded():
            engine.process_message_1(message_1)
        return Asked(engine, self.credential, c_i, ead_1)


class _Step:
    """Something that can be used once."""

    def __init__(self, engine: lakers.EdhocResponder) -> None:
        self._engine: lakers.EdhocResponder | None = engine

    def _take(self) -> lakers.EdhocResponder:
        engine, self._engine = self._engine, None
        if engine is None:
            raise EdhocError("spent")
        return engine


class Asked(_Step):
    """A whole message_1, of whom is not known. `ead_1`: value by label, of those we understand."""

    def __init__(
        self, engine: lakers.EdhocResponder, credential: bytes, c_i: bytes, ead_1: dict[int, bytes | None]
    ) -> None:
        super().__init__(engine)
        self._credential = credential
        self.c_i = c_i
        self.ead_1 = ead_1

    def answer(self, c_r: bytes, ead_2: Ead) -> Answered:
        """Make message_2. Raises EdhocError, "too_large" if lakers could not do it right."""
        _check_room(self._credential, c_r, ead_2)
        return Answered(self._take(), c_r, ead_2)


class Answered(_Step):
    """Waits for message_3. One that is not its own leaves it waiting: anybody can send one."""

    def __init__(self, engine: lakers.EdhocResponder, c_r: bytes, ead_2: Ead) -> None:
        super().__init__(engine)
        self._c_r = c_r
        self._ead_2 = [lakers.EADItem(abs(label), label < 0, value) for label, value in ead_2]
        self.message_2 = self._arm(engine)

    def read(self, message_3: bytes, *, known: Sequence[int]) -> Claimed:
        """Decrypt message_3. Raises EdhocError, and then another one may be read."""
        _check_message_3(message_3)
        engine = self._take()
        try:
            with _guarded():
                id_cred, items = engine.parse_message_3(message_3)
            kid = _kid_of(bytes(id_cred))
            ead_3 = _read_ead_3(message_3, kid, items, known)
        except EdhocError as error:
            if error.reason != "library":  # after a panic the object is not to be trusted
                self._arm(engine)
                self._engine = engine
            raise
        return Claimed(engine, message_3, kid, ead_3, rearm=self._arm)

    def _arm(self, engine: lakers.EdhocResponder) -> bytes:
        """A message that failed spoils the engine; message_2 made again is the same and mends it."""
        with _guarded():
            return bytes(engine.prepare_message_2(lakers.CredentialTransfer.ByReference, list(self._c_r), self._ead_2))


class Claimed(_Step):
    """A message_3 of this exchange that names `kid`, which is not proven yet."""

    def __init__(
        self,
        engine: lakers.EdhocResponder,
        message_3: bytes,
        kid: bytes,
        ead_3: dict[int, bytes | None],
        *,
        rearm: Callable[[lakers.EdhocResponder], bytes],
    ) -> None:
        super().__init__(engine)
        self._message_3 = message_3
        self._rearm = rearm
        self.kid = kid
        self.ead_3 = ead_3

    def prove(self, candidates: Sequence[Party]) -> Agreed:
        """Find whose message it is: kids may collide, so all are tried in turn. Raises EdhocError("bad_mac")."""
        engine = self._take()
        for at, party in enumerate(candidates):
            if at:
                self._rearm(engine)
                with _guarded():
                    engine.parse_message_3(self._message_3)
            try:
                with _guarded():
                    prk_out = bytes(engine.verify_message_3(lakers.Credential(party.credential)))
            except EdhocError as error:
                if error.reason != "bad_mac":
                    raise
            else:
                return Agreed(engine, party, prk_out)
        raise EdhocError("bad_mac")


class Agreed(_Step):
    """Both ends have PRK_out; `party` is who the other one is."""

    def __init__(self, engine: lakers.EdhocResponder, party: Party, prk_out: bytes) -> None:
        super().__init__(engine)
        self.party = party
        self._prk_out = prk_out

    def export(self, label: int, context: bytes, length: int) -> bytes:
        """Keying material; by our own code, as lakers' exporter is wrong for long labels, contexts and lengths."""
        return bytes(edhoc.export(self._prk_out, label, context, length))

    def message_4(self, ead_4: Ead) -> bytes:
        """What tells the node that we have its message_3. Raises EdhocError."""
        items = [lakers.EADItem(abs(label), label < 0, value) for label, value in ead_4]
        with _guarded():
            return bytes(self._take().prepare_message_4(items))


@contextmanager
def _guarded() -> Iterator[None]:
    """Turn what lakers raises into EdhocError. A panic is a BaseException of a type that cannot be imported."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError, OverflowError) as error:
        raise EdhocError("bad_mac" if "MacVerificationFailed" in str(error) else "malformed") from None
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise EdhocError("library") from None
        raise


def _read_message_1(message_1: bytes, known: Sequence[int]) -> tuple[bytes, dict[int, bytes | None]]:
    """(C_I, EAD_1) of a message_1 that has one form only. Raises EdhocError."""
    if len(message_1) > MAX_MESSAGE:
        raise EdhocError("too_large")
    items = edhoc.items_of(message_1)
    if len(items) < 4 or type(items[0]) is not int:
        raise EdhocError("malformed")
    if items[0] != METHOD:
        raise EdhocError("method")
    _check_suites(items[1])
    if not isinstance(items[2], bytes) or len(items[2]) != POINT_LEN:
        raise EdhocError("malformed")
    try:
        p256.lift(int.from_bytes(items[2], "big"))
    except p256.CurveError:
        raise EdhocError("bad_point") from None
    return edhoc.read_identifier(items[3]), edhoc.read_ead(items[4:], known)


def _check_suites(suites: object) -> None:
    """An int, or at least two of them, the selected one last (RFC 9528 section 5.2.1)."""
    listed = suites if isinstance(suites, list) else [suites]
    if any(type(suite) is not int for suite in listed) or (isinstance(suites, list) and len(suites) < 2):
        raise EdhocError("malformed")
    if listed[-1] != SUITE:
        raise EdhocError("suite")


def _check_room(credential: bytes, c_r: bytes, ead_2: Ead) -> None:
    context = (
        edhoc.pack_identifier(c_r) + edhoc.id_cred(_kid_in(credential)) + encode(bytes(edhoc.HASH_LEN)) + credential
    )
    if len(ead_2) > edhoc.MAX_EAD_ITEMS or len(context) + len(edhoc.pack_ead(ead_2)) > _MAX_CONTEXT:
        raise EdhocError("too_large")  # lakers would drop a fifth item in silence


def _kid_in(credential: bytes) -> bytes:
    return bytes(lakers.Credential(credential).kid())


def _check_message_3(message_3: bytes) -> None:
    """One byte string with room for the shortest plaintext and the tag, and for no more EAD than lakers bears."""
    if len(message_3) > MAX_MESSAGE:
        raise EdhocError("too_large")
    items = edhoc.items_of(message_3)
    if len(items) != 1 or not isinstance(items[0], bytes) or len(items[0]) < 1 + 1 + MAC_LEN + MAC_LEN:
        raise EdhocError("malformed")
    if len(items[0]) > 1 + 1 + MAC_LEN + MAC_LEN + MAX_EAD_3:
        raise EdhocError("too_large")


def _kid_of(id_cred: bytes) -> bytes:
    (found,) = edhoc.items_of(id_cred)
    if not isinstance(found, dict) or list(found) != [4] or not isinstance(found[4], bytes):
        raise EdhocError("credential")  # by value, or by another header parameter
    return found[4]


def _read_ead_3(
    message_3: bytes, kid: bytes, items: Sequence[lakers.EADItem], known: Sequence[int]
) -> dict[int, bytes | None]:
    """EAD_3 by label. What lakers left out of the plaintext shows in its length."""
    flat: list[object] = []
    for item in items:
        value = item.value()
        flat.append(-item.label() if item.is_critical() else item.label())
        flat += [bytes(value)] if value is not None else []
    packed = b"".join(map(encode, flat))
    (sealed,) = edhoc.items_of(message_3)
    if len(edhoc.pack_identifier(kid)) + 1 + MAC_LEN + len(packed) + MAC_LEN != len(sealed):
        raise EdhocError("malformed")
    return dict(edhoc.read_ead(flat, known))
