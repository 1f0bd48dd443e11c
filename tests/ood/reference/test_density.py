"""The nearest-neighbour detector: scikit-learn's contract, calibration."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from mftscreen.ood import OFMDensityDetector


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


@pytest.mark.parametrize("method", ["knn", "kde"])
def test_too_few_distinct_vectors(method: str) -> None:
    with pytest.raises(ValueError, match="distinct vectors, got 1 in n_samples = 20"):
        OFMDensityDetector(method=method).fit(np.ones((20, 3)))


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
