"""DPA4 by mftscreen against deepmd-kit's own evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import MFTCalculator, load_model
from mftscreen.errors import ModelFileError, UnsupportedByBackboneError
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.finetune.trainer.layer_groups import layer_groups
from mftscreen.model.backbones import find_architecture
from mftscreen.model.backbones.dpa4 import DPA4
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.download import backbone
from mftscreen.model.files.pretrained import BACKBONES
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.stress import virial_to_stress

# of deepmd-kit's own evaluation
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def network(dpa4_checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(dpa4_checkpoint)


@pytest.fixture
def structures(mixed_structures: list[Atoms]) -> list[Atoms]:
    """What deepmd-kit can evaluate: periodic in all directions, or in none."""
    structures = [a for a in mixed_structures if a.pbc.all() or not a.pbc.any()]
    for atoms in structures:
        atoms.rattle(0.05, seed=1)
    structures[0].positions += 80.0
    return structures


def _arguments(oracle: Any, atoms: Atoms) -> tuple:
    cell = np.asarray(atoms.cell).reshape(1, -1) if atoms.pbc.all() else None
    types = [oracle.get_type_map().index(symbol) for symbol in atoms.symbols]
    return atoms.positions.reshape(1, -1), cell, types


def test_energy_forces_virial_equal_deepmd(
    network: DeepmdNetwork, dpa4_checkpoint: Path, structures: list[Atoms]
) -> None:
    from deepmd.infer import DeepPot

    oracle = DeepPot(str(dpa4_checkpoint), head="oxides")
    found = network.evaluate(structures, energy_head="oxides")
    assert max(np.abs(one.forces).max() for one in found) > 0.1
    for atoms, one in zip(structures, found, strict=True):
        energy, forces, virial = oracle.eval(*_arguments(oracle, atoms))
        assert one.energy == pytest.approx(energy.item(), abs=1e-10)
        np.testing.assert_allclose(one.forces, forces[0], atol=1e-10)
        np.testing.assert_allclose(one.virial, virial.reshape(3, 3), atol=1e-9)


EXAMPLES = {
    "as published": {},
    "Cartesian products": {
        "edge_cartesian": True, "node_cartesian": "parity:1", "message_node_so3": False,
    },
    "pyramid": {"l_schedule": [2, 1], "extra_node_l": 1, "n_focus": 2, "kmax": 1},
    "attention over blocks": {"full_attn_res": "dependent", "n_atten_head": 2},
    "smooth": {"edge_norm": False, "mlp_bias": True, "layer_scale": True},
    "charge and spin": {"add_chg_spin_ebd": True, "default_chg_spin": [1.0, 2.0]},
    "without blocks": {"n_blocks": 0, "so3_readout": "none", "ffn_so3_grid": False},
}  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES)
def test_single_precision_of_one_task_equals_the_calculator_of_deepmd(
    example: str,
    build_dpa4: Callable[..., bytes],
    tmp_path: Path,
    structures: list[Atoms],
) -> None:
    from deepmd.calculator import DP

    path = tmp_path / "one.pt"
    path.write_bytes(build_dpa4(**EXAMPLES[example]))
    theirs, ours = DP(str(path)), MFTCalculator(path)
    for atoms in structures:
        oracle = theirs.get_property("energy", atoms)
        atoms.calc = ours
        # the energy alone comes first, without gradients
        assert atoms.get_potential_energy() == pytest.approx(oracle, abs=1e-5)
        np.testing.assert_allclose(
            atoms.get_forces(), theirs.get_property("forces", atoms), atol=1e-5
        )
        if atoms.pbc.all():
            stress = theirs.get_property("stress", atoms)
            np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-6)


@pytest.mark.parametrize("head", ["gap", "alpha"])
def test_properties_equal_deepmd(
    network: DeepmdNetwork, dpa4_checkpoint: Path, structures: list[Atoms], head: str
) -> None:
    from deepmd.infer.deep_property import DeepProperty

    oracle = DeepProperty(str(dpa4_checkpoint), head=head)
    found = network.evaluate(structures, property_heads=[head])
    for atoms, one in zip(structures, found, strict=True):
        (expected, *_) = oracle.eval(*_arguments(oracle, atoms))
        assert one.heads[head] == pytest.approx(expected.item(), abs=1e-10)


def test_descriptors_equal_deepmd(
    network: DeepmdNetwork, dpa4_checkpoint: Path, structures: list[Atoms]
) -> None:
    from deepmd.infer import DeepPot

    oracle = DeepPot(str(dpa4_checkpoint), head="oxides")
    found = network.evaluate(structures, energy_head="oxides", descriptors=True)
    for atoms, one in zip(structures, found, strict=True):
        (expected,) = oracle.eval_descriptor(*_arguments(oracle, atoms))
        np.testing.assert_allclose(one.descriptors, expected, atol=1e-6)


def test_what_was_kept_without_gradients_does_not_stop_those_that_come(
    dpa4_checkpoint: Path, structures: list[Atoms]
) -> None:
    atoms = structures[0]
    model = load_model(dpa4_checkpoint, energy_head="oxides")
    (fresh,) = model.evaluate([atoms], energy=True)
    again = load_model(dpa4_checkpoint, energy_head="oxides")
    (alone,) = again.evaluate([atoms], energy=True, derivatives=False)
    (late,) = again.evaluate([atoms], energy=True)
    assert alone.energy == pytest.approx(fresh.energy, abs=1e-12)
    np.testing.assert_allclose(late.forces, fresh.forces, atol=1e-12)


def test_gradients_are_those_of_the_energy(network: DeepmdNetwork) -> None:
    atoms = Atoms("MgOSi", [[0, 0, 0], [1.9, 0, 0], [0.2, 2.1, 1.0]], pbc=True)
    atoms.set_cell([[4.0, 0, 0], [0.5, 4.2, 0], [0, 0.3, 4.4]])

    def energy(changed: Atoms) -> float:
        (one,) = network.evaluate([changed], energy_head="oxides", derivatives=False)
        return float(one.energy)

    (found,) = network.evaluate([atoms], energy_head="oxides")
    step = 1e-5
    moved = [atoms.copy(), atoms.copy()]
    strained = [atoms.copy(), atoms.copy()]
    for sign, one, other in zip((1, -1), moved, strained, strict=True):
        one.positions[1, 1] += sign * step
        strain = np.eye(3)
        strain[0, 1] += sign * step / 2
        strain[1, 0] += sign * step / 2
        other.set_cell(atoms.cell @ strain, scale_atoms=True)
    slope = (energy(moved[0]) - energy(moved[1])) / (2 * step)
    assert found.forces[1, 1] == pytest.approx(-slope, abs=1e-7)
    shear = (energy(strained[0]) - energy(strained[1])) / (2 * step)
    stress = virial_to_stress(found.virial, atoms.get_volume())
    assert stress[5] * atoms.get_volume() == pytest.approx(shear, abs=1e-7)


def test_a_batch_does_not_change_its_structures(
    network: DeepmdNetwork, mixed_structures: list[Atoms]
) -> None:
    heads = {"energy_head": "oxides", "property_heads": ["gap", "alpha"]}
    together = network.evaluate(mixed_structures, **heads, descriptors=True)
    for atoms, one in zip(mixed_structures, together, strict=True):
        (alone,) = network.evaluate([atoms], **heads, descriptors=True)
        assert one.energy == pytest.approx(alone.energy, abs=1e-11)
        assert one.heads.keys() == alone.heads.keys()
        for name, values in one.heads.items():
            np.testing.assert_allclose(values, alone.heads[name], atol=1e-11)
        np.testing.assert_allclose(one.forces, alone.forces, atol=1e-11)
        np.testing.assert_allclose(one.virial, alone.virial, atol=1e-11)
        np.testing.assert_allclose(one.descriptors, alone.descriptors, atol=1e-6)


def test_edges_are_refused_by_name(network: DeepmdNetwork) -> None:
    for call in (network.edge_cutoffs, lambda: network.edge_features([Atoms("O2")])):
        with pytest.raises(UnsupportedByBackboneError, match=r"dpa4.*edge features"):
            call()


def test_pretrained_models_are_those_of_deepmd() -> None:
    from deepmd.pretrained.registry import MODEL_REGISTRY

    theirs = {name for name in MODEL_REGISTRY if name.startswith("DPA4")}
    ours = {name for name in BACKBONES if name.startswith("DPA4")}
    assert ours == theirs
    assert len(ours) == 5
    for name in ours:
        assert BACKBONES[name] == {"crystals": "Default"}
        assert backbone(name).path.name == f"{name}.pt"


def test_a_head_for_denoising_is_refused_by_name(
    build_dpa4: Callable[..., bytes],
) -> None:
    from deepmd.pt.model.model import get_model

    state = read_state(build_dpa4())
    model = get_model(model_parameters(state)["Default"])
    model.atomic_model.set_active_mode("dens")
    for name, value in model.state_dict().items():
        state.setdefault(f"model.Default.{name}", value)
    with pytest.raises(ModelFileError, match="'Default' uses denoising"):
        DeepmdNetwork(state)


def test_a_published_model_goes_by_its_name(
    build_dpa4: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepmd.pretrained.registry import MODEL_REGISTRY

    name = "DPA4-Mini-OMat24-v20260805"
    content = build_dpa4()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(MODEL_REGISTRY[name], "sha256", digest)
    monkeypatch.setenv("MFTSCREEN_MODELS", str(tmp_path))
    (tmp_path / f"{name}.pt").write_bytes(content)
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.calc = MFTCalculator(name)
    assert np.isfinite(atoms.get_stress()).all()
    state, sha256 = load_pretrained(name, "crystals")
    assert sha256 == digest
    assert list(model_parameters(state)) == ["crystals"]


def test_blocks_are_layers_with_the_read_out_above(network: DeepmdNetwork) -> None:
    weights = [
        (f"model.oxides.atomic_model.{name}", weight)
        for name, weight in network._models["oxides"].named_parameters()
    ]
    groups = layer_groups(weights, 0.5, DPA4().layer)
    # heads, read-out, two blocks, embeddings
    assert [group["layer_scale"] for group in groups] == [1, 0.5, 0.25, 0.125, 0.0625]
    names = {id(weight): name for name, weight in weights}
    kinds = [{names[id(w)].split(".")[4] for w in g["params"]} for g in groups[1:]]
    assert kinds[0] == {"output_ffn"}
    assert kinds[1] == kinds[2] == {"blocks"}
    assert {"type_embedding", "radial_embedding"} <= kinds[3]


def test_room_for_neighbours_is_that_of_the_data(dpa4_checkpoint: Path) -> None:
    said = model_parameters(read_state(dpa4_checkpoint))["gap"]["descriptor"]
    architecture = find_architecture(said)
    assert architecture.cutoffs(said) == EdgeCutoffs(edge=4.5, angle=0.0)
    fitted = architecture.fit_parameters(said, (70, 1))
    assert fitted == {**said, "sel": 70}
    fitted["grid_branch"].append(2)
    assert said["grid_branch"] == [1, 1, 1]


def test_property_of_a_molecule_as_a_whole_equals_deepmd(
    build_dpa4_head: Callable[[dict[str, Any]], bytes], tmp_path: Path
) -> None:
    from deepmd.infer.deep_property import DeepProperty

    net = {"type": "r2", "property_name": "r2", "seed": 1}
    path = tmp_path / "r2.pt"
    path.write_bytes(build_dpa4_head(net))
    oracle = DeepProperty(str(path), no_jit=True)
    network = DeepmdNetwork.from_checkpoint(path)
    molecules = [molecule("H2O"), molecule("SiH4"), molecule("H2")]
    found = network.evaluate(molecules, property_heads=["Default"])
    for atoms, one in zip(molecules, found, strict=True):
        (expected, *_) = oracle.eval(*_arguments(oracle, atoms))
        assert abs(expected.item()) > 1e-3
        # deepmd-kit's differences of coordinates are of single precision here
        assert one.heads["Default"] == pytest.approx(expected.item(), rel=1e-5)
