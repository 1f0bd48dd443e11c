"""Heads for molecules, on small untrained networks, and through stock deepmd-kit."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_masses, atomic_numbers
from scipy.spatial.transform import Rotation

from mftscreen import MFTCalculator, Predictor, load_model
from mftscreen.errors import ModelFileError, PeriodicityError
from mftscreen.model.backbones.dpa3.acceleration import last_layer_complete
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork

KINDS = ("r2", "dipole_norm")


@pytest.fixture(scope="module")
def molecular(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with both heads for molecules beside a plain one."""
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    parameters = {"gap": model_parameters(read_state(checkpoint))["gap"]}
    for seed, kind in enumerate(KINDS):
        head = copy.deepcopy(parameters["gap"])
        head["type"] = "molecular_property"
        fitting = {"type": kind, "property_name": kind, "seed": seed}
        head["fitting_net"] = {"neuron": [8], "precision": "float64", **fitting}
        parameters[kind] = head
    models = {name: get_model(copy.deepcopy(p)) for name, p in parameters.items()}
    for kind in KINDS:
        atomic = models[kind].atomic_model
        atomic.descriptor = models["gap"].atomic_model.descriptor
        atomic.scale.fill_(0.3)
    models["r2"].atomic_model.out_bias[0, :, 0] = torch.arange(1.0, 7.0)
    wrapper = ModelWrapper(models, model_params={"model_dict": parameters})
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    path = tmp_path_factory.mktemp("molecular") / "molecular.pt"
    path.write_bytes(buffer.getvalue())
    return path


@pytest.fixture
def network(molecular: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(molecular)


@pytest.fixture
def molecules() -> list[Atoms]:
    return [molecule(name) for name in ("H2O2", "SiH4", "H2O", "O3")]


def values(network: DeepmdNetwork, kind: str, structures: list[Atoms]) -> list[float]:
    results = network.evaluate(structures, property_heads=[kind])
    return [result.heads[kind] for result in results]


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


def test_r2_of_a_dimer_is_the_closed_form(network: DeepmdNetwork) -> None:
    network._models["r2"].scale.fill_(0.0)  # leaves the weights of the elements
    length = 1.7
    oh = Atoms("OH", [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0 + length]])
    mass_h, mass_o = (atomic_masses[atomic_numbers[s]] for s in "HO")
    weight_h, weight_o = 1.0, 2.0
    share = mass_h / (mass_h + mass_o)
    expected = weight_o * (share * length) ** 2 + weight_h * ((1 - share) * length) ** 2
    assert values(network, "r2", [oh]) == [pytest.approx(expected, rel=1e-12)]


@pytest.mark.parametrize("kind", KINDS)
def test_values_do_not_depend_on_place_orientation_and_order(
    network: DeepmdNetwork, molecules: list[Atoms], kind: str
) -> None:
    rng = np.random.default_rng(0)
    moved = []
    for atoms in molecules:
        copied = atoms[rng.permutation(len(atoms))]
        turn = Rotation.random(rng=rng).as_matrix()
        copied.positions = -copied.positions @ turn.T + rng.normal(size=3)
        moved.append(copied)
    before = values(network, kind, molecules)
    assert np.ptp(before) > 1e-3
    np.testing.assert_allclose(
        values(network, kind, moved), before, rtol=1e-9, atol=1e-12
    )


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


def test_dipole_norm_is_that_of_the_vector(network: DeepmdNetwork) -> None:
    atoms = molecule("H2O2")
    expected = np.linalg.norm(atomic_dipoles(network, atoms).sum(axis=0))
    assert values(network, "dipole_norm", [atoms]) == [pytest.approx(expected)]


