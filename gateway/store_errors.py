"""What can go wrong with the store, by what the caller can do about it."""

import errno
import sqlite3

from gateway.errors import GatewayError


class StoreError(GatewayError):
    """Nothing of the change was stored: acknowledge nothing."""


class StoreBusy(StoreError):
    """Another gateway works on this data_dir."""


class StoreNewer(StoreError):
    """A newer lamppost wrote this database."""


class StoreFull(StoreError):
    """The disk is full. It may have room again later."""


class StoreFailed(StoreError):
    """The disk did not take it. It may work later."""


class StoreDamaged(StoreError):
    """The database is unreadable: end; the next start sets it aside."""


def translated(error: sqlite3.Error | OSError) -> StoreError:
    """The store's word for an error of SQLite or of the disk. Source: sqlite.org/rescode.html, errno(3)."""
    if isinstance(error, OSError):
        return _of_the_disk(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code == sqlite3.SQLITE_FULL:
        return _full(error)
    is_garbled = "decode to UTF-8" in str(error)  # Python's own error: a text in which a bit is flipped
    if is_garbled or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(f"the database is damaged ({error}); start the gateway again, it sets the file aside")
    return StoreFailed(f"the database was not written ({error}); check the disk (dmesg, df)")


def _of_the_disk(error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(error)
    return StoreFailed(f"the outbox was not written ({error.strerror}); check the disk (dmesg, df)")


def _full(error: Exception) -> StoreFull:
    return StoreFull(f"the disk is full ({error}); free some space, readings wait at the nodes meanwhile")
