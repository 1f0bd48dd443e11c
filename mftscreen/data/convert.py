"""Labelled data written in another format."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, chemical_symbols

from mftscreen.data.dataset import (
    ENERGY_LABELS,
    LabelledStructure,
    write_deepmd_npy,
)
from mftscreen.data.label_report import OtherColumns
from mftscreen.data.readers import iter_rows
from mftscreen.data.sources import read_force_field
from mftscreen.errors import DataError, StructureError
from mftscreen.stress import virial_to_stress
from mftscreen.structures import check_structure
from mftscreen.writing import check_place, output_file

__all__ = ["DataFormat", "find_format", "read_frames", "write_labelled"]

DataFormat = Literal["extxyz", "db", "npy", "csv"]

TABLE = "labels.csv"
"""The table in a folder of format ``csv``."""

_SUFFIXES: dict[str, DataFormat] = {".extxyz": "extxyz", ".xyz": "extxyz", ".db": "db"}

_TAKEN: dict[DataFormat, frozenset[str]] = {
    "extxyz": frozenset({"id", "Lattice", "Properties", "pbc", "stress"}),
    "npy": frozenset({"box", "coord", "real_atom_types"}),
    "csv": frozenset({"cif", "file", "id", "path", "structure"}),
}
"""Names that a format has for something else; for ase.db see :func:`_is_taken`."""


_RESULTS = ("energy", "forces")
"""Names that a reader of extended XYZ takes for those of a force field, in whatever
case."""

_N_LOOKED_AT = 100
"""Rows that are searched for labels."""


def find_format(path: Path) -> DataFormat:
    """Return the format that a file's name stands for.

    Parameters
    ----------
    path : Path

    Returns
    -------
    {"extxyz", "db"}

    Raises
    ------
    DataError
        For any other name: of a folder it does not tell what is to be in it.
    """
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    msg = (
        "the name does not tell the format; use .extxyz, .xyz or .db, or a folder and "
        f"one of the formats {', '.join(get_args(DataFormat)[2:])}"
    )
    raise DataError(msg, path=path)


def read_frames(path: Path) -> Iterator[LabelledStructure]:
    """Yield the frames of a force field, as :func:`read_force_field` does.

    Parameters
    ----------
    path : Path

    Yields
    ------
    LabelledStructure

    Raises
    ------
    DataError
        If the file cannot be read; after the last frame, if some are unusable. If all
        are, labels of properties are named, too: perhaps one of them was meant.
    """
    frames = read_force_field(path)
    try:
        first = next(frames, None)
    except DataError as error:
        columns = OtherColumns()
        for row in islice(iter_rows(path), _N_LOOKED_AT):
            columns.add(row)
        if not columns.names:
            raise
        names = ", ".join(columns.names)
        msg = f"{error}\nTo convert a property, name its label: {names}"
        raise DataError(msg) from error
    if first is not None:
        yield first
        yield from frames


def write_labelled(
    rows: Iterable[LabelledStructure],
    path: Path,
    data_format: DataFormat,
    labels: Sequence[str],
) -> int:
    """Write labelled structures; the file or folder appears only when it is whole.

    Parameters
    ----------
    rows : iterable of LabelledStructure
    path : Path
        Must not exist.
    data_format : {"extxyz", "db", "npy", "csv"}
        Extended XYZ, an ASE database, a folder with deepmd/npy mixed-type systems, or
        a folder with the table ``labels.csv`` and a file for each structure: a CIF,
        or an extended XYZ where a structure is not periodic in all directions.
    labels : sequence of str
        Of properties, or of a force field: ``energy``, ``force``, ``virial``, which
        become ASE's results; ``csv`` has no place for forces.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    DataError
        If `path` exists, cannot be written or has a name that stands for another
        format, a label has a name that the format keeps for something else, or the
        format cannot hold a structure or its labels.

    Notes
    -----
    Ids are written as ``id``, in a database as ``name`` where they do not look like a
    number; deepmd/npy has no place for them. Other values of a row are not written.
    """
    if data_format in _SUFFIXES.values() and find_format(path) != data_format:
        msg = f"is not the name of a file of format {data_format}: it could not be read"
        raise DataError(msg, path=path)
    taken = sorted(name for name in labels if _is_taken(name, data_format))
    if taken:
        msg = f"{data_format} has {', '.join(taken)} for something else; rename (--as)"
        raise DataError(msg)
    writer: Callable[[Iterable[LabelledStructure], Path, Sequence[str]], None]
    writer = {
        "extxyz": _write_extxyz,
        "db": _write_db,
        "npy": _write_npy,
        "csv": _write_csv,
    }[data_format]
    count = _Counted(rows)
    _check_new(path)
    with output_file(path) as partial:
        writer(count, partial, labels)
        if not count.n:
            msg = "there are no rows to write"
            raise DataError(msg, path=path)
    return count.n


def _is_taken(name: str, data_format: DataFormat) -> bool:
    """Tell whether a format has a name for something else, or cannot read it again."""
    from ase.db.row import AtomsRow
    from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict

    if name in ENERGY_LABELS:
        return False
    if data_format == "db":
        # what is asked of a row by its name, or is worked out when it is
        row = AtomsRow(Atoms("H", tags=[1], masses=[2.0], charges=[1.0], magmoms=[1.0]))
        return hasattr(AtomsRow, name) or hasattr(row, name)
    if data_format == "extxyz":
        if name.lower() in _RESULTS:
            return True
        try:
            again = key_val_str_to_dict(key_val_dict_to_str({name: 0.5}))
        except ValueError:
            return True
        if again != {name: 0.5}:
            return True
    return name in _TAKEN.get(data_format, frozenset())


class _Counted:
    """An iterable that knows how many items were taken."""

    def __init__(self, rows: Iterable[LabelledStructure]) -> None:
        self._rows = rows
        self.n = 0

    def __iter__(self) -> Iterator[LabelledStructure]:
        for row in self._rows:
            self.n += 1
            yield row


def _check_new(path: Path) -> None:
    if os.path.lexists(path):
        msg = "exists; it is not overwritten"
        raise DataError(msg, path=path)
    check_place(path)


def _check_elements(row: LabelledStructure) -> None:
    if not np.isin(row.atoms.numbers, range(len(chemical_symbols))).all():
        msg = f"row {row.id}: an atomic number is that of no element"
        raise DataError(msg)


def _bare(row: LabelledStructure, labels: Sequence[str]) -> Atoms:
    """Return a structure with its force-field labels, as ASE keeps them."""
    _check_elements(row)
    atoms = Atoms(
        row.atoms.numbers, row.atoms.positions, cell=row.atoms.cell, pbc=row.atoms.pbc
    )
    results: dict[str, object] = {}
    if "energy" in labels and "energy" in row.labels:
        results["energy"] = float(row.labels["energy"])
    if "force" in labels and "force" in row.labels:
        results["forces"] = _of_shape(row, "force", (len(atoms), 3))
    if "virial" in labels and "virial" in row.labels:
        _of_shape(row, "virial", (3, 3))
        virial, volume = row.labels["virial"], atoms.get_volume()
        results["stress"] = virial_to_stress(virial, volume)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _of_shape(row: LabelledStructure, label: str, shape: tuple[int, ...]) -> Any:
    array = np.asarray(row.labels[label])
    if array.shape != shape:
        msg = (
            f"row {row.id}: {label!r} is the name of a label of shape {shape}, and "
            f"this one has {array.shape}; rename it (--as)"
        )
        raise DataError(msg)
    return array


def _properties(row: LabelledStructure, labels: Sequence[str]) -> dict[str, float]:
    return {
        name: float(row.labels[name])
        for name in labels
        if name not in ENERGY_LABELS and name in row.labels
    }


def _write_extxyz(
    rows: Iterable[LabelledStructure], path: Path, labels: Sequence[str]
) -> None:
    from ase.io.extxyz import write_extxyz

    with _open_text(path) as stream:
        for row in rows:
            atoms = _bare(row, labels)
            atoms.info = {"id": _as_info(row.id), **_properties(row, labels)}
            write_extxyz(stream, [atoms])


def _as_info(name: str) -> str:
    """Return what ASE writes so that it reads `name` again, and not a number, say."""
    from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict

    try:
        found = key_val_str_to_dict(key_val_dict_to_str({"id": name}))["id"]
    except ValueError:  # begins as if it were JSON
        found = None
    if isinstance(found, str) and found == name:
        return name
    # ASE's reader takes backslashes away, its writer adds them to quotes only
    return "_JSON " + json.dumps(name, ensure_ascii=False).replace("\\", "\\\\")


def _open_text(path: Path) -> TextIO:
    """Open a file that may get the bytes of ids that are not UTF-8."""
    return path.open("w", encoding="utf-8", errors="surrogateescape", newline="")


def _write_db(
    rows: Iterable[LabelledStructure], path: Path, labels: Sequence[str]
) -> None:
    from ase.db import connect
    from ase.db.core import check

    with connect(path, type="db", use_lock_file=False) as database:
        for row in rows:
            values: dict[str, object] = dict(_properties(row, labels))
            try:
                check(values)
            except ValueError as error:
                msg = f"not a key of an ASE database: {error}; rename it (--as)"
                raise DataError(msg) from error
            try:
                check({"name": row.id})
                row.id.encode("utf-8")
            except ValueError:  # looks like a number, or is no UTF-8
                named = values
            else:
                named = {"name": row.id, **values}
            database.write(_bare(row, labels), key_value_pairs=named)


def _write_npy(
    rows: Iterable[LabelledStructure], path: Path, labels: Sequence[str]
) -> None:
    items = list(rows)
    for item in items:
        _check_elements(item)
    numbers = sorted({int(z) for item in items for z in item.atoms.numbers})
    symbols = {z: symbol for symbol, z in atomic_numbers.items()}
    write_deepmd_npy(items, path, [symbols[z] for z in numbers], labels)


def _write_csv(
    rows: Iterable[LabelledStructure], path: Path, labels: Sequence[str]
) -> None:
    from ase.io import write

    if "force" in labels:
        msg = "a table cannot hold forces; use extxyz, db or npy"
        raise DataError(msg)
    path.mkdir()
    with _open_text(path / TABLE) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["id", "file", *labels])
        for number, row in enumerate(rows):
            atoms = _bare(row, ())
            try:
                check_structure(atoms, chemical_symbols[1:])
            except StructureError as error:  # of which ASE would make no CIF
                msg = f"row {row.id}: {error}"
                raise DataError(msg) from error
            # CIF has no molecules, layers or chains
            suffix = "cif" if atoms.pbc.all() else "extxyz"
            name = f"{number:06d}.{suffix}"
            write(path / name, atoms)
            cells = [
                repr(float(row.labels[label])) if label in row.labels else ""
                for label in labels
            ]
            table.writerow([row.id, name, *cells])
