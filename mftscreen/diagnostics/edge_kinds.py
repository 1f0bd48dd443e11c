"""Kinds of edges: a pair of elements at a near, middle or far distance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from mftscreen.diagnostics.environments import max_bond_length
from mftscreen.errors import DataError
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.network.graph import Neighbors, sort_neighbors

__all__ = [
    "SHELLS",
    "EdgeCensus",
    "Pair",
    "Shells",
    "count_edges",
    "frequent_pairs",
    "parse_pair",
]

SHELLS = ("near", "middle", "far")

Pair = tuple[str, str]
"""Elements of the atom that has the edge and of its neighbour."""


@dataclass(frozen=True)
class Shells:
    """Distances (Å) of edges that are not bonds.

    Attributes
    ----------
    middle, far : tuple of float
        From (inclusive) and to (exclusive).
    """

    middle: tuple[float, float]
    far: tuple[float, float]

    @classmethod
    def of(cls, cutoffs: EdgeCutoffs) -> Shells:
        """Return the shells for a descriptor's cutoffs.

        Middle edges take part in angles, far ones do not: 3 to 4 Å and 5 to 6 Å
        (appendix D.1 of arXiv:2601.08486, for angles up to 4 Å and edges up to 6 Å),
        and in proportion if the descriptor does not see as far.

        Examples
        --------
        >>> Shells.of(EdgeCutoffs(edge=6.0, angle=4.0))
        Shells(middle=(3.0, 4.0), far=(5.0, 6.0))
        >>> Shells.of(EdgeCutoffs(edge=4.8, angle=2.0))
        Shells(middle=(1.5, 2.0), far=(4.0, 4.8))
        """
        angle, edge = min(cutoffs.angle, 4.0), min(cutoffs.edge, 6.0)
        return cls((3 * angle / 4, angle), (max(5 * edge / 6, angle), edge))


@dataclass(frozen=True)
class EdgeCensus:
    """All edges of some structures and the kind of each.

    Attributes
    ----------
    sizes : list of int
        Number of edges of each structure.
    codes : ndarray of shape (n_edges,)
        3 times the position of the pair plus that of the shell in ``SHELLS``;
        -1 for edges of no kind.
    """

    sizes: list[int]
    codes: NDArray[np.int16]


def parse_pair(text: str) -> Pair:
    """Return a pair of elements written as ``C-O``.

    Raises
    ------
    DataError
        If it is not two chemical symbols.

    Examples
    --------
    >>> parse_pair("C-O")
    ('C', 'O')
    """
    symbols = tuple(text.split("-"))
    if len(symbols) != 2 or not all(s in atomic_numbers for s in symbols):
        msg = f"{text!r} is no pair of elements; expected two symbols, such as C-O"
        raise DataError(msg)
    return symbols[0], symbols[1]


def frequent_pairs(
    structures: Sequence[Atoms], cutoffs: EdgeCutoffs, n_pairs: int = 2
) -> list[Pair]:
    """Return the pairs of elements that are bonded most often.

    Parameters
    ----------
    structures : sequence of Atoms
    cutoffs : EdgeCutoffs
    n_pairs : int, default 2

    Returns
    -------
    list of tuple of str
        Elements in alphabetical order, fewer than `n_pairs` if there are no more;
        pairs that occur equally often in alphabetical order.
    """
    counts: Counter[Pair] = Counter()
    for atoms in structures:
        edges = sort_neighbors(atoms, cutoffs.edge)
        first, second = atoms.numbers[edges.centers], atoms.numbers[edges.owners]
        bonded = edges.distances < max_bond_length(first, second)
        found, numbers = np.unique(
            np.sort([first[bonded], second[bonded]], axis=0), axis=1, return_counts=True
        )
        for pair, number in zip(found.T.tolist(), numbers.tolist(), strict=True):
            one, other = sorted(chemical_symbols[z] for z in pair)
            counts[one, other] += number
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[:n_pairs]


def count_edges(
    structures: Sequence[Atoms], pairs: Sequence[Pair], cutoffs: EdgeCutoffs
) -> EdgeCensus:
    """Return the kinds of all edges.

    Parameters
    ----------
    structures : sequence of Atoms
        At least one.
    pairs : sequence of tuple of str
        An edge is directed: of C-O are those of a carbon atom to an oxygen atom.
    cutoffs : EdgeCutoffs

    Returns
    -------
    EdgeCensus
    """
    shells = Shells.of(cutoffs)
    sizes: list[int] = []
    codes: list[NDArray[np.int16]] = []
    for atoms in structures:
        edges = sort_neighbors(atoms, cutoffs.edge)
        sizes.append(len(edges.centers))
        codes.append(_classify(atoms.numbers, edges, pairs, shells))
    return EdgeCensus(sizes, np.concatenate(codes))


def _classify(
    numbers: NDArray[np.int64],
    edges: Neighbors,
    pairs: Sequence[Pair],
    shells: Shells,
) -> NDArray[np.int16]:
    first, second, d = numbers[edges.centers], numbers[edges.owners], edges.distances
    shell = np.full(len(d), -1)
    shell[(d >= shells.far[0]) & (d < shells.far[1])] = 2
    shell[(d >= shells.middle[0]) & (d < shells.middle[1])] = 1
    # long bonds, as between heavy elements, are near edges
    shell[d < max_bond_length(first, second)] = 0
    codes = np.full(len(d), -1, dtype=np.int16)
    for number, (one, other) in enumerate(pairs):
        mine = (first == atomic_numbers[one]) & (second == atomic_numbers[other])
        mine &= shell >= 0
        codes[mine] = len(SHELLS) * number + shell[mine]
    return codes
