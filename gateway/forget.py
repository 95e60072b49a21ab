"""`lamppost gateway forget`: a box that is sold, scrapped or sent back keeps nothing: no key, no password, no reading.

Files are overwritten where they lie, then removed, secrets first: whatever ends this early, they went before the rest.
What was deleted or replaced while the gateway lived lies in the free space of the disk, which is filled once. A flash
controller may keep old copies in spare cells that no program reaches: docs/security.md, "Leaving nothing behind".
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path

from gateway.config import Config, add_config_argument, load
from gateway.database import LOCK, sync_dir
from gateway.errors import ConfigError, GatewayError
from gateway.store_errors import StoreBusy

_SECRET_FILES = ("password_file", "key_file", "access_file")
_FIRST = ("*.key", "identity.json", "nodes/*", "lamppost.db*", "outbox/*")  # of data_dir, as patterns
_FILL = "forget.fill"
_CHUNK = 1 << 20
_BLOCK = 4096


class ForgetError(GatewayError):
    """Something is still there; the message says what."""


def named_secrets(settings: object) -> list[Path]:
    """Files outside data_dir that the settings name and that hold a password or a private key."""
    found: list[Path] = []
    for one in fields(settings) if is_dataclass(settings) else ():
        value = getattr(settings, one.name)
        if isinstance(value, Path) and one.name.endswith(_SECRET_FILES):
            found.append(value)
        for inner in value if isinstance(value, tuple) else (value,):
            found += named_secrets(inner)
    return list(dict.fromkeys(found))


def forget(config: Config, *, fills_free_space: bool) -> int:
    """Overwrite and remove everything. Returns how many files went. Raises StoreBusy, ForgetError."""
    data_dir = config.gateway.data_dir
    if not data_dir.is_dir():
        raise ForgetError(f"{data_dir} is not there; nothing was removed")
    with _alone_in(data_dir), _alone_in(data_dir / "registry"):
        outside = [path for path in named_secrets(config) if path.is_file()]
        files = [*outside, *_secrets_first(data_dir)]
        left = [f"{path} ({error})" for path, error in _remove(files)]
        if fills_free_space:
            _fill(data_dir)
    for folder, _, _ in os.walk(data_dir, topdown=False):
        try:
            os.rmdir(folder)
        except OSError as error:
            left.append(f"{folder} ({error.strerror})")
    if left:
        raise ForgetError(f"still there: {', '.join(left)}; remove it by hand, or run this as root")
    return len(files)


def _secrets_first(data_dir: Path) -> list[Path]:
    first = [path for pattern in _FIRST for path in sorted(data_dir.rglob(pattern)) if path.is_file()]
    rest = [path for path in sorted(data_dir.rglob("*")) if path.is_symlink() or not path.is_dir()]
    return list(dict.fromkeys([*first, *rest]))


def _remove(files: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yields what could not be removed, and why."""
    for path in files:
        try:
            if path.is_file() and not path.is_symlink():
                _overwrite(path)
            path.unlink()
            sync_dir(path.parent)
        except OSError as error:
            yield path, error.strerror or type(error).__name__


def _overwrite(path: Path) -> None:
    """Zeros in place of its content and of what is left of its last block, on disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        end = -(-size // _BLOCK) * _BLOCK
        for at in range(0, end, _CHUNK):
            os.pwrite(fd, bytes(min(_CHUNK, end - at)), at)
        os.fsync(fd)
    finally:
        os.close(fd)


def _fill(folder: Path) -> None:
    """Write zeros until the disk is full, so that no block that was given back keeps what it held."""
    path = folder / _FILL
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = _CHUNK
        while size >= 1:
            try:
                os.write(fd, bytes(size))
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise ForgetError(
                        f"the free space of {folder} could not be overwritten ({error.strerror})"
                    ) from None
                size //= 2
        os.fsync(fd)
    except OSError as error:
        raise ForgetError(f"the free space of {folder} could not be overwritten ({error.strerror})") from None
    finally:
        os.close(fd)
        path.unlink()
        sync_dir(folder)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """As a gateway takes its folder; nothing to take if it is not there. Raises StoreBusy."""
    if not folder.is_dir():
        yield
        return
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreBusy(f"{folder} is in use; stop the gateway first: systemctl stop lamppost") from None
    finally:
        os.close(fd)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway forget`."""
    add_config_argument(parser)
    add = parser.add_argument
    add("--gateway", metavar="ID", help="needed: the id of the gateway that shall forget, as in its settings")
    add("--quick", action="store_true", help="leave the free space of the disk: what was deleted earlier may be in it")


def run(args: argparse.Namespace) -> int:
    """Forget everything; 0 if nothing is left."""
    config = load(args.config)
    if args.gateway != config.gateway.id:
        raise ConfigError(
            "--gateway",
            args.gateway,
            f"must be {config.gateway.id}: this removes its keys, its nodes, and every record that waits for a city",
        )
    files = forget(config, fills_free_space=not args.quick)
    space = "not overwritten (--quick)" if args.quick else "overwritten"
    print(f"{config.gateway.id} has forgotten everything: {files} files overwritten and removed, free space {space}")
    print(f"{args.config} stays: it holds no secret")
    print(f"next: lamppost authority revoke {config.gateway.id} --gateway, so that a copy is refused too")
    return 0
