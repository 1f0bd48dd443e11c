"""CSV tables whose rows name or hold structures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from ase import Atoms

from mftscreen.errors import DataError, MftscreenError, StructureError
from mftscreen.readers.documents import pymatgen_dict_to_atoms
from mftscreen.readers.files import DAMAGED, Row, find_name, open_text, plain_name
from mftscreen.readers.structure_files import read_cif_text, read_structure

__all__ = ["iter_csv"]

STRUCTURE_COLUMNS = ("file", "path", "structure", "cif")
_LONGEST_FIELD = 1 << 27


def iter_csv(path: Path) -> Iterator[Row]:
    """Yield the rows of a table.

    Parameters
    ----------
    path : Path
        ``.csv``, also compressed (:func:`open_text`). The structure is in the column
        ``file``, ``path``, ``structure`` or ``cif``: a file relative to the table, the
        text of a CIF, or a pymatgen structure as JSON. In a table with none of these
        columns, the file beside it whose name is the row's id, else ``<id>.cif``.
        A table has no header if a cell of its first line is a number or it is called
        ``id_prop.csv``, as for CGCNN and ALIGNN; its columns are then ``id``,
        ``value``, ``value2``, ``value3`` and so on.

    Yields
    ------
    Row
        Named by :func:`find_name`; the cells of all columns are values.

    Raises
    ------
    DataError
        If the table cannot be read, or has no column with structures or names.
    """
    number = 0
    with _long_fields(), open_text(path) as stream:
        try:
            table = csv.reader(stream)
            first = [cell.strip("\ufeff ") for cell in next(table, [])]
            header = first
            rows: Iterator[list[str]] = filter(None, table)
            if first and _has_no_header(first, path):
                header = ["id", "value", *(f"value{k}" for k in range(2, len(first)))]
                rows = chain([first], rows)
            lower = [name.lower() for name in header]
            column = next((c for c in STRUCTURE_COLUMNS if c in lower), None)
            if column is None and find_name(dict.fromkeys(lower, "x")) is None:
                msg = (
                    f"no column {', '.join(STRUCTURE_COLUMNS)} or id; the columns are "
                    f"{', '.join(header) or 'none'}"
                )
                if set(";\t").intersection(*header):
                    msg += "; a comma-separated table is needed"
                raise DataError(msg, path=path)
            for cells in rows:
                known = dict(zip(lower, cells, strict=False))
                structure = _row_structure(known, column, path, number)
                values = dict(zip(header, cells, strict=False))
                yield Row(find_name(known), structure, values)
                number += 1
        except (*DAMAGED, csv.Error) as error:
            msg = f"cannot be read past row {number}: {error}"
            raise DataError(msg, path=path) from error


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
        if text.lstrip().startswith("{"):
            return pymatgen_dict_to_atoms(json.loads(text))
        if "\n" in text.strip():
            return read_cif_text(text)
        file = path.parent / text.strip()
        if file.is_dir():
            msg = f"row {number} names a folder, not a file"
            return DataError(msg, path=file)
        return read_structure(file)
    except (DataError, StructureError) as error:
        return error
    except (ValueError, RecursionError) as error:
        msg = f"row {number} holds no valid JSON: {error}"
        return DataError(msg, path=path)


def _file_of(name: str | None, path: Path) -> str:
    if not name:
        return ""
    return name if (path.parent / name).is_file() else f"{name}.cif"


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a field be longer than csv's 131,072 characters: a CIF may be."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
