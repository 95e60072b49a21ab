"""The audit log: who joined, what was refused, which keys and settings changed. Hash-chained, on disk, never rewritten.

Each entry holds the hash of the one before, so that one changed byte shows from there on; a head beside the log, signed
if the gateway has a key, says how long it was. Refusals that repeat are told once a minute, with their number. What is
noted is written by `run`, at most half a second later, which a kill may cost; what is recorded (joins, sessions,
commands, changes of the registry) is written by `settle`, before the commit or the answer that it speaks of. Every
entry goes to the city as an event.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from gateway.database import make_durable_dir, write_durably
from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import CoseError, PublicKey, Signer, parse, sign1
from gateway.registry.logfile import LogError, LogFile

log = logging.getLogger(__name__)
_ENTRY = 0x41
_FIRST = bytes(32)
_HEAD = "head"
_FORWARDED = "forwarded"
_CONTEXT = b"lamppost audit head 1"
_PERIOD_S = 0.5
_REPEAT_S = 60.0
_MOST_WAITING = 4096
_MOST_REPEATS = 1024
_LARGEST_FILE = 16 << 20
_FILES_KEPT = 4
Forward = Callable[["Entry"], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. `actor`: who caused it; `device`: whom it is about; `previous`: the hash of the entry before."""

    number: int
    at_s: int
    actor: str
    device: str
    what: str
    detail: str
    previous: bytes

    def encode(self) -> bytes:
        return encode([self.number, self.at_s, self.actor, self.device, self.what, self.detail, self.previous])


class AuditLog:
    """Appends in `run`; `note` may be called from any thread."""

    def __init__(self, folder: Path, *, actor: str, signer: Signer | None = None) -> None:
        self._folder = folder
        self._actor = actor
        self._signer = signer
        self._lock = Lock()
        self._writing = Lock()
        self._is_open = False
        self._must_settle = False
        self._is_head_due = False
        self._waiting: list[tuple[int, str, str, str, str]] = []
        self._lost = 0
        self._repeats: dict[tuple[str, str], tuple[float, int]] = {}
        self._file = LogFile(folder / "audit-0.log")
        self._next, self._hash = 0, _FIRST
        self.trouble = ""

    def open(self) -> None:
        """Find the end of the log; a torn last append is cut off. Raises OSError, StoreFailed."""
        make_durable_dir(self._folder)
        self._is_open = True
        files = audit_files(self._folder)
        if files:
            self._file = LogFile(files[-1])
        for frame in self._file.scan():
            entry = _read(frame.content)
            if entry is None:
                break
            self._next, self._hash = entry.number + 1, hashlib.sha256(frame.content).digest()
            self._file.end = frame.end
        if self._file.size() > self._file.end:
            kept = self._file.path.with_suffix(".damaged")
            kept.write_bytes(self._file.path.read_bytes())
            self._file.cut(self._file.end)
            self.note("audit damaged", "", f"kept up to entry {self._next}; the whole file is {kept.name}")

    def note(self, what: str, device: str = "", detail: str = "", *, actor: str | None = None) -> None:
        """Write this down soon. Beyond 4096 that wait, the number lost is written down instead."""
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                self._lost += 1
                return
            self._waiting.append((int(time.time()), actor or self._actor, device, what, detail))

    def record(self, what: str, device: str = "", detail: str = "", *, actor: str | None = None) -> None:
        """As note, but `settle` is called before anybody acts on it."""
        self.note(what, device, detail, actor=actor)
        with self._lock:
            self._must_settle = True

    def settle(self) -> bool:
        """Have on disk what was recorded, and what was noted before it. Whether there was anything.

        A disk that refuses does not hold up what is recorded: it is tried again, and `trouble` says so.
        """
        with self._lock:
            must, self._must_settle = self._must_settle and self._is_open, False
        if must:
            with self._writing:
                self._write_waiting(with_head=False)
        return must

    def refused(self, reason: str, device: str | None) -> None:
        """A refusal: the first at once, its repetitions counted and told once a minute."""
        now_s, key = time.monotonic(), (reason, device or "")
        with self._lock:
            since_s, count = self._repeats.get(key, (None, 0))
            if since_s is not None:
                self._repeats[key] = (since_s, count + 1)
                return
            if len(self._repeats) >= _MOST_REPEATS:
                key = (reason, "(others)")  # a flood of names must not be a flood of lines
                if key in self._repeats:
                    self._repeats[key] = (self._repeats[key][0], self._repeats[key][1] + 1)
                    return
            self._repeats[key] = (now_s, 0)
        self.note(f"refused {reason}", key[1], actor=key[1] or "unknown")

    async def run(self, forward: Forward | None = None) -> None:
        """Write what waits until cancelled, and hand it on to the city; what was noted by then is written first."""
        try:
            while True:
                await asyncio.sleep(_PERIOD_S)
                await asyncio.to_thread(self.flush)
                if forward is not None:
                    await self._forward(forward)
        finally:
            self.flush(last=True)

    def flush(self, *, last: bool = False) -> None:
        """Write what waits, and the head. A disk that refuses is remembered and tried again."""
        self._tell_repeats(last=last)
        with self._writing:
            self._write_waiting(with_head=True)

    def _write_waiting(self, *, with_head: bool) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            lost, self._lost = self._lost, 0
        if lost:
            waiting.append((int(time.time()), self._actor, "", "audit lost", f"{lost} entries did not fit"))
        try:
            if waiting:
                self._write(waiting)
                waiting = []
            if with_head and self._is_head_due:
                self._write_head()
            self.trouble = ""
        except (LogError, OSError) as error:
            with self._lock:
                self._waiting = (waiting + self._waiting)[:_MOST_WAITING]
            if not self.trouble:
                log.error("audit: %s", error)
            self.trouble = str(error)

    def _write(self, waiting: list[tuple[int, str, str, str, str]]) -> None:
        self._turn_over()
        number, previous, frames = self._next, self._hash, []
        for at_s, actor, device, what, detail in waiting:
            entry = Entry(
                number=number, at_s=at_s, actor=actor, device=device, what=what, detail=detail[:512], previous=previous
            )
            content = entry.encode()
            frames.append((_ENTRY, content))
            number, previous = number + 1, hashlib.sha256(content).digest()
        self._file.append(frames)
        self._next, self._hash = number, previous
        self._is_head_due = True

    def _write_head(self) -> None:
        """Later than the entries: a head may say less than there is, never more."""
        payload = encode([self._next, self._hash])
        write_durably(
            self._folder / _HEAD, sign1(self._signer, payload, external=_CONTEXT) if self._signer else payload
        )
        self._is_head_due = False

    def _turn_over(self) -> None:
        """Begin a new file when this one is large; of the old ones the newest few are kept."""
        if self._file.end < _LARGEST_FILE:
            return
        self._file = LogFile(self._folder / f"audit-{self._next}.log")
        for path in audit_files(self._folder)[:-_FILES_KEPT]:
            path.unlink()

    def _tell_repeats(self, *, last: bool) -> None:
        now_s = time.monotonic()
        with self._lock:
            over = [key for key, (since_s, _) in self._repeats.items() if last or now_s - since_s >= _REPEAT_S]
            told = [(key, self._repeats.pop(key)[1]) for key in over]
        for (reason, device), count in told:
            if count:
                self.note(f"refused {reason}", device, f"{count} times more within a minute", actor=device or "unknown")

    async def _forward(self, forward: Forward) -> None:
        """At least once: the city sees the number of each entry, and can tell a repetition."""
        path = self._folder / _FORWARDED
        start = int(path.read_text()) if path.exists() else 0
        if start >= self._next:
            return
        done = start
        try:
            for entry in read_entries(self._folder, start):
                await forward(entry)
                done = entry.number + 1
        except GatewayError as error:
            log.debug("audit entries wait: %s", error)
        if done > start:
            await asyncio.to_thread(write_durably, path, str(done).encode())


