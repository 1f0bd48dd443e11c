"""The published folds follow from our orbital field matrices."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.splits import (
    OMEE_METHODS,
    Split,
    SplitData,
    compute_vectors,
    draw_validation,
    nearest_materials,
    read_omee,
)

DATA = Path(os.environ.get("MFTSCREEN_DATA", ""))
SMALL = 300
"""Rows in small clusters, enough to see where the centres of these clusters are."""
WHOLE = "dielectric"
"""Its matrices are all calculated; of the other tasks those of some clusters."""


def with_data(test: Any) -> Any:
    unset = "MFTSCREEN_DATA" not in os.environ
    test = pytest.mark.skipif(unset, reason="MFTSCREEN_DATA unset")(test)
    return pytest.mark.slow(test)


@dataclass(frozen=True)
class Task:
    """A task of MatBench with the published folds."""

    name: str
    data: SplitData
    splits: dict[str, Split]

    def rows(self, method: str) -> dict[int, list[int]]:
        """Return the test rows of each fold."""
        split = self.splits[method]
        number = {name: row for row, name in enumerate(split.ids)}
        return {int(f.name): [number[row] for row in f.test] for f in split.folds}

    def matrices(self, rows: Sequence[int]) -> np.ndarray:
        """Return the orbital field matrices of some rows."""
        ids = [self.data.ids[row] for row in rows]
        some = SplitData(
            ids, [self.data.structures[row] for row in rows], self.data.values[rows]
        )
        featurizer = OFMFeaturizer(table="paper", mode="matminer")
        return compute_vectors(some, featurizer).values


@pytest.fixture(scope="module", params=["dielectric", "log_gvrh", "perovskites"])
def task(
    request: pytest.FixtureRequest, matbench: Callable[[str], list[LabelledStructure]]
) -> Task:
    rows = matbench(request.param)
    data = SplitData(
        [row.id for row in rows],
        [row.atoms for row in rows],
        [float(next(iter(row.labels.values()))) for row in rows],
    )
    path = DATA / "folds/omee_ood_folds.json.xz"
    splits = {
        method: read_omee(path, f"matbench_{request.param}", method, data)
        for method in OMEE_METHODS
    }
    return Task(request.param, data, splits)


@with_data
def test_published_clusters_follow_from_the_matrices(task: Task) -> None:
    clusters = task.rows("loco")
    assert sorted(clusters) == list(range(50))
    chosen = choose(clusters, task.name)
    # centres and their neighbours: those of few labels depend on no later ones
    n_labels = 50 if task.name == WHOLE else 10
    sparse = {}
    for kind in "xy":
        single = task.rows(f"sparse_{kind}_single")
        cluster = task.rows(f"sparse_{kind}_cluster")
        labels = sorted(single)[:n_labels]
        sparse[kind] = {label: (single[label][0], cluster[label]) for label in labels}
    some = np.random.default_rng(0).choice(len(task.data), 200, replace=False)
    rows = sorted(
        {row for label in chosen for row in clusters[label]}
        | {
            row
            for found in sparse.values()
            for _, near in found.values()
            for row in near
        }
        | set(some.tolist())
    )
    place = {row: k for k, row in enumerate(rows)}
    values = task.matrices(rows)
    check_fixed_point(values, [[place[row] for row in clusters[k]] for k in chosen])
    for found in sparse.values():
        centres = {label: place[centre] for label, (centre, _) in found.items()}
        near = nearest_materials(values, centres, 10)
        assert {
            label: [rows[k] for k in (centres[label], *near[label])] for label in found
        } == {label: cluster for label, (_, cluster) in found.items()}


def choose(clusters: dict[int, list[int]], name: str) -> list[int]:
    """Return the labels of all clusters, or of the smallest ones."""
    by_size = sorted(clusters, key=lambda label: len(clusters[label]))
    if name == WHOLE:
        return by_size
    sizes = np.cumsum([len(clusters[label]) for label in by_size])
    return by_size[: max(2, int(np.searchsorted(sizes, SMALL)))]


def check_fixed_point(values: np.ndarray, clusters: list[list[int]]) -> None:
    """Check that no row is nearer to the mean of another cluster."""
    means = [values[rows].mean(axis=0) for rows in clusters]
    for own, rows in enumerate(clusters):
        distances = [np.linalg.norm(values[rows] - mean, axis=1) for mean in means]
        assert (np.argmin(distances, axis=0) == own).all()


@with_data
def test_sparse_y_defect(task: Task) -> None:
    rows = [test[0] for test in task.rows("sparse_y_single").values()]
    targets = task.data.values
    grid = np.linspace(targets.min(), targets.max(), 100)
    defect = np.argsort(gaussian_kde(targets)(grid)).tolist()
    assert [row for row in defect if row in rows] == rows
    if task.name == WHOLE:  # the rarest targets are other rows
        rare = np.argsort(gaussian_kde(targets)(targets))[:500]
        assert len(set(rows) & set(rare)) == 9


@with_data
def test_validation_rows_are_drawn_as_ours(task: Task) -> None:
    for split in task.splits.values():
        number = {name: row for row, name in enumerate(split.ids)}
        for fold in split.folds[::7]:
            tested = {number[row] for row in fold.test}
            rest = [row for row in range(len(split.ids)) if row not in tested]
            drawn = draw_validation(rest, 0.2, seed=123)
            assert fold.val == tuple(split.ids[row] for row in drawn)


def test_published_files(data: SplitData, tmp_path: Path) -> None:
    folds = [
        {"cluster": "7", "test": [3, 1], "val": [109, 0]},
        {"cluster": "2", "test": [4], "val": [5]},
    ]
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({"matbench_x": {"LOCO": folds}}))
    split = read_omee(path, "matbench_x", "loco", data)
    assert [fold.name for fold in split.folds] == ["7", "2"]
    assert split.folds[0].test == ("row-3", "row-1")
    assert split.folds[0].val == ("row-109", "row-0")
    assert len(split.folds[0].train) == 106
    split.check_data(data)
    with pytest.raises(DataError, match=r"no LOCO folds of 'matbench_y'.* matbench_x"):
        read_omee(path, "matbench_y", "loco", data)
    with pytest.raises(DataError, match="no SparseYsingle folds"):
        read_omee(path, "matbench_x", "sparse_y_single", data)
    few = SplitData(data.ids[:50], data.structures[:50], data.values[:50])
    with pytest.raises(DataError, match="are of 110 rows, the data have 50"):
        read_omee(path, "matbench_x", "loco", few)
    path.write_text(json.dumps({"matbench_x": {"LOCO": [{"rows": [1]}]}}))
    with pytest.raises(DataError, match=r"folds\.json: not a file of folds"):
        read_omee(path, "matbench_x", "loco", data)
