"""What one model says of structures, with what tells how new they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from mftscreen import load_model
from mftscreen.model.loaded_model import LoadedModel
from mftscreen.model.readouts.pooling import pool
from mftscreen.screen.work.assessment import Assessor, put_together
from mftscreen.screen.work.outcome import Outcome
from mftscreen.trust.intervals import IntervalCalibration
from mftscreen.trust.neighborhood import Neighborhood, Space, Surroundings

OXIDES = [bulk("MgO", "rocksalt", a=4.0 + 0.02 * k) for k in range(20)]
NEAR, FAR = bulk("MgO", "rocksalt", a=4.21), bulk("MgO", "rocksalt", a=5.5)


@pytest.fixture
def model(tiny_model: Path) -> LoadedModel:
    """A model that knows what is around its training rows, and of 99 errors."""
    bare = load_model(tiny_model)
    rows = bare.evaluate(OXIDES, descriptors=True)
    pooled = np.array([pool(row.descriptors) for row in rows])
    labels = {"gap": np.linspace(0.0, 1.0, len(OXIDES))}
    around = Neighborhood.of(Space.of(pooled), pooled, labels)
    own = around.measure(pooled)["gap"].distance
    calibration = IntervalCalibration(
        np.linspace(-1.0, 1.0, 99), np.full(99, 1.0), np.full(99, 0.5),
        Surroundings(np.geomspace(own.min() + 1e-9, own.max(), 99), np.ones(99)),
        tuple(map(str, range(99))),
    )  # fmt: skip
    return replace(
        bare, neighborhoods=[around], calibration=calibration.to_arrays("gap")
    )


def test_distances_and_their_p_values_are_part_of_it(model: LoadedModel) -> None:
    (near, facts), (far, others) = Assessor(model, ["gap"])([NEAR, FAR])
    assert near.around["gap"].distance < far.around["gap"].distance
    assert 0.0 < near.errors["gap"] <= far.errors["gap"]
    assert facts["gap"].descriptor_p_value > 0.05
    assert others["gap"].descriptor_p_value == pytest.approx(0.01)
    outcome = put_together(Outcome(), [(far, others)])
    assert outcome.around == far.around
    assert outcome.descriptor_p_values == {"gap": pytest.approx(0.01)}


def test_two_models_have_the_mean_distance_and_the_smaller_p_value(
    model: LoadedModel,
) -> None:
    near, far = Assessor(model, ["gap"])([NEAR, FAR])
    outcome = put_together(Outcome(), [near, far])
    distances = [row.around["gap"].distance for row, _ in (near, far)]
    assert outcome.around["gap"].distance == pytest.approx(np.prod(distances) ** 0.5)
    assert outcome.descriptor_p_values == {"gap": pytest.approx(0.01)}


def test_models_of_before_know_neither(tiny_model: Path) -> None:
    ((row, facts),) = Assessor(load_model(tiny_model), ["gap"])([NEAR])
    assert row.around == row.errors == {}
    assert facts["gap"].descriptor_p_value is None
    assert put_together(Outcome(), [(row, facts)]).around == {}
