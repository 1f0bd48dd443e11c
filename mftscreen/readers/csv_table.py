"""CSV tables whose rows name or hold structures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms

from mftscreen.errors import DataError, MftscreenError, StructureError
from mftscreen.readers.documents import pymatgen_dict_to_atoms
from mftscreen.readers.files import DAMAGED, find_name, open_text
from mftscreen.readers.structure_files import read_cif_text, read_structure

__all__ = ["iter_csv"]

STRUCTURE_COLUMNS = ("file", "path", "structure", "cif")
_LONGEST_FIELD = 1 << 27


def iter_csv(path: Path) -> Iterator[tuple[str | None, Atoms | MftscreenError]]:
    """Yield the structures of a table.

    Parameters
    ----------
    path : Path
        ``.csv``, also compressed (:func:`open_text`). The structure is in the column
        ``file``, ``path``, ``structure`` or ``cif``: a file relative to the table, the
        text of a CIF, or a pymatgen structure as JSON. In a table with none of these
        columns, ``<id>.cif`` beside it.

    Yields
    ------
    name : str or None
        What the row calls itself (:func:`find_name`).
    structure : Atoms or MftscreenError
        The error that says why there is none.

    Raises
    ------
    DataError
        If the table cannot be read, or has no column with structures or names.
    """
    number = 0
    with _long_fields(), open_text(path) as stream:
        try:
            table = csv.reader(stream)
            header = [name.strip("\ufeff ").lower() for name in next(table, [])]
            column = next((c for c in STRUCTURE_COLUMNS if c in header), None)
            if column is None and find_name(dict.fromkeys(header, "x")) is None:
                msg = (
                    f"no column {', '.join(STRUCTURE_COLUMNS)} or id; the columns are "
                    f"{', '.join(header) or 'none'}"
                )
                if set(";\t").intersection(*header):
                    msg += "; a comma-separated table is needed"
                raise DataError(msg, path=path)
            for cells in filter(None, table):
                values = dict(zip(header, cells, strict=False))
                yield find_name(values), _row_structure(values, column, path, number)
                number += 1
        except (*DAMAGED, csv.Error) as error:
            msg = f"cannot be read past row {number}: {error}"
            raise DataError(msg, path=path) from error


def _row_structure(
    values: Mapping[str, str], column: str | None, path: Path, number: int
) -> Atoms | MftscreenError:
    name = find_name(values)
    text = values.get(column, "") if column else f"{name}.cif" if name else ""
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


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a field be longer than csv's 131,072 characters: a CIF may be."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
