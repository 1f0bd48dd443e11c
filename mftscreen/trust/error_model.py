r"""How large the error of a prediction will be.

The absolute error :math:`e` of a prediction :math:`f`, with the distance :math:`d` to
training rows and the spread :math:`s` of their labels
(:mod:`mftscreen.trust.neighborhood`), is taken to be

.. math:: \log e = a + b \log d + c f + g \log s, \qquad b, g \ge 0,

with coefficients from the errors of rows that were held out. Far from the training set
errors do not become smaller: distances beyond the largest go on to count, predictions
and spreads beyond those of the held-out rows count as the outermost.

Difficulties by distances to neighbours are those of H. Papadopoulos, V. Vovk and
A. Gammerman, J. Artif. Intell. Res. 40, 815 (2011), doi:10.1613/jair.3198.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mftscreen.trust.neighborhood import Surroundings

__all__ = ["ErrorModel"]

FloatArray = NDArray[np.float64]

NO_ERROR = 1e-12
"""Mean of errors that are all 0, in their unit."""

LEAST_ERROR = 0.1
"""In units of the median error; some rows are predicted well by chance."""

SHRINKAGE = 1.0
"""Of the coefficients of standardised columns, in rows."""

LARGEST = 300.0
"""Logarithm of an error, however far away a structure lies."""

_UPWARDS = (True, False, True)
"""Whether larger distances, values and spreads can only mean larger errors."""


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """A fitted model of errors.

    Attributes
    ----------
    weights : ndarray of shape (4,)
        :math:`a` and the coefficients of the standardised columns.
    center, scale, low, high : ndarray of shape (3,)
        Of the columns: mean, spread, smallest and largest.
    """

    weights: FloatArray
    center: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def fit(
        cls, values: FloatArray, around: Surroundings, errors: FloatArray
    ) -> ErrorModel:
        """Fit the absolute errors of rows that were held out.

        Parameters
        ----------
        values : ndarray of shape (n_rows,)
            Predictions. Of few or no rows, errors are the same everywhere.
        around : Surroundings
            NaN where that is not known: then errors are the same everywhere.
        errors : ndarray of shape (n_rows,)
            Absolute errors, in the same scale as `values`.

        Returns
        -------
        ErrorModel
            Its estimates are in the mean as large as the errors.
        """
        if not len(values):
            zeros = np.zeros(3)
            return cls(np.zeros(4), zeros, zeros + 1.0, zeros, zeros)
        columns = _columns(values, around)
        unknown = np.isnan(columns).any(axis=0)
        # the value alone, which errors need not grow with, would say too much
        columns[:, unknown | unknown.any()] = 0.0
        # equal to a training row, or among rows of one label
        least = np.min(columns, axis=0, initial=np.inf, where=np.isfinite(columns))
        columns = np.maximum(columns, np.where(np.isfinite(least), least, 0.0))
        center, spread = columns.mean(axis=0), columns.std(axis=0)
        scale = np.where(spread > 1e-9, spread, 1.0)
        x = (columns - center) / scale
        mean = float(errors.mean()) or NO_ERROR
        typical = float(np.median(errors)) or mean
        logs = np.log(np.maximum(errors, LEAST_ERROR * typical))
        weights = _non_negative(x, logs - logs.mean())
        estimates = np.exp(x @ weights)
        offset = np.log(mean) - np.log(estimates.mean())
        return cls(
            np.array([offset, *weights]),
            center,
            scale,
            columns.min(axis=0),
            columns.max(axis=0),
        )

    def __call__(self, values: FloatArray, around: Surroundings) -> FloatArray:
        """Return the absolute errors to expect.

        Parameters
        ----------
        values : ndarray of shape (n_structures,)
        around : Surroundings

        Returns
        -------
        ndarray of shape (n_structures,)
            In the scale of the values. What is not known counts as the mean.
        """
        columns = _columns(values, around)
        columns = np.where(np.isnan(columns), self.center, columns)
        high = self.high.copy()
        high[0] = np.inf
        x = (columns.clip(self.low, high) - self.center) / self.scale
        logs = self.weights[0] + x @ self.weights[1:]
        return np.asarray(np.exp(np.minimum(logs, LARGEST)))


def _columns(values: FloatArray, around: Surroundings) -> FloatArray:
    with np.errstate(divide="ignore"):
        distance, spread = (np.log(column) for column in around)
    return np.stack([distance, values, spread], axis=1)


def _non_negative(x: FloatArray, logs: FloatArray) -> FloatArray:
    """Return the coefficients of columns, without those that may not be negative."""
    used = np.ones(3, dtype=bool)
    weights = np.zeros(3)
    while used.any():
        part = x[:, used]
        matrix = part.T @ part + SHRINKAGE * np.eye(int(used.sum()))
        weights = np.zeros(3)
        weights[used] = np.linalg.solve(matrix, part.T @ logs)
        wrong = np.array(_UPWARDS) & (weights < 0.0)
        if not wrong.any():
            break
        used &= ~wrong
        weights[wrong] = 0.0
    return weights
