"""The run directory of a screening: what was evaluated, kept through any crash."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ase import Atoms

from mftscreen.errors import DataError
from mftscreen.screen.outcome import Outcome, pack_atoms, unpack_atoms

__all__ = ["Entry", "Journal", "JournalRow"]

DATABASE, LOCK = "journal.sqlite", ".lock"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (key TEXT PRIMARY KEY, outcome TEXT, atoms BLOB);
CREATE TABLE IF NOT EXISTS candidates (
    position INTEGER PRIMARY KEY, id TEXT, key TEXT, outcome TEXT
);
"""

_TRANSIENT = ("out_of_memory", "worker_died")
"""Failures of the machine, not of the structure: tried again in the next run."""

_MAX_VARIABLES = 500  # SQLite's own limit used to be 999


@dataclass(frozen=True)
class Entry:
    """A candidate as it came from its source.

    Attributes
    ----------
    id : str
    key : str or None
        What its outcome is filed under; None if it could not be read.
    outcome : Outcome or None
        Why it could not be read.
    """

    id: str
    key: str | None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class JournalRow:
    """A candidate with its outcome.

    Attributes
    ----------
    id : str
    outcome : Outcome
    duplicate_of : str
        Id of an earlier candidate with the same structure; empty if there is none.
    atoms : Atoms or None
        The structure, relaxed if that was asked for; only if it was asked for.
    """

    id: str
    outcome: Outcome
    duplicate_of: str
    atoms: Atoms | None


