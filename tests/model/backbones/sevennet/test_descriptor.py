from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import MFTCalculator, load_model
from mftscreen.model.backbones.sevennet.convolution import Edges
from mftscreen.model.backbones.sevennet.descriptor import SevenNetDescriptor
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.graph import build_flat_graph
from mftscreen.model.network.rebuilding import build_models

STRUCTURES = [bulk("MgO", "rocksalt", a=4.21), molecule("H2O"), Atoms("O")]
SETTINGS: dict[str, Any] = {
    "cutoff": 4.5, "cutoff_on": 4.0, "channels": [4, 2], "n_layers": 2, "n_basis": 3,
    "radial_neurons": [4], "divisor": 5.0, "output_layers": [1], "sel": 30, "ntypes": 3,
    "type_map": ["H", "O", "Mg"],
}  # fmt: skip


def _weights(**settings: Any) -> torch.Tensor:
    made = SevenNetDescriptor(**{**SETTINGS, **settings})
    return torch.cat([w.detach().reshape(-1) for w in made.parameters()])


def test_deepmd_itself_gives_the_same(small: Path) -> None:
    from deepmd.infer import DeepPot

    oracle = DeepPot(str(small), head="pes", no_jit=True)
    model = load_model(small)
    for atoms, found in zip(
        STRUCTURES, model.evaluate(STRUCTURES, energy=True), strict=True
    ):
        types = [oracle.get_type_map().index(symbol) for symbol in atoms.symbols]
        cell = np.asarray(atoms.cell).reshape(1, -1) if atoms.pbc.all() else None
        energy, forces, virial = oracle.eval(
            atoms.positions.reshape(1, -1), cell, types
        )
        assert found.energy == pytest.approx(energy.item(), rel=1e-10)
        np.testing.assert_allclose(found.forces, forces[0], atol=1e-10)
        if cell is not None:
            virial = virial.reshape(3, 3)
            np.testing.assert_allclose(found.virial, virial, atol=1e-10)


def test_atoms_that_see_nobody() -> None:
    pair = Atoms("O2", [[0, 0, 0], [0, 0, 9]])
    made = SevenNetDescriptor(**SETTINGS, precision="float64", seed=1)
    positions = torch.tensor(pair.positions[None])
    types = torch.tensor([[1, 1]])
    nobody = torch.full((1, 2, 5), -1)
    features, *others = made(positions, types, nobody, mapping=torch.tensor([[0, 1]]))
    assert features.shape == (1, 2, 4)
    assert torch.equal(features[0, 0], features[0, 1])
    assert others == [None] * 4


@pytest.mark.parametrize("derivatives", [True, False])
def test_structures_without_any_edge(small: Path, derivatives: bool) -> None:
    model = load_model(small)
    alone = Atoms("O", cell=[20, 20, 20], pbc=True)
    pair = Atoms("O2", [[0, 0, 0], [0, 0, 9]], cell=[20, 20, 20], pbc=True)
    one, two = model.evaluate([alone, pair], energy=True, derivatives=derivatives)
    assert two.energy == pytest.approx(2 * one.energy, rel=1e-12)
    assert np.isfinite(one.energy)
    if derivatives:
        assert not two.forces.any()
        assert not two.virial.any()


def test_stress_of_a_structure_without_edges(small: Path) -> None:
    alone = Atoms("O", cell=[20, 20, 20], pbc=True)
    alone.calc = MFTCalculator(small)
    assert alone.get_stress().tolist() == [0.0] * 6
    assert alone.get_forces().tolist() == [[0.0] * 3]


def test_neighbors_of_a_cutoff_that_is_longer_than_the_cell() -> None:
    """An atom may see dozens of its own images; supercells see the same."""
    made = SevenNetDescriptor(**{**SETTINGS, "cutoff": 9.0}, precision="float64")
    index = {"Mg": 2, "O": 1}
    cell = bulk("MgO", "rocksalt", a=4.2)
    features = []
    for atoms in (cell, cell.repeat((2, 1, 1))):
        graph = build_flat_graph([atoms], index, 9.0, 0.0)
        assert len(graph.centers) > 300 * len(atoms)
        tensors = map(torch.from_numpy, (graph.centers, graph.others))
        edges = Edges(*tensors, graph.n_atoms)
        vectors = torch.from_numpy(graph.vectors).double()
        features.append(made.features(torch.from_numpy(graph.types), vectors, edges))
    torch.testing.assert_close(features[1][:2], features[0], rtol=1e-5, atol=1e-6)


