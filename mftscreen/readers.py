"""Streaming readers of structure files; memory does not grow with the file."""

from __future__ import annotations

import gzip
import json
import lzma
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from ase import Atoms
from ase.io import read

from mftscreen.errors import DataError, StructureError

if TYPE_CHECKING:
    from ase.db.row import AtomsRow

__all__ = [
    "DAMAGED",
    "candidate_id",
    "iter_ase_db",
    "iter_extxyz",
    "iter_matbench",
    "open_text",
    "pymatgen_dict_to_atoms",
]

DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What a truncated or damaged file, compressed or not, makes its reader raise."""


def open_text(path: Path) -> TextIO:
    """Open a text file for reading, plain or compressed (``.gz``, ``.xz``).

    Parameters
    ----------
    path : Path

    Returns
    -------
    TextIO

    Raises
    ------
    DataError
        If the file does not exist or cannot be opened.
    """
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        stream = openers.get(path.suffix, open)(path, "rt", encoding="utf-8")
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise DataError(msg, path=path) from error
    return cast("TextIO", stream)


def iter_extxyz(path: Path) -> Iterator[Atoms | DataError]:
    """Yield the frames of an extended XYZ file, one at a time.

    ASE's own reader seeks, which is quadratic in a compressed file; here each frame's
    text is cut out in one pass and handed to ASE.

    Parameters
    ----------
    path : Path
        ``.extxyz`` or ``.xyz``, also followed by ``.gz`` or ``.xz``.

    Yields
    ------
    Atoms or DataError
        A frame that ASE cannot parse is yielded as the error that names it, so that
        the others can still be used.

    Raises
    ------
    DataError
        If a line that should hold a number of atoms does not: from there on the
        frames cannot be told apart. Also if the compressed file is truncated.
    """
    number = 0
    with open_text(path) as stream:
        try:
            for header in stream:
                if not header.strip():
                    continue
                if not header.strip().isdecimal():
                    msg = (
                        f"frame {number} should begin with its number of atoms, "
                        f"found {header.strip()[:40]!r}; nothing after it can be read"
                    )
                    raise DataError(msg, path=path)
                block = [header, *islice(stream, int(header) + 1)]
                if len(block) < int(header) + 2:
                    msg = f"frame {number} is cut short: the file ends within it"
                    yield DataError(msg, path=path)
                    return
                yield _parse_frame("".join(block), path, number)
                number += 1
        except (*DAMAGED, UnicodeDecodeError) as error:
            msg = f"cannot be read past frame {number}: {error}"
            raise DataError(msg, path=path) from error


def _parse_frame(text: str, path: Path, number: int) -> Atoms | DataError:
    try:
        return cast("Atoms", read(StringIO(text), index=0, format="extxyz"))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AssertionError) as e:
        reason = str(e) or type(e).__name__
        return DataError(f"frame {number} is not valid extxyz: {reason}", path=path)


def iter_ase_db(
    path: Path, query: str | None = None
) -> Iterator[tuple[int, AtomsRow | DataError]]:
    """Yield the rows of an ASE database that match a query, in id order.

    Parameters
    ----------
    path : Path
        An ``ase.db`` file (SQLite).
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
        If the file is missing, is not an ASE database, or the query is malformed.
    """
    from ase.db import connect

    _check_ase_db(path)
    database = connect(path, type="db")
    try:
        ids = [row.id for row in database.select(query or None, columns=["id"])]
    except (sqlite3.Error, ValueError, AssertionError, KeyError) as error:
        msg = f"query {query!r} cannot be answered: {error}"
        raise DataError(msg, path=path) from error
    for number in ids:
        try:
            yield number, database.get(id=number)
        except (
            sqlite3.Error,
            ValueError,
            TypeError,
            KeyError,
            AssertionError,
        ) as error:
            msg = f"row {number} cannot be decoded: {error}"
            yield number, DataError(msg, path=path)


def _check_ase_db(path: Path) -> None:
    """Raise unless `path` is an ASE database; ase.db would make it one."""
    if not path.is_file():
        msg = "no such file"
        raise DataError(msg, path=path)
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


def iter_matbench(
    path: Path,
) -> Iterator[tuple[str, Atoms | StructureError, dict[str, Any]]]:
    """Yield the rows of a MatBench task file; the file is read as a whole.

    Parameters
    ----------
    path : Path
        ``matbench_*.json.gz`` as matminer downloads it: ``index``, ``columns`` and
        ``data`` with pymatgen structure dictionaries.

    Yields
    ------
    id : str
        What MatBench calls row `i`: ``mb-<task>-<i + 1>``.
    structure : Atoms or StructureError
        The error if there are no atoms to be made of it.
    values : dict of str to object
        The other columns.

    Raises
    ------
    DataError
        If the file cannot be read or has another layout.
    """
    try:
        with open_text(path) as stream:
            table = json.load(stream)
    except (*DAMAGED, ValueError) as error:
        msg = f"cannot be read as JSON: {error}"
        raise DataError(msg, path=path) from error
    try:
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        documents = [row.pop("structure") for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        msg = "not a MatBench task file (columns with structure, index, data)"
        raise DataError(msg, path=path) from error
    task = path.name.removesuffix(".gz").removesuffix(".json").removeprefix("matbench_")
    width = len(str(len(rows)))
    for number, (document, values) in enumerate(zip(documents, rows, strict=True), 1):
        structure: Atoms | StructureError
        try:
            structure = pymatgen_dict_to_atoms(document)
        except StructureError as error:
            structure = error
        yield f"mb-{task.replace('_', '-')}-{number:0{width}d}", structure, values


def candidate_id(atoms: Atoms, path: Path, number: int) -> str:
    """Return the id of frame `number` of `path`.

    The first of the ``info`` keys ``id``, ``name``, ``material_id`` and ``mp_id``
    that is present, else ``file#index``.
    """
    for key in ("id", "name", "material_id", "mp_id"):
        if key in atoms.info:
            return str(atoms.info[key])
    return f"{path.name}#{number}"


def pymatgen_dict_to_atoms(document: Mapping[str, Any]) -> Atoms:
    """Return a pymatgen ``Structure.as_dict()`` document as :class:`ase.Atoms`.

    Fifty times faster than by way of pymatgen, which matters for files of 20,000
    structures.

    Parameters
    ----------
    document : mapping
        With ``lattice.matrix`` and ``sites``.

    Returns
    -------
    Atoms
        Periodic in the directions of the lattice's ``pbc`` (all when not given).

    Raises
    ------
    StructureError
        If a site is disordered or the document has another layout.
    """
    try:
        lattice, sites = document["lattice"], document["sites"]
        species = [site["species"] for site in sites]
        ordered = all(len(s) == 1 and s[0].get("occu", 1) == 1 for s in species)
        atoms = Atoms(
            # a site may carry an oxidation state ("Fe3+") or an isotope label
            symbols=[s[0]["element"].rstrip("0123456789+-") for s in species],
            scaled_positions=[site["abc"] for site in sites],
            cell=lattice["matrix"],
            pbc=lattice.get("pbc", True),
        )
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        msg = f"not a pymatgen structure document: {error}"
        raise StructureError(msg) from error
    if not ordered:
        msg = "disordered or partially occupied sites; order the structure first"
        raise StructureError(msg)
    return atoms
