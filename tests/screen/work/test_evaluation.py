"""What an outcome depends on, and what is never evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

from mftscreen.errors import ModelError
from mftscreen.screen.relax.batched import RelaxSettings
from mftscreen.screen.work.evaluation import EvaluationSettings, Evaluator


@pytest.fixture(scope="module")
def relaxing(tiny_model: Path) -> Evaluator:
    settings = RelaxSettings(cell_filter="none", fmax=1e-9, steps=3)
    return Evaluator(EvaluationSettings((str(tiny_model),), ("gap",), relax=settings))


def rattled() -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_what_is_held_fixed_is_part_of_a_relaxation(relaxing: Evaluator) -> None:
    free, fixed = rattled(), rattled()
    fixed.set_constraint(FixAtoms([0, 1]))
    assert relaxing.key(free) != relaxing.key(fixed)
    assert relaxing.key(free) == relaxing.key(rattled())
    (moved, after), (held, before) = relaxing([free, fixed])
    assert moved.status == held.status == "ok"
    assert abs(after.positions - free.positions).max() > 0
    assert before.positions == pytest.approx(fixed.positions)


def test_what_is_held_fixed_does_not_matter_without_one(tiny_model: Path) -> None:
    evaluator = Evaluator(EvaluationSettings((str(tiny_model),), ("gap",)))
    fixed = rattled()
    fixed.set_constraint(FixAtoms([0]))
    assert evaluator.key(fixed) == evaluator.key(rattled())


def test_number_of_no_element_is_a_failed_row(tiny_model: Path) -> None:
    evaluator = Evaluator(EvaluationSettings((str(tiny_model),), ("gap",)))
    broken = bulk("MgO", "rocksalt", a=4.2)
    broken.numbers[0] = 300
    (bad, _), (good, _) = evaluator([broken, bulk("MgO", "rocksalt", a=4.2)])
    assert (bad.status, good.status) == ("unknown_element", "ok")
    assert "number 300" in bad.reason


def test_model_given_twice_is_no_ensemble(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="given twice"):
        Evaluator(EvaluationSettings((str(tiny_model), str(tiny_model)), ("gap",)))
