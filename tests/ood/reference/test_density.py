"""The nearest-neighbour detector: scikit-learn's contract, calibration."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.utils.estimator_checks import check_estimator

from mftscreen.ood import OFMDensityDetector, orbital_field_matrix
from mftscreen.ood.ofm.orbitals import ORBITALS
from mftscreen.ood.reference.nearest import InvertedIndex


def sparse_vectors(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((n, 60)) * (rng.random((n, 60)) < 0.3)


# A reference vector is its own nearest neighbour, so with one neighbour its p-value is
# 1 by definition; these two checks want some rows of the training data to be flagged.
FLAGS_TRAINING_DATA = dict.fromkeys(
    ("check_outliers_train", "check_outliers_fit_predict"),
    "with one neighbour a reference vector is never far from the reference set",
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_contract() -> None:
    check_estimator(OFMDensityDetector())
    check_estimator(OFMDensityDetector(method="kde"))
    check_estimator(
        OFMDensityDetector(n_neighbors=1), expected_failed_checks=FLAGS_TRAINING_DATA
    )


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("k", [1, 3])
def test_distances_equal_brute_force(
    k: int, n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mftscreen.ood.reference.nearest._BLOCK", 7)  # several blocks
    reference, query = sparse_vectors(80), sparse_vectors(30, seed=1)
    detector = OFMDensityDetector(n_neighbors=k, n_jobs=n_jobs).fit(reference)
    expected = np.sort(cdist(query, reference), axis=1)[:, :k].mean(axis=1)
    assert np.allclose(-detector.score_samples(query), expected, atol=1e-13)
    own = np.sort(cdist(reference, reference), axis=1)[:, 1 : k + 1].mean(axis=1)
    assert np.allclose(-detector.loo_scores_, own, atol=1e-13)
    single = np.array([detector.score_samples(row[None])[0] for row in query])
    assert np.array_equal(single, detector.score_samples(query))


@pytest.mark.parametrize("bandwidth", [None, 0.3])
def test_kde_equals_brute_force(bandwidth: float | None) -> None:
    reference, query = sparse_vectors(80), sparse_vectors(30, seed=1)
    query[0] *= 1e3  # so far that every Gaussian underflows
    detector = OFMDensityDetector(method="kde", bandwidth=bandwidth).fit(reference)
    between = cdist(reference, reference)
    if bandwidth is None:
        bandwidth = np.median(np.sort(between, axis=1)[:, 10])
    assert detector.bandwidth_ == pytest.approx(bandwidth, rel=1e-12)
    exponents = -(cdist(query, reference) ** 2) / (2 * bandwidth**2)
    expected = logsumexp(exponents, axis=1) - np.log(80)
    assert np.allclose(detector.score_samples(query), expected, rtol=1e-9)
    np.fill_diagonal(between, np.inf)
    own = logsumexp(-(between**2) / (2 * bandwidth**2), axis=1) - np.log(79)
    assert np.allclose(detector.loo_scores_, own, rtol=1e-9)


@pytest.mark.parametrize("method", ["knn", "kde"])
def test_too_few_distinct_vectors(method: str) -> None:
    with pytest.raises(ValueError, match="distinct vectors, got 1 in n_samples = 20"):
        OFMDensityDetector(method=method).fit(np.ones((20, 3)))


def test_explicit_zeros_and_unsorted_rows_change_nothing() -> None:
    reference = sparse_vectors(40)
    messy = csr_array(reference)
    order = np.concatenate(
        [
            np.arange(a, b)[::-1]
            for a, b in zip(messy.indptr, messy.indptr[1:], strict=False)
        ]
    )
    messy = csr_array(
        (messy.data[order], messy.indices[order], messy.indptr), shape=messy.shape
    )
    query = sparse_vectors(10, seed=3)
    zeros = csr_array(
        (query.ravel(), np.tile(np.arange(60), 10), np.arange(0, 601, 60)),
        shape=query.shape,
    )
    expected = OFMDensityDetector().fit(reference).score_samples(query)
    found = OFMDensityDetector().fit(messy).score_samples(zeros)
    assert np.array_equal(found, expected)
    assert zeros.nnz == 600  # the caller's matrix is left as it was


def test_loo_p_values_are_in_the_order_of_the_reference() -> None:
    reference = np.array([[0.0], [1.0], [2.0], [30.0], [3.0]])
    p_values = OFMDensityDetector(n_neighbors=1).fit(reference).loo_p_values()
    assert p_values.tolist() == [1.0, 1.0, 1.0, 0.2, 1.0]


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_calibration(k: int, alpha: float) -> None:
    rng = np.random.default_rng(5)
    detector = OFMDensityDetector(n_neighbors=k, alpha=alpha)
    detector.fit(rng.normal(size=(2000, 6)))
    flagged = np.mean(detector.predict(rng.normal(size=(4000, 6))) == -1)
    assert flagged == pytest.approx(alpha, abs=0.3 * alpha + 0.003)
    far = rng.normal(size=(200, 6)) + 8.0
    assert (detector.predict(far) == -1).all()


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("n", [5, 19, 20, 99, 100])
def test_predict_agrees_with_p_value(alpha: float, n: int) -> None:
    # a grid has many equal distances
    places = np.random.default_rng(n).choice(144, n, replace=False)
    reference = np.stack(np.divmod(places, 12), axis=1).astype(float)
    query = np.random.default_rng(1).integers(-3, 16, size=(200, 2)).astype(float)
    detector = OFMDensityDetector(alpha=alpha).fit(reference)
    p_values = detector.p_value(query)
    counted = [
        (1 + np.sum(detector.loo_scores_ <= score)) / (n + 1)
        for score in detector.score_samples(query)
    ]
    assert np.allclose(p_values, counted, atol=1e-15)
    assert np.array_equal(detector.predict(query) == -1, p_values <= alpha + 1e-12)


@pytest.mark.parametrize("method", ["knn", "kde"])
@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_twins_do_not_change_the_calibration(method: str, noise: float) -> None:
    rng = np.random.default_rng(0)
    rows, query = rng.normal(size=(400, 5)), rng.normal(size=(2000, 5))
    once = OFMDensityDetector(method=method).fit(rows)
    twins = np.concatenate([rows, rows + noise * rng.normal(size=rows.shape)])
    order = rng.permutation(800)
    twice = OFMDensityDetector(method=method).fit(twins[order])
    assert len(twice.support_) == 400
    assert len(set((order[twice.support_] % 400).tolist())) == 400
    assert np.array_equal(twice.reference_.toarray(), twins[order][twice.support_])
    assert np.allclose(np.sort(twice.loo_scores_), np.sort(once.loo_scores_))
    flagged = np.mean(twice.predict(query) == -1)
    assert flagged == pytest.approx(np.mean(once.predict(query) == -1), abs=1e-3)
    assert flagged == pytest.approx(0.05, abs=0.03)


def test_the_first_of_equal_rows_is_kept() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9], [1.0, 1e-4], [0.0, 1.0]])
    for scale in (1e-8, 1.0, 1e8):
        detector = OFMDensityDetector().fit(scale * rows)
        assert detector.support_.tolist() == [0, 1, 3]


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


@pytest.mark.parametrize("k", [-1, 0, 10])
def test_impossible_numbers_of_neighbours(k: int) -> None:
    rows = csr_array(sparse_vectors(10))
    with pytest.raises(ValueError, match=f"nearest {k} of 9 vectors; 1 to 9"):
        InvertedIndex(rows).nearest(rows, k, leave_one_out=True)


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


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors"),
        ({"n_neighbors": 10}, "at least 11 distinct vectors"),
        ({"alpha": 0.0}, "alpha"),
        ({"method": "lof"}, "method"),
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"table": "old"}, "table must be"),
    ],
)
def test_parameters_are_checked(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OFMDensityDetector(**parameters).fit(sparse_vectors(10))
