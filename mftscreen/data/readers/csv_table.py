"""CSV tables whose rows name or hold structures."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from ase import Atoms

from mftscreen.data.readers.documents import pymatgen_dict_to_atoms
from mftscreen.data.readers.files import (
    DAMAGED,
    NAME_KEYS,
    Row,
    find_name,
    open_text,
    plain_name,
)
from mftscreen.data.readers.molecules import Conformers, smiles_to_atoms
from mftscreen.data.readers.structure_files import read_cif_text, read_structure
from mftscreen.errors import DataError, MftscreenError

__all__ = ["iter_csv"]

STRUCTURE_COLUMNS = ("file", "path", "structure", "cif", "smiles")
_LONGEST_FIELD = 1 << 27


def iter_csv(path: Path) -> Iterator[Row]:
    """Yield the rows of a table.

    Parameters
    ----------
    path : Path
        ``.csv``, also compressed (:func:`open_text`). The structure is in the column
        ``file``, ``path``, ``structure``, ``cif`` or ``smiles``: a file relative to the
        table, the text of a CIF, a pymatgen structure as JSON, or a SMILES, of which a
        conformer is made (:func:`mftscreen.data.readers.molecules.smiles_to_atoms`). In
        a table with none of these columns, the file beside it whose name is the row's
        id, else ``<id>.cif``. A table has no header if a cell of its first line is a
        number or it is called ``id_prop.csv``, as for CGCNN and ALIGNN; its columns are
        then ``id``, ``value``, ``value2``, ``value3`` and so on. Lines above the header
        that begin with ``#`` are comments, unless they are the header.

    Yields
    ------
    Row
        Named by :func:`find_name`; the cells of all columns are values. A row with more
        cells than the header, or one that cannot be read, has the error that says why
        as its structure.

    Raises
    ------
    DataError
        If the table cannot be read, two columns have one name, or there is no column
        with structures or names.
    """
    number = 0
    with ExitStack() as stack:
        # a CIF may be longer than 131,072 characters; other readers may be at work, so
        # that the limit stays
        csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
        stream = stack.enter_context(open_text(path))
        try:
            header, rows = _header(csv.reader(stream), path)
            _check_header(header, path)
            lower = [name.lower() for name in header]
            column = next((c for c in STRUCTURE_COLUMNS if c in lower), None)
            made = None
            if column == "smiles":
                made = stack.enter_context(Conformers(path))
            for cells in rows:
                known = dict(zip(lower, cells, strict=False))
                values = dict(zip(header, cells, strict=False))
                structure = _check_cells(cells, header, path, number)
                if structure is None:
                    structure = _row_structure(known, column, path, number)
                if made is not None:
                    made.count(structure)
                yield Row(find_name(known), structure, values)
                number += 1
        except (*DAMAGED, csv.Error) as error:
            msg = f"cannot be read past row {number}: {error}"
            raise DataError(msg, path=path) from error


def _header(
    table: Iterator[list[str]], path: Path
) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names of the columns and the rows below them."""
    rows = filter(None, table)
    for cells in rows:
        first = [cell.strip("\ufeff ") for cell in cells]
        if first[0].startswith("#"):
            # numpy.savetxt makes a comment of the header
            bare = [first[0].lstrip("# "), *first[1:]]
            if _names_structures(bare):
                return bare, rows
            if not _names_structures(first):
                continue
        if _has_no_header(first, path):
            names = ["id", "value", *(f"value{k}" for k in range(2, len(first)))]
            return names, chain([first], rows)
        return first, rows
    return [], rows


def _names_structures(header: Sequence[str]) -> bool:
    lower = [name.lower() for name in header]
    return any(name in lower for name in STRUCTURE_COLUMNS) or (
        find_name(dict.fromkeys(lower, "x")) is not None
    )


def _check_header(header: Sequence[str], path: Path) -> None:
    if not _names_structures(header):
        msg = (
            f"no column {', '.join(STRUCTURE_COLUMNS)} or id; the columns are "
            f"{', '.join(header) or 'none'}"
        )
        if set(";\t").intersection(*header):
            msg += "; a comma-separated table is needed"
        raise DataError(msg, path=path)
    special = (*STRUCTURE_COLUMNS, *NAME_KEYS)
    counts = Counter(n.lower() if n.lower() in special else n for n in header if n)
    twice = [name for name, n in counts.items() if n > 1]
    if twice:
        msg = (
            f"several columns are called {', '.join(map(repr, twice))}, and which is "
            "meant is not clear; rename them"
        )
        raise DataError(msg, path=path)


def _check_cells(
    cells: Sequence[str], header: Sequence[str], path: Path, number: int
) -> Atoms | MftscreenError | None:
    """Return an error for a row whose cells may be in other columns than they say."""
    if len(cells) > len(header) and any(map(str.strip, cells[len(header) :])):
        msg = (
            f"row {number} has {len(cells)} cells, but there are {len(header)} "
            "columns; a cell with a comma needs quotes"
        )
        return DataError(msg, path=path)
    if cells[0].startswith("#") and not header[0].startswith("#"):
        msg = f"row {number} begins with '#': a comment, or an id that needs renaming"
        return DataError(msg, path=path)
    return None


def _has_no_header(first: Sequence[str], path: Path) -> bool:
    return plain_name(path) == "id_prop.csv" or any(map(_is_number, first))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # a column may be called so
    return text.lower() not in ("nan", "inf", "infinity")


def _row_structure(
    values: Mapping[str, str], column: str | None, path: Path, number: int
) -> Atoms | MftscreenError:
    name = find_name(values)
    text = values.get(column, "") if column else _file_of(name, path)
    try:
        if not text.strip():
            msg = f"row {number} names no structure in column {column or 'id'!r}"
            return DataError(msg, path=path)
        if column == "smiles":
            return smiles_to_atoms(text.strip())
        if text.lstrip().startswith("{"):
            return pymatgen_dict_to_atoms(json.loads(text))
        if "\n" in text.strip():
            if "data_" not in text:
                n_lines = text.count("\n") + 1
                msg = (
                    f"row {number} has a cell of {n_lines} lines; is a quote left open?"
                )
                return DataError(msg, path=path)
            return read_cif_text(text)
        file = path.parent / text.strip()
        if not column and not file.exists():
            msg = (
                f"no such file; without a column {', '.join(STRUCTURE_COLUMNS)}, ids "
                "are names of files beside the table"
            )
            return DataError(msg, path=file)
        return read_structure(file)
    except MftscreenError as error:
        return error
    except (ValueError, RecursionError) as error:
        msg = f"row {number} holds no valid JSON: {error}"
        return DataError(msg, path=path)


def _file_of(name: str | None, path: Path) -> str:
    if not name:
        return ""
    return name if os.path.isfile(path.parent / name) else f"{name}.cif"  # noqa: PTH113
