"""Voronoi cells of a crystal: checks and set-up of the compiled tessellation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from mftscreen.compiling import interruptible
from mftscreen.errors import (
    InvalidGeometryError,
    PeriodicityError,
    UnknownElementError,
)
from mftscreen.ood.ofm.orbitals import MAX_Z
from mftscreen.structures import MAX_COORDINATE, MIN_CELL_HEIGHT, MIN_DISTANCE

__all__ = ["Crystal", "build_crystal", "voronoi_weights"]

_OPEN_BOX = 1e4  # Å, half the edge of a cube far outside any closed cell

_LONGEST_SEARCH = 1000.0
"""Å; the number of neighbours, hence time and memory, grows with the vacuum squared."""


@dataclass(frozen=True)
class Crystal:
    """A structure that has been checked, in a short basis of its lattice."""

    atoms: Atoms
    cell: NDArray[np.float64]  # (3, 3), Å
    scaled: NDArray[np.float64]  # (n_atoms, 3), in [0, 1]
    numbers: NDArray[np.int64]  # (n_species,), sorted
    species: NDArray[np.int64]  # (n_atoms,)


def build_crystal(atoms: Atoms) -> Crystal:
    """Return `atoms` in a short basis, or raise if it has no orbital field matrix.

    Parameters
    ----------
    atoms : Atoms
        It is not changed.

    Returns
    -------
    Crystal

    Raises
    ------
    InvalidGeometryError
        No atoms; a position or cell entry that is not finite or beyond
        ``MAX_COORDINATE``; a cell without volume, whichever basis of its lattice is
        taken.
    PeriodicityError
        If it is not periodic in all three directions.
    UnknownElementError
        An element beyond Pu, or ASE's placeholder X.
    """
    from mftscreen.ood.ofm.voronoi import reduce_cell

    if len(atoms) == 0:
        msg = "the structure has no atoms"
        raise InvalidGeometryError(msg)
    if not atoms.pbc.all():
        msg = (
            "an orbital field matrix needs a structure that is periodic in all three "
            f"directions; pbc is {atoms.pbc.tolist()}"
        )
        raise PeriodicityError(msg)
    numbers, species = np.unique(atoms.numbers, return_inverse=True)
    _check_elements(numbers)
    cell = np.array(atoms.cell, dtype=np.float64)
    _check_coordinates(atoms, cell)
    cell = reduce_cell(_with_volume(cell))
    # numba compiles once for each memory layout; a transpose would be another
    scaled = np.ascontiguousarray(np.linalg.solve(cell.T, atoms.positions.T).T)
    scaled -= np.floor(scaled)
    return Crystal(
        atoms, cell, scaled, numbers.astype(np.int64), species.astype(np.int64)
    )


def _check_elements(numbers: NDArray[np.int64]) -> None:
    unknown = [
        chemical_symbols[z] if 0 <= z < len(chemical_symbols) else f"number {z}"
        for z in numbers
        if not 1 <= z <= MAX_Z
    ]
    if unknown:
        msg = (
            f"no valence orbitals are known for {', '.join(unknown)}; the orbital "
            "field matrix covers H to Pu"
        )
        raise UnknownElementError(msg)


def _check_coordinates(atoms: Atoms, cell: NDArray[np.float64]) -> None:
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        msg = (
            f"the position of atom {bad} ({atoms.symbols[bad]}) is not finite: "
            f"{atoms.positions[bad].tolist()}"
        )
        raise InvalidGeometryError(msg)
    if not np.isfinite(cell).all():
        msg = f"the cell is not finite: {cell.tolist()}"
        raise InvalidGeometryError(msg)
    largest = max(np.abs(atoms.positions).max(), np.abs(cell).max())
    if largest > MAX_COORDINATE:
        msg = (
            f"a coordinate of {largest:.3g} Å; positions and cell vectors of up to "
            f"{MAX_COORDINATE:.0f} Å are expected"
        )
        raise InvalidGeometryError(msg)


def _with_volume(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a cell, in a compact basis of its lattice if it is too flat, or raise."""
    if not _is_flat(cell):
        return cell
    # a skewed cell is flat, too, but its lattice has a basis that is not
    with (
        suppress(ValueError, RuntimeError, np.linalg.LinAlgError),
        np.errstate(divide="ignore", invalid="ignore"),  # of vectors in one plane
    ):
        compact: NDArray[np.float64] = minkowski_reduce(cell)[0]
        if not _is_flat(compact):
            return compact
    msg = (
        f"the cell has (almost) no volume: its vectors are {cell.tolist()} Å; a "
        f"height of at least {MIN_CELL_HEIGHT} Å is expected"
    )
    raise InvalidGeometryError(msg)


