"""Readers of labelled data: extxyz, ase.db, CSV + structure files, MatBench json.gz."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from mftscreen.errors import DataError, StructureError
from mftscreen.finetune.dataset import LabelledStructure, force_field_labels
from mftscreen.readers import (
    candidate_id,
    iter_ase_db,
    iter_extxyz,
    iter_matbench,
    open_text,
)

__all__ = ["read_force_field", "read_labelled", "read_matbench"]


def read_labelled(path: Path, column: str) -> Iterator[LabelledStructure]:
    """Yield structures with the property label `column`.

    Parameters
    ----------
    path : Path
        ``.extxyz``/``.xyz`` (also ``.gz``, ``.xz``; the label is in ``info``),
        ``.db`` (the label is a key-value pair), ``.csv`` (a column ``file`` or
        ``structure`` names a structure file relative to the CSV, else the ``id``
        column names ``<id>.cif`` beside it), or a MatBench ``.json.gz``.
    column : str
        Name of the label.

    Yields
    ------
    LabelledStructure

    Raises
    ------
    DataError
        If the format is unknown, or a row has no finite label or no readable
        structure; the row is named.
    """
    yield from _reader(path)(path, column)


def _reader(path: Path) -> Callable[[Path, str], Iterator[LabelledStructure]]:
    if path.suffix == ".db":
        return _read_db
    if path.suffix == ".csv":
        return _read_csv
    if path.name.endswith((".json", ".json.gz")):
        return read_matbench
    name = path.name.removesuffix(".gz").removesuffix(".xz")
    if name.endswith((".extxyz", ".xyz")):
        return _read_extxyz
    msg = "unknown format; expected .extxyz, .xyz, .db, .csv or a MatBench .json.gz"
    raise DataError(msg, path=path)


def _label(value: object, name: str, row: str, path: Path) -> np.ndarray:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        msg = f"row {row} has no finite label {name!r} (found {value!r})"
        raise DataError(msg, path=path)
    return np.asarray(number)


def _read_extxyz(path: Path, column: str) -> Iterator[LabelledStructure]:
    for number, atoms in enumerate(iter_extxyz(path)):
        if isinstance(atoms, DataError):
            raise atoms
        row = candidate_id(atoms, path, number)
        label = _label(atoms.info.get(column), column, row, path)
        yield LabelledStructure(row, atoms, {column: label})


def _read_db(path: Path, column: str) -> Iterator[LabelledStructure]:
    for number, row in iter_ase_db(path):
        if isinstance(row, DataError):
            raise row
        name = str(number)
        label = _label(row.key_value_pairs.get(column), column, name, path)
        yield LabelledStructure(name, row.toatoms(), {column: label})


def _read_csv(path: Path, column: str) -> Iterator[LabelledStructure]:
    with open_text(path) as stream:
        table = csv.DictReader(stream)
        header = table.fieldnames or []
        if column not in header:
            msg = f"no column {column!r}; the columns are {', '.join(header)}"
            raise DataError(msg, path=path)
        for number, row in enumerate(table):
            name = row.get("id") or f"{path.name}#{number}"
            label = _label(row[column], column, name, path)
            filename = row.get("file") or row.get("structure") or f"{name}.cif"
            atoms = _read_structure(path.parent / filename, name, path)
            yield LabelledStructure(name, atoms, {column: label})


def _read_structure(filename: Path, row: str, path: Path) -> Atoms:
    try:
        atoms = read(filename)
    except Exception as error:  # ASE's readers raise whatever their format raises
        msg = f"row {row}: the structure file {filename} cannot be read: {error}"
        raise DataError(msg, path=path) from error
    assert isinstance(atoms, Atoms)
    return atoms


def read_matbench(path: Path, column: str) -> Iterator[LabelledStructure]:
    """Yield the rows of a MatBench task file.

    Parameters
    ----------
    path : Path
        See :func:`mftscreen.readers.iter_matbench`.
    column : str
        The target column.

    Yields
    ------
    LabelledStructure
        Row `i` has the id that MatBench gives it, ``mb-<task>-<i + 1>``.

    Raises
    ------
    DataError
        If the file has another layout, or a target is not finite.
    """
    for name, atoms, values in iter_matbench(path):
        if column not in values:
            msg = (
                f"no column {column!r} beside 'structure'; there is {', '.join(values)}"
            )
            raise DataError(msg, path=path)
        label = _label(values[column], column, name, path)
        if isinstance(atoms, StructureError):
            msg = f"row {name}: {atoms}"
            raise DataError(msg, path=path) from atoms
        yield LabelledStructure(name, atoms, {column: label})


def read_force_field(path: Path) -> Iterator[LabelledStructure]:
    """Yield structures with energy, forces and, where given, stress.

    Parameters
    ----------
    path : Path
        ``.extxyz``/``.xyz`` (also compressed) or ``.db`` with ASE's standard results.

    Yields
    ------
    LabelledStructure
        Labels ``energy``, ``force`` and ``virial`` as deepmd-kit has them.

    Raises
    ------
    DataError
        If a frame has no energy or forces; it is named.
    """
    if path.suffix == ".db":
        frames: Iterator[tuple[str, Atoms | DataError]] = (
            (str(number), row if isinstance(row, DataError) else row.toatoms())
            for number, row in iter_ase_db(path)
        )
    else:
        frames = (
            (f"{path.name}#{i}", atoms) for i, atoms in enumerate(iter_extxyz(path))
        )
    for name, atoms in frames:
        if isinstance(atoms, DataError):
            raise atoms
        try:
            labels = force_field_labels(atoms)
        except DataError as error:
            msg = f"{name}: {error}"
            raise DataError(msg, path=path) from error
        yield LabelledStructure(name, atoms, labels)
