"""The run directory of a screening: what was evaluated, kept through any crash."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

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
from mftscreen.screen.work.outcome import Outcome, pack_atoms, unpack_atoms

__all__ = ["DATABASE", "Entry", "Journal", "JournalRow"]

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

_DIED = "worker_died"
_TRANSIENT = ("out_of_memory", _DIED)
"""Failures of the machine, not of the structure: tried again in the next run."""

_MISSING = "candidates are missing"

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
    Outcomes stay, also those of models that are not used any more.

    Every :meth:`write` is one transaction of SQLite with a write-ahead log: killed at
    any time, the journal holds all of it or nothing. The log needs shared memory, and
    the lock :manpage:`flock(2)`, so that the folder has to be on a local file system.
    A journal that was closed needs neither and can be read anywhere. Each row has a
    checksum: what has changed on the disk is computed again or ends in an error.

    Parameters
    ----------
    folder : Path or None
        Made if it does not exist. None keeps the journal in a temporary file, which
        goes with the process.
    read_only : bool, default False
        Read beside a screening that runs, in the state of this moment; nothing is made.

    Raises
    ------
    DataError
        If another screening uses the folder, it cannot be written, or it holds no
        journal, a damaged one, or one of another format. Every method raises it, too,
        if the journal is damaged.
    """

    def __init__(self, folder: Path | None, *, read_only: bool = False) -> None:
        self.folder = folder
        self._place: Place | None = None
        self._begun: str | None = None
        self._checked = True
        self._suspects: frozenset[str] = frozenset()
        try:
            if read_only:
                assert folder is not None
                self._database = open_to_read(folder)
            else:
                self._open_to_write()
            with errors(folder):
                self._check_format(read_only)
                if not read_only:
                    self._suspects = self._last_in_flight()
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
                with self._transaction():
                    for statement in _TABLES:
                        self._database.execute(statement)
                    self._set_meta("format", FORMAT)
            elif self._format() == UNCHECKED:
                with self._transaction():
                    upgrade(self._database)
                    self._set_meta("format", FORMAT)
            if self._place is not None:
                self._place.remember()

    def _last_in_flight(self) -> frozenset[str]:
        try:
            return frozenset(json.loads(self._meta("in_flight") or "[]"))
        except DataError:  # of no use any more, and no reason not to go on
            return frozenset()

    def _format(self) -> str | None:
        """Return the format that was written, which may be one without checksums."""
        query = "SELECT value FROM meta WHERE name = 'format'"
        row = self._database.execute(query).fetchone()
        return None if row is None else str(row[0])

    def _check_format(self, read_only: bool) -> None:
        found = self._format()
        self._checked = found != UNCHECKED
        if found not in (FORMAT, UNCHECKED):
            msg = (
                "holds the screening of another version of mftscreen (format "
                f"{found or 0}; this one has {FORMAT}); use another folder"
            )
            raise DataError(msg, path=self.folder)
        if read_only and self._meta("description") is None:
            msg = "holds no results yet; they come with the first candidates evaluated"
            raise DataError(msg, path=self.folder)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

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

    @property
    def complete(self) -> bool:
        """Whether the last screening that wrote anything came to its end."""
        with errors(self.folder):
            return self._meta("complete") == "true"

    @property
    def description(self) -> dict[str, Any]:
        """What :meth:`begin` was told of that screening."""
        with errors(self.folder):
            return dict(json.loads(self._meta("description") or "{}"))

    def begin(self, description: Mapping[str, Any]) -> None:
        """Start a screening: its candidates will replace those of the last one.

        They do with the first :meth:`write`, so that a screening which fails before
        leaves the last one as it was.

        Parameters
        ----------
        description : mapping of str to object
            Of the screening, for :attr:`description`; must fit into JSON.
        """
        self._begun = json.dumps(dict(description))

    def finish(self) -> None:
        """Mark the screening as complete."""
        with self._transaction():
            self._replace_last()
            self._set_meta("complete", "true")
        self._begun = None

    def _replace_last(self) -> None:
        if self._begun is not None:
            self._database.execute("DELETE FROM candidates")
            self._set_meta("n_candidates", "0")
            self._set_meta("complete", "false")
            self._set_meta("description", self._begun)

    def known(self, keys: Collection[str]) -> set[str]:
        """Return those of `keys` whose outcome needs no further attempt.

        One that has changed since it was written is not among them.
        """
        found = self._statuses(keys)
        return {key for key, status in found.items() if status not in _TRANSIENT}

    def suspects(self, keys: Collection[str]) -> set[str]:
        """Return those of `keys` that may end the process which evaluates them.

        They were evaluated when a process ended that used the journal before, see
        :meth:`in_flight`, or have ended a worker.
        """
        died = {k for k, status in self._statuses(keys).items() if status == _DIED}
        return died | self._suspects.intersection(keys)

    def _statuses(self, keys: Collection[str]) -> dict[str, str]:
        """Return the status by key, of the outcomes that are as they were written."""
        wanted, found = list(keys), {}
        for start in range(0, len(wanted), _MAX_VARIABLES):
            part = wanted[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(part))
            query = (
                f"SELECT key, outcome, atoms, {self._column} FROM outcomes "
                f"WHERE key IN ({marks})"
            )
            with errors(self.folder):
                for *row, check in self._database.execute(query, part):
                    if not self._checked or checksum(*row) == check:
                        found[row[0]] = Outcome.from_json(row[1]).status
        return found

    @contextmanager
    def in_flight(self, keys: Collection[str]) -> Iterator[None]:
        """Note the keys of what this process evaluates, in case it dies of that.

        :meth:`write` removes the note, and so does whatever a ``with`` block raises.

        Parameters
        ----------
        keys : collection of str

        Raises
        ------
        DataError
            As :meth:`write`.
        """
        with self._transaction():
            self._set_meta("in_flight", json.dumps(list(keys)))
        try:
            yield
        except BaseException:
            with suppress(DataError), self._transaction():
                self._set_meta("in_flight", "[]")
            raise

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
            self._replace_last()
            rows = [
                (key, outcome.to_json(), pack_atoms(atoms))
                for key, (outcome, atoms) in outcomes.items()
            ]
            self._database.executemany(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)",
                [(*row, checksum(*row)) for row in rows],
            )
            n_before = self._n_candidates()
            places = [
                (k, e.id, e.key, e.outcome.to_json() if e.outcome else None)
                for k, e in enumerate(entries, n_before + 1)
            ]
            self._database.executemany(
                "INSERT INTO candidates VALUES (?, ?, ?, ?, ?)",
                [(*place, checksum(*place)) for place in places],
            )
            self._set_meta("n_candidates", str(n_before + len(places)))
            self._set_meta("in_flight", "[]")
        self._begun = None

    def _n_candidates(self) -> int:
        return int(self._meta("n_candidates") or 0)

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
        first: dict[str, str] = {}
        n_rows = 0
        with errors(self.folder):
            for position, name, key, failure, outcome, packed in self._read():
                n_rows += 1
                if position != n_rows:
                    raise damaged(_MISSING, self.folder)
                earlier = "" if key is None else first.setdefault(key, name)
                yield JournalRow(
                    id=name,
                    outcome=Outcome.from_json(failure or outcome),
                    duplicate_of="" if earlier == name else earlier,
                    atoms=None
                    if packed is None or not structures
                    else unpack_atoms(packed),
                )
            if self._checked and n_rows != self._n_candidates():
                raise damaged(_MISSING, self.folder)

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
        found = []
        with errors(self.folder):
            for number in numbers:
                (row,) = self._read("WHERE position = ?", [number + 1])
                found.append(unpack_atoms(row[-1]))
        return found

    def _read(
        self, condition: str = "", values: Sequence[int] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Yield position, id, key, failure, outcome and packed atoms of candidates.

        Raises
        ------
        DataError
            If one is not what was written.
        """
        checks = "c.checksum, o.checksum" if self._checked else "NULL, NULL"
        query = (
            "SELECT position, c.id, c.key, c.outcome, o.outcome, o.atoms, "
            f"{checks} FROM candidates c LEFT JOIN outcomes o ON c.key = o.key "
            f"{condition} ORDER BY position"
        )
        for *row, check, outcome_check in self._database.execute(query, values):
            _, name, key, _, outcome, packed = row
            if self._checked and (
                checksum(*row[:4]) != check
                or (key is not None and checksum(key, outcome, packed) != outcome_check)
            ):
                what = f"the row of {name!r} has changed"
                raise damaged(what, self.folder)
            yield tuple(row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all of a ``with`` block, or nothing."""
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

    def _meta(self, name: str) -> str | None:
        query = f"SELECT name, value, {self._column} FROM meta WHERE name = ?"
        row = self._database.execute(query, (name,)).fetchone()
        if row is None:
            return None
        *content, found = row
        if self._checked and checksum(*content) != found:
            what = f"its {name} has changed"
            raise damaged(what, self.folder)
        return str(row[1])

    def _set_meta(self, name: str, value: str) -> None:
        row = (name, value)
        self._database.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (*row, checksum(*row))
        )
