"""Clusters of orbital field matrices, and sparse regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from scipy.stats import gaussian_kde

from mftscreen.errors import DataError
from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.splits import (
    OFMVectors,
    Split,
    SplitData,
    cluster_rows,
    compute_vectors,
    kde_tails,
    loco,
    nearest_materials,
    random_split,
    sparse_x_cluster,
    sparse_x_single,
    sparse_y_cluster,
    sparse_y_single,
)


def test_loco_is_a_fixed_point(data: SplitData, vectors: OFMVectors) -> None:
    labels = cluster_rows(vectors.values, 6, seed=0)
    means = np.stack([vectors.values[labels == k].mean(axis=0) for k in range(6)])
    distances = np.linalg.norm(vectors.values[:, None] - means, axis=2)
    own = distances[np.arange(len(data)), labels]
    assert (own <= distances.min(axis=1) + 1e-12).all()
    split = loco(data, vectors, n_clusters=6)
    assert [set(fold.test) for fold in split.folds] == [
        {data.ids[row] for row in np.flatnonzero(labels == k)} for k in range(6)
    ]
    assert split.parameters == {
        "n_clusters": 6, "val_share": 0.2, "table": "current", "mode": "exact",
    }  # fmt: skip


def rows_of(split: Split) -> list[int]:
    return [int(fold.test[0].removeprefix("row-")) for fold in split.folds]


def test_sparse_y_takes_rare_targets(data: SplitData, vectors: OFMVectors) -> None:
    rare = np.argsort(gaussian_kde(data.values)(data.values))[:20].tolist()
    options = {"n_sparse": 20, "n_clusters": 20, "val_share": 0.0}
    features = np.random.default_rng(0).normal(size=(110, 5))
    split = sparse_y_single(data, replace(vectors, features=features), **options)
    # as many clusters as rows: the order is that of the density
    assert rows_of(split) == rare


def test_sparse_y_published_defect(data: SplitData, vectors: OFMVectors) -> None:
    grid = np.linspace(data.values.min(), data.values.max(), 100)
    defect = np.argsort(gaussian_kde(data.values)(grid)).tolist()
    split = sparse_y_single(data, vectors, variant="published", n_clusters=5)
    rows = rows_of(split)
    assert rows[0] == defect[0]
    # in the order of the grid's densities, and never beyond the hundredth row
    assert [row for row in defect if row in rows] == rows
    assert rows != rows_of(sparse_y_single(data, vectors, n_clusters=5))
    assert split.parameters["variant"] == "published"
    few = SplitData(data.ids[:99], data.structures[:99], data.values[:99])
    with pytest.raises(DataError, match="needs 100 rows, got 99"):
        sparse_y_single(few, first_rows(vectors, 99), variant="published")


def first_rows(vectors: OFMVectors, n: int) -> OFMVectors:
    return replace(vectors, features=vectors.features[:n])


@pytest.mark.parametrize("kind", ["x", "y"])
def test_clusters_are_singles_with_neighbours(
    kind: str, data: SplitData, vectors: OFMVectors
) -> None:
    in_single, in_cluster = {
        "x": (sparse_x_single, sparse_x_cluster),
        "y": (sparse_y_single, sparse_y_cluster),
    }[kind]
    options = {"n_sparse": 40, "n_clusters": 5, "seed": 3}
    single = in_single(data, vectors, **options)
    cluster = in_cluster(data, vectors, n_neighbors=3, **options)
    assert [f.name for f in single.folds] == [f.name for f in cluster.folds]
    assert rows_of(single) == rows_of(cluster)
    near = nearest_materials(
        vectors.values,
        {int(f.name): r for f, r in zip(single.folds, rows_of(single), strict=True)},
        3,
    )
    for fold in cluster.folds:
        assert fold.test[1:] == tuple(f"row-{row}" for row in near[int(fold.name)])


def test_too_few_rows(data: SplitData, vectors: OFMVectors) -> None:
    with pytest.raises(DataError, match="n_clusters = 1 or less"):
        cluster_rows(np.zeros((9, 3)), 3, seed=0)
    with pytest.raises(DataError, match="111 clusters of 110 rows"):
        loco(data, vectors, n_clusters=111)
    with pytest.raises(DataError, match="less than the 110 rows, got 200"):
        sparse_x_single(data, vectors, perplexity=200)
    with pytest.raises(DataError, match="3 vectors of 110 rows"):
        loco(data, first_rows(vectors, 3))
    with pytest.raises(DataError, match="1 folds"):
        random_split(data, n_folds=1)


def test_arguments_out_of_range(data: SplitData, vectors: OFMVectors) -> None:
    with pytest.raises(DataError, match="n_sparse must be at least 1, got 0"):
        sparse_y_single(data, vectors, n_sparse=0)
    with pytest.raises(DataError, match="n_neighbors must be at least 1, got 0"):
        sparse_y_cluster(data, vectors, n_neighbors=0, n_clusters=5)
    for share in (np.nan, np.inf, 0.0, 1.0):
        with pytest.raises(DataError, match="ood_share must be between 0 and 1"):
            kde_tails(data, ood_share=share)


def test_equal_structures_have_no_sparse_region() -> None:
    same = SplitData([str(k) for k in range(60)], [bulk("Si")] * 60, np.arange(60.0))
    vectors = compute_vectors(same, OFMFeaturizer())
    with pytest.raises(DataError, match="all orbital field matrices are equal"):
        sparse_x_single(same, vectors, n_clusters=2)
