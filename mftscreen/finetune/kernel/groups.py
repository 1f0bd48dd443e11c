"""Rows that have to be held out together, and folds of them."""

from __future__ import annotations

import logging
from collections import Counter
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
"""Share of the rows; where formulas join more, structures are what is held out."""

LARGEST_ID = 0.9
"""Share of the rows; where ids or groups join more, they are not looked at."""

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
    has not seen.

    Where that joins more than 40 % of the rows (polymorphs of one compound, or groups
    that formulas chain together), crystals of one formula are told apart, and so are
    conformers. Where ids or groups join more than 90 %, they are not looked at, and
    where one structure has so many rows, each row is told from all others. A warning
    says so.

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
    repeats = _largest_share(_join(n, [keys.structures]))
    if repeats > LARGEST_ID:
        log.warning(
            "one structure has %.0f %% of the rows: cross-validation holds out single "
            "rows, whatever their ids or groups, so that its errors are too small",
            100 * repeats,
        )
        return np.arange(n)
    own: list[Sequence[Hashable]] = [keys.ids, keys.structures]
    apart = _join(n, own)
    if (share := _largest_share(apart)) > LARGEST_ID:
        log.warning(
            "rows of one id or group (%r has %d) would join %.0f %% of all: ids and "
            "groups do not count in cross-validation",
            *Counter(keys.ids).most_common(1)[0],
            100 * share,
        )
        own = [keys.structures]
        apart = _join(n, own)
    joined = _join(n, [*own, keys.bonds, keys.formulas])
    # where substances make nothing larger, telling them apart would be of no use
    if _largest_share(joined) <= max(LARGEST_GROUP, _largest_share(apart)):
        return joined
    log.warning(
        "%s: cross-validation keeps rows of one structure%s together, but not those of "
        "one substance, so that its errors are not those of new substances",
        _why_apart(keys, joined),
        ", id or group" if len(own) > 1 else "",
    )
    return apart


def _why_apart(keys: SubstanceKeys, joined: NDArray[np.int64]) -> str:
    """Return why substances cannot be held out as a whole."""
    n = len(joined)
    substances = _join(n, [keys.structures, keys.bonds, keys.formulas])
    if (share := _largest_share(substances)) > LARGEST_GROUP:
        row = int(np.argmax(substances == np.bincount(substances).argmax()))
        name = keys.formulas[row]
        named = f" ({name})" if name else ""
        return f"one substance{named} has {100 * share:.0f} % of the rows"
    return (
        "substances that several ids or groups have in common join "
        f"{100 * _largest_share(joined):.0f} % of the rows"
    )


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
