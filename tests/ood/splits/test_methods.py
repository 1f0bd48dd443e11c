"""What all methods have in common, on small crystals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mftscreen.ood.splits import (
    OFMVectors,
    Split,
    SplitData,
    kde_tails,
    leave_one_out,
    loco,
    property_tail,
    random_split,
    sparse_x_cluster,
    sparse_x_single,
    sparse_y_cluster,
    sparse_y_single,
)

SPARSE = {"n_sparse": 40, "n_clusters": 5}
METHODS: dict[str, Callable[..., Split]] = {
    "random": lambda data, _, **seed: random_split(data, **seed),
    "loco": partial(loco, n_clusters=6),
    "sparse_x_single": partial(sparse_x_single, **SPARSE),
    "sparse_x_cluster": partial(sparse_x_cluster, n_neighbors=3, **SPARSE),
    "sparse_y_single": partial(sparse_y_single, **SPARSE),
    "sparse_y_cluster": partial(sparse_y_cluster, n_neighbors=3, **SPARSE),
    "kde_tails": lambda data, _, **seed: kde_tails(data, **seed),
    "property_tail": lambda data, _, **seed: property_tail(data, **seed),
    "chemsys": lambda data, _, **seed: leave_one_out(data, "chemsys", **seed),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method(
    method: str, data: SplitData, vectors: OFMVectors, tmp_path: Path
) -> None:
    split = METHODS[method](data, vectors, seed=7)
    assert split.method == method
    assert split.seed == 7
    for fold in split.folds:
        parts = [fold.train, fold.val, fold.test, fold.id_test]
        # every row is in exactly one part
        assert sorted(sum(parts, ())) == sorted(data.ids)
        rest = len(data) - len(fold.test) - len(fold.id_test)
        assert len(fold.val) == rest - int(0.8 * rest)
    assert METHODS[method](data, vectors, seed=7) == split
    assert METHODS[method](data, vectors, seed=8).folds != split.folds
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json", data) == split
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]