class Journal:
    """Outcomes by content, and the candidates of the last screening in their order.

    An outcome is filed under a key made of the structure, the models and the settings.
    A screening that is started again therefore finds what is done, in whatever order
    the candidates come, and computes what a changed model or setting makes different.

    Every :meth:`write` is one transaction of SQLite with a write-ahead log: killed at
    any time, the journal holds all of it or nothing.

    Parameters
    ----------
    folder : Path or None
        Made if it does not exist. None keeps the journal in a temporary file, which
        goes with the process.
    read_only : bool, default False
        Read beside a screening that runs; nothing is made.

    Raises
    ------
    DataError
        If another screening uses the folder, it cannot be written, or it holds no
        journal, or a damaged one.
    """

    def __init__(self, folder: Path | None, *, read_only: bool = False) -> None:
        self.folder = folder
        self._lock: IO[bytes] | None = None
        try:
            if folder is None:
                # an empty name is a temporary database on disk
                self._database = sqlite3.connect("", isolation_level=None)
            elif read_only:
                path = (folder / DATABASE).resolve()
                if not path.is_file():
                    msg = "holds no screening; 'mftscreen rank … --run FOLDER' makes it"
                    raise DataError(msg, path=folder)
                self._database = sqlite3.connect(
                    f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None
                )
            else:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = _lock(folder)
                self._database = sqlite3.connect(
                    folder / DATABASE, isolation_level=None
                )
            if not read_only:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._database.executescript(_SCHEMA)
            self._meta("complete")
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise _failed(error, folder) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and give the folder free."""
        if hasattr(self, "_database"):
            self._database.close()
        if self._lock is not None:
            self._lock.close()

    @property
    def complete(self) -> bool:
        """Whether the last screening came to its end."""
        return self._meta("complete") == "true"

    @property
    def description(self) -> dict[str, Any]:
        """What :meth:`begin` was told."""
        return dict(json.loads(self._meta("description") or "{}"))

    def begin(self, description: Mapping[str, Any]) -> None:
        """Start a screening: its candidates replace those of the last one.

        Parameters
        ----------
        description : mapping of str to object
            Of the screening, for :attr:`description`; must fit into JSON.
        """
        with self._transaction():
            self._database.execute("DELETE FROM candidates")
            self._set_meta("complete", "false")
            self._set_meta("description", json.dumps(dict(description)))

    def finish(self) -> None:
        """Mark the screening as complete."""
        with self._transaction():
            self._set_meta("complete", "true")

    def known(self, keys: Collection[str]) -> set[str]:
        """Return those of `keys` whose outcome needs no further attempt."""
        wanted, found = list(keys), set()
        for start in range(0, len(wanted), _MAX_VARIABLES):
            part = wanted[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, outcome FROM outcomes WHERE key IN ({marks})"
            found |= {
                key
                for key, text in self._database.execute(query, part)
                if Outcome.from_json(text).status not in _TRANSIENT
            }
        return found

    def write(
        self,
        entries: Sequence[Entry],
        outcomes: Mapping[str, tuple[Outcome, Atoms]],
    ) -> None:
        """Add candidates and new outcomes, all or nothing.

        Parameters
        ----------
        entries : sequence of Entry
            In the order of the source.
        outcomes : mapping of str to (Outcome, Atoms)
            By key.

        Raises
        ------
        DataError
            If it cannot be written, e.g. because the disk is full.
        """
        with self._transaction():
            self._database.executemany(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)",
                [
                    (key, outcome.to_json(), pack_atoms(atoms))
                    for key, (outcome, atoms) in outcomes.items()
                ],
            )
            self._database.executemany(
                "INSERT INTO candidates (id, key, outcome) VALUES (?, ?, ?)",
                [
                    (e.id, e.key, e.outcome.to_json() if e.outcome else None)
                    for e in entries
                ],
            )

    def rows(self, *, structures: bool = False) -> Iterator[JournalRow]:
        """Yield the candidates of the last screening, in the order of their source.

        Parameters
        ----------
        structures : bool, default False
            Whether to read the structures as well.

        Yields
        ------
        JournalRow
        """
        atoms = "o.atoms" if structures else "NULL"
        query = (
            f"SELECT c.id, c.key, COALESCE(c.outcome, o.outcome), {atoms} "
            "FROM candidates c LEFT JOIN outcomes o ON c.key = o.key ORDER BY position"
        )
        first: dict[str, str] = {}
        try:
            for name, key, outcome, packed in self._database.execute(query):
                earlier = "" if key is None else first.setdefault(key, name)
                yield JournalRow(
                    id=name,
                    outcome=Outcome.from_json(outcome),
                    duplicate_of="" if earlier == name else earlier,
                    atoms=None if packed is None else unpack_atoms(packed),
                )
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise _failed(error, self.folder) from error

    def structures(self, numbers: Sequence[int]) -> list[Atoms]:
        """Return the structures of some candidates.

        Parameters
        ----------
        numbers : sequence of int
            Places in the order of :meth:`rows`, from 0.

        Returns
        -------
        list of Atoms
        """
        query = (
            "SELECT o.atoms FROM candidates c JOIN outcomes o ON c.key = o.key "
            "WHERE position = ?"
        )
        return [
            # SQLite numbers the rows of a table that was empty from 1
            unpack_atoms(self._database.execute(query, (number + 1,)).fetchone()[0])
            for number in numbers
        ]

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database, self.folder)

    def _meta(self, name: str) -> str | None:
        query = "SELECT value FROM meta WHERE name = ?"
        row = self._database.execute(query, (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, name: str, value: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value)
        )


class _Transaction:
    """All statements in a ``with`` block, or none; errors of SQLite become ours."""

    def __init__(self, database: sqlite3.Connection, folder: Path | None) -> None:
        self.database = database
        self.folder = folder

    def __enter__(self) -> None:
        try:
            self.database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _failed(error, self.folder) from error

    def __exit__(self, kind: type[BaseException] | None, error: Any, _: Any) -> None:
        try:
            if kind is None:
                self.database.execute("COMMIT")
                return
        except sqlite3.Error as failure:
            error = failure
        # SQLite may have rolled back by itself
        with suppress(sqlite3.Error):
            self.database.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise _failed(error, self.folder) from error


def _lock(folder: Path) -> IO[bytes]:
    """Hold the folder's lock for as long as the stream is open."""
    stream = (folder / LOCK).open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        msg = "another screening runs in it; wait for it or choose another --run folder"
        raise DataError(msg, path=folder) from None
    return stream


def _failed(error: Exception, folder: Path | None) -> DataError:
    reason = getattr(error, "strerror", None) or error
    msg = f"the journal cannot be used: {reason}"
    return DataError(msg, path=folder)
