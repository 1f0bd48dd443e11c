"""The checks find a model that breaks a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.errors import InvalidGeometryError, UnknownPropertyError
from mftscreen.model.loaded_model import Prediction
from mftscreen.testing import FakeModel, check_model

STRUCTURES = [bulk("MgO", "rocksalt", a=4.3, cubic=True), molecule("H2O")]


class Altered(FakeModel):
    """A model whose predictions are changed on their way out."""

    def __init__(self, alter: Callable[[Atoms, int, Prediction], Prediction]) -> None:
        super().__init__()
        self.alter = alter

    def evaluate(self, structures: Sequence[Atoms], **options: Any) -> list[Prediction]:
        found = super().evaluate(structures, **options)
        return [
            self.alter(atoms, k, one)
            for k, (atoms, one) in enumerate(zip(structures, found, strict=True))
        ]


def _change(prediction: Prediction, **factors: float) -> Prediction:
    changed = {
        name: getattr(prediction, name) * factor
        for name, factor in factors.items()
        if getattr(prediction, name) is not None
    }
    return replace(prediction, **changed)


def _shift(prediction: Prediction, shift: float) -> Prediction:
    properties = {name: v + shift for name, v in prediction.properties.items()}
    return replace(prediction, properties=properties)


BROKEN: dict[str, Callable[[Atoms, int, Prediction], Prediction]] = {
    "batch and single": lambda _, k, p: _shift(p, float(k)),
    "forces": lambda _, __, p: _change(p, forces=1.1),
    "stress": lambda _, __, p: _change(p, virial=1.1),
    "translation": lambda a, _, p: _shift(p, float(a.positions[0, 0])),
    "rotation": lambda a, _, p: _shift(
        p, float(np.ptp(a.get_all_distances(vector=True)[..., 0]))
    ),
    "permutation": lambda a, _, p: _shift(p, float(a.numbers @ np.arange(len(a)))),
    "supercell": lambda a, _, p: _shift(p, float(len(a))),
}


def test_a_sound_model_passes() -> None:
    check_model(FakeModel(), STRUCTURES)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named(rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        check_model(Altered(BROKEN[rule]), STRUCTURES)


def test_structures_that_are_changed_are_noticed() -> None:
    def move(atoms: Atoms, _: int, prediction: Prediction) -> Prediction:
        atoms.info["seen"] = True
        atoms.positions += 1e-9
        return prediction

    with pytest.raises(AssertionError, match="a structure was changed"):
        check_model(Altered(move), [a.copy() for a in STRUCTURES])


def test_overlapping_atoms_must_be_refused() -> None:
    class Careless(FakeModel):
        def evaluate(self, structures: Sequence[Atoms], **options: Any) -> Any:
            try:
                return super().evaluate(structures, **options)
            except InvalidGeometryError:
                return super().evaluate(structures[:1], **options) * 2

    with pytest.raises(AssertionError, match="too close were evaluated"):
        check_model(Careless(), STRUCTURES)


def test_the_fake_model_counts_and_refuses() -> None:
    model = FakeModel()
    model.evaluate(STRUCTURES, energy=True, properties=["softness"])
    assert model.calls == [["energy", "softness"]]
    with pytest.raises(UnknownPropertyError, match="does not predict gap"):
        model.evaluate(STRUCTURES, properties=["gap"])
    pair = Atoms("H2", [[0, 0, 0], [0, 0, 0.9]])
    (far,) = model.evaluate([Atoms("H2", [[0, 0, 0], [0, 0, 6.0]])], energy=True)
    (near,) = model.evaluate([pair], energy=True, properties=["bulkiness"])
    assert far.energy == 0.0
    taper = (1 - 0.9 / 5.0) ** 2
    assert near.properties["bulkiness"] == pytest.approx(2 * taper)
    np.testing.assert_allclose(near.forces.sum(axis=0), 0.0, atol=1e-12)
