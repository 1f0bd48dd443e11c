"""Structure files of any format that ASE knows, and its trajectories."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import cast

from ase import Atoms
from ase.io import iread, read
from ase.io.formats import UnknownFileTypeError, filetype

from mftscreen.errors import DataError, StructureError
from mftscreen.readers.files import uncompressed

__all__ = [
    "UnknownFormatError",
    "count_trajectory",
    "iter_structure_file",
    "iter_trajectory",
    "read_cif_text",
    "read_structure",
]


class UnknownFormatError(DataError):
    """No format that ASE reads has such names or contents."""


def iter_structure_file(path: Path) -> Iterator[Atoms | StructureError]:
    """Yield the structures of a file in any of ASE's formats.

    Parameters
    ----------
    path : Path
        E.g. a CIF, a POSCAR; also compressed (:func:`open_text`).

    Yields
    ------
    Atoms or StructureError
        The error if a site is disordered or partially occupied.

    Raises
    ------
    DataError
        If ASE cannot read the file, or cannot read on in it; its subclass
        :class:`UnknownFormatError` if ASE does not know the format.
    """
    empty, kind = True, ""
    with uncompressed(path) as plain:
        try:
            kind = filetype(str(plain))
            # a name may hold the @ that ASE takes for the beginning of an index
            for atoms in iread(plain, ":", kind, do_not_split_by_at_sign=True):
                empty = False
                yield _ordered(atoms)
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
        If ASE cannot read the file.
    StructureError
        If a site is disordered or partially occupied.
    """
    kind = ""
    with uncompressed(path) as plain:
        try:
            kind = filetype(str(plain))
            atoms = read(plain, format=kind, do_not_split_by_at_sign=True)
        except Exception as error:
            raise _unreadable(error, path, kind) from error
    return _checked(atoms)


def read_cif_text(text: str) -> Atoms:
    """Return the structure that a CIF's text describes.

    Parameters
    ----------
    text : str

    Returns
    -------
    Atoms

    Raises
    ------
    DataError
        If ASE cannot read it.
    StructureError
        If a site is disordered or partially occupied.
    """
    try:
        atoms = read(StringIO(text), format="cif")
    except Exception as error:
        msg = f"not a valid CIF: {_reason(error)}"
        raise DataError(msg) from error
    return _checked(atoms)


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
                    msg = f"frame {number} cannot be decoded: {_reason(error)}"
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
    try:
        return _checked(atoms)
    except StructureError as error:
        return error


def _checked(atoms: Atoms) -> Atoms:
    for species in atoms.info.get("occupancy", {}).values():
        if len(species) != 1 or abs(sum(species.values()) - 1) > 1e-6:
            found = ", ".join(f"{symbol} {share}" for symbol, share in species.items())
            msg = (
                f"disordered or partially occupied site ({found}); order the "
                "structure first"
            )
            raise StructureError(msg)
    return atoms


def _reason(error: Exception) -> str:
    return str(error) or f"not what the format allows ({type(error).__name__})"


def _unreadable(error: Exception, path: Path, kind: str) -> DataError:
    if isinstance(error, UnknownFileTypeError):
        return UnknownFormatError("unknown format", path=path)
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"cannot be read: {error.strerror}", path=path)
    known = f" as {kind}" if kind else ""
    return DataError(f"cannot be read{known}: {_reason(error)}", path=path)
