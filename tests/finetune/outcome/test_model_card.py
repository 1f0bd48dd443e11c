"""From a checkpoint to a model file, without training: the shipped weights."""

from __future__ import annotations

import numpy as np
import pytest

from mftscreen import Predictor, load_model
from mftscreen.data.dataset import LabelledStructure
from mftscreen.model.files.bundle import Bundle, read_bundle
from mftscreen.model.files.registry import resolve_model
from mftscreen.ood.reference.reference_set import reference_arrays
from mftscreen.trust.intervals import IntervalCalibration
from mftscreen.trust.neighborhood import Surroundings


def test_card_counts_rows_and_measures_every_part(
    bundle: Bundle, rows: dict[str, list[LabelledStructure]]
) -> None:
    head = bundle.card.properties["dielectric"]
    assert head.n_calibration == 2
    assert head.n_train == 12
    assert set(head.metrics) == {"validation", "held out"}
    assert head.metrics["validation"]["n"] == 5
    assert head.metrics["held out"]["n_intervals"] == 0  # two rows make none
    assert "coverage_90" not in head.metrics["held out"]
    calibrated = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    total = np.abs(calibrated.residuals).sum()
    model = load_model("mft-mini-crystals", neural=True)
    (repeated,) = Predictor(model, properties=["dielectric"])([rows["train"][3].atoms])
    mae = (total + abs(repeated.properties["dielectric"] - 1.5)) / 5
    assert head.metrics["validation"]["mae"] == pytest.approx(mae, rel=1e-5)


def test_shipped_model_has_intervals() -> None:
    shipped = read_bundle(resolve_model("mft-mini")[0])
    rows = IntervalCalibration.from_arrays(shipped.calibration, "dielectric")
    head = shipped.card.properties["dielectric"]
    assert len(rows.ids) == head.metrics["validation"]["n"]
    assert rows.n_usable() == head.n_calibration > 0.9 * len(rows.ids)
    assert not set(rows.ids) & set(
        reference_arrays(shipped.reference, "dielectric")["ids"].tolist()
    )
    mae = head.metrics["validation"]["mae"]
    assert np.abs(rows.residuals).mean() == pytest.approx(mae, rel=1e-6)
    near, far = np.quantile(rows.around.distance, [0.1, 0.9])
    around = Surroundings([near, near, far], [np.median(rows.around.spread)] * 3)
    low, high = rows.interval([2.0, 4.0, 2.0], around)
    widths = high - low
    assert 0.2 < widths[0] < 1.5
    assert widths[1] > 1.5 * widths[0]
    assert widths[2] > widths[0]
