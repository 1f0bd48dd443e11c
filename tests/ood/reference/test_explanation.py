"""What is said of a vector beside the reference set."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.ood import OFMDensityDetector, orbital_field_matrix
from mftscreen.ood.ofm.orbitals import ORBITALS


def sparse_vectors(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((n, 60)) * (rng.random((n, 60)) < 0.3)


def test_unseen_columns_count_and_are_named() -> None:
    reference = np.stack(
        [orbital_field_matrix(bulk("Si", a=a)) for a in np.linspace(5.2, 5.6, 25)]
    )
    detector = OFMDensityDetector(n_neighbors=1).fit(reference)
    changed = reference[3].copy()
    column = ORBITALS.index("d10") * 32 + ORBITALS.index("p4")
    assert reference[:, column].max() == 0.0
    changed[column] = 0.7
    assert detector.score_samples([changed])[0] == pytest.approx(-0.7)
    why = detector.explain(changed, n_nearest=2)
    assert why.unseen_columns.tolist() == [column]
    assert why.unseen_values.tolist() == [0.7]
    assert why.indices[0] == 3
    assert why.distances[0] == pytest.approx(0.7)
    assert why.p_value == detector.p_value([changed])[0] == pytest.approx(1 / 26)
    assert len(detector.explain(reference[0]).unseen_columns) == 0
    with pytest.raises(ValueError, match="n_nearest must be at least 1, got 0"):
        detector.explain(changed, n_nearest=0)


@pytest.mark.parametrize("method", ["knn", "kde"])
@pytest.mark.parametrize("n_nearest", [1, 5, 100])
def test_rows_are_explained_as_one_by_one(method: str, n_nearest: int) -> None:
    detector = OFMDensityDetector(method=method, n_neighbors=3)
    detector.fit(sparse_vectors(50) * (np.arange(60) < 40))
    query = sparse_vectors(20, seed=2)
    found = detector.explain_rows(query, n_nearest)
    assert [why.p_value for why in found] == detector.p_value(query).tolist()
    for row, why in zip(query, found, strict=True):
        alone = detector.explain(row, n_nearest)
        assert len(why.indices) == min(n_nearest, 50)
        assert np.array_equal(why.indices, alone.indices)
        assert np.array_equal(why.distances, alone.distances)
        assert set(why.unseen_columns) == set(np.flatnonzero(row[40:]) + 40)
        assert np.array_equal(why.unseen_values, row[why.unseen_columns])
