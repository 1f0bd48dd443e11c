"""Candidates of a source, streamed: id, structure and what they bring along.

A source is a file, a folder, a glob pattern, the URL of a database server or an
OPTIMADE provider, or what is in memory. Every row of it becomes a candidate: one that
cannot be read is a candidate with an error. What is kept in memory is one row at a
time, and the ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from mftscreen.data import readers
from mftscreen.errors import DataError, MftscreenError
from mftscreen.screen.candidates.carried import (
    Carried,
    carried_values,
    find_id,
)
from mftscreen.screen.candidates.folders import (
    has_place_for,
    is_glob,
    is_same,
    list_files,
)
from mftscreen.screen.candidates.in_memory import (
    Found,
    Source,
    are_paths,
    count_in_memory,
    is_in_memory,
    memory_rows,
)
from mftscreen.writing import as_utf8

__all__ = [
    "Candidate",
    "check_not_read",
    "count_candidates",
    "explain_empty",
    "is_read",
    "iter_candidates",
]

FORMATS = (
    ".db, .aselmdb, .extxyz, .xyz, .traj, .json, .jsonl, .csv, .sdf, .smi, a format "
    "that ASE reads (CIF, POSCAR, ...), all but databases also as .gz, .bz2, .xz or "
    ".zst; a folder or glob of such files; postgresql://..., mysql://..., "
    "optimade://..., or an https URL with 'optimade'"
)

_SERVERS = ("postgresql://", "postgres://", "mysql://", "mariadb://")
_WEB = ("optimade://", "https://", "http://")
_DATABASES = (".db", ".aselmdb")


@dataclass(frozen=True)
class Candidate:
    r"""One structure of a source.

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
        ``#3``, ... is added. What UTF-8 cannot hold is escaped, e.g. ``\udcfc``.
    structure : Atoms or MftscreenError
        The error if the row could not be read.
    carried : mapping of str to str, int, float or bool
        What else the source says of it, see
        :func:`mftscreen.screen.candidates.carried.carried_values`.
    """

    id: str
    structure: Atoms | MftscreenError
    carried: Carried = field(default_factory=dict)

    @property
    def atoms(self) -> Atoms | None:
        """The structure; None if the row could not be read."""
        return self.structure if isinstance(self.structure, Atoms) else None


def iter_candidates(
    source: Source,
    query: str | None = None,
    *,
    id_key: str | None = None,
    column: str | None = None,
) -> Iterator[Candidate]:
    """Yield the candidates of a source, in an order that is always the same.

    Parameters
    ----------
    source : str, Path or object
        A file: ASE database, extended XYZ, trajectory, JSON or JSON Lines (pymatgen,
        MatBench, OPTIMADE), CSV table, SDF, list of SMILES, or any format that ASE
        reads; its name tells the format. A folder: all files below it, but for CSV
        tables (they list other files), hidden ones, and folders of ``mftscreen rank
        --run``. A glob pattern such as ``"relaxed/**/*.cif"``. A URL:
        ``postgresql://…``, ``mysql://…``, or an OPTIMADE provider's. Several paths. Or
        structures in memory, see :func:`mftscreen.data.memory.iter_memory`.
    query : str, optional
        ASE's query string for a database, an OPTIMADE filter for a provider.
    id_key : str, optional
        Value that names a row, instead of what it is called by default.
    column : str, optional
        Where a DataFrame has its structures; by default it is found.

    Yields
    ------
    Candidate
        A file of a folder that cannot be read is one, too. If the source breaks off,
        e.g. because a compressed file was truncated, the last one is the error, with
        the name of the file or the URL as its id.

    Raises
    ------
    DataError
        If not a single row of the source can be read, its format is unknown, the
        query is malformed or is given for a format that has none, or the first row has
        no value `id_key`.
    """
    seen: set[str] = set()
    last: dict[str, int] = {}
    first = True
    for name, structure, values in _rows_to_the_end(source, query, column):
        escaped = as_utf8(find_id(values, id_key, required=first) or name)
        first = first and not values
        unique = escaped
        while unique in seen:
            last[escaped] = last.get(escaped, 1) + 1
            unique = f"{escaped}#{last[escaped]}"
        seen.add(unique)
        if isinstance(structure, MftscreenError):
            structure.args = (as_utf8(structure),)
        yield Candidate(unique, structure, carried_values(values, structure))


def count_candidates(source: Source, query: str | None = None) -> int | None:
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
    if is_in_memory(source):
        return count_in_memory(source)
    if are_paths(source):
        return None
    source = _local(source)
    if isinstance(source, str):
        return readers.count_ase_db(source, query) if _is_server(source) else None
    if is_glob(source) or source.is_dir():
        number = 0
        for path, _ in list_files(source):
            if readers.row_reader(path) or _is_database(path):
                return None
            number += 1
        return number
    if _is_database(source):
        return readers.count_ase_db(source, query)
    if source.suffix.lower() == ".traj":
        return readers.count_trajectory(source)
    return None


def explain_empty(source: str | Path, query: str | None = None) -> str:
    """Say what a source that gave no candidates was asked for.

    Parameters
    ----------
    source, query
        See :func:`iter_candidates`.

    Returns
    -------
    str
        Names the keys of an ASE query that no row of the database has.
    """
    source = _local(source)
    shown = readers.without_password(source)
    if not query:
        return f"no candidate in {shown}"
    text = f"no candidate matches {query!r} in {shown}"
    if isinstance(source, str) and not _is_server(source):
        return text
    absent = readers.find_absent_keys(source, query)
    return f"{text}; no row has {', '.join(absent)}" if absent else text


def is_read(source: str | Path, path: Path) -> bool:
    """Tell whether a file is read as part of a source, or would be if it were there.

    Parameters
    ----------
    source
        See :func:`iter_candidates`; need not exist.
    path : Path

    Returns
    -------
    bool
        Also True for another path of the same file.
    """
    source = _local(source)
    if isinstance(source, str):
        return False
    if source.is_dir() or is_glob(source):
        return has_place_for(source, path)
    return is_same(path, source)


def check_not_read(path: Path, *sources: str | Path | None) -> None:
    """Raise if what is written to a file would be read as part of a source.

    Parameters
    ----------
    path : Path
    *sources : str, Path or None
        As for :func:`is_read`.

    Raises
    ------
    DataError
    """
    for source in sources:
        if source is not None and is_read(source, path):
            msg = f"belongs to {source}, which is read; choose another output"
            raise DataError(msg, path=path)


def _rows_to_the_end(
    source: Source, query: str | None, column: str | None
) -> Iterator[Found]:
    """Yield each row, and what ends their reading as one more."""
    if are_paths(source):
        for path in source:
            try:
                yield from _rows_to_the_end(path, query, column)
            except DataError as error:  # the others may be of use
                yield Path(path).name, error, {}
        return
    empty = True
    try:
        rows = memory_rows(source, query, column)
        for row in rows if is_in_memory(source) else _rows(source, query):
            empty = False
            yield row
    except DataError as error:
        if empty or is_in_memory(source):
            raise
        where = _local(source)
        is_url = isinstance(where, str)
        name = readers.without_password(where) if is_url else Path(where).name
        yield name, error, {}


def _rows(source: str | Path, query: str | None) -> Iterator[Found]:
    """Yield each row with its id, not yet told from others of the same id."""
    source = _local(source)
    if isinstance(source, str) and _is_server(source):
        for row in readers.iter_database(source, query):
            yield str(row.name), row.structure, row.values
    elif isinstance(source, str):
        if "optimade" not in source:
            raise _unknown(source)
        for number, row in enumerate(readers.iter_optimade(source, query)):
            yield row.name or f"optimade#{number}", row.structure, row.values
    elif _is_database(source) and not (source.is_dir() or is_glob(source)):
        for row in readers.iter_database(source, query):
            yield str(row.name), row.structure, row.values
    elif query is not None:
        msg = f"a query ({query!r}) needs an ase.db or an OPTIMADE provider"
        raise DataError(msg, path=source)
    elif is_glob(source) or source.is_dir():
        yield from _folder_rows(source)
    else:
        yield from _file_rows(source, source.name)


def _folder_rows(source: Path) -> Iterator[Found]:
    empty = True
    for path, label in list_files(source):
        empty = False
        try:
            if not path.is_dir():  # one that cannot be listed
                readers.check_file(path)
            yield from _file_rows(path, label)
        except DataError as error:
            yield label, error, {}
    if empty:
        msg = "no structure files found"
        raise DataError(msg, path=source)


def _file_rows(path: Path, label: str) -> Iterator[Found]:
    if _is_database(path):
        for row in readers.iter_database(path):
            yield f"{label}#{row.name}", row.structure, row.values
        return
    reader = readers.row_reader(path)
    if reader is not None:
        for number, row in enumerate(reader(path)):
            yield row.name or f"{label}#{number}", row.structure, row.values
        return
    if readers.plain_name(path).lower().endswith(_DATABASES):  # compressed
        raise _unknown(path)
    try:
        for number, structure in enumerate(readers.iter_structure_file(path)):
            values = structure.info if isinstance(structure, Atoms) else {}
            name = readers.find_name(values)
            default = f"{label}#{number}" if number else label
            yield name or default, structure, values
    except readers.UnknownFormatError as error:
        raise _unknown(path) from error


def _local(source: str | Path) -> str | Path:
    """Return a URL as text, anything else as a path."""
    if isinstance(source, str) and source.startswith((*_SERVERS, *_WEB)):
        return source
    return Path(source)


def _is_server(source: str) -> bool:
    return source.startswith(_SERVERS)


def _is_database(path: Path) -> bool:
    return path.suffix.lower() in _DATABASES


def _unknown(source: str | Path) -> DataError:
    return DataError(f"unknown format; expected {FORMATS}", path=source)
