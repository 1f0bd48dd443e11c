"""Regression with a Gaussian kernel: support vectors, or ridge.

Support vector regression [1]_ has a robust loss, which labels from databases need: some
are wrong by far (``docs/measured.md`` compares it with ridge regression on refractive
indices). Where squared errors count, it is ridge regression. Of yes and no, it is
support vector classification.

References
----------
.. [1] A. J. Smola and B. Schölkopf, Stat. Comput. 14, 199 (2004),
   doi:10.1023/B:STCO.0000035301.49549.88
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.model.readouts.kernel import gaussian

__all__ = ["Classifier", "Regression", "Ridge", "SupportVectors", "project"]

FloatArray = NDArray[np.float64]

N_MATRIX = 20_000
"""Rows up to which their kernel is held as a whole (3.2 GB), which is faster than to
compute its rows when they are needed: 2.5 times for 8,789 rows of 960 components."""

N_LANDMARKS = 16_000
"""Of more, a function is projected on so many, or ridge fits them to all: the cost of a
prediction, and the size of a file, do not grow with the training set. Fewer cost
accuracy: on MatBench perovskites (a fifth of the training rows of official fold 0,
descriptors of 7net-l3i5 and mft-mini-pretrained, 10,700 support vectors) 10,000
landmarks add 0.4 % to the error, 8,000 2 %, 6,000 6 % and 4,000 11 %."""

BLOCK = 2048
JITTER = 1e-8
"""On the diagonal of a kernel matrix of landmarks, of which two may be the same."""


class Regression(NamedTuple):
    """Weights (n_rows, n_targets), many of which may be 0, and offsets (n_targets,)."""

    weights: FloatArray
    offset: FloatArray

    @property
    def used(self) -> NDArray[np.bool_]:
        """Rows (n_rows,) with a weight that is not 0."""
        return np.asarray(self.weights.any(axis=1))


@dataclass(frozen=True)
class SupportVectors:
    """Support vector regression.

    Attributes
    ----------
    cost : float
        Largest weight of a row, in units of the targets' spread.
    tolerance : float
        Errors that count nothing, in the same units.
    """

    cost: float = 3.0
    tolerance: float = 0.05

    def fit(self, x: FloatArray, targets: FloatArray, gamma: float) -> Regression:
        """Fit rows to targets.

        Parameters
        ----------
        x : ndarray of shape (n_rows, n_features)
        targets : ndarray of shape (n_rows, n_targets)
            Several are fitted one by one, with the same kernel.
        gamma : float
            See :mod:`mftscreen.model.readouts.kernel`.

        Returns
        -------
        Regression
        """
        from sklearn.svm import SVR

        whole = len(x) <= N_MATRIX
        model = SVR(
            kernel="precomputed" if whole else "rbf",
            gamma=gamma / x.shape[1],
            C=self.cost,
            epsilon=self.tolerance,
            cache_size=1000,
        )
        inputs = gaussian(x, x, gamma) if whole else x
        weights, offset = np.zeros(targets.shape), np.zeros(targets.shape[1])
        for k, column in enumerate(targets.T):
            center, spread = _robust(column)
            model.fit(inputs, (column - center) / spread)
            weights[model.support_, k] = model.dual_coef_[0] * spread
            offset[k] = float(model.intercept_[0]) * spread + center
        return Regression(weights, offset)


@dataclass(frozen=True)
class Classifier:
    """Support vector classification.

    Attributes
    ----------
    cost : float
        Largest weight of a row.
    """

    cost: float = 1.0

    def fit(self, x: FloatArray, targets: FloatArray, gamma: float) -> Regression:
        """Fit rows to targets (n_rows, 1) of 0 and 1; see :meth:`SupportVectors.fit`.

        Values are larger for what is likelier 1, and no probabilities.
        """
        from sklearn.svm import SVC

        labels = targets[:, 0] > 0.5
        weights = np.zeros(targets.shape)
        if labels.all() or not labels.any():  # of a fold
            return Regression(weights, np.full(1, 1.0 if labels[0] else -1.0))
        whole = len(x) <= N_MATRIX
        model = SVC(
            kernel="precomputed" if whole else "rbf",
            gamma=gamma / x.shape[1],
            C=self.cost,
            cache_size=1000,
        )
        model.fit(gaussian(x, x, gamma) if whole else x, labels)
        weights[model.support_, 0] = model.dual_coef_[0]
        return Regression(weights, np.array([float(model.intercept_[0])]))


@dataclass(frozen=True)
class Ridge:
    """Kernel ridge regression; of many rows, on some as landmarks, in even steps.

    Attributes
    ----------
    noise : float
        Variance of what the kernel cannot explain over that which it can.
    """

    noise: float = 0.01

    def fit(self, x: FloatArray, targets: FloatArray, gamma: float) -> Regression:
        """Fit rows to targets; see :meth:`SupportVectors.fit`."""
        from scipy.linalg import cho_factor, cho_solve

        offset = targets.mean(axis=0)
        chosen = np.linspace(0, len(x) - 1, min(len(x), N_LANDMARKS)).astype(int)
        z = x[chosen]
        matrix, right = gaussian(z, z, gamma), targets - offset
        if len(chosen) == len(x):
            matrix[np.diag_indices_from(matrix)] += self.noise
        else:
            matrix *= self.noise
            matrix[np.diag_indices_from(matrix)] += JITTER
            total = np.zeros((len(z), right.shape[1]))
            for start in range(0, len(x), BLOCK):
                part = slice(start, start + BLOCK)
                across = gaussian(x[part], z, gamma)
                matrix += across.T @ across
                total += across.T @ right[part]
            right = total
        # transposed, in LAPACK's order, it is factored in place
        factor = cho_factor(matrix.T, overwrite_a=True, check_finite=False)
        weights = np.zeros(targets.shape)
        weights[chosen] = cho_solve(factor, right)
        return Regression(weights, offset)


def project(
    x: FloatArray, z: FloatArray, gamma: float, weights: FloatArray
) -> FloatArray:
    """Return weights of landmarks for the function nearest to that of more rows.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_features)
    z : ndarray of shape (n_landmarks, n_features)
    gamma : float
    weights : ndarray of shape (n_rows, n_targets)

    Returns
    -------
    ndarray of shape (n_landmarks, n_targets)
        Nearest in the norm of the kernel's space.
    """
    from scipy.linalg import cho_factor, cho_solve

    matrix = gaussian(z, z, gamma)
    matrix[np.diag_indices_from(matrix)] += JITTER
    factor = cho_factor(matrix.T, overwrite_a=True, check_finite=False)
    right = np.zeros((len(z), weights.shape[1]))
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        right += gaussian(z, x[part], gamma) @ weights[part]
    return np.asarray(cho_solve(factor, right))


def _robust(targets: FloatArray) -> tuple[float, float]:
    """Return median and a spread that outliers do not move."""
    center = float(np.median(targets))
    spread = 1.4826 * float(np.median(np.abs(targets - center)))
    # most may be nearly the same, such as 0, and the others what matters
    low, high = np.quantile(targets, [0.05, 0.95])
    least = max(0.1 * float(high - low), 1e-3 * float(targets.std()))
    return center, max(spread, least) or 1.0
