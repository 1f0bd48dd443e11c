"""Single frames of deepmd/npy systems."""

from __future__ import annotations

import math
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.readers.deepmd_npy import frame_row, read_types
from mftscreen.data.readers.files import Row
from mftscreen.errors import DataError

__all__ = ["NpySet"]

_ARRAYS = ("coord", "box", "energy", "force", "virial", "real_atom_types")
_N_HEADERS = 10_000
"""Of files whose headers are remembered: the last ones that were read."""


class NpySet:
    """One ``set.*`` of a deepmd/npy system, standard or mixed-type.

    Parameters
    ----------
    path : Path
        The folder ``set.*``.
    name : str, optional
        What its frames are called by; by default the names of the system and the set.

    Raises
    ------
    DataError
        If it has no readable ``coord.npy``.
    """

    first = 0
    """Number of the first frame in names."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or f"{path.parent.name}/{path.name}"
        try:
            _, shape, _ = _header(path / "coord.npy")
        except (OSError, ValueError) as error:
            msg = f"is no readable set of a deepmd/npy system: {error}"
            raise DataError(msg, path=path) from error
        self._n = shape[0] if shape else 0

    def __len__(self) -> int:
        return self._n

    def read(self, number: int) -> Row:
        """Return a frame; its structure is the error that says why there is none."""
        name = f"{self.name}#{number}"
        try:
            types, symbols, periodic = _system(self.path.parent)
            frame = {
                key: value
                for key in _ARRAYS
                if (value := _read(self.path / f"{key}.npy", number)) is not None
            }
            return frame_row(name, frame, types, symbols, periodic)
        except (OSError, ValueError, IndexError, KeyError) as error:
            msg = f"frame {number} cannot be read: {error}"
            return Row(name, DataError(msg, path=self.path), {})


@lru_cache(maxsize=1000)
def _system(folder: Path) -> tuple[NDArray[np.int64], list[str], bool]:
    return read_types(folder)


@lru_cache(maxsize=_N_HEADERS)
def _header(path: Path) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Return where numbers begin, their shape and their kind."""
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            msg = f"{path.name} is of version {version}"
            raise ValueError(msg)
        shape, in_columns, kind = read(stream)
        if (in_columns and len(shape) > 1) or kind.kind not in "iuf":
            msg = f"{path.name} does not hold numbers, frame after frame"
            raise ValueError(msg)
        begin, size = stream.tell(), os.fstat(stream.fileno()).st_size
    # numpy would take what memory a frame is said to need
    whole = begin + math.prod(shape) * kind.itemsize
    frame = math.prod(shape[1:]) * kind.itemsize
    if min(shape, default=0) < 0 or whole > sys.maxsize or frame > size:
        msg = f"{path.name} has {size} bytes, and its header tells of a shape {shape}"
        raise ValueError(msg)
    return begin, shape, kind


def _read(path: Path, number: int) -> NDArray[Any] | None:
    """Return the numbers of one frame; None if there is no such file."""
    try:
        begin, shape, kind = _header(path)
    except FileNotFoundError:
        return None
    if not shape or number >= shape[0]:
        msg = f"{path.name} has fewer frames than coord.npy"
        raise ValueError(msg)
    n_values = math.prod(shape[1:])
    # not memory-mapped: pages that were read once would count as this process's
    values = np.fromfile(
        path, kind, n_values, offset=begin + number * n_values * kind.itemsize
    )
    if len(values) < n_values:
        msg = f"{path.name} is cut short"
        raise ValueError(msg)
    return values.reshape(shape[1:])
