"""The norm of the dipole moment on a small untrained network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from mftscreen.model.backbones.dpa3.acceleration import last_layer_complete
from mftscreen.model.network.backend import DeepmdNetwork


def atomic_dipoles(network: DeepmdNetwork, atoms: Atoms) -> np.ndarray:
    """Return what the head sums before it takes the norm: (n_atoms, 3)."""
    from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

    model = network._models["dipole_norm"]
    types = torch.tensor([[network.type_map.index(s) for s in atoms.symbols]])
    coordinates = torch.tensor(atoms.positions[None])
    extended, extended_types, mapping, neighbors = extend_input_and_build_neighbor_list(
        coordinates, types, model.get_rcut(), model.get_sel(), mixed_types=True
    )
    extended = extended.view(1, -1, 3)
    with last_layer_complete(model.descriptor.repflows):
        node, rotation, *_ = model.descriptor(
            extended, extended_types, neighbors, mapping=mapping
        )
    latent = model.fitting_net(node, types, gr=rotation)["dipole_norm"] * model.scale
    positions = model.relative_positions(coordinates, types)
    return model.fitting_net.dipoles(latent, positions)[0].detach().numpy()


def test_dipole_vector_turns_with_the_molecule(network: DeepmdNetwork) -> None:
    water = molecule("H2O")
    water.rattle(0.2, seed=1)
    turn = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    turned = water.copy()
    turned.positions = water.positions @ turn.T
    dipole = atomic_dipoles(network, water).sum(axis=0)
    assert np.linalg.norm(dipole) > 1e-2
    np.testing.assert_allclose(
        atomic_dipoles(network, turned).sum(axis=0), turn @ dipole, atol=1e-10
    )


def test_dipole_norm_is_that_of_the_vector(
    network: DeepmdNetwork, values: Callable[[str, list[Atoms]], list[float]]
) -> None:
    atoms = molecule("H2O2")
    expected = np.linalg.norm(atomic_dipoles(network, atoms).sum(axis=0))
    assert values("dipole_norm", [atoms]) == [pytest.approx(expected)]


def test_dipole_norm_vanishes_by_symmetry(
    values: Callable[[str, list[Atoms]], list[float]],
) -> None:
    found = values("dipole_norm", [molecule("SiH4"), Atoms("O")])
    assert found == pytest.approx([0.0, 0.0], abs=1e-12)


def test_labels_of_zero_leave_the_net_a_scale(
    network: DeepmdNetwork, samples: Callable[[str, list[float]], list[dict]]
) -> None:
    model = network._models["dipole_norm"]
    model.change_out_bias(samples("dipole_norm", [0.0, 0.0]))
    assert model.out_std[0, 0, 0].item() == 1e-2
    assert 1e-5 < model.scale.item() < 1e-2
