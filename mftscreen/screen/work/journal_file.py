"""The file of a journal: how it is locked and opened, and what can go wrong."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mftscreen.errors import DataError
from mftscreen.locks import try_lock
from mftscreen.writing import why_unwritable

__all__ = [
    "DATABASE",
    "PATIENCE",
    "Place",
    "errors",
    "failed",
    "has_tables",
    "open_to_read",
]

DATABASE, LOCK = "journal.sqlite", ".lock"

PATIENCE = 60.0
"""Seconds to wait for a reader or writer of the moment."""

_DAMAGE = (AttributeError, LookupError, TypeError, ValueError, zlib.error)
"""What reading a journal can raise into which something else has written."""

_UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


@contextmanager
def errors(folder: Path | None) -> Iterator[None]:
    """Turn whatever a damaged journal or its folder raises into our error."""
    try:
        yield
    except DataError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise failed(error, folder) from error
    except _DAMAGE as error:
        msg = f"the journal is damaged: {type(error).__name__}: {error}"
        raise DataError(msg, path=folder) from error


def failed(error: OSError | sqlite3.Error, folder: Path | None) -> DataError:
    """Return our error for one of the system or of SQLite."""
    msg = f"the journal cannot be used: {why_unwritable(error)}"
    return DataError(msg, path=folder)


class Place:
    """The folder of a journal, held by a lock for as long as it is not closed.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.

    Raises
    ------
    DataError
        If another process holds it, or its file system knows no locks.
    OSError
        If it cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stream = (folder / LOCK).open("ab")
        self._known: dict[str, tuple[int, int]] = {}
        try:
            if not try_lock(self._stream, folder):
                msg = (
                    "another screening runs in it; wait for it or choose another folder"
                )
                raise DataError(msg, path=folder)
        except DataError:
            self.close()
            raise

    def close(self) -> None:
        """Give the folder free."""
        self._stream.close()

    def remember(self) -> None:
        """Take the files that are there now for those that :meth:`check` expects."""
        self._known = {name: self._identity(name) for name in (LOCK, DATABASE)}

    def check(self) -> None:
        """Raise if what is written would go to files that are not there any more.

        Raises
        ------
        DataError
            If the lock or the database was removed or replaced.
        """
        for name, expected in self._known.items():
            try:
                found = self._identity(name)
            except OSError:
                found = None
            if found != expected:
                msg = (
                    f"{name} was removed or replaced while the screening ran; what was "
                    "not written is computed again when the command is given again"
                )
                raise DataError(msg, path=self._folder)

    def _identity(self, name: str) -> tuple[int, int]:
        status = (self._folder / name).stat()
        return status.st_dev, status.st_ino


def open_to_read(folder: Path) -> sqlite3.Connection:
    """Return a database in which nothing changes as long as it is open."""
    path = (folder / DATABASE).resolve()
    with errors(folder):
        if not path.is_file():
            raise _empty(folder)
        uri = f"{path.as_uri()}?mode=ro"
        try:
            return _begin_to_read(uri, folder)
        except sqlite3.OperationalError as error:
            # with nothing in its log, it can be read without the files beside it that
            # cannot be made here
            log = path.with_name(f"{path.name}-wal")
            cannot_write = error.sqlite_errorcode & 0xFF in _UNWRITABLE
            if not cannot_write or (log.exists() and log.stat().st_size):
                raise
            return _begin_to_read(f"{uri}&immutable=1", folder)


def _begin_to_read(uri: str, folder: Path) -> sqlite3.Connection:
    database = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        database.execute("BEGIN")
        if not has_tables(database):
            raise _empty(folder)
    except BaseException:
        database.close()
        raise
    return database


def _empty(folder: Path) -> DataError:
    msg = "holds no screening; 'mftscreen rank … --run FOLDER' makes it"
    return DataError(msg, path=folder)


def has_tables(database: sqlite3.Connection) -> bool:
    """Return whether a journal was made in a database."""
    query = "SELECT 1 FROM sqlite_master WHERE name = 'meta'"
    return database.execute(query).fetchone() is not None
