from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from mftscreen.model.backbones.dpa4.edges import list_edges
from mftscreen.model.network.batch import to_tensors
from mftscreen.model.network.graph import build_graph
from mftscreen.structures import find_separate_neighbors

INDEX = {"O": 0, "Mg": 1}


def test_edges_are_those_of_each_structure() -> None:
    structures = [
        bulk("MgO", "rocksalt", a=4.2),
        Atoms("O"),
        Atoms("O2", [[0] * 3, [1] * 3]),
    ]
    batch = to_tensors(build_graph(structures, INDEX, 3.0, 0.0), torch.device("cpu"))
    found = list_edges(batch)
    mask = found["edge_mask"]
    # those that do not count come last
    assert mask.tolist() == [True] * int(mask.sum()) + [False] * 2
    rows = set()
    for k, atoms in enumerate(structures):
        centers, others, shifts, _ = find_separate_neighbors(atoms, 3.0)
        vectors = atoms.positions[others] - atoms.positions[centers]
        vectors = vectors + shifts @ np.asarray(atoms.cell)
        rows |= {
            (2 * k + int(j), 2 * k + int(i), *np.round(v, 6).tolist())
            for i, j, v in zip(centers, others, vectors, strict=True)
        }
    listed = {
        (*edge, *np.round(v, 6).tolist())
        for edge, v in zip(
            found["edge_index"].T[mask].tolist(),
            found["edge_vec"][mask].numpy(),
            strict=True,
        )
    }
    assert listed == rows
    assert len(rows) == int(mask.sum())


def test_atoms_without_neighbours_have_edges_that_do_not_count() -> None:
    batch = to_tensors(build_graph([Atoms("O")], INDEX, 3.0, 0.0), torch.device("cpu"))
    found = list_edges(batch)
    assert found["edge_mask"].tolist() == [False, False]
    assert found["edge_index"].shape == (2, 2)
    assert found["edge_vec"].shape == (2, 3)
