from __future__ import annotations

import numpy as np
import pytest

from mftscreen import Predictor
from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.outcome.calibration import (
    build_reference_sets,
    measure_coverage,
)
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.intervals import IntervalCalibration
from mftscreen.model.files.bundle import Bundle
from mftscreen.properties import Transform


def test_calibration_rows_are_the_validation_rows_never_trained_on(
    bundle: Bundle, rows: dict[str, list[LabelledStructure]]
) -> None:
    calibrated = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    kept = [item for item in rows["validation"] if item.id != "repeated"]
    assert calibrated.ids == tuple(item.id for item in kept)
    labels = [float(item.labels["dielectric"]) for item in kept]
    assert calibrated.residuals + calibrated.predictions == pytest.approx(labels)
    expected = [
        row.properties["dielectric"]
        for row in Predictor(properties=["dielectric"])([s.atoms for s in kept])
    ]
    assert calibrated.predictions == pytest.approx(expected, rel=1e-5)


def test_p_values_are_against_the_training_set(bundle: Bundle) -> None:
    p_values = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    cubic, new_element, aperiodic, dense = p_values.p_values
    assert cubic == 1.0
    assert np.isnan([new_element, aperiodic]).all()
    assert dense == pytest.approx(1 / 13)


def test_coverage_counts_rows_that_are_not_flagged(
    config: MFTConfig, rows: dict[str, list[LabelledStructure]]
) -> None:
    spec = config.properties["dielectric"].spec("dielectric", Transform())
    task = Task(
        config, TrainingData(rows, ["dielectric"]),
        ["Na", "Cl"], None, "", {"dielectric": spec},
    )  # fmt: skip
    reference = build_reference_sets(task)["dielectric"]
    residuals = np.linspace(-0.1, 0.1, 40)
    calibration = IntervalCalibration(
        residuals, np.full(40, 1.5), np.ones(40), tuple(map(str, range(40)))
    )
    parts = {**rows, "test": [*rows["train"][:4], rows["validation"][2]]}
    predicted = np.array([1.5, 1.55, 1.45, 1.9, 1.4])
    assert measure_coverage(
        "dielectric", parts, "test", predicted, calibration, reference
    ) == {"n_intervals": 4.0, "coverage_90": 0.75}
