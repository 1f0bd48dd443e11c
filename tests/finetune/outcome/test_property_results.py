"""What a model file holds of properties."""

from __future__ import annotations

import numpy as np
import pytest

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.outcome.property_results import list_elements
from mftscreen.model.files.bundle import Bundle
from mftscreen.trust.intervals import IntervalCalibration
from mftscreen.trust.neighborhood import open_neighborhoods


def test_training_rows_are_kept_with_their_labels(
    bundle: Bundle, rows: dict[str, list[LabelledStructure]]
) -> None:
    n_features = len(bundle.neighborhoods["0/center"])
    (kept,) = open_neighborhoods(bundle.neighborhoods, n_features // 2)
    labels = [float(row.labels["dielectric"]) for row in rows["train"]]
    assert sorted(kept.labels["dielectric"]) == pytest.approx(sorted(labels))
    targets = bundle.calibration["dielectric/training_targets"]
    assert targets == pytest.approx(sorted(labels))


def test_calibration_rows_know_what_is_around_them(bundle: Bundle) -> None:
    calibration = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    assert (calibration.around.distance > 0.0).all()
    assert calibration.ids[int(np.argmin(calibration.around.distance))] == "cubic"
    assert bundle.card.properties["dielectric"].n_calibration == calibration.n_usable()


def test_elements_are_listed_by_number(
    rows: dict[str, list[LabelledStructure]],
) -> None:
    atoms = [row.atoms for row in rows["validation"]]
    assert list_elements(atoms) == ["Na", "Cl", "K"]
