"""Structures that are the same, however they are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import gcd

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.structures import find_neighbors, structure_hash

__all__ = ["possible_repeats", "same_structures"]

_CUTOFF = 7.0
"""Å; far enough to tell the stackings of layers apart."""
_N_WAVES = 8
_TOLERANCE = 5e-3
"""In a wave's sum per atom: reached when atoms are moved by some 0.001 Å."""
_VOLUME_TOLERANCE = 1e-4
"""Relative."""


def same_structures(structures: Sequence[Atoms]) -> NDArray[np.int64]:
    r"""Return a number for each structure, equal where structures are the same.

    Neither the order of the atoms nor origin, orientation or choice of the cell
    matter, and coordinates may be rounded to 0.0001 Å.

    Parameters
    ----------
    structures : sequence of Atoms
        With sound geometries (:func:`mftscreen.structures.check_structure`).

    Returns
    -------
    ndarray of shape (n_structures,)
        Numbers from 0, in the order of their first structures.

    Notes
    -----
    Structures are the same if they have one composition (of crystals: reduced), one
    volume per atom and one distribution of interatomic distances, compared by

    .. math::

        F_k = \frac{1}{N} \sum_{ij} \left(1 - r_{ij}^2 / r_c^2\right)^2
              \cos(q_k r_{ij} + \varphi_k(Z_i, Z_j)), \quad r_c = 7\ \text{Å},

    with eight fixed :math:`q_k` and phases for all pairs of elements. Mirror images
    count as the same, and so may structures that differ beyond 7 Å only. What moves an
    atom out of a symmetric site counts in second order: of 100 atoms, one that is moved
    by less than about 0.1 Å is not noticed.

    Examples
    --------
    >>> from ase.build import bulk
    >>> cell = bulk("NaCl", "rocksalt", a=5.64)
    >>> cubic = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    >>> same_structures([cell, cubic, bulk("NaCl", "rocksalt", a=5.65)])
    array([0, 0, 1])
    """
    n = len(structures)
    suspects = np.flatnonzero(possible_repeats(structures))
    # all others are alone, under a number of their own
    labels = np.arange(n)
    if suspects.size:
        found = _compare_waves(structures[k] for k in suspects.tolist())
        _, first, place = np.unique(found, return_index=True, return_inverse=True)
        labels[suspects] = suspects[first][place]
    ordered: NDArray[np.int64] = np.unique(labels, return_inverse=True)[1]
    return ordered.reshape(n).astype(np.int64)


def possible_repeats(structures: Iterable[Atoms]) -> NDArray[np.bool_]:
    """Tell which structures have the composition and volume of another one.

    All others are different from each other. This takes a hundredth of the time of
    :func:`same_structures`, which begins with it, and keeps no structure.

    Parameters
    ----------
    structures : iterable of Atoms
        As for :func:`same_structures`.

    Returns
    -------
    ndarray of shape (n_structures,)
    """
    members: dict[tuple[object, ...], list[int]] = defaultdict(list)
    volumes = []
    for k, atoms in enumerate(structures):
        members[_composition(atoms)].append(k)
        volumes.append(_log_volume(atoms))
    repeated = np.zeros(len(volumes), dtype=bool)
    for found in members.values():
        if len(found) == 1:
            continue
        ordered = sorted(found, key=volumes.__getitem__)
        # wide, so that rounding does not decide
        steps = np.diff([volumes[k] for k in ordered]) <= 1.01 * _VOLUME_TOLERANCE
        near = np.concatenate([[False], steps]) | np.concatenate([steps, [False]])
        repeated[np.array(ordered)[near]] = True
    return repeated


def _compare_waves(structures: Iterable[Atoms]) -> NDArray[np.int64]:
    """Return a number for each structure, equal where structures are the same."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    kinds: dict[tuple[object, ...], int] = {}
    known: dict[str, list[float]] = {}
    points = []
    for atoms in structures:
        key = structure_hash(atoms)
        if key not in known:
            known[key] = [
                # compositions are further apart than the tolerance
                float(kinds.setdefault(_composition(atoms), len(kinds))),
                _log_volume(atoms) * _TOLERANCE / _VOLUME_TOLERANCE,
                *_waves(atoms),
            ]
        points.append(known[key])
    # of equal points one will do: their pairs are as many as their square
    distinct, place = np.unique(np.round(points, 9), axis=0, return_inverse=True)
    pairs = cKDTree(distinct).query_pairs(_TOLERANCE, p=np.inf, output_type="ndarray")
    shape = (len(distinct), len(distinct))
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=shape)
    labels: NDArray[np.int64] = connected_components(graph)[1].astype(np.int64)
    return labels[place.ravel()]


def _composition(atoms: Atoms) -> tuple[object, ...]:
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    divisor = gcd(*counts.tolist()) if atoms.pbc.any() else 1
    return (int(atoms.pbc.sum()), *numbers.tolist(), *(counts // divisor).tolist())


def _log_volume(atoms: Atoms) -> float:
    """Return the logarithm of the volume per atom; 0 if there is none."""
    return float(np.log(atoms.get_volume() / len(atoms))) if atoms.pbc.all() else 0.0


def _tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wave numbers (1/Å) and phases by pair of atomic numbers."""
    rng = np.random.default_rng(0)
    phases = rng.uniform(0.0, 2.0 * np.pi, size=(_N_WAVES, 120, 120))
    return rng.uniform(1.0, 6.0, size=_N_WAVES), phases


_WAVE_NUMBERS, _PHASES = _tables()


def _waves(atoms: Atoms) -> NDArray[np.float64]:
    centers, others, _, distances = find_neighbors(atoms, _CUTOFF)
    first, second = atoms.numbers[centers], atoms.numbers[others]
    phases = _PHASES[:, np.minimum(first, second), np.maximum(first, second)]
    waves = np.cos(_WAVE_NUMBERS[:, None] * distances + phases)
    sums: NDArray[np.float64] = waves @ (1.0 - (distances / _CUTOFF) ** 2) ** 2
    return sums / len(atoms)
