from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from mftscreen.errors import InvalidGeometryError
from mftscreen.model.network.graph import build_graph, sort_neighbors

INDEX = {symbol: k for k, symbol in enumerate(["H", "O", "Mg", "Si", "Ga", "As"])}
CUTOFF, ANGLE_CUTOFF = 4.5, 3.0


def test_neighbours_are_those_of_ase_nearest_first(
    mixed_structures: list[Atoms],
) -> None:
    for atoms in mixed_structures:
        found = sort_neighbors(atoms, CUTOFF)
        centers, distances = neighbor_list("id", atoms, CUTOFF)
        order = np.lexsort((distances, centers))
        np.testing.assert_array_equal(found.centers, centers[order])
        np.testing.assert_allclose(found.distances, distances[order], atol=1e-10)
        vectors = found.positions - atoms.positions[found.centers]
        lengths = np.linalg.norm(vectors, axis=1)
        np.testing.assert_allclose(lengths, found.distances, atol=1e-10)
        for atom in range(len(atoms)):
            ranks = found.ranks[found.centers == atom]
            np.testing.assert_array_equal(ranks, np.arange(len(ranks)))


def test_slots_hold_atoms_and_images_and_the_rest_is_padding(
    mixed_structures: list[Atoms],
) -> None:
    graph = build_graph(mixed_structures, INDEX, CUTOFF, ANGLE_CUTOFF)
    assert graph.n_local == max(map(len, mixed_structures))
    n_angle = 1
    for frame, atoms in enumerate(mixed_structures):
        n = len(atoms)
        near = sort_neighbors(atoms, CUTOFF)
        types = [INDEX[symbol] for symbol in atoms.symbols]
        assert graph.types[frame, :n].tolist() == types
        assert (graph.types[frame] >= 0).sum() == n + len(near.centers)
        counts = np.bincount(near.centers, minlength=graph.n_local)
        assert ((graph.neighbors[frame] >= 0).sum(axis=1) == counts).all()
        for atom, rank, owner, position in zip(
            near.centers, near.ranks, near.owners, near.positions, strict=True
        ):
            slot = graph.neighbors[frame, atom, rank]
            assert graph.owners[frame, slot] == owner
            assert graph.types[frame, slot] == types[owner]
            middle = atoms.positions.mean(axis=0)
            np.testing.assert_allclose(
                graph.coordinates[frame, slot] + middle, position, atol=1e-12
            )
        close = np.bincount(near.centers[near.distances < ANGLE_CUTOFF])
        n_angle = max([n_angle, *close])
    assert graph.n_angle_neighbors == n_angle


def test_only_the_nearest_are_kept_where_a_model_has_a_limit() -> None:
    atoms = bulk("MgO", "rocksalt", a=4.21)
    whole = build_graph([atoms], INDEX, CUTOFF, ANGLE_CUTOFF)
    cut = build_graph([atoms], INDEX, CUTOFF, ANGLE_CUTOFF, n_neighbors=4)
    assert cut.neighbors.shape == (1, 2, 4)
    np.testing.assert_array_equal(cut.neighbors, whole.neighbors[..., :4])
    assert (whole.n_angle_neighbors, cut.n_angle_neighbors) == (18, 4)
    wide = build_graph([atoms], INDEX, CUTOFF, ANGLE_CUTOFF, n_neighbors=60)
    assert (wide.neighbors[..., whole.neighbors.shape[2] :] == -1).all()


def test_atoms_on_top_of_each_other_are_refused() -> None:
    with pytest.raises(InvalidGeometryError):
        sort_neighbors(Atoms("H2", [[0, 0, 0], [0, 0, 0.01]]), CUTOFF)