def read_entries(folder: Path, start: int = 0) -> Iterator[Entry]:
    """The entries from `start` on, as they lie there."""
    files = audit_files(folder)
    later = [_number(path) for path in files[1:]]
    for path, end in zip(files, [*later, None], strict=True):
        if end is not None and end <= start:
            continue
        for frame in LogFile(path).scan():
            entry = _read(frame.content)
            if entry is not None and entry.number >= start:
                yield entry


def verify(folder: Path, key: PublicKey | None) -> tuple[int, list[str]]:
    """Follow the chain. Returns how many entries are good, and what is wrong with the rest.

    key  of the gateway; with it the head must be signed
    """
    files = audit_files(folder)
    first = number = _number(files[0]) if files else 0
    previous = None if number else _FIRST  # of older files only the chain's end is known
    size, root, problems = _read_head(folder, key)
    root_found = previous if size == number else None
    for path in files:
        file = LogFile(path)
        for frame in file.scan():
            entry = _read(frame.content)
            wrong = _wrong(entry, number, previous)
            if wrong:
                return number - first, [f"{path.name}: entry {number} {wrong}"]
            number, previous = number + 1, hashlib.sha256(frame.content).digest()
            root_found = previous if size == number else root_found
            file.end = frame.end
        if file.size() > file.end:
            left = file.size() - file.end
            return number - first, [f"{path.name}: entry {number} is damaged, {left} bytes are unreadable"]
    if not problems and size > number:
        problems = [f"the last {size - number} of {size} entries were taken away"]
    if not problems and size and root_found != root:
        problems = [f"{folder / _HEAD} is of another log"]
    return number - first, problems if files or problems else []


def _wrong(entry: Entry | None, number: int, previous: bytes | None) -> str:
    if entry is None:
        return "is no entry"
    if entry.number != number:
        return f"is missing; entry {entry.number} stands there"
    return "does not follow from the entry before" if previous not in (None, entry.previous) else ""


def _read_head(folder: Path, key: PublicKey | None) -> tuple[int, bytes, list[str]]:
    path = folder / _HEAD
    try:
        data = path.read_bytes()
        if key is not None:
            envelope = parse(data)
            envelope.verify([key], external=_CONTEXT)
            data = envelope.payload
        size, root = decode(data)
        return int(size), bytes(root), []
    except OSError:
        return 0, _FIRST, [f"{path} is missing"] if audit_files(folder) else []
    except (CborError, CoseError, TypeError, ValueError) as error:
        return 0, _FIRST, [f"{path} was changed: {error}"]


def _read(content: bytes) -> Entry | None:
    try:
        number, at_s, actor, device, what, detail, previous = decode(content)
    except (CborError, TypeError, ValueError):
        return None
    texts = (actor, device, what, detail)
    if not isinstance(number, int) or not isinstance(previous, bytes) or not all(isinstance(one, str) for one in texts):
        return None
    return Entry(number=number, at_s=at_s, actor=actor, device=device, what=what, detail=detail, previous=previous)


def audit_files(folder: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted(folder.glob("audit-*.log"), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[2])
