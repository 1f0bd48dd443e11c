"""The tables of a journal: opened, checked row by row, changed all or nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mftscreen.errors import DataError
from mftscreen.screen.work.journal_check import checksum, damaged, upgrade
from mftscreen.screen.work.journal_file import (
    DATABASE,
    PATIENCE,
    Place,
    errors,
    failed,
    has_tables,
    open_to_read,
)

__all__ = ["Store"]

FORMAT, UNCHECKED = "2", "1"
"""Of the tables and of what is in them; a journal of another format is not read.
``UNCHECKED`` is without checksums, which it gets when it is next written to."""

_TABLES = (
    "CREATE TABLE meta "
    "(name TEXT PRIMARY KEY, value TEXT, checksum INTEGER) WITHOUT ROWID",
    "CREATE TABLE outcomes "
    "(key TEXT PRIMARY KEY, outcome TEXT, atoms BLOB, checksum INTEGER)",
    "CREATE TABLE candidates (position INTEGER PRIMARY KEY, "
    "id TEXT, key TEXT, outcome TEXT, checksum INTEGER)",
)

_CARRIED = (
    "CREATE TABLE IF NOT EXISTS carried "
    "(position INTEGER PRIMARY KEY, content TEXT, checksum INTEGER)"
)
"""What candidates bring along; journals of earlier versions have no such table."""

_MAX_VARIABLES = 500  # SQLite's own limit used to be 999


class Store:
    """Rows with checksums in a database of SQLite.

    Every method raises DataError where a row is not what was written, unless it says
    otherwise.

    Parameters
    ----------
    folder : Path or None
        None for a temporary file, which goes with the process.
    read_only : bool

    Raises
    ------
    DataError
        If another process writes to it, it cannot be opened, or has another format.
    """

    def __init__(self, folder: Path | None, *, read_only: bool) -> None:
        self.folder = folder
        self._place: Place | None = None
        try:
            if read_only:
                assert folder is not None
                self._database = open_to_read(folder)
            else:
                self._open_to_write()
            with errors(folder):
                self._checked = self._format() != UNCHECKED
                self._check_format()
                if not read_only:
                    self._database.execute(_CARRIED)
        except BaseException:
            self.close()
            raise

    def _open_to_write(self) -> None:
        with errors(self.folder):
            if self.folder is None:
                # an empty name is a temporary database on disk
                self._database = sqlite3.connect("", isolation_level=None)
            else:
                self._place = Place(self.folder)
                self._database = sqlite3.connect(
                    self.folder / DATABASE, timeout=PATIENCE, isolation_level=None
                )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            if not has_tables(self._database):
                with self.transaction():
                    for statement in _TABLES:
                        self._database.execute(statement)
                    self.set_meta("format", FORMAT)
            elif self._format() == UNCHECKED:
                with self.transaction():
                    upgrade(self._database)
                    self.set_meta("format", FORMAT)
            if self._place is not None:
                self._place.remember()

    def _format(self) -> str | None:
        """Return the format that was written, which may be one without checksums."""
        query = "SELECT value FROM meta WHERE name = 'format'"
        row = self._database.execute(query).fetchone()
        return None if row is None else str(row[0])

    def _check_format(self) -> None:
        found = self._format()
        if found not in (FORMAT, UNCHECKED):
            msg = (
                "holds the screening of another version of mftscreen (format "
                f"{found or 0}; this one has {FORMAT}); use another folder"
            )
            raise DataError(msg, path=self.folder)

    def close(self) -> None:
        """Close the database and give the folder free."""
        if hasattr(self, "_database"):
            if self._place is not None:
                # leave one file that can be read where nothing can be written, unless
                # somebody reads at the moment
                with suppress(sqlite3.Error):
                    self._database.execute("PRAGMA journal_mode=DELETE")
            self._database.close()
        if self._place is not None:
            self._place.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of a ``with`` block, or nothing.

        Raises
        ------
        DataError
            If it cannot be written, e.g. because the disk is full, or the folder is
            not there any more.
        """
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            if self._place is not None:
                self._place.check()
            self._database.execute("COMMIT")
        except BaseException as error:
            # SQLite may have rolled back by itself
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise failed(error, self.folder) from error
            raise

    @property
    def _column(self) -> str:
        return "checksum" if self._checked else "NULL"

    def meta(self, name: str) -> str | None:
        """Return what was set under a name, None if nothing was."""
        query = f"SELECT name, value, {self._column} FROM meta WHERE name = ?"
        with errors(self.folder):
            row = self._database.execute(query, (name,)).fetchone()
        if row is None:
            return None
        *content, found = row
        if self._checked and checksum(*content) != found:
            what = f"its {name} has changed"
            raise damaged(what, self.folder)
        return str(row[1])

    def set_meta(self, name: str, value: str) -> None:
        """Set a value, within a transaction."""
        row = (name, value)
        self._database.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (*row, checksum(*row))
        )

    def drop_meta(self, name: str) -> None:
        """Forget what was set under a name, if anything was, within a transaction."""
        self._database.execute("DELETE FROM meta WHERE name = ?", (name,))

    def n_candidates(self) -> int | None:
        """Return how many candidates were written; None if that was not noted."""
        return int(self.meta("n_candidates") or 0) if self._checked else None

    def clear_candidates(self) -> None:
        """Forget the candidates, within a transaction."""
        self._database.execute("DELETE FROM candidates")
        self._database.execute("DELETE FROM carried")
        self.set_meta("n_candidates", "0")

    def add_candidates(
        self,
        candidates: Sequence[tuple[str, str | None, str | None]],
        carried: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add ids, keys and failures after those that are there, in a transaction.

        With each goes what it brings along.
        """
        n_before = self.n_candidates() or 0
        rows = [(k, *row) for k, row in enumerate(candidates, n_before + 1)]
        self._database.executemany(
            "INSERT INTO candidates VALUES (?, ?, ?, ?, ?)",
            [(*row, checksum(*row)) for row in rows],
        )
        texts = [
            (k, json.dumps(values, ensure_ascii=False))
            for k, values in enumerate(carried, n_before + 1)
            if values
        ]
        self._database.executemany(
            "INSERT INTO carried VALUES (?, ?, ?)",
            [(*row, checksum(*row)) for row in texts],
        )
        self.set_meta("n_candidates", str(n_before + len(rows)))

    def carried(self) -> dict[int, dict[str, Any]]:
        """Return what candidates bring along, by their positions."""
        known = "SELECT name FROM sqlite_master WHERE name = 'carried'"
        found = {}
        with errors(self.folder):
            if self._database.execute(known).fetchone() is None:
                return {}
            query = "SELECT position, content, checksum FROM carried"
            for *row, check in self._database.execute(query):
                if checksum(*row) != check:
                    what = f"what candidate {row[0]} brings along has changed"
                    raise damaged(what, self.folder)
                found[int(row[0])] = json.loads(row[1])
        return found

    def put_outcomes(self, outcomes: Sequence[tuple[str, str, bytes]]) -> None:
        """Add or replace keys, outcomes and packed atoms, within a transaction."""
        self._database.executemany(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)",
            [(*row, checksum(*row)) for row in outcomes],
        )

    def outcomes(self, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield keys and outcomes, of those that are as they were written."""
        for start in range(0, len(keys), _MAX_VARIABLES):
            part = keys[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(part))
            query = (
                f"SELECT key, outcome, atoms, {self._column} FROM outcomes "
                f"WHERE key IN ({marks})"
            )
            with errors(self.folder):
                for *row, check in self._database.execute(query, part):
                    if not self._checked or checksum(*row) == check:
                        yield row[0], row[1]

    def candidates(
        self, condition: str = "", values: Sequence[int] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Yield position, id, key, failure, outcome and packed atoms of candidates.

        Parameters
        ----------
        condition : str
            Of SQL, with question marks for `values`.
        values : sequence of int
        """
        checks = "c.checksum, o.checksum" if self._checked else "NULL, NULL"
        query = (
            "SELECT position, c.id, c.key, c.outcome, o.outcome, o.atoms, "
            f"{checks} FROM candidates c LEFT JOIN outcomes o ON c.key = o.key "
            f"{condition} ORDER BY position"
        )
        with errors(self.folder):
            for *row, check, outcome_check in self._database.execute(query, values):
                _, name, key, _, outcome, packed = row
                whole = key is None or checksum(key, outcome, packed) == outcome_check
                if self._checked and not (checksum(*row[:4]) == check and whole):
                    what = f"the row of {name!r} has changed"
                    raise damaged(what, self.folder)
                yield tuple(row)
