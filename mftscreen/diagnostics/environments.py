"""Local environments of atoms: the element and the number of bonded neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import ArrayLike, NDArray

from mftscreen.structures import find_neighbors

__all__ = [
    "BOND_FACTOR",
    "Environment",
    "atom_environments",
    "count_bonded",
    "max_bond_length",
]

BOND_FACTOR = 1.15
"""Atoms closer than this times the sum of their covalent radii are bonded."""


def max_bond_length(numbers: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Return how far apart (Å) two atoms may be to count as bonded.

    Parameters
    ----------
    numbers, others : array_like of int
        Atomic numbers of the one and the other.

    Returns
    -------
    ndarray
        Shape of the input.

    Examples
    --------
    >>> float(max_bond_length(6, 8).round(4))
    1.633
    """
    radii = covalent_radii[np.asarray(numbers)] + covalent_radii[np.asarray(others)]
    return np.asarray(BOND_FACTOR * radii)


def count_bonded(atoms: Atoms) -> NDArray[np.int64]:
    """Return how many bonded neighbours each atom has.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    ndarray of shape (n_atoms,)
        Periodic images count one by one.

    Examples
    --------
    >>> from ase.build import bulk
    >>> count_bonded(bulk("NaCl", "rocksalt", a=5.64))
    array([6, 6])
    """
    longest = 2 * BOND_FACTOR * float(covalent_radii[atoms.numbers].max())
    centers, others, _, distances = find_neighbors(atoms, longest)
    limits = max_bond_length(atoms.numbers[centers], atoms.numbers[others])
    return np.bincount(centers[distances < limits], minlength=len(atoms))


class Environment(NamedTuple):
    """An element and a number of bonded neighbours, as text ``C4``.

    Attributes
    ----------
    element : str
    n_bonded : int
    """

    element: str
    n_bonded: int

    def __str__(self) -> str:
        return f"{self.element}{self.n_bonded}"


def atom_environments(atoms: Atoms) -> list[Environment]:
    """Return the environment of each atom.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    list of Environment

    Notes
    -----
    Two atoms are bonded if they are closer than 1.15 times the sum of their covalent
    radii (arXiv:2601.08486, appendix D.1; radii of ase.data, doi:10.1039/b801115j).
    That suits molecules. In ionic crystals, where the covalent radius of a cation is
    far above its ionic one, cations may count as neighbours of each other: the
    magnesium of MgO is ``Mg18``, with 6 O and 12 Mg.

    Examples
    --------
    >>> from ase.build import molecule
    >>> [str(environment) for environment in atom_environments(molecule("H2O"))]
    ['O2', 'H1', 'H1']
    """
    counts = count_bonded(atoms).tolist()
    return [Environment(s, n) for s, n in zip(atoms.symbols, counts, strict=True)]
