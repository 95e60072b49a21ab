"""The file of a back-up: a zip of a few kinds of members, and a manifest with the SHA-256 of each, signed if we can.

    manifest.json   format, gateway, site, made_at_s, numbers; {member: SHA-256}
    manifest.sign1  COSE_Sign1 over the SHA-256 of manifest.json by the gateway's registry key, if it has one
    gateway.toml    groups.json    nodes/<name>.json (without keys)
    registry.bundle anchor.cbor    audit/<name>
    tables.cbor     CBOR sequence: [table, [column, ...], [row, ...]]
    records.cbor    CBOR sequence: [stream, stored_at_s, is_produced, report as in the outbox, [platform, ...]]

Nothing of what a reader finds is believed before `Archive.check`.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from gateway.database import sync_dir
from gateway.errors import GatewayError
from gateway.identity.cose import CoseError, PublicKey, Signer, parse, sign1

FORMAT = 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.sign1"
_CONTEXT = b"lamppost backup 1"
_CHUNK = 1 << 18
_LARGEST_MANIFEST = 32 << 20


class BackupError(GatewayError):
    """No back-up could be made, or this is none that can be restored; the message says what to do."""


class NewArchive:
    """A back-up in the making. `member` for each part, then `finish`."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._digests: dict[str, str] = {}

    @contextmanager
    def member(self, name: str) -> Iterator[_Digesting]:
        """Write a member; it is hashed on its way."""
        with self._file.open(name, "w", force_zip64=True) as out:
            writer = _Digesting(out)
            yield writer
        self._digests[name] = writer.hash.hexdigest()

    def add(self, name: str, content: bytes) -> None:
        """Write a small member at once."""
        with self.member(name) as out:
            out.write(content)

    def finish(self, facts: Mapping[str, Any], signer: Signer | None) -> None:
        """Write the manifest, and sign it."""
        text = json.dumps({"format": FORMAT, **facts, "members": self._digests}, indent=1).encode()
        self._file.writestr(MANIFEST, text)
        if signer is not None:
            self._file.writestr(SIGNATURE, sign1(signer, hashlib.sha256(text).digest(), external=_CONTEXT))


class _Digesting:
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.hash.update(data)
        self._out.write(data)


@contextmanager
def new_archive(path: Path) -> Iterator[NewArchive]:
    """A back-up that is at `path` once it is whole and on disk, for its owner alone. Raises BackupError."""
    if path.exists():
        raise BackupError(f"{path} exists already; name a new file, or move that one away")
    part = path.with_name(f".{path.name}.part")
    try:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
                yield NewArchive(packed)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        sync_dir(path.absolute().parent)
    except OSError as error:
        raise BackupError(f"{path} cannot be written ({error.strerror}); check the disk") from None
    finally:
        part.unlink(missing_ok=True)


class Archive:
    """A back-up that is read. `facts` is the manifest."""

    def __init__(self, file: zipfile.ZipFile, text: bytes, signature: bytes) -> None:
        self._file = file
        self._text, self._signature = text, signature
        self.facts: dict[str, Any] = json.loads(text)
        self.members: dict[str, str] = self.facts["members"]

    def check(self) -> None:
        """Every member is what the manifest says, and there is no other. Raises BackupError naming the first."""
        if self.facts.get("format") != FORMAT:
            raise BackupError(f"this back-up has format {self.facts.get('format')}; update lamppost")
        names = set(self._file.namelist()) - {MANIFEST, SIGNATURE}
        if names != set(self.members):
            raise BackupError(f"{min(names ^ set(self.members))} is not what the manifest lists; take another back-up")
        for name, digest in self.members.items():
            found = hashlib.sha256()
            try:
                with self._file.open(name) as member:
                    while chunk := member.read(_CHUNK):
                        found.update(chunk)
            except (zipfile.BadZipFile, OSError, EOFError, ValueError):
                raise BackupError(f"{name} is damaged; take another back-up") from None
            if found.hexdigest() != digest:
                raise BackupError(f"{name} was changed after the back-up was made; take another one")

    def check_signature(self, key: PublicKey) -> None:
        """The gateway with this key made it. Raises BackupError."""
        try:
            envelope = parse(self._signature)
            envelope.verify([key], external=_CONTEXT)
        except CoseError as error:
            raise BackupError(f"this back-up is not signed by the gateway that it names ({error})") from None
        if envelope.payload != hashlib.sha256(self._text).digest():
            raise BackupError("the manifest was changed after the back-up was made; take another one")

    def names(self, below: str) -> list[str]:
        """Members of a folder; only plain names."""
        found = [name for name in self.members if name.startswith(f"{below}/")]
        bad = [name for name in found if "/" in name[len(below) + 1 :] or name.endswith(("/", "."))]
        if bad:
            raise BackupError(f"{bad[0]!r} is no name that a back-up has")
        return sorted(found)

    def read(self, name: str) -> bytes | None:
        """A small member, None if there is none."""
        return self._file.read(name) if name in self.members else None

    def open(self, name: str) -> IO[bytes]:
        """A large one."""
        return self._file.open(name)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Read a back-up, its content not yet checked. Raises BackupError."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(zipfile.ZipFile(path))
            if file.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST:
                raise BackupError(f"{path} is no back-up of a gateway")
            signature = file.read(SIGNATURE) if SIGNATURE in file.namelist() else b""
            found = Archive(file, file.read(MANIFEST), signature)
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError, NotImplementedError):
            raise BackupError(f"{path} is no back-up of a gateway, or damaged") from None
        except OSError as error:
            raise BackupError(f"{path} cannot be read ({error.strerror})") from None
        yield found
