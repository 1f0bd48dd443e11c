"""Support vectors and ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC, SVR

from mftscreen.finetune.kernel import regression
from mftscreen.finetune.kernel.regression import (
    Classifier,
    Kernel,
    Regression,
    Ridge,
    SupportVectors,
    project,
)
from mftscreen.model.readouts.kernel import gaussian

X = np.random.default_rng(0).normal(size=(120, 4))
TARGETS = (np.sin(X[:, 0]) + 0.1 * X[:, 1])[:, None]
EVERY = np.arange(len(X))
OTHERS = np.flatnonzero(EVERY % 4 != 1)

held_or_not = pytest.mark.parametrize("n_held", [100_000, 10])


@pytest.fixture(autouse=True)
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "n_held" in request.fixturenames:
        for name in ("N_SINGLE", "N_DOUBLE"):
            monkeypatch.setattr(regression, name, request.getfixturevalue("n_held"))


def _fit(
    method: SupportVectors | Ridge | Classifier,
    targets: np.ndarray,
    rows: np.ndarray = EVERY,
    gamma: float = 1.0,
) -> tuple[Regression, np.ndarray]:
    kernel = Kernel(X, gamma, method.precision)
    found = method.fit(kernel, targets, rows)
    return found, kernel.evaluate(found, EVERY)


@held_or_not
def test_support_vectors_are_those_of_scikit_learn(n_held: int) -> None:
    targets = 1000.0 + 50.0 * TARGETS
    found, values = _fit(SupportVectors(cost=3.0, tolerance=0.05), targets, OTHERS)
    center = np.median(targets[OTHERS])
    spread = 1.4826 * np.median(np.abs(targets[OTHERS] - center))
    scaled = (targets[:, 0] - center) / spread
    model = SVR(gamma=0.25, C=3.0, epsilon=0.05).fit(X[OTHERS], scaled[OTHERS])
    expected = center + spread * model.predict(X)[:, None]
    np.testing.assert_allclose(values, expected, atol=0.003 * spread)
    assert not found.weights[1::4].any()
    assert found.weights.sum() == pytest.approx(0.0, abs=1e-6)


@held_or_not
def test_a_classifier_is_that_of_scikit_learn(n_held: int) -> None:
    noisy = TARGETS + np.random.default_rng(1).normal(scale=0.5, size=TARGETS.shape)
    found, values = _fit(Classifier(cost=2.0), (noisy > 0.2).astype(float), OTHERS)
    model = SVC(gamma=0.25, C=2.0).fit(X[OTHERS], noisy[OTHERS, 0] > 0.2)
    expected = model.decision_function(X)[:, None]
    np.testing.assert_allclose(values, expected, atol=0.003)
    assert not found.weights[1::4].any()


@held_or_not
@pytest.mark.parametrize("method", [SupportVectors(), Ridge(0.1), Classifier()])
def test_targets_of_rows_left_out_do_not_matter(
    n_held: int, method: SupportVectors | Ridge | Classifier
) -> None:
    targets = (TARGETS > 0).astype(float) if isinstance(method, Classifier) else TARGETS
    wrong = targets.copy()
    wrong[1::4] = 1e6
    found, values = _fit(method, targets, OTHERS)
    again, same = _fit(method, wrong, OTHERS)
    np.testing.assert_array_equal(found.weights, again.weights)
    np.testing.assert_array_equal(values, same)


def test_support_vectors_do_not_follow_a_wrong_label() -> None:
    wrong = TARGETS.copy()
    wrong[7] = 1000.0
    _, robust = _fit(SupportVectors(), wrong)
    others = np.arange(len(X)) != 7
    assert np.abs(robust - TARGETS)[others].mean() < 0.15
    _, squared = _fit(Ridge(noise=0.1), wrong)
    assert np.abs(squared - TARGETS)[others].mean() > 1.0


def test_labels_that_are_all_the_same_are_predicted_so() -> None:
    for method in (SupportVectors(), Ridge()):
        _, values = _fit(method, np.full((len(X), 1), 2.5))
        np.testing.assert_allclose(values, 2.5, atol=0.1)


@held_or_not
def test_ridge_solves_its_equation(n_held: int) -> None:
    found, values = _fit(Ridge(noise=0.3), TARGETS, OTHERS)
    residuals = TARGETS - values
    np.testing.assert_allclose(
        residuals[OTHERS], 0.3 * found.weights[OTHERS], atol=1e-9
    )


def test_ridge_on_part_of_the_rows_is_near_that_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, whole = _fit(Ridge(noise=0.01), TARGETS, gamma=0.3)
    monkeypatch.setattr(regression, "N_LANDMARKS", 60)
    monkeypatch.setattr(regression, "BLOCK", 50)
    found, values = _fit(Ridge(noise=0.01), TARGETS, gamma=0.3)
    assert np.count_nonzero(found.weights) == 60
    assert np.abs(values - whole).mean() < 0.1 * TARGETS.std()


def test_a_function_of_landmarks_is_projected_on_itself() -> None:
    weights = np.zeros((len(X), 2))
    weights[:30] = np.random.default_rng(1).normal(size=(30, 2))
    projected = project(X, X[:60], 1.0, weights)
    values = gaussian(X, X[:60], 1.0) @ projected
    np.testing.assert_allclose(values, gaussian(X, X, 1.0) @ weights, atol=1e-4)
