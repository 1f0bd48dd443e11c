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
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.model.readouts.kernel import gaussian

__all__ = [
    "Classifier",
    "Kernel",
    "Regression",
    "Ridge",
    "SupportVectors",
    "project",
]

FloatArray = NDArray[np.float64]

N_SINGLE = 28_000
"""Rows up to which support vectors have the kernel as a whole (3.1 GB, in single
precision); of more, LIBSVM computes its rows when they are needed."""

N_DOUBLE = 5_000
"""Rows up to which all folds of a ridge regression have it in common (0.2 GB)."""

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


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel between rows, which several fits have in common.

    Attributes
    ----------
    x : ndarray of shape (n_rows, n_features)
    gamma : float
        See :mod:`mftscreen.model.readouts.kernel`.
    precision : type
        Of its matrix: ``numpy.float32``, or ``numpy.float64`` where systems of
        equations are solved.
    linear : ndarray of shape (n_rows, n_linear), optional
        Vectors whose scalar products are added to the Gaussian.
    """

    x: FloatArray
    gamma: float
    precision: type[np.floating[Any]]
    linear: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def is_held(self) -> bool:
        """Whether there is a matrix of all rows."""
        return len(self) <= (N_SINGLE if self.precision is np.float32 else N_DOUBLE)

    @cached_property
    def matrix(self) -> NDArray[np.floating[Any]]:
        """Between all rows, (n_rows, n_rows)."""
        n = len(self)
        matrix = np.empty((n, n), self.precision)
        for start in range(0, n, BLOCK):
            part = self.between(slice(start, start + BLOCK), slice(start, n))
            matrix[start : start + BLOCK, start:] = part
            matrix[start:, start : start + BLOCK] = part.T
        return matrix

    def among(self, rows: NDArray[np.intp]) -> FloatArray:
        """Return a new matrix between some rows, in double precision."""
        if self.is_held and self.precision is np.float64:
            return np.asarray(self.matrix[np.ix_(rows, rows)])
        return self.between(rows, rows)

    def between(
        self, rows: NDArray[np.intp] | slice, others: NDArray[np.intp] | slice
    ) -> FloatArray:
        """Return a new matrix between some rows and others, in double precision."""
        squares = self._squares[others]
        matrix = gaussian(self.x[rows], self.x[others], self.gamma, squares)
        if self.linear is not None:
            own, its = self.linear[rows], self.linear[others].T
            for start in range(0, len(own), BLOCK):  # without a second matrix
                matrix[start : start + BLOCK] += own[start : start + BLOCK] @ its
        return matrix

    @cached_property
    def _squares(self) -> FloatArray:
        return np.asarray(np.square(self.x).sum(axis=1))

    def evaluate(self, found: Regression, rows: NDArray[np.intp]) -> FloatArray:
        """Return the values (n, n_targets) of a regression for some rows."""
        used = np.flatnonzero(found.used)
        values = np.empty((len(rows), len(found.offset)))
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            if self.is_held:
                part = self.matrix[np.ix_(some, used)]
            else:
                part = self.between(some, used)
            values[start : start + BLOCK] = part @ found.weights[used] + found.offset
        return values


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

    precision: ClassVar[type[np.floating[Any]]] = np.float32

    def fit(
        self,
        kernel: Kernel,
        targets: FloatArray,
        rows: NDArray[np.intp],
        start: Regression | None = None,
    ) -> Regression:
        """Fit some rows to targets.

        Parameters
        ----------
        kernel : Kernel
        targets : ndarray of shape (n_rows, n_targets)
            Several are fitted one by one, with the same kernel.
        rows : ndarray of int
            Those that are fitted; others have no weight.
        start : Regression, optional
            A fit to more rows, with which this one is sooner done.

        Returns
        -------
        Regression
        """
        weights, offset = np.zeros(targets.shape), np.zeros(targets.shape[1])
        for k, column in enumerate(targets.T):
            center, spread = _robust(column[rows])
            scaled = (column - center) / spread
            if kernel.is_held:
                from mftscreen.finetune.kernel.smo import minimize

                bound = _bound(self.cost, rows, len(kernel))
                begin = None
                if start is not None and (most := np.abs(start.weights[:, k]).max()):
                    # within the bounds, and with a sum of 0
                    begin = start.weights[:, k] * min(1.0 / spread, self.cost / most)
                found = minimize(
                    kernel.matrix, scaled, -bound, bound, self.tolerance, begin
                )
            else:
                found = self._by_libsvm(kernel, scaled, rows)
            weights[:, k] = found[0] * spread
            offset[k] = found[1] * spread + center
        return Regression(weights, offset)

    def _by_libsvm(
        self, kernel: Kernel, scaled: FloatArray, rows: NDArray[np.intp]
    ) -> tuple[FloatArray, float]:
        from sklearn.svm import SVR

        model = SVR(
            gamma=kernel.gamma / kernel.x.shape[1],
            C=self.cost,
            epsilon=self.tolerance,
            cache_size=1000,
        )
        return _weights_of(model.fit(kernel.x[rows], scaled[rows]), rows, len(kernel))


@dataclass(frozen=True)
class Classifier:
    """Support vector classification.

    Attributes
    ----------
    cost : float
        Largest weight of a row.
    """

    cost: float = 1.0

    precision: ClassVar[type[np.floating[Any]]] = np.float32

    def fit(
        self,
        kernel: Kernel,
        targets: FloatArray,
        rows: NDArray[np.intp],
        start: Regression | None = None,
    ) -> Regression:
        """Fit rows to targets (n_rows, 1) of 0 and 1; see :meth:`SupportVectors.fit`.

        Values are larger for what is likelier 1, and no probabilities.
        """
        labels = targets[:, 0] > 0.5
        weights = np.zeros(targets.shape)
        if labels[rows].all() or not labels[rows].any():  # of a fold
            return Regression(weights, np.full(1, 1.0 if labels[rows[0]] else -1.0))
        if kernel.is_held:
            from mftscreen.finetune.kernel.smo import minimize

            bound = _bound(self.cost, rows, len(kernel))
            lower, upper = np.where(labels, 0.0, -bound), np.where(labels, bound, 0.0)
            signs = np.where(labels, 1.0, -1.0)
            weights[:, 0], offset = minimize(kernel.matrix, signs, lower, upper, 0.0)
        else:
            from sklearn.svm import SVC

            width = kernel.gamma / kernel.x.shape[1]
            model = SVC(gamma=width, C=self.cost, cache_size=1000)
            model.fit(kernel.x[rows], labels[rows])
            weights[:, 0], offset = _weights_of(model, rows, len(kernel))
        return Regression(weights, np.array([offset]))


@dataclass(frozen=True)
class Ridge:
    """Kernel ridge regression; of many rows, on some as landmarks, in even steps.

    Attributes
    ----------
    noise : float
        Variance of what the kernel cannot explain over that which it can.
    """

    noise: float = 0.01

    precision: ClassVar[type[np.floating[Any]]] = np.float64

    def fit(
        self,
        kernel: Kernel,
        targets: FloatArray,
        rows: NDArray[np.intp],
        start: Regression | None = None,
    ) -> Regression:
        """Fit rows to targets; see :meth:`SupportVectors.fit`."""
        from scipy.linalg import cho_factor, cho_solve

        offset = targets[rows].mean(axis=0)
        even = np.linspace(0, len(rows) - 1, min(len(rows), N_LANDMARKS)).astype(int)
        chosen = rows[even]
        matrix, right = kernel.among(chosen), targets - offset
        if len(chosen) == len(rows):
            matrix[np.diag_indices_from(matrix)] += self.noise
            total = right[rows]
        else:
            matrix *= self.noise
            matrix[np.diag_indices_from(matrix)] += JITTER
            total = np.zeros((len(chosen), right.shape[1]))
            for first in range(0, len(rows), BLOCK):
                part = rows[first : first + BLOCK]
                across = kernel.between(part, chosen)
                matrix += across.T @ across
                total += across.T @ right[part]
        # transposed, in LAPACK's order, it is factored in place
        factor = cho_factor(matrix.T, overwrite_a=True, check_finite=False)
        weights = np.zeros(targets.shape)
        weights[chosen] = cho_solve(factor, total)
        return Regression(weights, offset)


def _bound(cost: float, rows: NDArray[np.intp], n_rows: int) -> FloatArray:
    """Return the largest weight of all rows: 0 for those that are not fitted."""
    bound = np.zeros(n_rows)
    bound[rows] = cost
    return bound


def _weights_of(
    model: Any, rows: NDArray[np.intp], n_rows: int
) -> tuple[FloatArray, float]:
    """Return the weights of all rows, and the offset, of a model of scikit-learn."""
    weights = np.zeros(n_rows)
    weights[rows[model.support_]] = model.dual_coef_[0]
    return weights, float(model.intercept_[0])


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
