"""From a checkpoint to a model file, without training: the shipped weights."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import Predictor, load_model
from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.outcome.calibration import (
    build_reference_sets,
    measure_coverage,
)
from mftscreen.finetune.outcome.model_card import write_model
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.intervals import IntervalCalibration
from mftscreen.model.files.bundle import Bundle, read_bundle
from mftscreen.model.files.registry import resolve_model
from mftscreen.ood.reference.reference_set import reference_arrays
from mftscreen.properties import Transform

CONFIG = {
    "strategy": "mft",
    "name": "test",
    "pretrained": "mft-mini",
    "properties": {"dielectric": {"label": "refractive index"}},
    "data": {"train": ["unused"]},
    "training": {"steps": 1},
    "auxiliary": {"head": "crystals", "data": ["unused"]},
}


def labelled(name: str, atoms: Atoms, value: float) -> LabelledStructure:
    return LabelledStructure(name, atoms, {"dielectric": np.asarray(value)})


TRAIN = [
    labelled(f"t{k}", bulk("NaCl", "rocksalt", a=5.4 + 0.02 * k), 1.5)
    for k in range(12)
]
VALIDATION = [
    # sizes in such an order that batches mix them
    labelled("cubic", bulk("NaCl", "rocksalt", a=5.51, cubic=True), 1.6),
    labelled("repeated", TRAIN[3].atoms.copy(), 1.5),
    labelled("new element", bulk("KCl", "rocksalt", a=5.51), 1.4),
    labelled("molecule", molecule("NaCl"), 1.1),
    labelled("dense", bulk("NaCl", "rocksalt", a=4.6), 1.9),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("card") / "model.mft"
    shipped = read_bundle(resolve_model("mft-mini")[0])
    atoms = bulk("Si")
    labels = {"energy": np.asarray(-10.0), "force": np.full((2, 3), 0.1)}
    crystals = [LabelledStructure("si", atoms, labels)]
    rows = {"train": TRAIN, "validation": VALIDATION, "held out": TRAIN[:2]}
    rows["without labels"] = []
    config = MFTConfig.model_validate(CONFIG)
    task = Task(
        config,
        TrainingData(
            rows,
            ["dielectric"],
            {"crystals": {"train": crystals, "validation": crystals}},
        ),
        type_map=load_model().type_map,
        state=None,
        pretrained_sha256="",
        specs={
            "dielectric": config.properties["dielectric"].spec(
                "dielectric", Transform()
            )
        },
    )
    write_model(path, task, shipped.checkpoint, {})
    return read_bundle(path)


def test_calibration_rows_are_the_validation_rows_never_trained_on(
    bundle: Bundle,
) -> None:
    rows = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    kept = [item for item in VALIDATION if item.id != "repeated"]
    assert rows.ids == tuple(item.id for item in kept)
    labels = [float(item.labels["dielectric"]) for item in kept]
    assert rows.residuals + rows.predictions == pytest.approx(labels)
    expected = [
        row.properties["dielectric"]
        for row in Predictor(properties=["dielectric"])([s.atoms for s in kept])
    ]
    assert rows.predictions == pytest.approx(expected, rel=1e-5)


def test_p_values_are_against_the_training_set(bundle: Bundle) -> None:
    p_values = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    cubic, new_element, aperiodic, dense = p_values.p_values
    assert cubic == 1.0
    assert np.isnan([new_element, aperiodic]).all()
    assert dense == pytest.approx(1 / 13)


def test_card_counts_rows_and_measures_every_part(bundle: Bundle) -> None:
    head = bundle.card.properties["dielectric"]
    assert head.n_calibration == 2
    assert head.n_train == 12
    assert set(head.metrics) == {"validation", "held out"}
    assert head.metrics["validation"]["n"] == 5
    assert head.metrics["held out"]["n_intervals"] == 0  # two rows make none
    assert "coverage_90" not in head.metrics["held out"]
    rows = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    total = np.abs(rows.residuals).sum()
    repeated = next(Predictor(properties=["dielectric"])([TRAIN[3].atoms])).properties[
        "dielectric"
    ]
    mae = (total + abs(repeated - 1.5)) / 5
    assert head.metrics["validation"]["mae"] == pytest.approx(mae, rel=1e-5)


def test_coverage_counts_rows_that_are_not_flagged() -> None:
    rows = {"train": TRAIN, "validation": VALIDATION}
    spec = (
        MFTConfig.model_validate(CONFIG)
        .properties["dielectric"]
        .spec("dielectric", Transform())
    )
    task = Task(
        MFTConfig.model_validate(CONFIG), TrainingData(rows, ["dielectric"]),
        ["Na", "Cl"], None, "", {"dielectric": spec},
    )  # fmt: skip
    reference = build_reference_sets(task)["dielectric"]
    residuals = np.linspace(-0.1, 0.1, 40)
    calibration = IntervalCalibration(
        residuals, np.full(40, 1.5), np.ones(40), tuple(map(str, range(40)))
    )
    parts = {**rows, "test": [*TRAIN[:4], VALIDATION[2]]}
    predicted = np.array([1.5, 1.55, 1.45, 1.9, 1.4])
    assert measure_coverage(
        "dielectric", parts, "test", predicted, calibration, reference
    ) == {"n_intervals": 4.0, "coverage_90": 0.75}


def test_shipped_model_has_intervals() -> None:
    shipped = read_bundle(resolve_model("mft-mini")[0])
    rows = IntervalCalibration.from_arrays(shipped.calibration, "dielectric")
    head = shipped.card.properties["dielectric"]
    assert len(rows.ids) == head.n_calibration == head.metrics["validation"]["n"]
    assert not set(rows.ids) & set(
        reference_arrays(shipped.reference, "dielectric")["ids"].tolist()
    )
    mae = head.metrics["validation"]["mae"]
    assert np.abs(rows.residuals).mean() == pytest.approx(mae, rel=1e-6)
    low, high = rows.interval([2.0, 4.0, 2.0, 2.0], [0.8, 0.8, 0.1, 0.02])
    widths = high - low
    assert 0.2 < widths[0] < 1.5
    assert widths[1] > 2 * widths[0]
    assert widths[2] > widths[0]
    assert np.isnan(widths[3])
