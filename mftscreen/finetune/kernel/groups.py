"""Rows that have to be held out together, and folds of them."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.duplicates import same_structures
from mftscreen.structures import find_neighbors, reduced_formula

__all__ = ["fold_numbers"]

LARGEST_GROUP = 0.4
"""Share of the rows; where one formula has more, structures are what is held out."""

BOND = 1.25
"""Longest bond in units of the sum of covalent radii."""

ROUNDS = 4
"""Bonds away from an atom that tell it from others."""

log = logging.getLogger(__name__)


def fold_numbers(
    rows: Sequence[LabelledStructure], n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Return a fold for each row.

    Rows of one id or one structure, however it is written, share theirs, and so do
    crystals of one reduced formula and conformers of one molecule: errors are those of
    substances that a model has not seen. Where that leaves too little to learn from
    (polymorphs of one compound), crystals of one formula are told apart.

    Parameters
    ----------
    rows : sequence of LabelledStructure
    n_folds : int
        Fewer are made of fewer groups.
    seed : int

    Returns
    -------
    ndarray of shape (n_rows,)
        Numbers from 0; at least two folds of at least two rows.
    """
    structures = [row.atoms for row in rows]
    keys: list[Iterable[Hashable]] = [
        [row.id for row in rows],
        same_structures(structures).tolist(),
        [None if atoms.pbc.any() else _bonds(atoms) for atoms in structures],
    ]
    formulas = [reduced_formula(a) if a.pbc.any() else None for a in structures]
    numbers = _join(len(rows), [*keys, formulas])
    if np.bincount(numbers).max() > LARGEST_GROUP * len(rows):
        log.warning(
            "most rows are of one formula: cross-validation holds out structures of "
            "it, so that its errors are not those of other compositions"
        )
        numbers = _join(len(rows), keys[:2])
        if numbers.max() == 0:
            numbers = np.arange(len(rows))
    n = int(numbers.max()) + 1
    place = np.random.default_rng(seed).permutation(n) % min(n_folds, n)
    return np.asarray(place[numbers], dtype=np.int64)


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
    """Return what the conformers of a molecule have in common: who is bonded to whom.

    Colours of atoms by the Weisfeiler-Lehman test of graphs.
    """
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
