"""Support vectors by sequential minimal optimization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint
from scipy.optimize import minimize as minimize_slowly

from mftscreen.finetune.kernel import smo
from mftscreen.model.readouts.kernel import gaussian

RNG = np.random.default_rng(0)


def _problem(n: int) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.normal(size=(n, 3))
    return gaussian(x, x, 1.0), np.sin(2.0 * x[:, 0]) + RNG.normal(scale=0.3, size=n)


def _loss(
    kernel: np.ndarray, targets: np.ndarray, weights: np.ndarray, eps: float
) -> float:
    absolute = eps * np.abs(weights).sum()
    return 0.5 * weights @ kernel @ weights - targets @ weights + absolute


@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.parametrize("linear", [0.0, 2.0])
def test_no_other_weights_are_better(eps: float, linear: float) -> None:
    kernel, targets = _problem(25)
    z = RNG.normal(size=(25, 2))
    kernel += linear * z @ z.T
    lower, upper = -RNG.uniform(0.2, 2.0, 25), RNG.uniform(0.2, 2.0, 25)
    upper[3] = lower[4] = lower[5] = upper[5] = 0.0
    weights, offset = smo.minimize(
        kernel.astype(np.float32), targets, lower, upper, eps
    )
    assert ((lower <= weights) & (weights <= upper)).all()
    assert weights.sum() == pytest.approx(0.0, abs=1e-12)
    # the parts of a weight above and below 0, which are smooth
    both = np.hstack([np.eye(25), -np.eye(25)])
    slow = minimize_slowly(
        lambda ab: _loss(kernel, targets, both @ ab, 0.0) + eps * ab.sum(),
        np.zeros(50),
        jac=lambda ab: both.T @ (kernel @ both @ ab - targets) + eps,
        bounds=[(0.0, most) for most in (*upper, *-lower)],
        constraints=LinearConstraint(both.sum(axis=0), 0.0, 0.0),
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    least = _loss(kernel, targets, both @ slow.x, eps)
    assert _loss(kernel, targets, weights, eps) == pytest.approx(least, abs=1e-3)
    # rows between their bounds are off by the tolerance
    free = (weights != 0.0) & (weights > lower) & (weights < upper)
    residuals = targets - kernel @ weights - offset
    assert free.any()
    np.testing.assert_allclose(np.abs(residuals[free]), eps, atol=2e-3)


def test_rows_that_are_the_same_share_what_one_would_have() -> None:
    kernel, targets = _problem(30)
    twice = np.tile(kernel, (2, 2)).astype(np.float32)
    bound = np.full(60, 0.5)
    weights, offset = smo.minimize(twice, np.tile(targets, 2), -bound, bound, 0.05)
    once, same = smo.minimize(
        kernel.astype(np.float32), targets, -2 * bound[:30], 2 * bound[:30], 0.05
    )
    values = twice[:30] @ weights + offset
    np.testing.assert_allclose(values, kernel @ once + same, atol=3e-3)


def test_no_row_is_fitted() -> None:
    weights, offset = smo.minimize(
        np.ones((3, 3), np.float32), np.ones(3), np.zeros(3), np.zeros(3), 0.1
    )
    assert not weights.any()
    assert offset == 0.0


def test_labels_that_are_all_the_same_need_no_weights() -> None:
    bound = np.ones(4)
    kernel = np.eye(4, dtype=np.float32)
    weights, offset = smo.minimize(kernel, np.full(4, 2.0), -bound, bound, 0.1)
    assert not weights.any()
    assert offset == pytest.approx(2.0)


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_weights_to_begin_with_change_nothing_but_the_way(
    eps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, targets = _problem(200)
    kernel, upper = kernel.astype(np.float32), np.full(200, 1.0)
    whole, _ = smo.minimize(kernel, targets, -upper, upper, eps)
    upper[:40] = 0.0
    cold, offset = smo.minimize(kernel, targets, -upper, upper, eps)
    begun: list[np.ndarray] = []
    descend = smo._descend

    def watched(kernel: np.ndarray, squares: np.ndarray, *others: Any) -> Any:
        begun.append(others[0].copy())
        return descend(kernel, squares, *others)

    monkeypatch.setattr(smo, "_descend", watched)
    warm, same = smo.minimize(kernel, targets, -upper, upper, eps, whole)
    assert np.abs(begun[0] - warm).sum() < 0.5 * np.abs(warm).sum()
    assert (np.abs(warm) <= upper).all()
    assert warm.sum() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(kernel @ warm + same, kernel @ cold + offset, atol=5e-3)


def test_weights_that_nobody_can_take_are_given_up() -> None:
    kernel, targets = _problem(6)
    kernel, upper = kernel.astype(np.float32), np.full(6, 1.0)
    start = np.ones(6)  # no fit has such a sum
    lower = -upper
    lower[3:] = upper[3:] = 0.0
    out, begun = np.arange(3, 6), (start.copy(), kernel @ start - targets)
    assert not smo._hand_over(kernel, np.ones(6), *begun, lower, upper, 0.1, out)
    warm, offset = smo.minimize(kernel, targets, lower, upper, 0.1, start)
    cold, same = smo.minimize(kernel, targets, lower, upper, 0.1)
    np.testing.assert_array_equal(warm, cold)
    assert offset == same
