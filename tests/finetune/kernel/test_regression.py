"""Support vectors and ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVR

from mftscreen.finetune.kernel import regression
from mftscreen.finetune.kernel.regression import Ridge, SupportVectors, project
from mftscreen.model.readouts.kernel import gaussian

X = np.random.default_rng(0).normal(size=(120, 4))
TARGETS = (np.sin(X[:, 0]) + 0.1 * X[:, 1])[:, None]


def _values(found: regression.Regression, gamma: float) -> np.ndarray:
    return gaussian(X, X, gamma) @ found.weights + found.offset


@pytest.mark.parametrize("n_matrix", [regression.N_MATRIX, 10])
def test_support_vectors_are_those_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, n_matrix: int
) -> None:
    monkeypatch.setattr(regression, "N_MATRIX", n_matrix)
    targets = 1000.0 + 50.0 * TARGETS
    found = SupportVectors(cost=3.0, tolerance=0.05).fit(X, targets, 1.0)
    center = np.median(targets)
    spread = 1.4826 * np.median(np.abs(targets - center))
    scaled = (targets[:, 0] - center) / spread
    model = SVR(gamma=0.25, C=3.0, epsilon=0.05).fit(X, scaled)
    expected = center + spread * model.predict(X)[:, None]
    np.testing.assert_allclose(_values(found, 1.0), expected, atol=0.01 * spread)


def test_support_vectors_do_not_follow_a_wrong_label() -> None:
    wrong = TARGETS.copy()
    wrong[7] = 1000.0
    robust = _values(SupportVectors().fit(X, wrong, 1.0), 1.0)
    others = np.arange(len(X)) != 7
    assert np.abs(robust - TARGETS)[others].mean() < 0.15
    squared = _values(Ridge(noise=0.1).fit(X, wrong, 1.0), 1.0)
    assert np.abs(squared - TARGETS)[others].mean() > 1.0


def test_labels_that_are_all_the_same_are_predicted_so() -> None:
    for method in (SupportVectors(), Ridge()):
        found = method.fit(X, np.full((len(X), 1), 2.5), 1.0)
        np.testing.assert_allclose(_values(found, 1.0), 2.5, atol=0.1)


def test_ridge_solves_its_equation() -> None:
    found = Ridge(noise=0.3).fit(X, TARGETS, 1.0)
    kernel = gaussian(X, X, 1.0)
    residuals = TARGETS - TARGETS.mean() - kernel @ found.weights
    np.testing.assert_allclose(residuals, 0.3 * found.weights, atol=1e-9)


def test_ridge_on_part_of_the_rows_is_near_that_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = _values(Ridge(noise=0.01).fit(X, TARGETS, 0.3), 0.3)
    monkeypatch.setattr(regression, "N_LANDMARKS", 60)
    monkeypatch.setattr(regression, "BLOCK", 50)
    found = Ridge(noise=0.01).fit(X, TARGETS, 0.3)
    assert np.count_nonzero(found.weights) == 60
    assert np.abs(_values(found, 0.3) - whole).mean() < 0.1 * TARGETS.std()


def test_a_function_of_landmarks_is_projected_on_itself() -> None:
    weights = np.zeros((len(X), 2))
    weights[:30] = np.random.default_rng(1).normal(size=(30, 2))
    projected = project(X, X[:60], 1.0, weights)
    values = gaussian(X, X[:60], 1.0) @ projected
    np.testing.assert_allclose(values, gaussian(X, X, 1.0) @ weights, atol=1e-4)