def test_dipole_norm_vanishes_by_symmetry(network: DeepmdNetwork) -> None:
    found = values(network, "dipole_norm", [molecule("SiH4"), Atoms("O")])
    assert found == pytest.approx([0.0, 0.0], abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_single(
    network: DeepmdNetwork, molecules: list[Atoms], kind: str
) -> None:
    single = [values(network, kind, [atoms])[0] for atoms in molecules]
    batch = values(network, kind, molecules)
    np.testing.assert_allclose(batch, single, rtol=1e-10, atol=1e-14)


def test_other_heads_are_as_without_them(
    network: DeepmdNetwork, molecules: list[Atoms]
) -> None:
    alone = values(network, "gap", molecules)
    together = network.evaluate(molecules, property_heads=["gap", *KINDS])
    np.testing.assert_allclose([r.heads["gap"] for r in together], alone, rtol=1e-12)
    assert len({round(v, 9) for v in together[0].heads.values()}) == 3


@pytest.mark.slow
def test_stock_deepmd_in_its_own_process_gives_the_same(
    network: DeepmdNetwork, molecular: Path, molecules: list[Atoms]
) -> None:
    code = """
import json, sys
import numpy as np
from deepmd.infer.deep_property import DeepProperty
path, kinds, molecules = json.loads(sys.argv[1])
found = {kind: [] for kind in kinds}
for kind in kinds:
    model = DeepProperty(path, head=kind)
    for coordinates, types in molecules:
        value = model.eval(np.array(coordinates).reshape(1, -1), None, types)[0]
        found[kind].append(value.item())
print(json.dumps(found))
"""
    packed = [
        (a.positions.tolist(), [network.type_map.index(s) for s in a.symbols])
        for a in molecules
    ]
    argument = json.dumps([str(molecular), KINDS, packed])
    process = subprocess.run(
        [sys.executable, "-c", code, argument],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(process.stdout.splitlines()[-1])
    for kind in KINDS:
        expected = values(network, kind, molecules)
        np.testing.assert_allclose(found[kind], expected, rtol=1e-9, atol=1e-14)


@pytest.mark.slow
def test_virtual_atoms_of_deepmd_change_nothing(molecular: Path) -> None:
    from deepmd.infer.deep_property import DeepProperty

    water = molecule("H2O")
    padded = np.vstack([water.positions, [[9.0, 9.0, 9.0]]])
    types = np.array([[1, 0, 0]])
    for kind in KINDS:
        model = DeepProperty(str(molecular), head=kind)
        plain, virtual = (
            model.eval(x.reshape(1, -1), None, t, mixed_type=True)[0].item()
            for x, t in ((water.positions, types), (padded, np.array([[1, 0, 0, -1]])))
        )
        assert virtual == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_periodic_structures_are_refused(molecular: Path, kind: str) -> None:
    model = load_model(molecular, property_heads=[kind, "gap"])
    slab = molecule("H2O", vacuum=5.0)
    slab.pbc = (True, False, False)
    with pytest.raises(PeriodicityError, match=kind):
        MFTCalculator(model).get_property(kind, slab)
    assert np.isfinite(MFTCalculator(model).get_property("gap", slab))
    rows = list(Predictor(model)([molecule("H2O"), slab]))
    assert [row.status for row in rows] == ["ok", "unsupported_pbc"]
    assert "property of molecules" in rows[1].reason


@pytest.mark.slow
def test_periodic_cells_are_refused_in_deepmd(molecular: Path) -> None:
    from deepmd.infer.deep_property import DeepProperty

    model = DeepProperty(str(molecular), head="r2")
    with pytest.raises(torch.jit.Error, match="cannot evaluate a periodic cell"):
        model.eval(np.zeros((1, 3)), np.eye(3).reshape(1, 9) * 4, [0])


def _samples(network: DeepmdNetwork, labels: dict[str, list[float]]) -> list[dict]:
    """Return training frames as deepmd-kit hands them to the statistics."""
    samples = []
    for kind, name in ((kind, f"find_{kind}") for kind in labels):
        for number, label in enumerate(labels[kind]):
            atoms = molecule(("H2O", "SiH4", "H2O2", "O3")[number])
            types = [[network.type_map.index(s) for s in atoms.symbols]]
            samples.append(
                {
                    "coord": torch.tensor(atoms.positions[None]),
                    "atype": torch.tensor(types),
                    "box": None,
                    kind: torch.tensor([[label]]),
                    name: np.float32(1.0),
                }
            )
    return samples


def _squares(network: DeepmdNetwork, molecules: list[Atoms]) -> np.ndarray:
    table = np.zeros((len(molecules), len(network.type_map)))
    for row, atoms in zip(table, molecules, strict=True):
        relative = atoms.positions - atoms.get_center_of_mass()
        types = [network.type_map.index(s) for s in atoms.symbols]
        np.add.at(row, types, (relative**2).sum(axis=1))
    return table


def test_r2_weights_are_the_least_squares_solution(network: DeepmdNetwork) -> None:
    labels = [19.0, 35.0, 61.0, 160.0]
    model = network._models["r2"]
    model.change_out_bias(_samples(network, {"r2": labels}))
    structures = [molecule(name) for name in ("H2O", "SiH4", "H2O2", "O3")]
    squares = _squares(network, structures)
    expected = np.linalg.lstsq(squares, np.array(labels))[0]
    np.testing.assert_allclose(
        model.out_bias[0, :, 0].numpy(), expected, rtol=1e-9, atol=1e-12
    )
    rest = np.array(labels) - squares @ expected
    assert model.out_std[0, 0, 0].item() == pytest.approx(max(rest.std(), 1e-2))


def test_r2_weight_for_all_elements(network: DeepmdNetwork) -> None:
    labels = [19.0, 35.0, 61.0, 160.0]
    model = network._models["r2"]
    model.fitting_net.distinguish_types = False
    model.change_out_bias(_samples(network, {"r2": labels}))
    structures = [molecule(name) for name in ("H2O", "SiH4", "H2O2", "O3")]
    total = _squares(network, structures).sum(axis=1)
    expected = total @ labels / (total @ total)
    np.testing.assert_allclose(
        model.out_bias[0, :, 0].numpy(), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_need_no_net_leave_it_a_scale(
    network: DeepmdNetwork, kind: str
) -> None:
    # two elements, two molecules: the weights of the elements fit them exactly
    labels = {"r2": [19.0, 35.0], "dipole_norm": [0.0, 0.0]}[kind]
    model = network._models[kind]
    model.change_out_bias(_samples(network, {kind: labels}))
    assert model.out_std[0, 0, 0].item() == 1e-2
    assert 1e-5 < model.scale.item() < 1e-2


def test_trained_head_keeps_its_scales(network: DeepmdNetwork) -> None:
    model = network._models["r2"]
    before = model.out_bias.clone()
    samples = _samples(network, {"r2": [1.0, 2.0]})
    model.change_out_bias(samples, bias_adjust_mode="change-by-statistic")
    assert torch.equal(model.out_bias, before)


def test_supercell_doubles_extensive_and_keeps_intensive(checkpoint: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    crystal = bulk("MgO", "rocksalt", a=4.2)
    crystal.rattle(0.05, seed=0)
    once, twice = network.evaluate(
        [crystal, crystal.repeat((2, 1, 1))], property_heads=["gap", "alpha"]
    )
    assert twice.heads["gap"] == pytest.approx(once.heads["gap"], rel=1e-9)
    assert twice.heads["alpha"] == pytest.approx(2 * once.heads["alpha"], rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "other"}, r"head 'other' predicts gap .*that it predicts other"),
        ({"spec": {"head": "extensive"}}, r"gap \(extensive\).*gap \(intensive\)"),
    ],
)
def test_card_with_swapped_heads_is_refused(
    tmp_path: Path, tiny_model: Path, change: dict[str, Any], message: str
) -> None:
    from mftscreen.model.files.bundle import PropertyHead, read_bundle, write_bundle

    bundle = read_bundle(tiny_model)
    state = read_state(bundle.checkpoint)
    params = model_parameters(state)
    # another intensive head, under the name of a property that it does not predict
    params["other"] = copy.deepcopy(params["gap"])
    params["other"]["fitting_net"]["property_name"] = "other"
    for key in [key for key in state if key.startswith("model.gap.")]:
        state[key.replace("model.gap.", "model.other.")] = state[key]
    head = bundle.card.properties["gap"].model_dump()
    head = {**head, **change, "spec": {**head["spec"], **change.get("spec", {})}}
    card = bundle.card.model_copy(
        update={"properties": {"gap": PropertyHead.model_validate(head)}}
    )
    path = tmp_path / "swapped.mft"
    buffer = io.BytesIO()
    torch.save({"model": state}, buffer)
    write_bundle(path, card, buffer.getvalue())
    with pytest.raises(ModelFileError, match=message):
        load_model(path)
