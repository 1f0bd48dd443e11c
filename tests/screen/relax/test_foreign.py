"""Calculators of others: where they are found, and relaxations with them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from mftscreen.errors import ConfigError, UnknownPropertyError
from mftscreen.screen.relax.batched import Relaxer, RelaxSettings
from mftscreen.screen.relax.foreign import ForeignForces, load_factory
from mftscreen.testing import FakeModel


def test_module_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the installed command does not look there by itself
    monkeypatch.chdir(tmp_path)
    elsewhere = [folder for folder in sys.path if folder not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", elsewhere)
    monkeypatch.delitem(sys.modules, "mycalc", raising=False)
    Path("mycalc.py").write_text("from ase.calculators.emt import EMT as make\n")
    assert load_factory("mycalc:make").name == "emt"
    del sys.modules["mycalc"]


class TestForeign:
    def test_emt_like_ase(self) -> None:
        settings = RelaxSettings("bfgs", fmax=0.01, relaxer="ase.calculators.emt:EMT")
        structures = [
            bulk("Cu", cubic=True, a=3.8),
            bulk("Si"),  # which EMT does not know
            bulk("Au", a=4.2),
        ]
        copper, silicon, gold = Relaxer(FakeModel(), settings)(structures)
        for atoms, result in ((structures[0], copper), (structures[2], gold)):
            relaxed = atoms.copy()
            relaxed.calc = EMT()
            optimizer = BFGS(FrechetCellFilter(relaxed), logfile=None)
            optimizer.run(fmax=0.01)
            assert result.converged
            assert result.steps == optimizer.nsteps
            assert result.energy == pytest.approx(relaxed.get_potential_energy())
            np.testing.assert_allclose(result.atoms.cell, relaxed.cell, atol=1e-6)
        assert silicon.status == "relaxation_failed"
        assert "Si" in silicon.reason

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("EMT", "not of the form module:factory"),
            ("ase.calculators.emt:", "not of the form module:factory"),
            ("no_such_module_here:EMT", "cannot be imported"),
            ("ase.calculators.emt:EMTT", "has no attribute 'EMTT'"),
            ("ase.build:bulk", "bulk\\(\\) failed: TypeError"),
            ("builtins:dict", "returned a dict, not an ASE calculator"),
        ],
    )
    def test_factories_that_cannot_be_used(self, name: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            load_factory(name)

    def test_calculator_without_stress(self) -> None:
        calculator = EMT()
        calculator.implemented_properties = ["energy", "forces"]
        ForeignForces(calculator, stress=False)
        with pytest.raises(UnknownPropertyError, match="without a cell filter"):
            ForeignForces(calculator, stress=True)

    def test_molecule_has_no_stress_to_be_asked_for(self) -> None:
        settings = RelaxSettings("bfgs", relaxer="ase.calculators.emt:EMT")
        (result,) = Relaxer(FakeModel(), settings)([molecule("N2")])
        assert result.converged
