"""ASE databases: SQLite, LMDB, PostgreSQL and MySQL."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mftscreen.data.readers.lmdb_file import open_lmdb
from mftscreen.errors import DataError

if TYPE_CHECKING:
    from ase.db.row import AtomsRow

__all__ = ["count_ase_db", "find_absent_keys", "iter_ase_db", "without_password"]

_PAGE = 1000
_PART = re.compile(
    r"""\s* (?:
        \w+ (?: \s* (?: <=|>=|!=|<|>|= ) [^<>=!]+ )?    # Si2, gap, gap>1.5
        | [^<>=!]+ <=? \s* \w+ \s* <=? [^<>=!]+         # 1<gap<=2
    ) \s*""",
    re.VERBOSE,
)


def iter_ase_db(
    source: Path | str, query: str | None = None
) -> Iterator[tuple[int, AtomsRow | DataError]]:
    """Yield the rows of an ASE database that match a query, in id order.

    Parameters
    ----------
    source : Path or str
        A file, SQLite (``.db``) or LMDB (``.aselmdb``), or the URL of a server,
        ``postgresql://user:password@host/database`` or ``mysql://…``. All but SQLite
        need the package ``ase-db-backends``.
    query : str, optional
        ASE's own query string, e.g. ``"natoms<20,O"``.

    Yields
    ------
    id : int
    row : AtomsRow or DataError
        A row that cannot be decoded is yielded as the error that says why, so that
        the others can still be used.

    Raises
    ------
    DataError
        If the database is missing or cannot be reached, is not an ASE database, or
        the query is malformed.
    """
    shown = without_password(source)
    parts = _parts(query, shown)
    with _connect(source) as database:
        for number in _ids(database, parts, shown):
            try:
                row = database.get(id=number)
            except Exception as error:  # noqa: BLE001  # whatever its driver raises
                msg = f"row {number} cannot be decoded: {error}"
                row = DataError(msg, path=shown)
            yield number, row


def count_ase_db(source: Path | str, query: str | None = None) -> int | None:
    """Return how many rows match a query; None if that would mean to read them all.

    Parameters
    ----------
    source, query
        See :func:`iter_ase_db`.

    Returns
    -------
    int or None

    Raises
    ------
    DataError
        As in :func:`iter_ase_db`.
    """
    shown = without_password(source)
    parts = _parts(query, shown)
    with _connect(source) as database:
        if _is_lmdb(database):
            return None if parts else len(database.ids)
        try:
            return int(database.count(parts))
        except Exception as error:
            raise _unanswered(parts, error, shown) from error


def find_absent_keys(source: Path | str, query: str) -> list[str]:
    """Return the keys in a query that no row of the database has.

    Parameters
    ----------
    source, query
        See :func:`iter_ase_db`.

    Returns
    -------
    list of str

    Raises
    ------
    DataError
        As in :func:`iter_ase_db`.
    """
    from ase.db.core import parse_selection, reserved_keys

    shown = without_password(source)
    parts = _parts(query, shown)
    with _connect(source) as database:
        try:
            keys, comparisons = parse_selection(parts)
            # elements are numbers
            names = {*keys, *(key for key, _, _ in comparisons if isinstance(key, str))}
            return [
                name
                for name in sorted(names - reserved_keys)
                if next(database.select([name], limit=1), None) is None
            ]
        except Exception as error:
            raise _unanswered(parts, error, shown) from error


def _ids(database: Any, parts: list[str], shown: str) -> Iterator[int]:
    """Yield the ids of the matching rows, without their contents, page by page."""
    if _is_lmdb(database) and not parts:
        yield from sorted(database.ids)
        return
    last, limit = 0, None if _is_lmdb(database) else _PAGE
    while True:
        try:
            rows = database.select(
                [*parts, f"id>{last}"],
                limit=limit,
                sort="id",
                columns=["id"],
                include_data=False,
            )
            page = [row.id for row in rows]
        except Exception as error:
            raise _unanswered(parts, error, shown) from error
        yield from page
        if limit is None or len(page) < limit:
            return
        last = page[-1]


def _unanswered(parts: list[str], error: Exception, shown: str) -> DataError:
    reason = str(error) or type(error).__name__
    query = ",".join(parts)
    return DataError(f"query {query!r} cannot be answered: {reason}", path=shown)


def _parts(query: str | None, shown: str) -> list[str]:
    """Split a query at its commas; ASE matches nothing where it cannot parse a part."""
    if not query:
        return []
    for part in query.split(","):
        if not _PART.fullmatch(part):
            msg = (
                f"query {query!r} is malformed at {part!r}; it is a list like "
                "'natoms<20,O,gap>1.5' of elements, keys and comparisons of a key "
                "by = != < <= > >="
            )
            raise DataError(msg, path=shown)
    return [part.strip() for part in query.split(",")]


@contextmanager
def _connect(source: Path | str) -> Iterator[Any]:
    """Open a database and keep one connection, instead of opening one for each row."""
    from ase.db import connect

    options: dict[str, Any] = {}
    if isinstance(source, Path):
        if not source.is_file():
            msg = "no such file"
            raise DataError(msg, path=source)
        if source.suffix.lower() == ".aselmdb":
            open_lmdb(source).close()
            options = {"type": "aselmdb", "readonly": True, "use_lock_file": False}
        else:
            _check_sqlite(source)
            options = {"type": "db"}
    shown = without_password(source)
    with ExitStack() as stack:
        try:
            database = stack.enter_context(connect(source, **options))
        except ModuleNotFoundError as error:
            msg = f"needs {error.name}: pip install 'mftscreen[db]'"
            raise DataError(msg, path=shown) from error
        except Exception as error:  # whatever its driver raises
            msg = f"cannot be opened as an ASE database: {error}"
            raise DataError(msg, path=shown) from error
        yield database


def _check_sqlite(path: Path) -> None:
    """Raise unless `path` is an ASE database; ase.db would make it one."""
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as c:
            tables = c.execute("select name from sqlite_master").fetchall()
    except sqlite3.Error as error:
        msg = f"cannot be read as an ASE database: {error}"
        raise DataError(msg, path=path) from error
    if ("systems",) not in tables:
        msg = "is not an ASE database: it has no table 'systems'"
        raise DataError(msg, path=path)


def _is_lmdb(database: Any) -> bool:
    return type(database).__name__ == "LMDBDatabase"


def without_password(source: Path | str) -> str:
    """Return a path or URL as it may be shown.

    Examples
    --------
    >>> without_password("postgresql://ase:secret@host:5432/pool")
    'postgresql://ase:***@host:5432/pool'
    >>> without_password("mysql://host/pool?user=ase&password=se@cret")
    'mysql://host/pool?user=ase&password=***'
    """
    if isinstance(source, Path):
        return str(source)
    # also where the password is not escaped as it should be, and no parser finds it
    source = re.sub(r"(://[^/@:]*:)[^/]*@", r"\1***@", source)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", source)
