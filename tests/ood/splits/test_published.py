"""The published folds follow from our orbital field matrices."""

from __future__ import annotations

import csv
import json
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from scipy.stats import gaussian_kde

from mftscreen.data.sources import read_labelled
from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.splits import (
    OMEE_METHODS,
    OFMVectors,
    Split,
    SplitData,
    compute_vectors,
    draw_validation,
    kde_tails,
    nearest_materials,
    random_split,
    read_omee,
)

DATA = Path(os.environ.get("MFTSCREEN_DATA", ""))
pytestmark = [
    pytest.mark.skipif(
        "MFTSCREEN_DATA" not in os.environ, reason="MFTSCREEN_DATA unset"
    ),
    pytest.mark.slow,
]
COLUMNS = {"dielectric": "n", "log_gvrh": "log10(G_VRH)", "perovskites": "e_form"}


@pytest.fixture(scope="module", params=COLUMNS)
def task(request: pytest.FixtureRequest) -> tuple[str, SplitData]:
    column = COLUMNS[request.param]
    path = DATA / f"matbench/matbench_{request.param}.json.gz"
    rows = list(read_labelled(path, column))
    return path.name.removesuffix(".json.gz"), SplitData(
        [row.id for row in rows],
        [row.atoms for row in rows],
        [float(row.labels[column]) for row in rows],
    )


@pytest.fixture(scope="module")
def vectors(task: tuple[str, SplitData]) -> OFMVectors:
    return compute_vectors(
        task[1], OFMFeaturizer(table="paper", mode="matminer", n_jobs=2)
    )


def published(task: tuple[str, SplitData], method: str) -> Split:
    return read_omee(DATA / "folds/omee_ood_folds.json.xz", task[0], method, task[1])


def rows_of(split: Split) -> dict[int, list[int]]:
    number = {name: row for row, name in enumerate(split.ids)}
    return {int(f.name): [number[row] for row in f.test] for f in split.folds}


def test_loco_is_a_fixed_point(
    task: tuple[str, SplitData], vectors: OFMVectors
) -> None:
    clusters = rows_of(published(task, "loco"))
    labels = np.full(len(task[1]), -1)
    for label, rows in clusters.items():
        labels[rows] = label
    assert sorted(clusters) == list(range(50))
    values = vectors.reduced
    means = np.stack([values[labels == k].mean(axis=0) for k in range(50)])
    distances = np.stack(
        [np.linalg.norm(values - mean, axis=1) for mean in means], axis=1
    )
    assert np.count_nonzero(distances.argmin(axis=1) != labels) == 0


@pytest.mark.parametrize("kind", ["x", "y"])
def test_neighbours_of_sparse_rows(
    kind: str, task: tuple[str, SplitData], vectors: OFMVectors
) -> None:
    single = rows_of(published(task, f"sparse_{kind}_single"))
    cluster = rows_of(published(task, f"sparse_{kind}_cluster"))
    centres = {label: rows[0] for label, rows in single.items()}
    near = nearest_materials(vectors.values, centres, 10)
    assert cluster == {label: [centres[label], *near[label]] for label in centres}


def test_sparse_y_defect(task: tuple[str, SplitData]) -> None:
    rows = [test[0] for test in rows_of(published(task, "sparse_y_single")).values()]
    targets = task[1].values
    grid = np.linspace(targets.min(), targets.max(), 100)
    defect = np.argsort(gaussian_kde(targets)(grid)).tolist()
    assert [row for row in defect if row in rows] == rows
    rare = np.argsort(gaussian_kde(targets)(targets))[:500]
    expected = {"dielectric": 9, "log_gvrh": 1, "perovskites": 2}
    assert len(set(rows) & set(rare)) == expected[task[0].removeprefix("matbench_")]


@pytest.mark.parametrize("method", OMEE_METHODS)
def test_validation_rows_are_drawn_as_ours(
    method: str, task: tuple[str, SplitData]
) -> None:
    split = published(task, method)
    number = {name: row for row, name in enumerate(split.ids)}
    for fold in split.folds:
        tested = {number[row] for row in fold.test}
        rest = [row for row in range(len(split.ids)) if row not in tested]
        drawn = draw_validation(rest, 0.2, seed=123)
        assert fold.val == tuple(split.ids[row] for row in drawn)


def test_random_folds_are_those_of_matbench(task: tuple[str, SplitData]) -> None:
    path = DATA / "folds/matbench_official_test_indices.json"
    official = json.loads(path.read_text())[task[0]]
    ours = rows_of_random(random_split(task[1]))
    assert [sorted(rows) for rows in ours] == [sorted(rows) for rows in official]


def test_boom_tails_of_qm9() -> None:
    with lzma.open(DATA / "qm9/qm9_props.csv.xz", "rt") as stream:
        gaps = [float(row["gap_Ha"]) for row in csv.DictReader(stream)]
    data = SplitData(list(map(str, range(len(gaps)))), [bulk("Cu")] * len(gaps), gaps)
    (fold,) = kde_tails(data, ood_share=10_000 / len(gaps)).folds
    ood = np.array([gaps[int(row)] for row in fold.test])
    assert 9_950 < len(ood) <= 10_000
    # BOOM, on 133,885 molecules: two tails, up to 0.1704 Ha and from 0.3318 Ha
    assert ood[ood < 0.25].max() == pytest.approx(0.1704, abs=0.003)
    assert ood[ood > 0.25].min() == pytest.approx(0.3318, abs=0.003)


def rows_of_random(split: Split) -> list[list[int]]:
    number = {name: row for row, name in enumerate(split.ids)}
    return [[number[row] for row in fold.test] for fold in split.folds]
