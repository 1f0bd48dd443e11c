"""Single rows of ASE's LMDB databases, the format that OMat24 is published in.

``ase-db-backends`` holds a list of all ids, which for 100 million rows takes gigabytes,
and lets a row name ASE classes to be made; here a row is looked up by its id, and only
numbers, texts and arrays come out of it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from mftscreen.data.readers.files import Row
from mftscreen.data.readers.lmdb_file import open_lmdb
from mftscreen.data.readers.symbols import reason
from mftscreen.errors import DataError

__all__ = ["LmdbFile"]

MAX_ROW_BYTES = 1 << 27
"""Of a row, decompressed: some 100,000 atoms."""
MAX_ROWS = 1 << 40
"""No file has so many, and they are to be counted."""
_RESULTS = ("energy", "forces", "stress")
_OPENED: WeakValueDictionary[tuple[int, int], Any] = WeakValueDictionary()
"""Files by device and inode: LMDB lets a process open each once at a time."""


class LmdbFile:
    """An ``.aselmdb`` file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If it cannot be opened, is cut short or no ASE database, or ``lmdb`` is missing.

    Notes
    -----
    Rows have the ids 1, 2, … up to one less than ``nextid``; those that were deleted
    are read as errors.
    """

    first = 1
    """Number of the first row in names."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._environment: Any = None
        try:
            following = self._get("nextid")
            if following is None:
                msg = "there is no 'nextid'"
                raise ValueError(msg)
            self._n = max(int(_decoded(following)) - 1, 0)
            if self._n > MAX_ROWS:
                msg = f"'nextid' is {self._n + 1}"
                raise ValueError(msg)
        except DataError:
            raise
        except Exception as error:
            msg = f"is no ASE database in LMDB: {reason(error)}"
            raise DataError(msg, path=path) from error
        finally:
            self.close()

    def __len__(self) -> int:
        return self._n

    def read(self, number: int) -> Row:
        """Return a row; its structure is the error that says why there is none."""
        name = f"{self.name}#{number + self.first}"
        try:
            content = self._get(str(number + 1))
            if content is None:
                msg = f"row {number + 1} is not there"
                return Row(name, DataError(msg, path=self.path), {})
            row = _decoded(content)
            return Row(name, _atoms(row), _values(row))
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever its content makes fail
            msg = f"row {number + 1} cannot be decoded: {reason(error)}"
            return Row(name, DataError(msg, path=self.path), {})

    def close(self) -> None:
        """Let go of the file until the next row is read."""
        self._environment = None  # closed when nobody has it any more

    def _get(self, key: str) -> bytes | None:
        if self._environment is None:
            self._environment = _shared(self.path)
        with self._environment.begin() as transaction:
            found: bytes | None = transaction.get(key.encode())
        return found


def _shared(path: Path) -> Any:
    """Return an open file, which several heads may draw from."""
    seen = path.stat()
    key = (seen.st_dev, seen.st_ino)
    opened = _OPENED.get(key)
    if opened is None:
        opened = _OPENED[key] = open_lmdb(path)
    return opened


def _decoded(content: bytes) -> Any:
    """Return numbers, texts, lists and arrays, and nothing else."""
    decompressor = zlib.decompressobj()
    text = decompressor.decompress(content, MAX_ROW_BYTES)
    if not decompressor.eof:
        msg = f"it is cut short or has more than {MAX_ROW_BYTES} bytes"
        raise ValueError(msg)
    return json.loads(text, object_hook=_array)


def _array(value: dict[str, Any]) -> Any:
    """Return the array that ASE has written so, and other values as they are."""
    if value.keys() == {"__ndarray__"}:
        shape, kind, flat = value["__ndarray__"]
        if np.dtype(kind).kind not in "biufU":
            msg = f"it holds an array of kind {kind}"
            raise ValueError(msg)
        return np.array(flat, dtype=kind).reshape(shape)
    # ASE 3.29 writes cells so
    if value.get("__ase_objtype__") == "cell":
        return np.asarray(value["array"])
    return value


def _atoms(row: Mapping[str, Any]) -> Atoms:
    numbers = np.asarray(row["numbers"], dtype=int)
    if (numbers < 0).any() or (numbers >= len(chemical_symbols)).any():
        msg = "it has an atomic number that no element has"
        raise ValueError(msg)
    atoms = Atoms(
        numbers,
        np.asarray(row["positions"], dtype=float),
        cell=np.asarray(row.get("cell", np.zeros(3)), dtype=float),
        pbc=np.asarray(row.get("pbc", False), dtype=bool),
    )
    results = {
        key: np.asarray(value) if isinstance(value, list) else value
        for key in _RESULTS
        if (value := row.get(key)) is not None
    }
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else is known of a row: ``data`` and key-value pairs."""
    found: dict[str, Any] = {}
    for key in ("data", "key_value_pairs"):
        if isinstance(values := row.get(key), Mapping):
            found |= values
    return found
