"""Candidates of a source, streamed: id and structure.

A source is a file, a folder, a glob pattern, or the URL of a database server or an
OPTIMADE provider. Every row of it becomes a candidate: one that cannot be read is a
candidate with an error. What is kept in memory is one row at a time, and the ids.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from ase import Atoms

from mftscreen import readers
from mftscreen.errors import DataError, MftscreenError

__all__ = ["Candidate", "count_candidates", "iter_candidates"]

FORMATS = (
    ".db, .aselmdb, .extxyz, .xyz, .traj, .json, .jsonl, .csv, a format that ASE reads "
    "(CIF, POSCAR, ...), all but databases also as .gz, .bz2, .xz or .zst; a folder or "
    "glob of such files; postgresql://..., mysql://..., optimade://..., or an https "
    "URL with 'optimade'"
)

_SERVERS = ("postgresql://", "postgres://", "mysql://", "mariadb://")
_WEB = ("optimade://", "https://", "http://")
_DATABASES = (".db", ".aselmdb")


@dataclass(frozen=True)
class Candidate:
    """One structure of a source.

    Attributes
    ----------
    id : str
        What the row calls itself: the row id of an ASE database, the key of a JSON
        mapping, MatBench's ``mb-<task>-<number>``, or the first of ``id``, ``name``,
        ``material_id``, ``mp_id`` and ``entry_id`` among the ``info`` of a frame, the
        keys of a document, or the columns of a table. Else ``file#index``, counted
        from 0; for CIF, POSCAR and the like ``file``, and ``file#index`` only from the
        second structure on. In a folder or glob ``file`` is the path from there, and
        the rows of a database are ``file#row``. If an id has occurred before, ``#2``,
        ``#3``, ... is added.
    structure : Atoms or MftscreenError
        The error if the row could not be read.
    """

    id: str
    structure: Atoms | MftscreenError

    @property
    def atoms(self) -> Atoms | None:
        """The structure; None if the row could not be read."""
        return self.structure if isinstance(self.structure, Atoms) else None


def iter_candidates(
    source: str | Path, query: str | None = None
) -> Iterator[Candidate]:
    """Yield the candidates of a source, in an order that is always the same.

    Parameters
    ----------
    source : str or Path
        A file: ASE database, extended XYZ, trajectory, JSON or JSON Lines (pymatgen,
        MatBench, OPTIMADE), CSV table, or any format that ASE reads; its name tells
        the format. A folder: all files below it, but for CSV tables (they list other
        files) and hidden ones. A glob pattern such as ``"relaxed/**/*.cif"``. A URL:
        ``postgresql://…``, ``mysql://…``, or an OPTIMADE provider's.
    query : str, optional
        ASE's query string for a database, an OPTIMADE filter for a provider.

    Yields
    ------
    Candidate
        A file of a folder that cannot be read is one, too.

    Raises
    ------
    DataError
        If the source cannot be read or its format is unknown, if a file ends or is
        damaged where its further rows cannot be told apart, if the query is malformed,
        or is given for a format that has none.
    """
    seen: set[str] = set()
    last: dict[str, int] = {}
    for name, structure in _rows(source, query):
        unique = name
        while unique in seen:
            last[name] = last.get(name, 1) + 1
            unique = f"{name}#{last[name]}"
        seen.add(unique)
        yield Candidate(unique, structure)


def count_candidates(source: str | Path, query: str | None = None) -> int | None:
    """Return the number of candidates where it is known without reading them.

    Parameters
    ----------
    source, query
        See :func:`iter_candidates`.

    Returns
    -------
    int or None
        The number of matching rows of a database, of frames of a trajectory, or of
        files of a folder that hold one structure each, as far as their names tell.
        None if the source had to be read.

    Raises
    ------
    DataError
        If a database, trajectory or folder cannot be read or the query is malformed.
    """
    source = _local(source)
    if isinstance(source, str):
        return readers.count_ase_db(source, query) if _is_server(source) else None
    if _is_glob(source) or source.is_dir():
        number = 0
        for path, _ in _files(source):
            if readers.row_reader(path) or path.suffix in _DATABASES:
                return None
            number += 1
        return number
    if source.suffix in _DATABASES:
        return readers.count_ase_db(source, query)
    if source.suffix == ".traj":
        return readers.count_trajectory(source)
    return None


def _rows(
    source: str | Path, query: str | None
) -> Iterator[tuple[str, Atoms | MftscreenError]]:
    """Yield each row with its id, not yet told from others of the same id."""
    source = _local(source)
    if isinstance(source, str) and _is_server(source):
        for row in readers.iter_database(source, query):
            yield str(row.name), row.structure
    elif isinstance(source, str):
        if "optimade" not in source:
            raise _unknown(source)
        for number, row in enumerate(readers.iter_optimade(source, query)):
            yield row.name or f"optimade#{number}", row.structure
    elif source.suffix in _DATABASES and not source.is_dir():
        for row in readers.iter_database(source, query):
            yield str(row.name), row.structure
    elif query is not None:
        msg = f"a query ({query!r}) needs an ase.db or an OPTIMADE provider"
        raise DataError(msg, path=source)
    elif _is_glob(source) or source.is_dir():
        yield from _folder_rows(source)
    else:
        yield from _file_rows(source, source.name)


def _folder_rows(source: Path) -> Iterator[tuple[str, Atoms | MftscreenError]]:
    empty = True
    for path, label in _files(source):
        empty = False
        try:
            yield from _file_rows(path, label)
        except DataError as error:
            yield label, error
    if empty:
        msg = "no structure files found"
        raise DataError(msg, path=source)


def _file_rows(path: Path, label: str) -> Iterator[tuple[str, Atoms | MftscreenError]]:
    if path.suffix in _DATABASES:
        for row in readers.iter_database(path):
            yield f"{label}#{row.name}", row.structure
        return
    reader = readers.row_reader(path)
    if reader is not None:
        for number, row in enumerate(reader(path)):
            yield row.name or f"{label}#{number}", row.structure
        return
    if readers.plain_name(path).endswith(_DATABASES):  # compressed
        raise _unknown(path)
    try:
        for number, structure in enumerate(readers.iter_structure_file(path)):
            found = isinstance(structure, Atoms)
            name = readers.find_name(structure.info) if found else None
            yield name or (f"{label}#{number}" if number else label), structure
    except readers.UnknownFormatError as error:
        raise _unknown(path) from error


def _files(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder or glob with their paths from there, sorted."""
    paths: Iterator[Path]
    if _is_glob(source):
        fixed = list(takewhile(lambda part: not glob.has_magic(part), source.parts))
        base = Path(*fixed)
        found = base.glob(str(Path(*source.parts[len(fixed) :])))
        paths = (p for p in sorted(found) if not (_is_hidden(p) or p.is_dir()))
    else:
        base = source
        paths = _walk(source, set())
    for path in paths:
        label = path.relative_to(base).as_posix()
        # a name that is no UTF-8 could not be written to a table
        yield path, os.fsencode(label).decode(errors="backslashreplace")


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield the files below a folder; each folder once, links that loop or not."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        msg = f"cannot be listed: {error.strerror}"
        raise DataError(msg, path=folder) from error
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if _is_hidden(entry):
            continue
        if entry.is_dir():
            yield from _walk(entry, seen)
        elif not readers.plain_name(entry).lower().endswith(".csv"):
            yield entry


def _local(source: str | Path) -> str | Path:
    """Return a URL as text, anything else as a path."""
    if isinstance(source, str) and source.startswith((*_SERVERS, *_WEB)):
        return source
    return Path(source)


def _is_server(source: str) -> bool:
    return source.startswith(_SERVERS)


def _is_glob(path: Path) -> bool:
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _unknown(source: str | Path) -> DataError:
    return DataError(f"unknown format; expected {FORMATS}", path=source)
