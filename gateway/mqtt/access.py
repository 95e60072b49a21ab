"""Who may connect to our listener, and with which topics: the access list, one line per device.

A line is `<user> <password hash> [<device> ...]`; the devices are those the user may speak for, its own name if none is
named. Lines that are empty or begin with # say nothing. Hashes are scrypt (RFC 7914), made by hash_password.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.errors import ConfigError

_COST = 2**14  # 16 MiB and some 40 ms per check: checked in a thread, a few at a time
_BLOCK = 8
_SALT_BYTES = 16


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of a connection to our listener.

    client_id   as in CONNECT, or assigned by us
    user        the user name that was proven, or None
    devices     the devices it may speak for; None: any (nobody had to prove anything)
    assurance   "mtls", "password" or "none"
    is_private  nobody on the way can read or change what passes: TLS, or this machine alone
    """

    client_id: str
    user: str | None = None
    devices: frozenset[str] | None = None
    assurance: Literal["mtls", "password", "none"] = "none"
    is_private: bool = True

    def may_speak_for(self, device: str) -> bool:
        return self.devices is None or device in self.devices


@dataclass(frozen=True)
class _Entry:
    password_hash: str = field(repr=False)
    devices: frozenset[str]


class AccessList:
    """Users, their password hashes and their devices. `anonymous()` has none: everybody may speak for anything."""

    def __init__(self, entries: dict[str, _Entry] | None) -> None:
        self._entries = entries
        self._nobody = hash_password(b"") if entries is not None else ""

    @classmethod
    def anonymous(cls) -> "AccessList":
        return cls(None)

    @classmethod
    def load(cls, path: Path) -> "AccessList":
        """Read the file. Raises ConfigError naming the line to edit."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("southbound.mqtt.access_file", str(path), f"cannot be read: {error}") from None
        entries: dict[str, _Entry] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            place = f"{path}:{number}"
            if len(words) < 2 or not _is_hash(words[1]):
                raise ConfigError(place, None, "must be: user, password hash, devices; see lamppost gateway password")
            if words[0] in entries:
                raise ConfigError(place, words[0], "is there twice; put all its devices on one line")
            entries[words[0]] = _Entry(words[1], frozenset(words[2:] or words[:1]))
        return cls(entries)

    @property
    def is_anonymous(self) -> bool:
        return self._entries is None

    def devices_of(self, user: str) -> frozenset[str] | None:
        """The devices of a user known by other means (a client certificate); None if there is no such user."""
        entry = (self._entries or {}).get(user)
        return entry.devices if entry else None

    def check(self, user: str, password: bytes) -> bool:
        """Whether the password is the user's. Takes some 40 ms, also for a user that does not exist."""
        if self._entries is None:
            return True
        entry = self._entries.get(user)
        is_right = _verify(password, entry.password_hash if entry else self._nobody)
        return entry is not None and is_right


def hash_password(password: bytes) -> str:
    """What to write into the access list for a password."""
    salt = os.urandom(_SALT_BYTES)
    return f"scrypt${salt.hex()}${_derive(password, salt).hex()}"


def _derive(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=_COST, r=_BLOCK, p=1, maxmem=64 * 1024 * 1024, dklen=32)


def _verify(password: bytes, password_hash: str) -> bool:
    _, salt, digest = password_hash.split("$")
    return hmac.compare_digest(_derive(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _is_hash(text: str) -> bool:
    parts = text.split("$")
    if len(parts) != 3 or parts[0] != "scrypt" or len(parts[2]) != 64:
        return False
    try:
        return bool(bytes.fromhex(parts[1])) and bool(bytes.fromhex(parts[2]))
    except ValueError:
        return False
