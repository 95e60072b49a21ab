"""What can go wrong with the store, by what the caller can do about it."""

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


def translated(error: sqlite3.Error) -> StoreError:
    """The store's word for an SQLite error. Source: sqlite.org/rescode.html."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"the disk is full ({error}); free some space, readings wait at the nodes meanwhile")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(f"the database is damaged ({error}); start the gateway again, it sets the file aside")
    return StoreFailed(f"the database was not written ({error}); check the disk (dmesg, df)")
