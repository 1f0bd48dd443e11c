"""What all methods have in common, on small crystals."""

from __future__ import annotations

from pathlib import Path

import pytest

from mftscreen.errors import DataError
from mftscreen.ood.splits import (
    OFM_METHODS,
    OFMVectors,
    Split,
    SplitData,
    split_function,
)

SPARSE = {"n_sparse": 40, "n_clusters": 5}
OPTIONS: dict[str, dict[str, int]] = {
    "random": {},
    "loco": {"n_clusters": 6},
    "sparse_x_single": SPARSE,
    "sparse_x_cluster": {"n_neighbors": 3, **SPARSE},
    "sparse_y_single": SPARSE,
    "sparse_y_cluster": {"n_neighbors": 3, **SPARSE},
    "kde_tails": {},
    "property_tail": {},
    "chemsys": {},
}


@pytest.mark.parametrize("method", OPTIONS)
def test_every_method(
    method: str, data: SplitData, vectors: OFMVectors, tmp_path: Path
) -> None:
    given = (data, vectors) if method in OFM_METHODS else (data,)

    def make(seed: int) -> Split:
        return split_function(method)(*given, seed=seed, **OPTIONS[method])

    split = make(7)
    assert split.method == method
    assert split.seed == 7
    for fold in split.folds:
        parts = [fold.train, fold.val, fold.test, fold.id_test]
        # every row is in exactly one part
        assert sorted(sum(parts, ())) == sorted(data.ids)
        rest = len(data) - len(fold.test) - len(fold.id_test)
        assert len(fold.val) == rest - int(0.8 * rest)
    assert make(7) == split
    assert make(8).folds != split.folds
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json", data) == split
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]


def test_unknown_method_lists_the_others() -> None:
    with pytest.raises(DataError, match=r"no split method 'loko'; .*loco.*prototype"):
        split_function("loko")
