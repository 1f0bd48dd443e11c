"""Errors of a small untrained network, against sums written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.outcome.scores import (
    evaluate_force_field,
    predict_target,
    property_labels,
)
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.properties import PropertySpec
from mftscreen.transforms import Transform


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(checkpoint)


def test_predictions_are_in_the_order_of_the_rows_and_in_their_unit(
    network: DeepmdNetwork, mixed_structures: list[Atoms]
) -> None:
    rows = [
        LabelledStructure(str(k), atoms, {"gap": np.asarray(0.5 * k)})
        for k, atoms in enumerate(mixed_structures)
    ]
    raw = [
        network.evaluate([atoms], property_heads=["gap"])[0].heads["gap"]
        for atoms in mixed_structures
    ]
    transform = Transform(kind="standardise", mean=2.0, std=3.0)
    spec = PropertySpec(name="gap", label="gap", transform=transform)
    expected = 2.0 + 3.0 * np.array(raw)
    np.testing.assert_allclose(predict_target(network, [spec], rows), expected)
    labels = property_labels(rows, spec)
    np.testing.assert_array_equal(labels, 0.5 * np.arange(len(rows)))


def test_errors_of_a_force_field(
    network: DeepmdNetwork, mixed_structures: list[Atoms]
) -> None:
    crystal, water, *_ = mixed_structures
    crystal.rattle(0.1, seed=0)
    exact = network.evaluate([crystal, water], energy_head="oxides")
    labels = [
        {"energy": np.asarray(result.energy + 0.5), "force": 2.0 * result.forces}
        for result in exact
    ]
    # of one of both
    labels[0]["virial"] = exact[0].virial.ravel() + 0.3
    rows = [
        LabelledStructure(str(k), atoms, label)
        for k, (atoms, label) in enumerate(zip((crystal, water), labels, strict=True))
    ]
    errors = evaluate_force_field(network, "oxides", rows)
    assert errors["n"] == 2
    per_atom = [0.5 / len(crystal), 0.5 / len(water)]
    assert errors["energy_mae"] == pytest.approx(np.mean(per_atom))
    forces = np.concatenate([result.forces.ravel() for result in exact])
    assert errors["force_mae"] == pytest.approx(np.abs(forces).mean())
    assert errors["force_mae_zero"] == pytest.approx(2 * np.abs(forces).mean())
    assert errors["force_slope"] == pytest.approx(0.5)
    assert errors["stress_mae"] == pytest.approx(0.3 / crystal.get_volume())


def test_what_has_no_forces_has_no_slope_and_no_stress(network: DeepmdNetwork) -> None:
    atom = Atoms("O")
    label = {"energy": np.asarray(0.0), "force": np.zeros((1, 3))}
    errors = evaluate_force_field(
        network, "oxides", [LabelledStructure("O", atom, label)]
    )
    assert np.isnan(errors["force_slope"])
    assert "stress_mae" not in errors
