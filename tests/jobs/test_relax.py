from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.optimize import FIRE

from mftscreen import MFTCalculator, load_model, relax
from mftscreen.errors import MftscreenError
from mftscreen.model.loaded_model import LoadedModel


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("mft-mini-crystals")


def test_structures_come_back_relaxed_with_results(
    model: LoadedModel, tmp_path: Path
) -> None:
    given = [bulk("MgO", "rocksalt", a=4.4), bulk("Si"), Atoms("Po")]
    given[0].info["note"] = "kept"
    before = [atoms.copy() for atoms in given]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        relaxed = relax(given, model, fmax=0.02)
    assert given == before
    calculator = MFTCalculator(model)
    for atoms in relaxed[:2]:
        assert atoms.info["relax_converged"] is True
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        assert energy == pytest.approx(calculator.get_potential_energy(atoms), abs=1e-5)
        assert forces == pytest.approx(calculator.get_forces(atoms), abs=1e-4)
        assert atoms.get_stress() == pytest.approx(
            calculator.get_stress(atoms), abs=1e-5
        )
    assert relaxed[0].info["note"] == "kept"
    assert relaxed[2].calc is None
    assert relaxed[2].info["relax_status"] == "unknown_element"
    assert "Po" in relaxed[2].info["relax_reason"]
    # ASE's own optimiser comes to the same cell
    same = before[0].copy()
    same.calc = calculator
    FIRE(FrechetCellFilter(same), logfile=None).run(fmax=0.02, steps=500)
    assert relaxed[0].get_volume() == pytest.approx(same.get_volume(), rel=1e-3)
    write(tmp_path / "relaxed.extxyz", relaxed[:2])
    (first, _) = read(tmp_path / "relaxed.extxyz", ":")
    assert first.info["relax_steps"] == relaxed[0].info["relax_steps"]
    assert first.get_potential_energy() == pytest.approx(
        relaxed[0].get_potential_energy()
    )


def test_an_earlier_relaxation_is_forgotten(model: LoadedModel) -> None:
    given = bulk("MgO", "rocksalt", a=4.4)
    given.charge = -1.0  # as pymatgen's adaptor does
    (first,) = relax(given, model, steps=1)
    assert "relax_reason" in first.info
    (second,) = relax(first, model)
    assert second.info["relax_converged"] is True
    assert "relax_reason" not in second.info
    assert second.info["charge"] == -1.0


def test_the_cell_may_stay_and_steps_may_end(model: LoadedModel) -> None:
    given = bulk("MgO", "rocksalt", a=4.4)
    (atoms,) = relax(given, model, cell_filter="none")
    assert np.allclose(atoms.cell, given.cell)
    (atoms,) = relax(given, model, steps=1)
    assert atoms.info["relax_converged"] is False
    assert "not converged in 1 steps" in atoms.info["relax_reason"]


def test_molecules_are_for_the_model_of_molecules() -> None:
    (water,) = relax(molecule("H2O"), fmax=0.1)
    assert water.info["relax_converged"]
    assert "stress" not in water.calc.results


def test_files_are_read(model: LoadedModel, tmp_path: Path) -> None:
    write(tmp_path / "Si.cif", bulk("Si"))
    (atoms,) = relax(tmp_path / "Si.cif", model)
    assert atoms.info["relax_converged"]


def test_nothing_is_relaxed_to_nothing(model: LoadedModel) -> None:
    assert relax([], model) == []


@pytest.mark.parametrize(
    ("structures", "options", "message"),
    [
        (3, {}, "int is not understood"),
        ([("a", bulk("Si")), ("b", "Si")], {}, "structure b: expected ase.Atoms"),
        (bulk("Si"), {"fmax": 0}, "fmax is a positive number"),
        (bulk("Si"), {"optimizer": "newton"}, "optimizer is one of"),
        (bulk("Si"), {"model": 3}, "a model's name or file is expected, not int"),
        (bulk("Si"), {"relaxer": "nothing"}, "relaxer"),
    ],
)
def test_wrong_arguments_are_named(
    structures: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MftscreenError, match=message):
        relax(structures, **options)


@pytest.mark.slow
def test_python_is_spared_advice_on_threads() -> None:
    # warnings of deepmd-kit are shown all the same
    code = "import logging, mftscreen; mftscreen.load_model(); "
    code += "assert logging.getLogger('deepmd').isEnabledFor(logging.WARNING)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
