r"""Orbital field matrices: which valence orbitals of neighbours meet in a crystal.

The orbital field matrix of a structure is

.. math::

    M = \frac{1}{N} \sum_i \sum_f \frac{\omega_f}{\omega_{max,i} \, d_f} \,
        v(j_f) \, v(i)^T

over the faces :math:`f` of the Voronoi cell of every atom :math:`i`, with the solid
angle :math:`\omega_f` of a face, the distance :math:`d_f` (Bohr) to the atom
:math:`j_f` behind it and the 32 valence orbitals :math:`v` of the elements
(:func:`mftscreen.ood.orbitals.element_table`). Rows belong to the neighbour, columns to
the centre.

References
----------
T. Lam Pham et al., Sci. Technol. Adv. Mater. 18, 756 (2017),
doi:10.1080/14686996.2017.1378060
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import StructureError
from mftscreen.ood.cells import build_crystal, voronoi_weights
from mftscreen.ood.matminer_mode import matminer_weights, orbit_representatives
from mftscreen.ood.orbitals import Table, element_table
from mftscreen.structures import to_atoms

__all__ = [
    "LOW_DIMENSIONAL_RADIUS",
    "N_FEATURES",
    "Mode",
    "max_voronoi_radius",
    "orbital_field_matrices",
    "orbital_field_matrix",
]

Mode = Literal["exact", "matminer"]

N_FEATURES = 1024

LOW_DIMENSIONAL_RADIUS = 6.5
"""Å; with a larger Voronoi cell there is vacuum, whose thickness shapes the matrix."""

ANGSTROM_IN_BOHR = 1.00001495e-10 / 5.29177210544e-11
"""matminer's conversion, which uses the Angstrom star of CODATA 2022."""


def orbital_field_matrix(
    atoms: Any,
    *,
    table: Table = "current",
    mode: Mode = "exact",
    per_site: bool = False,
) -> NDArray[np.float64]:
    """Return the flattened orbital field matrix of a crystal.

    Parameters
    ----------
    atoms : Atoms or pymatgen Structure
        Periodic in all three directions; it is not changed.
    table : {"current", "paper"}, default "current"
        The element table, see :func:`mftscreen.ood.orbitals.element_table`. Vectors of
        different tables cannot be compared.
    mode : {"exact", "matminer"}, default "exact"
        "exact" uses the true Voronoi cell of every atom. "matminer" repeats what
        matminer's ``OrbitalFieldMatrix`` does, for comparison: neighbours within 13 Å
        only, open faces dropped, distances to the closest image in a 3x3x3
        supercell, and one site of each set of symmetry-equivalent ones.
    per_site : bool, default False
        Return the matrix of every atom instead of their mean.

    Returns
    -------
    ndarray of shape (1024,) or (n_atoms, 1024)
        In 1/Bohr. Element ``32 * k + l`` belongs to orbital `k` of the neighbour and
        orbital `l` of the centre (:func:`mftscreen.ood.orbitals.pair_label`).

    Raises
    ------
    StructureError
        If `atoms` is of another type or has disordered sites.
    InvalidGeometryError
        No atoms; a position or cell entry that is not finite; a cell without volume;
        two atoms closer than 0.3 Å.
    PeriodicityError
        If the structure is not periodic in all three directions.
    UnknownElementError
        An element beyond Pu, or ASE's placeholder X.
    ValueError
        If `table` or `mode` is unknown.

    Notes
    -----
    "exact" does not depend on the choice of the cell, the order of the atoms or the
    orientation. In a layer or a molecule in a box it depends on the vacuum, as any
    Voronoi cell does: see :func:`max_voronoi_radius`.

    References
    ----------
    .. [1] T. Lam Pham et al., Sci. Technol. Adv. Mater. 18, 756 (2017),
       doi:10.1080/14686996.2017.1378060

    Examples
    --------
    >>> from ase.build import bulk
    >>> vector = orbital_field_matrix(bulk("NaCl", "rocksalt", a=5.64))
    >>> vector.shape
    (1024,)
    >>> from mftscreen.ood.orbitals import pair_label
    >>> sorted(pair_label(k) for k in vector.nonzero()[0])[:3]
    ['p5 – s1', 's1 – p5', 's1 – s2']
    """
    if mode not in get_args(Mode):
        msg = f"mode must be 'exact' or 'matminer', got {mode!r}"
        raise ValueError(msg)
    vectors = element_table(table)
    crystal = build_crystal(to_atoms(atoms))
    sites = np.arange(len(crystal.species))
    shares = np.full(len(sites), 1.0 / len(sites))
    if mode == "matminer":
        if not per_site:
            sites, shares = orbit_representatives(crystal)
        weights = matminer_weights(crystal, sites)
    else:
        weights, _ = voronoi_weights(crystal, sites)
    weights = weights / ANGSTROM_IN_BOHR
    neighbours = weights @ vectors[crystal.numbers]
    centres = vectors[crystal.numbers[crystal.species[sites]]]
    if per_site:
        matrices = neighbours[:, :, None] * centres[:, None, :]
        return matrices.reshape(len(sites), N_FEATURES)
    matrix: NDArray[np.float64] = (neighbours * shares[:, None]).T @ centres
    return matrix.reshape(N_FEATURES)


def orbital_field_matrices(
    structures: Iterable[Any], *, table: Table = "current", mode: Mode = "exact"
) -> list[NDArray[np.float64] | StructureError]:
    """Return the orbital field matrix of each structure, or why there is none.

    Parameters
    ----------
    structures : iterable of Atoms or pymatgen Structure
    table : {"current", "paper"}, default "current"
    mode : {"exact", "matminer"}, default "exact"
        Both as in :func:`orbital_field_matrix`.

    Returns
    -------
    list of ndarray of shape (1024,) or StructureError
        In the order of `structures`.

    Raises
    ------
    ValueError
        If `table` or `mode` is unknown.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase.build import bulk
    >>> good, bad = orbital_field_matrices([bulk("Si"), Atoms("Si")])
    >>> good.shape, bad.status
    ((1024,), 'unsupported_pbc')
    """
    results: list[NDArray[np.float64] | StructureError] = []
    for atoms in structures:
        try:
            results.append(orbital_field_matrix(atoms, table=table, mode=mode))
        except StructureError as error:
            results.append(error)
    return results


def max_voronoi_radius(atoms: Any) -> float:
    """Return the largest distance from an atom to a vertex of its Voronoi cell.

    Parameters
    ----------
    atoms : Atoms or pymatgen Structure

    Returns
    -------
    float
        In Å: the radius of the largest empty sphere. Above ``LOW_DIMENSIONAL_RADIUS``
        (6.5 Å) the structure holds vacuum, its orbital field matrix depends on the
        thickness of the vacuum, and matminer's values differ from the true ones.

    Raises
    ------
    StructureError
        As :func:`orbital_field_matrix`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> round(max_voronoi_radius(bulk("Cu", "sc", a=2.0)), 6)  # half the diagonal
    1.732051
    """
    crystal = build_crystal(to_atoms(atoms))
    _, radii = voronoi_weights(crystal, np.arange(len(crystal.species)))
    return float(radii.max())
