"""What a board prints: into a log file, and into a memory that can be waited on. Any thread may read and wait."""

import threading
import time
from pathlib import Path

_KEPT_LEN = 1 << 20


class ConsoleTimeout(Exception):
    """The board did not print what was awaited: the message shows what it printed last."""


class Console:
    def __init__(self, log: Path) -> None:
        self.log = log
        self._file = log.open("ab", buffering=0)
        self._text = bytearray()
        self._dropped_len = 0  # before the kept text
        self._news = threading.Condition()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        with self._news:
            self._text += data
            surplus = len(self._text) - _KEPT_LEN
            if surplus > 0:
                del self._text[:surplus]
                self._dropped_len += surplus
            self._news.notify_all()

    def text(self, *, after: int = 0) -> str:
        """All that was printed from position `after` on (the last MiB is kept)."""
        with self._news:
            return bytes(self._text[max(0, after - self._dropped_len) :]).decode(errors="replace")

    def position(self) -> int:
        """Where the next byte goes: wait from here to see only what comes next."""
        with self._news:
            return self._dropped_len + len(self._text)

    def wait_for(self, text: str, *, timeout_s: float, after: int = 0) -> int:
        """Wait until `text` is printed behind position `after`; the position behind it. Raises ConsoleTimeout."""
        wanted = text.encode()
        deadline_s = time.monotonic() + timeout_s
        with self._news:
            while True:
                at = self._text.find(wanted, max(0, after - self._dropped_len))
                if at >= 0:
                    return self._dropped_len + at + len(wanted)
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0:
                    last = bytes(self._text[-1000:]).decode(errors="replace")
                    raise ConsoleTimeout(
                        f"{text!r} was not printed within {timeout_s:g} s; see {self.log}, ends:\n{last}"
                    )
                self._news.wait(remaining_s)

    def close(self) -> None:
        self._file.close()
