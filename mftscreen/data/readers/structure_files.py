"""Structure files of any format that ASE knows, and its trajectories."""

from __future__ import annotations

import logging
import re
import warnings
from collections import deque
from collections.abc import Iterator
from io import StringIO
from itertools import islice, pairwise
from pathlib import Path
from typing import TypeVar, cast

from ase import Atoms
from ase.io import iread, read
from ase.io.formats import UnknownFileTypeError, filetype

from mftscreen.data.readers.cif.crystals import iter_cif
from mftscreen.data.readers.files import check_file, decode, open_text, uncompressed
from mftscreen.data.readers.molecules import iter_sdf
from mftscreen.data.readers.symbols import FULL, element, reason
from mftscreen.errors import DataError, MftscreenError, StructureError

__all__ = [
    "UnknownFormatError",
    "count_trajectory",
    "iter_structure_file",
    "iter_trajectory",
    "read_cif_text",
    "read_structure",
]


log = logging.getLogger(__name__)


class UnknownFormatError(DataError):
    """No format that ASE reads has such names or contents.

    Cause: an unusual ending, or a file that is something else.

    Remedy: rename the file after its format (``POSCAR``, ``.cif``, ``.extxyz``), or
    convert it with ``ase convert``.
    """


def iter_structure_file(path: Path) -> Iterator[Atoms | StructureError]:
    """Yield the structures of a file in any of ASE's formats.

    Parameters
    ----------
    path : Path
        E.g. a CIF (:func:`mftscreen.data.readers.cif.crystals.iter_cif`), a POSCAR;
        also compressed (:func:`open_text`).

    Yields
    ------
    Atoms or StructureError
        The error if a structure is there, but cannot be used.

    Raises
    ------
    DataError
        If the file cannot be read, or cannot be read on; its subclass
        :class:`UnknownFormatError` if ASE does not know the format.
    """
    empty, kind = True, ""
    with uncompressed(path) as plain:
        try:
            kind = _kind(plain)
            for structure in _with_warnings(_structures(plain, kind), path):
                empty = False
                yield structure
        except Exception as error:  # ASE's readers raise whatever their format raises
            raise _unreadable(error, path, kind) from error
    if empty:
        msg = "holds no structure"
        raise DataError(msg, path=path)


def read_structure(path: Path) -> Atoms:
    """Return the structure of a file: the last one, as in :func:`ase.io.read`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Atoms

    Raises
    ------
    DataError
        If it is not a file that can be read.
    StructureError
        If the structure is there, but cannot be used.
    """
    check_file(path)
    return _last(iter_structure_file(path))


def read_cif_text(text: str) -> Atoms:
    """Return the crystal that a CIF's text describes: the last one, if it has several.

    Parameters
    ----------
    text : str

    Returns
    -------
    Atoms

    Raises
    ------
    DataError
        If it is no CIF, or has no crystal.
    StructureError
        See :func:`mftscreen.data.readers.cif.crystals.iter_cif`.
    """
    return _last(iter_cif(text))


def _last(structures: Iterator[Atoms | StructureError]) -> Atoms:
    """Return the last structure, or raise what is wrong with it."""
    last = deque(structures, maxlen=1)
    if not last:  # a file without any has raised
        msg = "not a valid CIF: it has no crystal"
        raise DataError(msg)
    if isinstance(last[0], StructureError):
        raise last[0]
    return last[0]


def _kind(path: Path) -> str:
    if path.suffix.lower() in (".cif", ".mcif"):
        return "cif"
    return str(filetype(str(path)))


def _structures(path: Path, kind: str) -> Iterator[Atoms | StructureError]:
    if kind == "cif":
        yield from iter_cif(decode(path.read_bytes()))
    elif kind == "vasp":
        for text in _poscars(decode(path.read_bytes()).splitlines()):
            yield cast("Atoms", read(StringIO(text), format=kind))
    elif kind in ("sdf", "mol"):
        for row in iter_sdf(path):
            if isinstance(row.structure, DataError):
                raise row.structure
            yield cast("Atoms | StructureError", row.structure)
    elif kind == "gromacs":
        for frame in _gromacs_frames(path):
            yield cast("Atoms", read(StringIO(frame), format=kind))
    else:
        # a name may hold the @ that ASE takes for the beginning of an index
        for atoms in iread(path, ":", kind, do_not_split_by_at_sign=True):
            yield _ordered(atoms)


