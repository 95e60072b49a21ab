"""One conversation between two gateways of a site: who are you, what have you got, here is what you lack.

Over any byte stream; each item is a u32 length and CBOR. Both sides say [1, 16 random bytes]; then each signs
[its writer, its part, its own bytes, the other's bytes] with its registry key. Then both tell the sizes of their logs,
the listener sends what the dialler lacks, up to 64 pieces and an empty item, and the dialler does the same.

The listener speaks with gateways of its site that are not revoked and with nobody else. The dialler was given the
address, and takes what is signed from whoever answers there; it sends nothing to a stranger. Nothing is encrypted.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import CoseError, PublicKey, parse, sign1
from gateway.registry.bundle import (
    LARGEST_ITEM,
    BundleError,
    Taken,
    decode_piece,
    encode_piece,
    pieces_for,
    read_sizes,
    take_pieces,
)
from gateway.registry.registry import Registry
from gateway.registry.writer import Piece

DIALS, LISTENS = "dials", "listens"
_CONTEXT = b"lamppost lan 1"
_NONCE_LEN = 16
_LARGEST_HELLO = 512
_LARGEST_SIZES = 1 << 18
_MOST_PIECES = 64
HELLO_S = 10.0
_WHOLE_S = 120.0


class PeerError(GatewayError):
    """This conversation is over; `reason` is one word for a counter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(kw_only=True)
class Talk:
    """What came of it. `peer`: its writer, "" for a stranger; `has_more`: one of them holds more than was sent."""

    peer: str = ""
    sent: int = 0
    taken: Taken = field(default_factory=Taken)
    has_more: bool = False


class Conversation:
    """One stream, used once. `part`: DIALS or LISTENS."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        registry: Registry,
        *,
        part: str,
        hello_s: float = HELLO_S,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._registry = registry
        self._part, self._hello_s = part, hello_s
        self._talk = Talk()

    async def hold(self) -> Talk:
        """All of it. Raises PeerError, OSError."""
        try:
            async with asyncio.timeout(_WHOLE_S):
                async with asyncio.timeout(self._hello_s):
                    self._talk.peer = await self._meet()
                theirs = await self._exchange_sizes()
                if self._part == LISTENS:
                    await self._send_pieces(theirs)
                    await self._take_pieces()
                else:
                    await self._take_pieces()
                    await self._send_pieces(theirs if self._talk.peer else None)
        except (asyncio.IncompleteReadError, TimeoutError):
            raise PeerError("broken_off", "the other side fell silent or closed") from None
        except (BundleError, CborError, CoseError, TypeError, ValueError) as error:
            raise PeerError("malformed", f"what came is no part of a conversation ({error})") from None
        return self._talk

    async def _meet(self) -> str:
        """Both prove who they are. Returns the other's writer; "" for a stranger that this side dialled."""
        own = secrets.token_bytes(_NONCE_LEN)
        await self._send(encode([1, own]))
        version, other = decode(await self._receive(_LARGEST_HELLO))
        if version != 1 or not isinstance(other, bytes) or len(other) != _NONCE_LEN:
            raise PeerError("version", "it speaks another version; update lamppost on both")
        registry = self._registry
        await self._send(sign1(registry.holder, encode([registry.me, self._part, own, other]), external=_CONTEXT))
        envelope = parse(await self._receive(_LARGEST_HELLO))
        peer, part, theirs, ours = decode(envelope.payload)
        if (theirs, ours) != (other, own) or part == self._part or peer == registry.me:
            raise PeerError("impostor", "it signed another conversation than this")
        key = self._key_of(peer)
        if key is None:
            if self._part == LISTENS:
                raise PeerError("stranger", f"{peer!r:.80} is no gateway of this site that counts; it got nothing")
            return ""
        try:
            envelope.verify([key], external=_CONTEXT)
        except CoseError as error:
            raise PeerError("impostor", f"{peer} did not sign this: {error}") from None
        return str(peer)

    def _key_of(self, peer: object) -> PublicKey | None:
        with self._registry.lock:
            gateway = self._registry.site.gateways.get(peer) if isinstance(peer, str) else None
            return None if gateway is None or gateway.is_revoked else gateway.keys[-1][1]

    async def _exchange_sizes(self) -> Mapping[str, int]:
        with self._registry.lock:
            sizes = {one.writer: one.size for one in self._registry.writers()}
        await self._send(encode(sizes))
        return read_sizes(decode(await self._receive(_LARGEST_SIZES), largest=_LARGEST_SIZES))

    async def _send_pieces(self, sizes: Mapping[str, int] | None) -> None:
        pieces = [] if sizes is None else await asyncio.to_thread(self._lacking, sizes)
        for piece in pieces[:_MOST_PIECES]:
            await self._send(encode_piece(piece))
            self._talk.sent += 1
        self._talk.has_more |= len(pieces) > _MOST_PIECES
        await self._send(b"")

    def _lacking(self, sizes: Mapping[str, int]) -> list[Piece]:
        with self._registry.lock:
            lacking = (piece for piece in pieces_for(self._registry, sizes) if piece.entries)
            return list(islice(lacking, _MOST_PIECES + 1))

    async def _take_pieces(self) -> None:
        """One at a time, so that memory holds one; the first that is refused ends the conversation."""
        for count in range(_MOST_PIECES + 1):
            item = await self._receive(LARGEST_ITEM)
            if not item:
                self._talk.has_more |= count == _MOST_PIECES
                return
            taken = await asyncio.to_thread(take_pieces, self._registry, [decode_piece(item)])
            self._note(taken)
            if taken.problems:
                raise PeerError("refused_piece", taken.problems[0].detail)
        raise PeerError("flood", f"more than {_MOST_PIECES} pieces at once")

    def _note(self, taken: Taken) -> None:
        found = self._talk.taken
        found.sender = self._talk.peer
        found.problems += taken.problems
        for writer, count in taken.entries.items():
            found.entries[writer] = found.entries.get(writer, 0) + count

    @property
    def taken(self) -> Taken:
        """What was taken so far, also if it ended badly."""
        return self._talk.taken

    async def _send(self, item: bytes) -> None:
        self._writer.write(len(item).to_bytes(4, "big") + item)
        await self._writer.drain()

    async def _receive(self, largest: int) -> bytes:
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        if size > largest:
            raise PeerError("too_long", f"an item of {size} bytes; at most {largest} are read here")
        return await self._reader.readexactly(size)
