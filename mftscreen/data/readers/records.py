"""Rows of any file: a name, a structure, and what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ase import Atoms

from mftscreen.data.readers.ase_db import iter_ase_db, without_password
from mftscreen.data.readers.csv_table import iter_csv
from mftscreen.data.readers.deepmd_npy import iter_deepmd_npy
from mftscreen.data.readers.extxyz import iter_extxyz
from mftscreen.data.readers.files import Row, find_name, plain_name
from mftscreen.data.readers.json_files import iter_json, iter_json_lines
from mftscreen.data.readers.molecules import iter_sdf, iter_smiles
from mftscreen.data.readers.structure_files import iter_structure_file, iter_trajectory
from mftscreen.data.readers.symbols import reason
from mftscreen.errors import DataError, MftscreenError

__all__ = ["iter_database", "iter_rows", "row_reader"]

_DATABASES = (".db", ".aselmdb")


def iter_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file or folder; its name tells the format.

    Parameters
    ----------
    path : Path
        An ASE database, extended XYZ, a trajectory, JSON or JSON Lines (pymatgen,
        MatBench, OPTIMADE), a CSV table, SDF, SMILES, any format that ASE reads, all
        but databases also compressed (:func:`open_text`); or a folder with deepmd/npy
        systems.

    Yields
    ------
    Row
        As values the key-value pairs of a database, the ``info`` of a frame, the
        properties of a document, the cells of a table, the arrays of a system; and
        the results of a calculator, where one is stored.

    Raises
    ------
    DataError
        If the file cannot be read, or cannot be read on; its subclass
        :class:`UnknownFormatError` if the format is unknown.
    """
    if path.is_dir():
        return iter_deepmd_npy(path)
    if path.suffix.lower() in _DATABASES:
        return iter_database(path)
    reader = row_reader(path)
    if reader is not None:
        return reader(path)
    return map(_frame, iter_structure_file(path))


def row_reader(path: Path) -> Callable[[Path], Iterator[Row]] | None:
    """Return the reader of a format with rows of its own; None if ASE is to read.

    Parameters
    ----------
    path : Path
        A file, not a database.

    Returns
    -------
    callable or None
    """
    name = plain_name(path).lower()
    for endings, reader in (
        ((".extxyz", ".xyz"), _extxyz_rows),
        ((".traj",), _trajectory_rows),
        ((".jsonl", ".ndjson"), iter_json_lines),
        ((".json",), iter_json),
        ((".csv",), iter_csv),
        ((".sdf", ".sd", ".mol"), iter_sdf),
        ((".smi", ".smiles"), iter_smiles),
    ):
        if name.endswith(endings):
            return reader
    return None


def iter_database(source: Path | str, query: str | None = None) -> Iterator[Row]:
    """Yield the rows of an ASE database, named by their number.

    Parameters
    ----------
    source, query
        See :func:`iter_ase_db`.

    Yields
    ------
    Row

    Raises
    ------
    DataError
        As in :func:`iter_ase_db`.
    """
    for number, row in iter_ase_db(source, query):
        if isinstance(row, DataError):
            yield Row(str(number), row, {})
            continue
        values = row.key_value_pairs
        try:
            atoms = row.toatoms()
        except Exception as error:  # noqa: BLE001 - whatever a row makes ASE raise
            msg = f"row {number} holds no valid structure: {reason(error)}"
            broken = DataError(msg, path=without_password(source))
            yield Row(str(number), broken, values)
        else:
            yield Row(str(number), atoms, _results(atoms) | values)


def _extxyz_rows(path: Path) -> Iterator[Row]:
    return map(_frame, iter_extxyz(path))


def _trajectory_rows(path: Path) -> Iterator[Row]:
    return map(_frame, iter_trajectory(path))


def _frame(structure: Atoms | MftscreenError) -> Row:
    if not isinstance(structure, Atoms):
        return Row(None, structure, {})
    values: Mapping[str, Any] = _results(structure) | structure.info
    return Row(find_name(structure.info), structure, values)


def _results(atoms: Atoms) -> dict[str, Any]:
    """Return what ASE keeps apart from other values: energy, forces and the like."""
    return dict(atoms.calc.results) if atoms.calc is not None else {}
