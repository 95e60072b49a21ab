"""Between the interpreter's terminal and the port: makes the unix port's REPL look like a board's.

Ctrl-D ends the unix interpreter where a board soft-resets in place: so a new one is told to come up in the mode the old
one was in, and what tools wait for ("soft reboot", the raw prompt) is said in its place. No I/O here.
"""

import re

SOFT_REBOOT = b"\r\nMPY: soft reboot\r\n"
ENTER_RAW = b"\x01"

_RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
_BANNER = re.compile(rb"(\r\n)?MicroPython [^\r\n]*\r\n[^\r\n]*\r\n>>> (\r\n)?")
_FRIENDLY_PROMPT = re.compile(rb'MicroPython [^\r\n]*\r\nType "help\(\)" for more information\.\r\n>>> ')
_BARE_NEWLINE = re.compile(rb"(?<!\r)\n")
_TAIL_LEN = 200
_HELD_MAX = 1 << 16


class ReplFilter:
    """Follows the mode, and holds a new interpreter's output until it is in the mode that is wanted."""

    def __init__(self) -> None:
        self.is_raw = False
        self._is_holding = False
        self._held = b""
        self._tail = b""

    def start(self, *, raw: bool) -> None:
        """A new interpreter begins."""
        self.is_raw = raw
        self._is_holding = raw
        self._held = self._tail = b""

    def printed(self, data: bytes) -> bytes:
        """What the port shows of what the interpreter printed."""
        if self._is_holding:
            self._held += data
            if _RAW_PROMPT not in self._held and len(self._held) < _HELD_MAX:
                return b""
            data, self._held, self._is_holding = _BANNER.sub(b"", self._held), b"", False
        was_raw = self.is_raw
        self._follow_mode(data)
        return data if was_raw or self.is_raw else self._with_returns(data)

    def _follow_mode(self, data: bytes) -> None:
        seen = self._tail + data
        raw_at = seen.rfind(_RAW_PROMPT)
        friendly_at = max((match.start() for match in _FRIENDLY_PROMPT.finditer(seen)), default=-1)
        if raw_at != friendly_at:
            self.is_raw = raw_at > friendly_at
        self._tail = seen[-_TAIL_LEN:]

    def _with_returns(self, data: bytes) -> bytes:
        """A board prints CR LF; in raw mode bytes may be a protocol's and stay as they are."""
        return _BARE_NEWLINE.sub(b"\r\n", data)
