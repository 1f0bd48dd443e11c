from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.geometry import find_mic
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress

from mftscreen import MFTCalculator, relax
from mftscreen.errors import (
    DomainWarning,
    PeriodicityError,
    UnknownElementError,
    UnknownPropertyError,
)
from mftscreen.testing import FakeModel

ts = pytest.importorskip("torch_sim", reason="needs torch-sim")

from torch_sim.models.interface import validate_model_outputs  # noqa: E402

from mftscreen.torch_sim import TorchSimModel  # noqa: E402

RECENT = hasattr(ts, "Optimizer")
"""Whether torch-sim has names for its optimisers, as for Python 3.12 and later."""


@pytest.fixture
def crystals() -> list[Atoms]:
    found = [
        bulk("MgO", "rocksalt", a=4.2, cubic=True),
        bulk("Si"),
        bulk("GaAs", "zincblende", a=5.6),
    ]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.05, seed=seed)
    return found


def start(structures: Sequence[Atoms], model: TorchSimModel) -> Any:
    return ts.initialize_state(list(structures), model.device, model.dtype)


def relax_together(
    structures: Sequence[Atoms], model: TorchSimModel, fmax: float
) -> Any:
    options: dict[str, Any] = {"optimizer": getattr(ts, "frechet_cell_fire", None)}
    if RECENT:
        options["optimizer"] = ts.Optimizer.fire
        options["init_kwargs"] = {"cell_filter": ts.CellFilter.frechet}
    return ts.optimize(
        list(structures),
        model,
        convergence_fn=ts.generate_force_convergence_fn(fmax, include_cell_forces=True),
        max_steps=300,
        steps_between_swaps=1,
        **options,
    )


def test_torch_sim_finds_nothing_wrong() -> None:
    model = TorchSimModel(FakeModel())
    validate_model_outputs(model, model.device, model.dtype)


def test_it_gives_what_the_calculator_gives(
    tiny_model: Path, crystals: list[Atoms]
) -> None:
    calculator = MFTCalculator(tiny_model, check_domain=False)
    model = TorchSimModel(tiny_model, check_domain=False)
    found = model(start(crystals, model))
    first = 0
    for k, atoms in enumerate(crystals):
        atoms.calc = calculator
        stress = voigt_6_to_full_3x3_stress(atoms.get_stress())
        own = slice(first, first := first + len(atoms))
        assert found["energy"][k].item() == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(found["forces"][own], atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(found["stress"][k], stress, atol=1e-10)


def test_cells_need_not_be_symmetric(tiny_model: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.set_cell(atoms.cell @ [[1.0, 0.1, 0.0], [0, 1, 0.05], [0, 0, 0.97]], True)
    model = TorchSimModel(tiny_model, check_domain=False)
    found = model(start([atoms], model))
    atoms.calc = MFTCalculator(tiny_model, check_domain=False)
    np.testing.assert_allclose(found["energy"][0], atoms.get_potential_energy())
    np.testing.assert_allclose(
        found["stress"][0], voigt_6_to_full_3x3_stress(atoms.get_stress()), atol=1e-10
    )


def test_relaxation_ends_where_ours_does(crystals: list[Atoms]) -> None:
    fake = FakeModel()
    state = relax_together(crystals, TorchSimModel(fake), fmax=0.01)
    ours = relax(crystals, fake, fmax=0.01, steps=300)
    assert all(atoms.info["relax_converged"] for atoms in ours)
    for k, atoms in enumerate(ours):
        energy = atoms.get_potential_energy()
        assert state.energy[k].item() == pytest.approx(energy, abs=2e-3 * len(atoms))
        volume = torch.linalg.det(state.cell[k]).abs().item()
        assert volume == pytest.approx(atoms.get_volume(), rel=5e-3)


def test_dynamics_are_those_of_ase(crystals: list[Atoms]) -> None:
    n_steps, femtoseconds = 20, 2.0
    model = TorchSimModel(FakeModel())
    integrator = ts.Integrator.nve if RECENT else ts.nve
    state = ts.integrate(
        crystals,
        model,
        integrator=integrator,
        n_steps=n_steps,
        temperature=0.0,
        timestep=femtoseconds * 1e-3,
    )
    first = 0
    for atoms in crystals:
        atoms.calc = MFTCalculator(model.model)
        VelocityVerlet(atoms, femtoseconds * units.fs).run(n_steps)
        own = slice(first, first := first + len(atoms))
        moved = state.positions[own].numpy() - atoms.positions  # it wraps them
        np.testing.assert_allclose(find_mic(moved, atoms.cell)[0], 0.0, atol=1e-6)


def test_molecules_have_no_stress() -> None:
    model = TorchSimModel(FakeModel())
    found = model(start([molecule("H2O"), molecule("CH4")], model))
    assert torch.isfinite(found["energy"]).all()
    assert torch.isfinite(found["forces"]).all()
    assert torch.isnan(found["stress"]).all()


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_one_that_explodes_does_not_stop_the_others(
    crystals: list[Atoms], broken: float
) -> None:
    model = TorchSimModel(FakeModel())
    expected = model(start(crystals, model))
    crystals[1].positions[1] = crystals[1].positions[0] + broken
    with pytest.warns(DomainWarning, match="system 1 cannot be evaluated"):
        found = model(start(crystals, model))
    assert torch.isnan(found["energy"]).tolist() == [False, True, False]
    assert torch.isnan(found["forces"]).all(dim=1).tolist() == [
        *[False] * 8, *[True] * 2, *[False] * 2,
    ]  # fmt: skip
    for k in (0, 2):
        torch.testing.assert_close(found["energy"][k], expected["energy"][k])
        torch.testing.assert_close(found["stress"][k], expected["stress"][k])


def test_what_the_model_cannot_know_is_refused(tiny_model: Path) -> None:
    model = TorchSimModel(tiny_model, check_domain=False)
    with pytest.raises(UnknownElementError, match="system 1: holds Cu"):
        model(start([bulk("Si"), bulk("Cu")], model))


@pytest.mark.slow
def test_the_shipped_model_is_for_crystals_unless_told() -> None:
    model = TorchSimModel()
    with pytest.raises(PeriodicityError, match="system 0: mft-mini-crystals"):
        model(start([molecule("H2O")], model))
    model = TorchSimModel(energy_head="molecules")
    assert torch.isfinite(model(start([molecule("CH3OH")], model))["energy"]).all()


def test_it_needs_energies(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeModel()
    with pytest.raises(ValueError, match="load_model"):
        TorchSimModel(fake, energy_head="oxides")
    with pytest.raises(ValueError, match="check_domain=False"):
        TorchSimModel(fake, check_domain=False)
    monkeypatch.setattr(fake, "has_energy", False)
    with pytest.raises(UnknownPropertyError, match="energies"):
        TorchSimModel(fake)
