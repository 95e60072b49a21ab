"""Files that hold keys: readable by their owner alone, complete or not there at all, on disk when the call returns."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

_DIR_MODE = 0o700


def make_secret_dir(path: Path) -> None:
    """Make `path` (and what is above it) and close it to others. Who owns the folder above owns it."""
    path.mkdir(mode=_DIR_MODE, parents=True, exist_ok=True)
    path.chmod(_DIR_MODE)
    _give_to_owner_of(path.parent, path)


def write_secret(path: Path, content: Mapping[str, object]) -> None:
    """Write `content` as JSON with mode 0600, in place of what was there. Raises OSError; then the old file stands."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        _give_to_owner_of(path.parent, Path(name))
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    _sync_dir(path.parent)


def _give_to_owner_of(folder: Path, path: Path) -> None:
    """Enrolling as root must not lock out the account the gateway runs under."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _sync_dir(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
