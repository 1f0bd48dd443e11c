"""The 7net-0 that is converted, against sevenn's own calculator."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import MFTCalculator
from mftscreen.errors import ModelError
from mftscreen.model.backbones.sevennet import conversion
from mftscreen.model.backbones.sevennet.conversion import HEAD, convert
from mftscreen.model.files.allowed import check_parameters
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.loading import load_model
from mftscreen.predictor import Predictor


def _structures() -> dict[str, Atoms]:
    slab = bulk("MgO", "rocksalt", a=4.3)
    slab.center(vacuum=6.0, axis=2)
    slab.pbc = (True, True, False)
    structures = {
        "MgO": bulk("MgO", "rocksalt", a=4.21, cubic=True),
        "Si": bulk("Si"),
        "dense carbon": bulk("C", "diamond", a=3.3),
        "CsCl": bulk("CsCl", "cesiumchloride", a=4.1),
        "Fe": bulk("Fe"),
        "slab": slab,
        "water": molecule("H2O"),
        "atom": Atoms("Xe"),
    }
    for k, atoms in enumerate(structures.values()):
        atoms.rattle(0.05, seed=k)
    return structures


@pytest.fixture(scope="module")
def calculator(converted: Path) -> MFTCalculator:
    return MFTCalculator(converted, energy_head=HEAD)


@pytest.mark.slow
@pytest.mark.parametrize("name", _structures())
def test_it_gives_what_sevenn_gives(
    calculator: MFTCalculator, teacher: Any, name: str
) -> None:
    atoms = _structures()[name]
    ours = {
        key: np.asarray(calculator.get_property(key, atoms))
        for key in ("energy", "forces")
    }
    theirs = {key: np.asarray(teacher.get_property(key, atoms)) for key in ours}
    assert abs(ours["energy"] - theirs["energy"]) <= 1e-5 * len(atoms)
    np.testing.assert_allclose(ours["forces"], theirs["forces"], rtol=0, atol=1e-5)
    if atoms.pbc.all():
        stress = calculator.get_property("stress", atoms)
        expected = teacher.get_property("stress", atoms)
        np.testing.assert_allclose(stress, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_batch_gives_what_single_structures_give(converted: Path) -> None:
    model = load_model(converted, energy_head=HEAD)
    structures = list(_structures().values())
    for atoms, row in zip(
        structures, Predictor(model, energy=True)(structures), strict=True
    ):
        (single,) = model.evaluate([atoms], energy=True)
        assert row.energy == pytest.approx(single.energy, abs=1e-5 * len(atoms))


@pytest.mark.slow
def test_what_the_file_says_of_itself(converted: Path) -> None:
    from sevenn.util import load_checkpoint

    parameters = model_parameters(read_state(converted))
    assert list(parameters) == [HEAD]
    check_parameters(parameters)
    own = parameters[HEAD]
    assert len(own["type_map"]) == 89
    assert own["type_map"][:3] == ["H", "He", "Li"]
    assert own["descriptor"]["output_layers"] == [2, 3, 4]
    source = Path(load_checkpoint("7net-0").checkpoint_path)
    info = own["info"]
    assert info["origin_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert info["origin"].startswith("sevenn 0.")
    assert info["licence"] == "MIT"
    assert "10.1021/acs.jctc.4c00190" in info["citation"]


@pytest.mark.slow
def test_it_leaves_no_trace(converted: Path) -> None:
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    again = convert("7net-0")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == dtype
    # what a file is made of twice is the same, so that its sha256 is
    before = read_state(converted)
    assert again.keys() == before.keys()
    assert all(
        torch.equal(tensor, before[name])
        for name, tensor in again.items()
        if name != "_extra_state"
    )


def test_without_sevenn_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sevenn.util", None)
    with pytest.raises(ModelError, match=r"sevenn, which is not installed: ") as no:
        convert("7net-0")
    assert 'pip install "mftscreen[sevenn]"' in str(no.value)


def test_a_sevenn_without_the_model_is_named() -> None:
    pytest.importorskip("sevenn")
    with pytest.raises(
        ModelError, match=r"sevenn that is installed \(.*\) has no 7n-x"
    ):
        convert("7n-x")


def test_a_file_of_this_name_in_the_current_folder_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sevenn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7net-0").write_bytes(b"cbuiltins\nexit\n.")
    path = Path(conversion._open("7net-0").checkpoint_path)
    assert path.is_absolute()
    assert not path.is_relative_to(tmp_path)


CONFIG: dict[str, Any] = {
    "cutoff": 5.0, "cutoff_function": {"cutoff_on": 4.5},
    "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 8},
    "self_connection_type": "linear", "is_parity": False, "_normalize_sph": True,
    "interaction_type": "nequip", "use_bias_in_linear": False, "readout_as_fcn": False,
    "act_radial": "silu", "act_gate": {"e": "silu", "o": "tanh"},
    "act_scalar": {"e": "silu", "o": "tanh"}, "num_convolution_layer": 3,
    "weight_nn_hidden_neurons": [64, 64], "_type_map": {8: 0, 1: 1},
    "irreps_manual": ["8x0e", "8x0e+4x1e", "8x0e+4x1e", "8x0e"],
}  # fmt: skip


def _divisors(*values: float) -> dict[str, torch.Tensor]:
    """Return the weights that a description looks at."""
    return {
        f"{k}_convolution.denominator": torch.tensor(values[k % len(values)])
        for k in range(3)
    }


def test_what_a_configuration_describes() -> None:
    pytest.importorskip("e3nn")
    shape, elements = conversion._describe("x", CONFIG, _divisors(6.0))
    assert (shape.channels, shape.n_layers, shape.l_max) == ([8, 4], 3, 1)
    assert shape.divisor == 6.0
    assert elements == ["H", "O"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"is_parity": True}, "is_parity"),
        ({"act_radial": "tanh", "readout_as_fcn": True}, "readout_as_fcn, act_radial"),
        ({"cutoff_function": {"poly_cut_p_value": 5}}, "cutoff_function"),
        (
            {"radial_basis": {"radial_basis_name": "other", "bessel_basis_num": 8}},
            "radial_basis",
        ),
        (
            {"irreps_manual": ["8x0e", "8x0e+4x1e", "8x0e+5x1e", "8x0e"]},
            "layers",
        ),
    ],
)
def test_networks_that_are_built_otherwise_are_refused(
    changes: dict[str, Any], named: str
) -> None:
    pytest.importorskip("e3nn")
    with pytest.raises(ModelError, match=f"x is not built as expected: {named}"):
        conversion._describe("x", {**CONFIG, **changes}, _divisors(6.0))


def test_sums_that_are_divided_in_many_ways_are_refused() -> None:
    pytest.importorskip("e3nn")
    with pytest.raises(ModelError, match="not built as expected: conv_denominator"):
        conversion._describe("x", CONFIG, _divisors(6.0, 5.0))


def test_importing_it_needs_no_sevenn(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sevenn", "e3nn"):
        monkeypatch.setitem(sys.modules, package, None)
    importlib.reload(conversion)
