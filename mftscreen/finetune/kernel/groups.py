"""Rows that have to be held out together, and folds of them."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.duplicates import same_structures
from mftscreen.structures import find_neighbors, reduced_formula

__all__ = ["SubstanceKeys", "draw_folds", "group_numbers"]

LARGEST_GROUP = 0.4
"""Share of the rows; where one formula has more, structures are what is held out."""

LARGEST_ID = 0.9
"""Where one id, or one structure, has more, single rows are."""

BOND = 1.25
"""Longest bond in units of the sum of covalent radii."""

ROUNDS = 4
"""Bonds away from an atom that tell it from others."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SubstanceKeys:
    """What rows of one substance have in common.

    Attributes
    ----------
    ids : sequence of str
        Or groups, of rows that have one.
    structures : sequence of int
        The same for a structure however it is written.
    bonds : sequence of tuple or None
        Of molecules: who is bonded to whom, which conformers have in common.
    formulas : sequence of str or None
        Of crystals.
    """

    ids: Sequence[str]
    structures: Sequence[int]
    bonds: Sequence[tuple[int, ...] | None]
    formulas: Sequence[str | None]

    @classmethod
    def of(cls, rows: Sequence[LabelledStructure]) -> SubstanceKeys:
        """Return the keys of rows."""
        structures = [row.atoms for row in rows]
        return cls(
            [row.group or row.id for row in rows],
            same_structures(structures).tolist(),
            [None if atoms.pbc.any() else _bonds(atoms) for atoms in structures],
            [reduced_formula(a) if a.pbc.any() else None for a in structures],
        )

    def take(self, rows: Sequence[int]) -> SubstanceKeys:
        """Return the keys of some of the rows."""
        return SubstanceKeys(*([keys[k] for k in rows] for keys in vars(self).values()))


def group_numbers(keys: SubstanceKeys) -> NDArray[np.int64]:
    """Return a number for each row, equal where rows have to be held out together.

    Rows of one id or one structure share theirs, and so do crystals of one reduced
    formula and conformers of one molecule: errors are those of substances that a model
    has not seen. Where that leaves too little to learn from (polymorphs of one
    compound), crystals of one formula are told apart, and so, if need be, are rows of
    one id.

    Parameters
    ----------
    keys : SubstanceKeys
        Of at least two rows.

    Returns
    -------
    ndarray of shape (n_rows,)
        At least two different numbers, from 0.
    """
    n = len(keys.ids)
    substances = [keys.ids, keys.structures, keys.bonds, keys.formulas]
    numbers = _join(n, substances)
    if _largest_share(numbers) > LARGEST_GROUP:
        log.warning(
            "most rows are of one substance: cross-validation holds out structures of "
            "it, so that its errors are not those of other substances"
        )
        for together in ([keys.ids, keys.structures], [keys.structures]):
            numbers = _join(n, together)
            if _largest_share(numbers) <= LARGEST_ID:
                return numbers
        return np.arange(n)
    return numbers


def _largest_share(numbers: NDArray[np.int64]) -> float:
    return float(np.bincount(numbers).max() / len(numbers))


def draw_folds(groups: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Return a fold for each row; fewer than `n_folds` if there are fewer groups.

    Parameters
    ----------
    groups : ndarray of shape (n_rows,)
        From :func:`group_numbers`.
    n_folds : int
    seed : int

    Returns
    -------
    ndarray of shape (n_rows,)
        Numbers from 0.

    Examples
    --------
    >>> folds = draw_folds(np.array([0, 0, 1, 2]), n_folds=2, seed=0)
    >>> folds[0] == folds[1], sorted(set(folds.tolist()))
    (np.True_, [0, 1])
    """
    n = int(groups.max()) + 1
    place = np.random.default_rng(seed).permutation(n) % min(n_folds, n)
    return np.asarray(place[groups], dtype=np.int64)


def _join(n: int, keys: Sequence[Iterable[Hashable]]) -> NDArray[np.int64]:
    """Return numbers that rows have in common if one of their keys is the same."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs: list[tuple[int, int]] = []
    for column in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            if key is not None:
                pairs.append((first.setdefault(key, row), row))
    ones = np.ones(len(pairs))
    graph = coo_array((ones, np.array(pairs).reshape(-1, 2).T), shape=(n, n))
    return np.asarray(connected_components(graph)[1], dtype=np.int64)


def _bonds(atoms: Atoms) -> tuple[int, ...]:
    """Return the colours of atoms by the Weisfeiler-Lehman test of graphs."""
    radii = covalent_radii[atoms.numbers]
    centers, others, _, distances = find_neighbors(atoms, 2.0 * BOND * radii.max())
    bonded = distances < BOND * (radii[centers] + radii[others])
    partners: list[list[int]] = [[] for _ in atoms]
    for i, j in zip(centers[bonded].tolist(), others[bonded].tolist(), strict=True):
        partners[i].append(j)
    colors = atoms.numbers.tolist()
    for _ in range(ROUNDS):
        colors = [
            hash((colors[i], *sorted(colors[j] for j in near)))
            for i, near in enumerate(partners)
        ]
    return tuple(sorted(colors))
