"""deepmd/npy systems, standard and mixed-type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mftscreen.data.readers.files import Row
from mftscreen.errors import DataError
from mftscreen.stress import virial_to_stress

__all__ = ["frame_row", "iter_deepmd_npy", "read_types"]

_GEOMETRY = ("coord", "box", "real_atom_types")
_Arrays = Mapping[str, NDArray[Any]]


def iter_deepmd_npy(folder: Path) -> Iterator[Row]:
    """Yield the frames of deepmd/npy systems.

    Parameters
    ----------
    folder : Path
        A system, a folder with ``type.raw``, ``type_map.raw`` and ``set.*``; or one
        that has systems anywhere below it. In a mixed-type system every frame has its
        own types, ``set.*/real_atom_types.npy``.

    Yields
    ------
    Row
        Named by the system's path and the frame's number. The arrays of a set are
        values, single numbers as floats. ``energy``, ``force`` and ``virial`` also
        become the atoms' results.

    Raises
    ------
    DataError
        If there is no system, or a file of one is missing, damaged or of another
        length than the others.

    References
    ----------
    DeePMD-kit documentation, "Formats of a system" and "Mixed type".
    """
    systems = sorted(path.parent for path in folder.rglob("type.raw"))
    if not systems:
        msg = (
            "holds no deepmd/npy system (a folder with type.raw and set.*); labels of "
            "structure files are in a CSV, with the files in its column 'file'"
        )
        raise DataError(msg, path=folder)
    for system in systems:
        label = (Path(folder.name) / system.relative_to(folder)).as_posix()
        try:
            yield from _frames(system, label)
        except (OSError, EOFError, ValueError, IndexError, MemoryError) as error:
            msg = f"is no readable deepmd/npy system: {error}"
            raise DataError(msg, path=system) from error


def _frames(system: Path, label: str) -> Iterator[Row]:
    types, symbols, periodic = read_types(system)
    sets = sorted(system.glob("set.*"))
    if not sets:
        msg = "there is no set.*"
        raise ValueError(msg)
    number = 0
    for block in sets:
        arrays = _load(block, periodic)
        for k in range(len(arrays["coord"])):
            frame = {name: array[k] for name, array in arrays.items()}
            yield frame_row(f"{label}#{number}", frame, types, symbols, periodic)
            number += 1


def read_types(system: Path) -> tuple[NDArray[np.int64], list[str], bool]:
    """Return the types of a system's atoms, the symbols of types, and if it has a box.

    Parameters
    ----------
    system : Path

    Raises
    ------
    OSError, ValueError
        If ``type_map.raw`` or ``type.raw`` cannot be read.
    """
    symbols = (system / "type_map.raw").read_text(encoding="utf-8").split()
    numbers = (system / "type.raw").read_text(encoding="utf-8").split()
    types = np.array(numbers, dtype=np.int64)
    return types, symbols, not (system / "nopbc").exists()


def _load(block: Path, periodic: bool) -> _Arrays:
    files = sorted(block.glob("*.npy"))
    arrays = {path.stem: np.atleast_1d(np.load(path)) for path in files}
    for name in ("coord", "box") if periodic else ("coord",):
        if name not in arrays:
            msg = f"{block.name} has no {name}.npy"
            raise ValueError(msg)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        msg = f"{block.name} has arrays of different lengths: {lengths}"
        raise ValueError(msg)
    return arrays


def frame_row(
    name: str,
    frame: _Arrays,
    types: NDArray[np.int64],
    symbols: list[str],
    periodic: bool,
) -> Row:
    """Return a frame with its labels as the atoms' results.

    Parameters
    ----------
    name : str
    frame : mapping of str to ndarray
        Arrays of one frame by the names of their files.
    types, symbols, periodic
        See :func:`read_types`.

    Raises
    ------
    KeyError, ValueError, IndexError
        If an array is missing, or of the wrong length, or a type has no symbol.
    """
    types = frame.get("real_atom_types", types).astype(np.int64)
    real = types >= 0  # others pad the frame
    elements = [symbols[k] for k in types[real]]
    unknown = sorted(set(elements) - atomic_numbers.keys())
    if unknown:
        msg = f"type_map.raw has {', '.join(unknown)}, which is no chemical symbol"
        raise ValueError(msg)
    atoms = Atoms(
        elements,
        positions=frame["coord"].reshape(-1, 3)[real],
        cell=frame["box"].reshape(3, 3) if periodic else None,
        pbc=periodic,
    )
    results: dict[str, Any] = {}
    if "energy" in frame:
        results["energy"] = frame["energy"].item()
    if "force" in frame:
        results["forces"] = frame["force"].reshape(-1, 3)[real]
    if "virial" in frame and periodic:
        virial, volume = frame["virial"].reshape(3, 3), atoms.get_volume()
        results["stress"] = virial_to_stress(virial, volume)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    values = {
        key: array.item() if array.size == 1 else array
        for key, array in frame.items()
        if key not in _GEOMETRY
    }
    return Row(name, atoms, values)
