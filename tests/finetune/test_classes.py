"""Labels of yes or no, from rows to probabilities, by every strategy."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read, write

from mftscreen import Predictor, load_model, rank
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.task.task import load_task
from mftscreen.metrics import classification_metrics
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.card_view import card_text
from mftscreen.screen.result.uncertainty import PROBABILITY
from mftscreen.testing import check_model

pytestmark = pytest.mark.slow

SOFT = {"soft": {"kind": "class", "neurons": [8, 8]}}
DATA = {
    "train": ["yes-no-crystals.extxyz"],
    "test": {"held out": "yes-no-test.extxyz"},
    "validation": ["yes-no-validation.extxyz"],
}


@pytest.fixture(scope="module")
def labels(folder: Path) -> np.ndarray:
    """Write files with a label of yes or no, and return those of the test."""
    for file in ("crystals", "test"):
        rows = read(folder / f"{file}.extxyz", ":")
        # magnesium oxide is hard
        for k, atoms in enumerate(rows):
            soft = "Mg" not in atoms.symbols
            atoms.info["soft"] = [str(soft).lower(), "yes" if soft else "no"][k % 2]
        if file == "crystals":
            write(folder / "yes-no-validation.extxyz", rows[15:])
        write(folder / f"yes-no-{file}.extxyz", rows[:15])
    return np.array([float("Mg" not in atoms.symbols) for atoms in rows])


@pytest.fixture(scope="module")
def kernel(tune: Callable[..., Path], pretrained: Path, labels: np.ndarray) -> Path:
    return tune(
        "soft-kernel", "kernel", training=None, pretrained=str(pretrained),
        properties=SOFT, data=DATA,
    )  # fmt: skip


@pytest.fixture(scope="module")
def neural(tune: Callable[..., Path], labels: np.ndarray) -> Path:
    training = {"steps": 120, "save_every": 60, "batch_size": 64}
    training["learning_rate"] = [1e-2, 1e-3]
    properties = {**SOFT, "softness": {"neurons": [8, 8]}}
    return tune("soft", "scratch", properties=properties, data=DATA, training=training)


@pytest.mark.parametrize("which", ["kernel", "neural"])
def test_predictions_are_probabilities(
    which: str, request: pytest.FixtureRequest, folder: Path, labels: np.ndarray
) -> None:
    path = request.getfixturevalue(which)
    head = read_bundle(path).card.properties["soft"]
    assert (head.spec.kind, head.spec.unit) == ("class", "probability")
    atoms = read(folder / "test.extxyz", ":")
    rows = list(Predictor(path, properties="soft")(atoms))
    found = np.array([row.properties["soft"] for row in rows])
    assert ((found > 0.0) & (found < 1.0)).all()
    # nothing but the elements tells
    assert found[labels == 1.0].min() > found[labels == 0.0].max()
    metrics = head.metrics["held out"]
    assert metrics["auc"] == 1.0
    expected = classification_metrics(found, labels)
    assert metrics["log_loss"] == pytest.approx(expected["log_loss"], rel=1e-3)
    assert metrics["log_loss"] < metrics["log_loss_of_training_share"]
    assert "mae" not in metrics
    # of a probability there is no error to expect, nor an interval
    assert all("soft" not in row.errors for row in rows)
    assert head.n_calibration == 0
    check_model(load_model(path), atoms[:3])


@pytest.mark.parametrize("which", ["kernel", "neural"])
def test_candidates_are_ranked_by_probability(
    which: str, request: pytest.FixtureRequest, folder: Path
) -> None:
    path = request.getfixturevalue(which)
    table = rank(folder / "test.extxyz", goals="soft:max", models=path).to_pandas()
    ranked = table.dropna(subset="rank")
    assert (np.diff(ranked["soft"].to_numpy()) <= 0.0).all()
    assert "soft_low" not in table or table["soft_low"].isna().all()
    reasons = set(table["soft_no_interval"].dropna())
    assert PROBABILITY in reasons or "out of distribution" in reasons
    bounded = rank(folder / "test.extxyz", goals="soft>=0.5", models=path).to_pandas()
    assert bounded["rank"].notna().sum() == (table["soft"] >= 0.5).sum()


def test_a_card_for_people_has_what_probabilities_are_worth(kernel: Path) -> None:
    text = card_text(read_bundle(kernel).card)
    assert "balanced accuracy" in text
    assert "yes or no" in text
    assert "MAE" not in text.split("yes or no  ")[1].split("force field")[0]


def test_validation_rows_of_a_kernel_are_calibrated_without_themselves(
    kernel: Path,
) -> None:
    with (kernel.parent / "predictions.csv").open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["part"] == "validation"]
    assert len(rows) == 30
    p, y = (np.array([float(r[k]) for r in rows]) for k in ("prediction", "label"))
    assert set(y) == {0.0, 1.0}
    metrics = read_bundle(kernel).card.properties["soft"].metrics["validation"]
    assert classification_metrics(p, y)["brier"] == pytest.approx(metrics["brier"])


@pytest.mark.parametrize("strategy", ["ft", "lp", "mft"])
def test_other_strategies_train_it(
    strategy: str,
    tune: Callable[..., Path],
    pretrained: Path,
    folder: Path,
    labels: np.ndarray,
) -> None:
    settings: dict[str, Any] = {"properties": SOFT, "data": DATA, "readout": "best"}
    if strategy == "mft":
        settings["auxiliary"] = {"head": "first", "data": ["crystals.extxyz"]}
    path = tune(f"soft-{strategy}", strategy, pretrained=str(pretrained), **settings)
    atoms = read(folder / "test.extxyz", ":")
    found = [r.properties["soft"] for r in Predictor(path, properties="soft")(atoms)]
    assert all(0.0 < p < 1.0 for p in found)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("maybe", "crystal-4: the label 'soft' is 'maybe'; true or false"),
        (0.5, "crystal-4: the label 'soft' is 0.5; true or false"),
    ],
)
def test_other_labels_are_refused_by_row(
    value: object,
    message: str,
    labels: np.ndarray,
    folder: Path,
    write_config: Callable[..., Path],
    pretrained: Path,
) -> None:
    rows = read(folder / "yes-no-crystals.extxyz", ":")
    rows[4].info["soft"] = value
    write(folder / "odd.extxyz", rows)
    path = write_config(
        "soft-odd", "kernel", training=None, pretrained=str(pretrained),
        properties=SOFT, data={"train": ["odd.extxyz"]},
    )  # fmt: skip
    with pytest.raises(DataError, match=message):
        run_training(load_config(path), path.with_suffix(""))


def test_too_few_of_a_kind_are_refused(
    labels: np.ndarray,
    folder: Path,
    write_config: Callable[..., Path],
    pretrained: Path,
) -> None:
    rows = read(folder / "yes-no-crystals.extxyz", ":")
    for k, atoms in enumerate(rows):
        atoms.info["soft"] = int(k < 4)
    write(folder / "few.extxyz", rows)
    path = write_config(
        "soft-few", "kernel", training=None, pretrained=str(pretrained),
        properties=SOFT, data={"train": ["few.extxyz"]},
    )  # fmt: skip
    # before a network is trained, too
    late = write_config(
        "soft-late", "ft", pretrained=str(pretrained), properties=SOFT, readout="best",
        data={"train": ["yes-no-crystals.extxyz"], "validation": ["few.extxyz"]},
    )  # fmt: skip
    with pytest.raises(DataError, match="at least 5 validation rows of yes and of no"):
        load_task(load_config(late))
    with pytest.raises(DataError, match="at least 5 train rows of yes and of no"):
        run_training(load_config(path), path.with_suffix(""))


def test_a_class_has_no_unit(write_config: Callable[..., Path]) -> None:
    properties = {"soft": {"kind": "class", "unit": "eV", "transform": "log10"}}
    path = write_config("soft-unit", "scratch", properties=properties)
    with pytest.raises(ConfigError, match="no transform, unit"):
        load_config(path)


def test_training_rows_do_not_make_probabilities(
    labels: np.ndarray, write_config: Callable[..., Path], pretrained: Path
) -> None:
    twice = ["yes-no-crystals.extxyz"]
    path = write_config(
        "soft-twice", "ft", pretrained=str(pretrained), properties=SOFT,
        readout="best", data={"train": twice, "validation": twice},
    )  # fmt: skip
    with pytest.raises(DataError, match=r"validation rows .* not training rows, too"):
        load_task(load_config(path))
