"""Mixed batches of structures as one padded neighbour graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.structures import find_separate_neighbors

__all__ = [
    "FlatGraph",
    "NeighborGraph",
    "Neighbors",
    "build_flat_graph",
    "build_graph",
    "sort_neighbors",
]


@dataclass(frozen=True)
class NeighborGraph:
    """Structures of any composition and size, padded to common lengths.

    A frame has ``n_local`` slots for its own atoms, then ``n_ghost`` for the periodic
    images that are neighbours; unused slots hold type -1 (deepmd's virtual atoms).

    Attributes
    ----------
    coordinates : ndarray of shape (n_frames, n_local + n_ghost, 3)
        In Å, from the middle of the atoms.
    types : ndarray of shape (n_frames, n_local + n_ghost)
        Index into the type map; -1 marks padding.
    neighbors : ndarray of shape (n_frames, n_local, n_neighbors)
        Slots of the neighbours of each atom, nearest first; -1 marks padding.
    owners : ndarray of shape (n_frames, n_local + n_ghost)
        The atom that each slot is an image of.
    n_angle_neighbors : int
        The most neighbours any atom has within the angle cutoff, at least 1.
    """

    coordinates: NDArray[np.float64]
    types: NDArray[np.int64]
    neighbors: NDArray[np.int64]
    owners: NDArray[np.int64]
    n_angle_neighbors: int

    @property
    def n_local(self) -> int:
        """Slots for atoms in each frame."""
        return int(self.neighbors.shape[1])


@dataclass(frozen=True)
class Neighbors:
    """The neighbours of all atoms: by atom, and nearest first for each.

    Attributes
    ----------
    centers, owners : ndarray of shape (n_edges,)
        The atom that has the neighbour, and the atom that this is (an image of).
    positions : ndarray of shape (n_edges, 3)
        Of the neighbour, in Å.
    ranks : ndarray of shape (n_edges,)
        0 for the nearest neighbour of an atom, 1 for the next, ...
    distances : ndarray of shape (n_edges,)
        In Å.
    """

    centers: NDArray[np.int64]
    owners: NDArray[np.int64]
    positions: NDArray[np.float64]
    ranks: NDArray[np.int64]
    distances: NDArray[np.float64]


def sort_neighbors(atoms: Atoms, cutoff: float) -> Neighbors:
    """Return the neighbours of all atoms within `cutoff` Å.

    Raises
    ------
    InvalidGeometryError
        If two atoms are too close; see
        :func:`mftscreen.structures.find_separate_neighbors`.
    """
    centers, others, shifts, distances = find_separate_neighbors(atoms, cutoff)
    order = np.lexsort((distances, centers))
    centers, others = centers[order], others[order]
    starts = np.searchsorted(centers, np.arange(len(atoms)))
    cell = np.asarray(atoms.cell)
    return Neighbors(
        centers=centers,
        owners=others,
        positions=atoms.positions[others] + shifts[order] @ cell,
        ranks=np.arange(len(centers)) - starts[centers],
        distances=distances[order],
    )


def build_graph(
    structures: Sequence[Atoms],
    type_index: Mapping[str, int],
    cutoff: float,
    angle_cutoff: float,
    n_neighbors: int | None = None,
) -> NeighborGraph:
    """Return one graph for structures of different compositions and sizes.

    Parameters
    ----------
    structures : sequence of Atoms
        At least one, each with at least one atom.
    type_index : mapping of str to int
        Position of each chemical symbol in the model's type map.
    cutoff, angle_cutoff : float
        In Å.
    n_neighbors : int, optional
        Keep this many nearest neighbours per atom and pad to it, as deepmd-kit does
        with ``sel``. By default all neighbours are kept and the padding is as short
        as the batch allows.

    Returns
    -------
    NeighborGraph

    Raises
    ------
    InvalidGeometryError
        As :func:`sort_neighbors`.
    """
    found = [sort_neighbors(atoms, cutoff) for atoms in structures]
    if n_neighbors is None:
        n_neighbors = max(int(n.ranks.max(initial=0)) + 1 for n in found)
    n_frames = len(structures)
    n_local = max(len(atoms) for atoms in structures)
    n_slots = n_local + max(len(n.centers) for n in found)
    coordinates = np.zeros((n_frames, n_slots, 3))
    types = np.full((n_frames, n_slots), -1, dtype=np.int64)
    owners = np.zeros((n_frames, n_slots), dtype=np.int64)
    neighbors = np.full((n_frames, n_local, n_neighbors), -1, dtype=np.int64)
    n_angle = 1
    for frame, (atoms, near) in enumerate(zip(structures, found, strict=True)):
        n_atoms, n_ghosts = len(atoms), len(near.centers)
        ghosts = slice(n_local, n_local + n_ghosts)
        # about their middle, for models that take differences in single precision
        middle = atoms.positions.mean(axis=0)
        coordinates[frame, :n_atoms] = atoms.positions - middle
        coordinates[frame, ghosts] = near.positions - middle
        types[frame, :n_atoms] = [type_index[symbol] for symbol in atoms.symbols]
        types[frame, ghosts] = types[frame, near.owners]
        owners[frame, :n_atoms] = np.arange(n_atoms)
        owners[frame, ghosts] = near.owners
        kept = near.ranks < n_neighbors
        slots = np.arange(n_local, n_local + n_ghosts)
        neighbors[frame, near.centers[kept], near.ranks[kept]] = slots[kept]
        angular = near.ranks[near.distances < angle_cutoff]
        n_angle = max(n_angle, int(angular.max(initial=0)) + 1)
    return NeighborGraph(
        coordinates, types, neighbors, owners, min(n_angle, n_neighbors)
    )


@dataclass(frozen=True)
class FlatGraph:
    """Structures as parts of one graph, with an edge from each atom to each neighbour.

    A periodic image stands for the atom itself. Edges within the angle cutoff come
    first, in the order of their centres; then the others, in the same order.

    Attributes
    ----------
    types : ndarray of shape (n_atoms,)
        Index into the type map.
    starts : ndarray of shape (2 n_atoms + 1,)
        Edges ``starts[i]`` to ``starts[i + 1]`` are those of atom i within the angle
        cutoff, and ``starts[n_atoms + i]`` to ``starts[n_atoms + i + 1]`` its others.
    centers, others : ndarray of shape (n_edges,)
    vectors : ndarray of shape (n_edges, 3)
        From centre to neighbour, in Å.
    """

    types: NDArray[np.int64]
    starts: NDArray[np.int64]
    centers: NDArray[np.int64]
    others: NDArray[np.int64]
    vectors: NDArray[np.float32]

    @property
    def n_atoms(self) -> int:
        """Atoms of all structures."""
        return len(self.types)

    @property
    def n_near(self) -> int:
        """Edges within the angle cutoff."""
        return int(self.starts[self.n_atoms])


def build_flat_graph(
    structures: Sequence[Atoms],
    type_index: Mapping[str, int],
    cutoff: float,
    angle_cutoff: float,
) -> FlatGraph:
    """Return one graph for structures of different compositions and sizes.

    Parameters
    ----------
    structures : sequence of Atoms
        At least one, each with at least one atom.
    type_index : mapping of str to int
        Position of each chemical symbol in the model's type map.
    cutoff, angle_cutoff : float
        In Å.

    Returns
    -------
    FlatGraph

    Raises
    ------
    InvalidGeometryError
        As :func:`sort_neighbors`.
    """
    n_atoms = 0
    parts = []
    for atoms in structures:
        centers, others, shifts, distances = find_separate_neighbors(atoms, cutoff)
        positions = atoms.positions
        vectors = positions[others] - positions[centers] + shifts @ atoms.cell.array
        parts.append((centers + n_atoms, others + n_atoms, vectors, distances))
        n_atoms += len(atoms)
    centers, others, vectors, distances = map(np.concatenate, zip(*parts, strict=True))
    lists = centers + n_atoms * (distances >= angle_cutoff)
    order = np.argsort(lists, kind="stable")
    return FlatGraph(
        types=np.array([type_index[s] for atoms in structures for s in atoms.symbols]),
        starts=np.concatenate(
            [[0], np.bincount(lists, minlength=2 * n_atoms).cumsum()]
        ),
        centers=centers[order],
        others=others[order],
        vectors=vectors[order].astype(np.float32),
    )