def _is_flat(cell: NDArray[np.float64]) -> bool:
    volume, areas = _volume_and_areas(cell)
    return not (volume > 0.0 and (volume >= MIN_CELL_HEIGHT * areas).all())


def _volume_and_areas(
    cell: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return the volume (Å^3) and the areas (3,) (Å^2) of the faces of a cell."""
    normals = np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]])
    return abs(float(normals[0] @ cell[0])), np.linalg.norm(normals, axis=1)


def voronoi_weights(
    crystal: Crystal,
    sites: NDArray[np.int64],
    *,
    cutoff: float | None = None,
    image_cell: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the neighbours' weights and the sizes of the Voronoi cells of some sites.

    Parameters
    ----------
    crystal : Crystal
    sites : ndarray of shape (n_sites,)
    cutoff : float, optional
        Ignore neighbours further away than this (Å), and drop faces that are open for
        that reason. By default the true periodic cell is found.
    image_cell : ndarray of shape (3, 3), optional
        Take distances to the closest image in this lattice.

    Returns
    -------
    weights : ndarray of shape (n_sites, n_species)
        In 1/Å, see :func:`mftscreen.ood.ofm.voronoi.tessellate`.
    radii : ndarray of shape (n_sites,)
        Largest distance (Å) from a site to a vertex of its cell.

    Raises
    ------
    InvalidGeometryError
        Two atoms closer than 0.3 Å, or a vacuum of about 1000 Å.
    """
    from mftscreen.ood.ofm.voronoi import OVERFLOW, OVERLAP, tessellate

    half_box = _OPEN_BOX
    if cutoff is None:
        # no point is further than this from the nearest point of the lattice, hence no
        # vertex from its atom
        half_box = 1.01 * 0.5 * float(np.linalg.norm(crystal.cell, axis=1).sum())
    volume, areas = _volume_and_areas(crystal.cell)
    # a sphere of this radius holds 80 atoms on average, enough for most cells
    first_cutoff = float(np.cbrt(60.0 / np.pi * volume / len(crystal.scaled)))
    max_faces = 96
    while True:
        with interruptible():
            status, weights, radii, overlap = tessellate(
                crystal.cell,
                volume / areas,
                crystal.scaled,
                crystal.species,
                sites,
                first_cutoff,
                _LONGEST_SEARCH if cutoff is None else cutoff,
                half_box,
                MIN_DISTANCE,
                np.empty((0, 3)) if image_cell is None else image_cell,
                max_faces,
            )
        if status != OVERFLOW:
            break
        max_faces *= 2
    if status == OVERLAP:
        i, j = sorted((int(overlap[0]), int(overlap[1])))
        symbols = crystal.atoms.symbols
        msg = (
            f"atoms {i} ({symbols[i]}) and {j} ({symbols[j]}) are {overlap[2]:.3f} Å "
            f"apart; at least {MIN_DISTANCE} Å is expected"
        )
        raise InvalidGeometryError(msg)
    if cutoff is None and 2.0 * radii.max() > _LONGEST_SEARCH:
        msg = (
            f"an empty sphere of {radii.max():.0f} Å radius; reduce the vacuum, "
            f"{0.5 * _LONGEST_SEARCH:.0f} Å is the limit"
        )
        raise InvalidGeometryError(msg)
    return weights, radii
