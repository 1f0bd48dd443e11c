"""Properties with several numbers, from rows to predictions, by every strategy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read, write

from mftscreen import MFTCalculator, Predictor, load_model, rank
from mftscreen.errors import ConfigError, DataError, ModelFileError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.model.files.bundle import read_bundle, write_bundle
from mftscreen.testing import check_model

pytestmark = pytest.mark.slow

NAMES = ["pair_soft", "pair_bulky", "pair_norm"]
PAIR = {
    "components": ["soft", "bulky"],
    "columns": ["softness", "bulkiness"],
    "unit": "GPa",
    "neurons": [8, 8],
}


@pytest.fixture(scope="module")
def kernel(tune: Callable[..., Path], pretrained: Path) -> Path:
    return tune(
        "pair-kernel", "kernel", training=None, pretrained=str(pretrained),
        properties={"pair": PAIR},
    )  # fmt: skip


@pytest.fixture(scope="module")
def neural(tune: Callable[..., Path]) -> Path:
    pair = {**PAIR, "transform": "standardise"}
    alone = {"label": "softness", "neurons": [8, 8]}
    return tune("pair", "scratch", properties={"pair": pair, "softness": alone})


def _labels(folder: Path, file: str) -> np.ndarray:
    found = [
        [float(atoms.info[name]) for name in PAIR["columns"]]
        for atoms in read(folder / file, ":")
    ]
    return np.array(found)


@pytest.mark.parametrize("which", ["kernel", "neural"])
def test_each_component_and_the_norm_is_a_property(
    which: str, request: pytest.FixtureRequest, folder: Path
) -> None:
    path = request.getfixturevalue(which)
    card = read_bundle(path).card
    assert list(card.properties)[:3] == NAMES
    assert {card.properties[name].spec.unit for name in NAMES} == {"GPa"}
    labels = _labels(folder, "test.extxyz")
    truth = [*labels.T, np.linalg.norm(labels, axis=1)]
    atoms = read(folder / "test.extxyz", ":")
    rows = list(Predictor(path, properties=NAMES)(atoms))
    for name, target in zip(NAMES, truth, strict=True):
        predicted = [row.properties[name] for row in rows]
        found = card.properties[name].metrics["held out"]
        error = np.abs(predicted - target).mean()
        assert error == pytest.approx(found["mae"], rel=1e-4, abs=1e-5)
        assert all(row.errors[name] > 0.0 for row in rows)
    numbers = np.array([[row.properties[name] for name in NAMES] for row in rows])
    np.testing.assert_allclose(
        np.linalg.norm(numbers[:, :2], axis=1), numbers[:, 2], rtol=1e-6
    )
    check_model(load_model(path), atoms[:3])


def test_one_component_alone_is_what_it_is_with_the_others(
    kernel: Path, folder: Path
) -> None:
    atoms = read(folder / "test.extxyz", ":3")
    together = list(Predictor(kernel, properties="pair")(atoms))
    assert list(together[0].properties) == NAMES[:2]
    for name in NAMES:
        alone = [r.properties[name] for r in Predictor(kernel, properties=name)(atoms)]
        if name in together[0].properties:
            assert alone == [row.properties[name] for row in together]
    calculator = MFTCalculator(kernel)
    vector = calculator.get_property("pair", atoms[0])
    np.testing.assert_allclose(vector, list(together[0].properties.values()), 1e-5)


def test_ranking_by_all_components_by_one_and_by_the_norm(
    neural: Path, folder: Path, tmp_path: Path
) -> None:
    pool = folder / "test.extxyz"
    both = rank(pool, goals="pair", models=neural).to_pandas()
    assert {"front", "pair_soft", "pair_bulky"} <= set(both)
    norm = rank(pool, goals="pair_norm:min", models=neural).to_pandas()
    ordered = norm["pair_norm"].to_numpy()
    assert (np.diff(ordered) >= 0.0).all()
    assert len(norm) == 10
    with pytest.raises(ConfigError, match="two for one property"):
        rank(pool, goals=["pair:max", "pair_soft:min"], models=neural)


def test_the_neural_head_has_all_numbers(neural: Path) -> None:
    network = load_model(neural).network
    assert network.heads["pair"].n_components == 2
    transforms = [
        read_bundle(neural).card.properties[name].spec.transform for name in NAMES
    ]
    assert transforms[0].mean != transforms[1].mean
    assert transforms[2].kind == "identity"


@pytest.mark.parametrize("strategy", ["ft", "lp", "mft"])
def test_other_strategies_train_it(
    strategy: str, tune: Callable[..., Path], pretrained: Path, folder: Path
) -> None:
    settings: dict[str, Any] = {"properties": {"pair": PAIR}}
    if strategy == "mft":
        auxiliary = {"head": "first", "data": ["crystals.extxyz"]}
        settings |= {"auxiliary": auxiliary, "readout": "best"}
    path = tune(f"pair-{strategy}", strategy, pretrained=str(pretrained), **settings)
    atoms = read(folder / "test.extxyz", ":2")
    (first, second) = Predictor(path, properties="pair")(atoms)
    assert np.isfinite(list(first.properties.values())).all()
    assert first.properties != second.properties


def test_going_on_takes_the_head_over_with_the_same_components_only(
    tune: Callable[..., Path], pretrained: Path, write_config: Callable[..., Path]
) -> None:
    auxiliary = {"head": "first", "data": ["crystals.extxyz"]}
    first = tune(
        "pair-mft", "mft", pretrained=str(pretrained), auxiliary=auxiliary,
        properties={"pair": PAIR}, readout="best",
    )  # fmt: skip
    common = {"pretrained": str(first), "auxiliary": auxiliary}
    common["transfer_properties"] = True
    again = tune("pair-again", "mft", properties={"pair": PAIR}, **common)
    assert list(read_bundle(again).card.properties) == NAMES
    swapped = {**PAIR, "components": ["bulky", "soft"]}
    path = write_config("swapped", "mft", properties={"pair": swapped}, **common)
    with pytest.raises(ConfigError, match=r"has pair_soft, not pair_bulky"):
        run_training(load_config(path), path.with_suffix(""), threads=1)


def test_a_list_in_each_row_is_the_same_as_columns(
    kernel: Path, folder: Path, write_config: Callable[..., Path], pretrained: Path
) -> None:
    for file in ("crystals", "test"):
        rows = read(folder / f"{file}.extxyz", ":")
        for atoms in rows:
            atoms.info["both"] = np.array([atoms.info[k] for k in PAIR["columns"]])
        write(folder / f"lists-{file}.extxyz", rows)
    path = write_config(
        "pair-lists", "kernel", training=None, pretrained=str(pretrained),
        properties={"pair": {"components": 2, "column": "both"}},
        data={
            "train": ["lists-crystals.extxyz"],
            "test": {"held out": "lists-test.extxyz"},
        },
    )  # fmt: skip
    made = run_training(load_config(path), path.with_suffix(""))
    ours, theirs = (read_bundle(p).card.properties for p in (made, kernel))
    assert list(ours) == ["pair_0", "pair_1", "pair_norm"]
    for name, other in zip(ours.values(), theirs.values(), strict=True):
        assert name.metrics["held out"] == pytest.approx(other.metrics["held out"])


def test_a_row_with_some_components_is_refused_by_name(
    folder: Path, write_config: Callable[..., Path], pretrained: Path
) -> None:
    rows = read(folder / "crystals.extxyz", ":")
    del rows[7].info["bulkiness"]
    write(folder / "partial.extxyz", rows)
    path = write_config(
        "pair-partial", "kernel", training=None, pretrained=str(pretrained),
        properties={"pair": PAIR}, data={"train": ["partial.extxyz"]},
    )  # fmt: skip
    with pytest.raises(DataError, match=r"crystal-7: no number in 'bulkiness'"):
        run_training(load_config(path), path.with_suffix(""))


def test_a_card_that_lacks_a_component_is_refused(kernel: Path, tmp_path: Path) -> None:
    bundle = read_bundle(kernel)
    heads = {k: h for k, h in bundle.card.properties.items() if k != "pair_soft"}
    card = bundle.card.model_copy(update={"properties": heads})
    path = tmp_path / "lacking.mft"
    write_bundle(path, card, bundle.checkpoint, readouts=bundle.readouts)
    with pytest.raises(ModelFileError, match="each of the 2 numbers of pair"):
        load_model(path)
