"""Payloads for the city made shorter with zstd (RFC 8878), where that saves bytes. Each message stands alone.

The content type still says what is inside; a user property `content-encoding` = `zstd` says how it is wrapped. Frames
carry the content's size, so that a subscriber knows what it will get before it begins. docs/protocol.md, "At the city".
"""

from dataclasses import replace

import zstandard

from gateway.senml import Pack

ENCODING = ("content-encoding", "zstd")
LEAST_BYTES = 256  # below it the frame costs more than it saves
_LEVEL = 3
_MARK_BYTES = 5 + len(ENCODING[0]) + len(ENCODING[1])


class Compressor:
    """Shortens packs. One per platform: it keeps its working memory between messages."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=False)

    def shorten(self, pack: Pack) -> Pack:
        """The pack compressed and marked, or as it was if it is short or would not get shorter."""
        if len(pack.payload) < LEAST_BYTES:
            return pack
        payload = self._zstd.compress(pack.payload)
        if len(payload) + _MARK_BYTES >= len(pack.payload):
            return pack
        return replace(
            pack,
            payload=payload,
            remarks=(*pack.remarks, ENCODING),
            is_binary=True,
            size_bytes=pack.size_bytes - len(pack.payload) + len(payload) + _MARK_BYTES,
        )
