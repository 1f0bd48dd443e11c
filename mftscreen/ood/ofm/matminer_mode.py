"""What matminer's ``OrbitalFieldMatrix`` does differently from its definition.

Only for comparison with published vectors: cells are made from neighbours within 13 Å,
their open faces are dropped, distances are those of the closest image in a 3x3x3
supercell, and one site stands for all symmetry-equivalent ones.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import InvalidGeometryError
from mftscreen.ood.ofm.cells import Crystal, voronoi_weights

__all__ = ["matminer_weights", "orbit_representatives"]

_CUTOFF = 13.0


def orbit_representatives(
    crystal: Crystal,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return one site of each set of symmetry-equivalent ones.

    Parameters
    ----------
    crystal : Crystal

    Returns
    -------
    sites : ndarray of shape (n_orbits,)
        The first atom of each orbit.
    shares : ndarray of shape (n_orbits,)
        Sizes of the orbits, divided by the number of atoms.

    Raises
    ------
    InvalidGeometryError
        If spglib finds no space group.
    """
    import spglib

    atoms = crystal.atoms
    # spglib's annotation asks for lists, its documentation for arrays
    cell: Any = (np.asarray(atoms.cell), atoms.get_scaled_positions(), atoms.numbers)
    try:
        with warnings.catch_warnings():
            # spglib announces, on every call, that a failure will raise one day
            warnings.simplefilter("ignore", DeprecationWarning)
            # the tolerances are those of pymatgen's SpacegroupAnalyzer
            dataset = spglib.get_symmetry_dataset(
                cell, symprec=0.01, angle_tolerance=5.0
            )
    except spglib.SpglibError:
        dataset = None
    if dataset is None:
        msg = (
            "spglib finds no space group, which mode 'matminer' needs; use mode 'exact'"
        )
        raise InvalidGeometryError(msg)
    sites, counts = np.unique(dataset.equivalent_atoms, return_counts=True)
    return sites.astype(np.int64), counts / len(atoms)


def matminer_weights(
    crystal: Crystal, sites: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the neighbours' weights in matminer's truncated cells.

    Parameters
    ----------
    crystal : Crystal
    sites : ndarray of shape (n_sites,)

    Returns
    -------
    weights : ndarray of shape (n_sites, n_species)
        In 1/Å, see :func:`mftscreen.ood.ofm.voronoi.tessellate`.
    radii : ndarray of shape (n_sites,)
        Largest distance (Å) from a site to a vertex of its true cell.

    Raises
    ------
    InvalidGeometryError
        Two atoms closer than 0.3 Å, or an atom that neighbours its own image in the
        supercell, at distance 0 by matminer's definition.
    """
    from mftscreen.ood.ofm.voronoi import reduce_cell

    image_cell = reduce_cell(3.0 * np.array(crystal.atoms.cell, dtype=np.float64))
    weights, radii = voronoi_weights(crystal, sites, image_cell=image_cell)
    corners = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    diagonals = np.linalg.norm(3.0 * corners @ np.asarray(crystal.atoms.cell), axis=1)
    # pymatgen doubles its cutoff where qhull fails (a plane of atoms has no closed
    # cells) and keeps the larger one for the sites that follow
    largest = float(diagonals.max()) + 0.011
    cutoff = _CUTOFF
    for row in range(len(sites)):
        while 2.0 * radii[row] > cutoff:
            site = sites[row : row + 1]
            found, _ = voronoi_weights(
                crystal, site, cutoff=cutoff, image_cell=image_cell
            )
            if found.any() or cutoff >= largest:
                weights[row] = found[0]
                break
            cutoff = min(2.0 * cutoff, largest)
    if not np.isfinite(weights).all():
        msg = (
            "an atom neighbours its own image in the 3x3x3 supercell, at distance 0 "
            "by matminer's definition; use mode 'exact'"
        )
        raise InvalidGeometryError(msg)
    return weights, radii
