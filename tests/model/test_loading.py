"""Checkpoints of many heads that share a fitting net, told apart by a one-hot."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import InputError

from mftscreen import MFTCalculator, Predictor, load_model
from mftscreen.errors import PeriodicityError, UnknownHeadError
from mftscreen.model.files.reading import read_state
from mftscreen.model.loaded_model import LoadedModel
from mftscreen.testing import check_model

HEADS = ["Domains_Alloy", "Omat24", "SPICE2", "OC22"]
STRUCTURES = [bulk("MgO", "rocksalt", a=4.21), molecule("H2O"), bulk("Si", cubic=True)]


@pytest.fixture(scope="module")
def file(backbone: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "own.pt"
    path.write_bytes(backbone)
    return path


REPFLOW = {
    "n_dim": 8, "e_dim": 6, "a_dim": 4, "nlayers": 2, "axis_neuron": 2,
    "e_rcut": 4.5, "e_rcut_smth": 4.0, "e_sel": 60,
    "a_rcut": 3.0, "a_rcut_smth": 2.7, "a_sel": 20, "sel_reduce_factor": 5.0,
    "smooth_edge_update": True, "edge_init_use_dist": True, "use_exp_switch": True,
    "use_dynamic_sel": True, "update_style": "res_residual",
}  # fmt: skip


def evaluate_deepmd(path: Path, head: str | None, atoms: Atoms) -> list[np.ndarray]:
    """Return energy, forces and virial as deepmd-kit itself gives them."""
    from deepmd.infer import DeepPot

    oracle = DeepPot(str(path), head=head, no_jit=True)
    types = [oracle.get_type_map().index(symbol) for symbol in atoms.symbols]
    cell = np.asarray(atoms.cell).reshape(1, -1) if atoms.pbc.all() else None
    energy, forces, virial = oracle.eval(atoms.positions.reshape(1, -1), cell, types)
    return [energy.item(), forces[0], virial.reshape(3, 3)]


def assert_equal_to_deepmd(model: LoadedModel, path: Path, head: str | None) -> None:
    slow = model.evaluate(STRUCTURES, energy=True)
    fast = model.evaluate(STRUCTURES, energy=True, derivatives=False)
    for atoms, one, other in zip(STRUCTURES, slow, fast, strict=True):
        energy, forces, virial = evaluate_deepmd(path, head, atoms)
        assert one.energy == pytest.approx(energy, rel=1e-5)
        assert other.energy == pytest.approx(energy, rel=1e-5)
        np.testing.assert_allclose(one.forces, forces, atol=1e-5)
        np.testing.assert_allclose(one.virial, virial, atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_equals_deepmd(file: Path, head: str) -> None:
    assert_equal_to_deepmd(load_model(file, energy_head=head), file, head)


def test_only_the_one_hot_tells_the_heads_apart(backbone: bytes, file: Path) -> None:
    state = read_state(backbone)
    codes = [state[f"model.{h}.atomic_model.fitting_net.case_embd"] for h in HEADS]
    assert sorted(int(code.argmax()) for code in codes) == [0, 1, 2, 3]
    energies = [
        load_model(file, energy_head=head).evaluate(STRUCTURES[:1], energy=True)
        for head in HEADS
    ]
    values = np.array([prediction.energy for (prediction,) in energies])
    assert (
        np.abs(np.subtract.outer(values, values))[~np.eye(4, dtype=bool)].min() > 1e-3
    )


def test_only_the_chosen_head_is_built(file: Path) -> None:
    assert list(load_model(file, energy_head="OC22").network.heads) == ["OC22"]


@pytest.mark.parametrize("alias", ["Materials", "default", "OMAT24"])
def test_alias_in_the_checkpoint(file: Path, alias: str) -> None:
    assert load_model(file, energy_head=alias).card.energy_head == "Omat24"


def test_errors_list_the_heads(file: Path) -> None:
    with pytest.raises(
        UnknownHeadError, match="choose one with energy_head="
    ) as missing:
        load_model(file)
    with pytest.raises(UnknownHeadError, match="no head 'crystals'") as unknown:
        load_model(file, energy_head="crystals")
    for caught in (missing, unknown):
        assert all(head in str(caught.value) for head in HEADS)


@pytest.mark.parametrize(
    ("domain", "head"), [("crystals", "Omat24"), ("molecules", "SPICE2")]
)
def test_head_for_a_kind_of_structure(publisher: Any, domain: str, head: str) -> None:
    calculator = MFTCalculator(publisher.name, energy_head=domain)
    assert calculator.model.card.name == publisher.name
    assert calculator.model.card.energy_head == head
    assert calculator.model.sha256 == hashlib.sha256(publisher.content).hexdigest()
    for atoms in STRUCTURES:  # an explicit choice holds for all of them
        expected, forces, _ = evaluate_deepmd(publisher.path, head, atoms)
        calculator.calculate(atoms, ["energy", "forces"])
        assert calculator.results["energy"] == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(calculator.results["forces"], forces, atol=1e-5)


def test_file_brought_by_hand_is_known_wherever_it_is(
    publisher: Any, file: Path
) -> None:
    assert load_model(file, energy_head="molecules").card.energy_head == "SPICE2"
    assert publisher.requests == 0


def test_without_a_choice_it_is_for_crystals_and_says_so(publisher: Any) -> None:
    calculator = MFTCalculator(publisher.name)
    crystal, water = STRUCTURES[0].copy(), STRUCTURES[1].copy()
    crystal.calc = water.calc = calculator
    expected, *_ = evaluate_deepmd(publisher.path, "Omat24", crystal)
    assert crystal.get_potential_energy() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(PeriodicityError, match="loaded for crystals") as caught:
        water.get_potential_energy()
    assert isinstance(caught.value, InputError)
    assert all(word in str(caught.value) for word in ("Omat24", "'molecules'"))


def test_refused_molecule_is_a_failed_row_and_splits_no_batch(
    publisher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(publisher.name)
    batches = []
    evaluate = model.network.evaluate

    def record(structures: list[Atoms], **options: Any) -> list[Any]:
        batches.append([str(atoms.symbols) for atoms in structures])
        return evaluate(structures, **options)

    monkeypatch.setattr(model.network, "evaluate", record)
    rows = list(Predictor(model, energy=True)(STRUCTURES))
    assert [row.ok for row in rows] == [True, False, True]
    assert rows[1].status == "unsupported_pbc"
    assert batches == [["MgO", "Si8"]]
    # its energy alone is refused
    (row,) = Predictor(model)(STRUCTURES[1:2])
    assert row.ok


def test_descriptors_are_for_everything(publisher: Any) -> None:
    model = load_model(publisher.name)
    results = model.evaluate(STRUCTURES, descriptors=True)
    shapes = [result.descriptors.shape for result in results]
    assert shapes == [(len(atoms), 8) for atoms in STRUCTURES]


def test_contract(file: Path) -> None:
    check_model(load_model(file, energy_head="SPICE2"), STRUCTURES)


def build_charged(kind: str, default: list[float]) -> bytes:
    """Return a single-task checkpoint, as DPA3-Omol-Large is one."""
    import torch
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    descriptor: dict[str, Any] = {
        "type": "dpa3", "repflow": REPFLOW, "activation_function": "silut:3.0",
        "precision": "float32", "concat_output_tebd": False, "seed": 1,
    }  # fmt: skip
    fitting: dict[str, Any] = {"neuron": [8, 8], "precision": "float32", "seed": 1}
    if kind == "embedding":
        descriptor |= {"add_chg_spin_ebd": True, "default_chg_spin": default}
    else:
        fitting |= {"numb_fparam": 2, "default_fparam": default}
    parameters = {
        "type_map": ["H", "O", "Mg", "Si"],
        "descriptor": descriptor,
        "fitting_net": fitting,
    }
    wrapper = ModelWrapper(get_model(parameters), model_params=parameters)
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("options", ["embedding", "parameters"])
def test_default_charge_and_spin(tmp_path: Path, options: str) -> None:
    """Of the two ways deepmd-kit has; OMol25's models are given 0 and 1."""
    path = tmp_path / "charged.pt"
    path.write_bytes(build_charged(options, [0.0, 1.0]))
    assert_equal_to_deepmd(load_model(path), path, None)
    other = tmp_path / "other.pt"
    other.write_bytes(build_charged(options, [1.0, 2.0]))
    (neutral,), (cation,) = (
        load_model(p).evaluate(STRUCTURES[:1], energy=True) for p in (path, other)
    )
    assert abs(neutral.energy - cation.energy) > 1e-4
