from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.graph import sort_neighbors


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(checkpoint)


def _by_deepmd(
    checkpoint: Path, network: DeepmdNetwork, atoms: Atoms
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return deepmd-kit's own edges of one structure: centre, vector, features."""
    from deepmd.pt.model.model import get_model
    from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    parameters = state["_extra_state"]["model_params"]["model_dict"]["gap"]
    model = get_model(parameters)
    prefix = "model.gap."
    model.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    )
    descriptor = model.atomic_model.descriptor
    types = torch.tensor([[network.type_map.index(s) for s in atoms.symbols]])
    box = torch.tensor(np.asarray(atoms.cell))[None] if atoms.pbc.all() else None
    coordinates, extended, mapping, neighbors = extend_input_and_build_neighbor_list(
        torch.tensor(atoms.positions)[None], types, 4.5, descriptor.get_sel(),
        mixed_types=True, box=box,
    )  # fmt: skip
    with torch.inference_mode():
        _, _, features, *_ = descriptor(
            coordinates, extended, neighbors, mapping=mapping
        )
    _, centers, rank = np.nonzero(neighbors.numpy() >= 0)
    others = neighbors.numpy()[0, centers, rank]
    points = coordinates.reshape(-1, 3).numpy()
    return centers, points[others] - points[centers], features.numpy()


@pytest.mark.parametrize(
    "atoms", [bulk("MgO", "rocksalt", a=4.21), molecule("H2O")], ids=str
)
def test_edges_equal_deepmd(
    network: DeepmdNetwork, checkpoint: Path, atoms: Atoms
) -> None:
    atoms.rattle(0.1, seed=1)
    near = sort_neighbors(atoms, network.edge_cutoffs().edge)
    (features,) = network.edge_features([atoms])
    centers, vectors, expected = _by_deepmd(checkpoint, network, atoms)
    ours = _order(near.centers, near.positions - atoms.positions[near.centers])
    theirs = _order(centers, vectors)
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(features[ours], expected[theirs], atol=1e-12)


def _order(centers: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    # rounded, as images are shifted in a different order
    return np.lexsort((*vectors.round(6).T, centers))


def test_edges_do_not_depend_on_the_batch(
    network: DeepmdNetwork, mixed_structures: list[Atoms]
) -> None:
    together = network.edge_features(mixed_structures)
    for atoms, features in zip(mixed_structures, together, strict=True):
        near = sort_neighbors(atoms, network.edge_cutoffs().edge)
        (alone,) = network.edge_features([atoms])
        assert features.shape == (len(near.centers), 6)
        np.testing.assert_allclose(features, alone, atol=1e-12)


def test_the_last_layer_is_as_fast_as_before_afterwards(
    network: DeepmdNetwork,
) -> None:
    last = network.descriptor.repflows.layers[-1]
    before = dict(vars(last))
    network.edge_features([bulk("Si")])
    assert vars(last) == before
    assert not last.update_angle


def test_cutoffs(network: DeepmdNetwork) -> None:
    cutoffs = network.edge_cutoffs()
    assert (cutoffs.edge, cutoffs.angle) == (4.5, 3.0)