def test_seeds() -> None:
    state = torch.get_rng_state()
    assert torch.equal(_weights(seed=1), _weights(seed=1))
    assert torch.equal(_weights(seed=[1, 2]), _weights(seed=[1, 2]))
    different = [_weights(seed=s) for s in (1, 2, [1, 2], [2, 1], None, None)]
    for k, one in enumerate(different):
        assert not any(torch.equal(one, other) for other in different[k + 1 :])
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_not_trained_has_no_gradient() -> None:
    frozen = SevenNetDescriptor(**SETTINGS, trainable=False)
    assert not any(w.requires_grad for w in frozen.parameters())
    assert all(w.requires_grad for w in SevenNetDescriptor(**SETTINGS).parameters())


@pytest.mark.parametrize("order", [["Mg", "H", "O"], ["O", "Mg"]])
def test_elements_in_another_order_are_the_same(small: Path, order: list[str]) -> None:
    crystal = STRUCTURES[0]
    state = read_state(small)
    (model,) = build_models(state, torch.device("cpu")).values()
    positions = torch.tensor(crystal.positions[None])
    box = torch.tensor(np.asarray(crystal.cell)[None])

    def evaluate(symbols: list[str]) -> tuple[np.ndarray, np.ndarray]:
        types = torch.tensor([[symbols.index(symbol) for symbol in crystal.symbols]])
        found = model(positions.clone(), types, box=box)
        return found["energy"].detach().numpy(), found["force"].detach().numpy()

    before = evaluate(["H", "O", "Mg"])
    model.change_type_map(order)
    after = evaluate(order)
    assert model.get_descriptor().get_type_map() == order
    assert model.get_descriptor().get_ntypes() == len(order)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_elements_that_it_does_not_know_are_refused() -> None:
    made = SevenNetDescriptor(**SETTINGS)
    with pytest.raises(ValueError, match="7net was not trained on Au, Xe"):
        made.change_type_map(["O", "Xe", "Au"])
    assert made.get_type_map() == ["H", "O", "Mg"]


def test_all_is_shared_or_nothing() -> None:
    one, other = (SevenNetDescriptor(**SETTINGS, seed=k) for k in (1, 2))
    with pytest.raises(NotImplementedError):
        other.share_params(one, 1)
    assert other.network is not one.network
    other.share_params(one, 0)
    assert other.network is one.network


def test_what_it_cannot_do_is_refused() -> None:
    made = SevenNetDescriptor(**SETTINGS)
    nobody = torch.full((1, 1, 5), -1)
    positions, types = torch.zeros(1, 1, 3), torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(NotImplementedError, match="in one process"):
        made(positions, types, nobody)
    with pytest.raises(NotImplementedError, match="cannot be converted to"):
        made.serialize()
    with pytest.raises(NotImplementedError, match="cannot be converted from"):
        SevenNetDescriptor.deserialize({})


def test_what_deepmd_asks_of_it(small: Path) -> None:
    (said,) = model_parameters(read_state(small)).values()
    made = SevenNetDescriptor(**said["descriptor"], ntypes=3, type_map=["H", "O", "Mg"])
    assert (made.get_rcut(), made.get_rcut_smth()) == (4.5, 4.0)
    assert (made.get_sel(), made.get_nsel(), made.get_nnei()) == ([100], 100, 100)
    assert (made.get_dim_out(), made.get_dim_emb()) == (16, 0)
    assert made.mixed_types()
    assert made.has_message_passing()
    polynomial = SevenNetDescriptor(**{**SETTINGS, "cutoff_on": None})
    assert polynomial.get_rcut_smth() == 0.0
