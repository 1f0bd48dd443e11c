from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import Predictor, load_model
from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.outcome.calibration import (
    Around,
    build_reference_sets,
    calibrate_in_turn,
    measure_coverage,
)
from mftscreen.finetune.outcome.region import build_regions
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.model.files.bundle import Bundle
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.transforms import Transform
from mftscreen.trust.intervals import IntervalCalibration
from mftscreen.trust.neighborhood import Surroundings


@pytest.fixture(scope="module")
def descriptors(bundle: Bundle) -> PooledDescriptors:
    network = DeepmdNetwork.from_checkpoint(bundle.checkpoint)
    return PooledDescriptors(network, keep=False)


def test_calibration_rows_are_the_validation_rows_never_trained_on(
    bundle: Bundle, rows: dict[str, list[LabelledStructure]]
) -> None:
    calibrated = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    kept = [item for item in rows["validation"] if item.id != "repeated"]
    assert calibrated.ids == tuple(item.id for item in kept)
    labels = [float(item.labels["dielectric"]) for item in kept]
    assert calibrated.residuals + calibrated.predictions == pytest.approx(labels)
    model = load_model("mft-mini-crystals", neural=True, check_domain=False)
    predict = Predictor(model, properties=["dielectric"])
    expected = [
        row.properties["dielectric"] for row in predict([s.atoms for s in kept])
    ]
    assert calibrated.predictions == pytest.approx(expected, rel=1e-5)


def test_p_values_are_against_the_training_set(bundle: Bundle) -> None:
    p_values = IntervalCalibration.from_arrays(bundle.calibration, "dielectric")
    cubic, new_element, aperiodic, dense = p_values.p_values
    assert cubic == 1.0
    assert np.isnan([new_element, aperiodic]).all()
    assert dense == pytest.approx(1 / 13)


def test_coverage_counts_rows_that_are_not_flagged(
    config: MFTConfig,
    rows: dict[str, list[LabelledStructure]],
    descriptors: PooledDescriptors,
) -> None:
    spec = config.properties["dielectric"].specs("dielectric", [Transform()])[0]
    task = Task(
        config, TrainingData(rows, ["dielectric"]),
        ["Na", "Cl"], None, "", {"dielectric": spec},
    )  # fmt: skip
    around = Around(
        build_reference_sets(task)["dielectric"],
        build_regions(task, descriptors)["dielectric"],
        "identity",
    )
    calibration = IntervalCalibration(
        np.linspace(-0.1, 0.1, 40), np.full(40, 1.5), np.ones(40),
        Surroundings(np.ones(40), np.ones(40)), tuple(map(str, range(40))),
    )  # fmt: skip
    # intervals end where the training labels do
    train = [
        replace(row, labels={"dielectric": np.array(label)})
        for row, label in zip(rows["train"], [1.0, 3.0] * 6, strict=True)
    ]
    parts = {
        **rows,
        "train": train,
        "test": [*rows["train"][:4], rows["validation"][2]],
    }
    predicted = np.array([1.5, 1.55, 1.45, 1.9, 1.4])
    assert measure_coverage(spec, parts, "test", predicted, calibration, around) == {
        "n_intervals": 4.0,
        "coverage_90": 0.75,
    }
    # as if all of them were further away than any row that was held out
    near = IntervalCalibration(
        np.linspace(-0.1, 0.1, 200), np.full(200, 1.5), np.ones(200),
        Surroundings(np.zeros(200), np.ones(200)), tuple(map(str, range(200))),
    )  # fmt: skip
    assert measure_coverage(
        spec, parts, "test", predicted, near, around
    ) == {"n_intervals": 0.0}  # fmt: skip


def _in_turn(
    config: MFTConfig,
    structures: list[Atoms],
    ids: list[str],
    descriptors: PooledDescriptors,
) -> IntervalCalibration:
    spec = config.properties["dielectric"].specs("dielectric", [Transform()])[0]
    rows = [
        LabelledStructure(name, atoms, {"dielectric": np.array(float(k))})
        for k, (name, atoms) in enumerate(zip(ids, structures, strict=True))
    ]
    data = TrainingData({"train": rows, "validation": []}, ["dielectric"])
    task = Task(config, data, ["Na", "Cl"], None, "", {"dielectric": spec})
    around = Around(
        build_reference_sets(task)["dielectric"],
        build_regions(task, descriptors)["dielectric"],
        "identity",
    )
    predicted = np.arange(len(rows)) - 0.25
    folds = np.arange(len(rows)) % 2
    return calibrate_in_turn(spec, rows, predicted, folds, around)


def test_training_rows_are_calibrated_in_turn(
    config: MFTConfig, descriptors: PooledDescriptors
) -> None:
    crystals = [bulk("NaCl", "rocksalt", a=5.4 + 0.05 * k) for k in range(8)]
    # one id for two of them, one crystal once more, and an element on its own
    structures = [*crystals, crystals[3] * (2, 1, 1), bulk("KCl", "rocksalt", a=6.3)]
    ids = ["a", "a", *"cdefghij"]
    calibrated = _in_turn(config, structures, ids, descriptors)
    assert calibrated.ids == ("a", "a", *"cdefgh", "j")
    assert calibrated.residuals == pytest.approx(0.25)
    assert calibrated.predictions == pytest.approx([*np.arange(8) - 0.25, 8.75])
    distances = calibrated.around.distance
    assert (distances > 0.0).all()
    assert distances[-1] == distances.max()
    assert np.isnan(calibrated.p_values[-1])
    assert (calibrated.p_values[:-1] > 0).all()
    assert (calibrated.p_values[:-1] <= 1).all()


def test_molecules_are_calibrated_without_p_values(
    config: MFTConfig, descriptors: PooledDescriptors
) -> None:
    molecules = [molecule("H2O"), molecule("CH4")]
    calibrated = _in_turn(config, molecules, ["a", "b"], descriptors)
    assert calibrated.ids == ("a", "b")
    assert np.isnan(calibrated.p_values).all()


def test_molecules_are_calibrated_beside_crystals(
    config: MFTConfig, descriptors: PooledDescriptors
) -> None:
    crystals = [bulk("NaCl", "rocksalt", a=5.4 + 0.05 * k) for k in range(6)]
    structures = [molecule("H2O"), *crystals, crystals[0], molecule("CH4")]
    calibrated = _in_turn(config, structures, list("abcdefghi"), descriptors)
    assert calibrated.ids == tuple("abcdefgi")
    assert np.isnan(calibrated.p_values[[0, -1]]).all()
    assert (calibrated.p_values[1:-1] > 0).all()