def _poscars(lines: list[str]) -> Iterator[str]:
    """Yield the text of each of several POSCARs in a row; ASE reads the first only."""
    counts = [_n_numbers(line) for line in lines]
    # below the title a scale, three vectors, and species; velocities have none
    starts = [
        k
        for k in range(1, len(lines) - 5)
        if counts[k + 1 : k + 6] == [1, 3, 3, 3, 0] and lines[k + 5].strip()
    ]
    for start, end in pairwise([0, *starts, len(lines)]):
        yield _with_symbols(lines[start:end])


def _n_numbers(line: str) -> int:
    """Return how many numbers a line is made of; 0 if it has anything else."""
    try:
        return len([float(word) for word in line.split()])
    except ValueError:
        return 0


def _with_symbols(lines: list[str]) -> str:
    """Return a POSCAR whose species are plain symbols; ASE knows no ``Mg2+``."""
    species = re.split("[!#]", lines[5], maxsplit=1)[0] if len(lines) > 5 else ""
    if species.strip() and not species.split()[0].isdecimal():
        # behind a slash is the hash of a potential
        symbols = [element(name.partition("/")[0]) for name in species.split()]
        lines[5] = " ".join(symbols)
    return "\n".join(lines) + "\n"


def _gromacs_frames(path: Path) -> Iterator[str]:
    """Yield the text of each frame of a .gro; ASE reads the first one only."""
    with open_text(path) as stream:
        for title in stream:
            if title.strip():
                count = next(stream, "")
                # no file has 10^12 atoms
                n_atoms = int(count[:12])
                yield "".join([title, count, *islice(stream, n_atoms + 1)])


_T = TypeVar("_T")


def _with_warnings(items: Iterator[_T], path: Path) -> Iterator[_T]:
    """Yield items; what their reader warns of is logged with the name of the file."""
    said: set[str] = set()
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            item = next(items, None)
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            if text not in said:
                log.warning("%s: %s", path, text)
                said.add(text)
        if item is None:
            return
        yield item


def iter_trajectory(path: Path) -> Iterator[Atoms | DataError]:
    """Yield the frames of an ASE trajectory.

    Parameters
    ----------
    path : Path
        ``.traj``, also compressed (:func:`open_text`).

    Yields
    ------
    Atoms or DataError
        A frame that cannot be decoded is yielded as the error that says why.

    Raises
    ------
    DataError
        If the file as a whole cannot be read.
    """
    from ase.io.trajectory import TrajectoryReader

    with uncompressed(path) as plain:
        try:
            frames = TrajectoryReader(plain)
        except Exception as error:
            raise _unreadable(error, path, "traj") from error
        with frames:
            for number in range(len(frames)):
                try:
                    frame = cast("Atoms", frames[number])
                except Exception as error:  # noqa: BLE001
                    msg = f"frame {number} cannot be decoded: {reason(error)}"
                    yield DataError(msg, path=path)
                else:
                    yield frame


def count_trajectory(path: Path) -> int:
    """Return the number of frames of a plain ``.traj``, from its header.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    from ase.io.trajectory import TrajectoryReader

    try:
        with TrajectoryReader(path) as frames:
            return len(frames)
    except Exception as error:
        raise _unreadable(error, path, "traj") from error


def _ordered(atoms: Atoms) -> Atoms | StructureError:
    """Return what was read, or an error: ASE keeps one species of a mixed site."""
    for species in atoms.info.get("occupancy", {}).values():
        if len(species) != 1 or abs(sum(species.values()) - 1) > FULL:
            found = ", ".join(f"{symbol} {share}" for symbol, share in species.items())
            msg = (
                f"disordered or partially occupied site ({found}); order the "
                "structure first"
            )
            return StructureError(msg)
    return atoms


def _unreadable(error: Exception, path: Path, kind: str) -> DataError:
    if isinstance(error, MftscreenError):
        return DataError(str(error), path=path)
    if isinstance(error, UnknownFileTypeError):
        return UnknownFormatError("unknown format", path=path)
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"cannot be read: {error.strerror}", path=path)
    known = f" as {kind}" if kind else ""
    return DataError(f"cannot be read{known}: {reason(error)}", path=path)
