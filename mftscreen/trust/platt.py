r"""Probabilities from what classifiers give, calibrated on rows held out.

Platt's method [1]_: of rows that a classifier was not fitted to, with outputs
:math:`f_i` and labels 0 or 1, scale :math:`a > 0` and shift :math:`b` of

.. math:: p(f) = \frac{1}{1 + e^{-(a f + b)}}

are those of the largest likelihood, where labels are drawn a little towards each other
(:math:`(n_1 + 1) / (n_1 + 2)` and :math:`1 / (n_0 + 2)` stand for 1 and 0), so that few
rows do not make a probability of 0 or 1.

References
----------
.. [1] J. Platt, Advances in Large Margin Classifiers (MIT Press, 1999), 61; H.-T. Lin,
   C.-J. Lin and R. C. Weng, Mach. Learn. 68, 267 (2007),
   doi:10.1007/s10994-007-5018-6
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mftscreen.transforms import Transform

__all__ = [
    "FEWEST",
    "calibrate_held_out",
    "can_calibrate",
    "cross_fitted",
    "draw_balanced",
    "fit_platt",
    "logits",
]

FloatArray = NDArray[np.float64]

FEWEST = 5
"""Rows of each kind that a calibration needs."""

_LARGEST = 40.0
"""Logit from which on a probability cannot be told from 1."""

_SMALLEST = 1e-3
"""Scale of outputs, in units of their spread, that tell nothing."""

_ROUNDING = 1e-9
"""Spread of outputs that are the same, in units of the largest of them."""


def can_calibrate(labels: FloatArray) -> bool:
    """Return whether there are enough rows (n,) of each kind."""
    n_yes = int(np.count_nonzero(labels))
    return min(n_yes, len(labels) - n_yes) >= FEWEST


def fit_platt(outputs: FloatArray, labels: FloatArray) -> Transform:
    """Return what makes probabilities of outputs.

    Parameters
    ----------
    outputs : ndarray of shape (n_rows,)
        Of a classifier that was not fitted to these rows, larger for likelier.
    labels : ndarray of shape (n_rows,)
        0 or 1.

    Returns
    -------
    Transform
        Of the kind ``logistic``.

    Examples
    --------
    >>> outputs = np.array([-2.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 2.0])
    >>> found = fit_platt(outputs, np.array([0.0, 0, 0, 0, 1, 1, 1, 1]))
    >>> found.undo([-1.0, 0.0, 1.0]).round(2)
    array([0.24, 0.5 , 0.76])
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    n_yes = float(np.count_nonzero(labels))
    n_no = len(labels) - n_yes
    targets = np.where(labels > 0.5, (n_yes + 1) / (n_yes + 2), 1 / (n_no + 2))
    center, spread = float(outputs.mean()), float(outputs.std())
    if spread <= _ROUNDING * np.abs(outputs).max():
        spread = 1.0  # all are the same
    x = (outputs - center) / spread

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        z = parameters[0] * x + parameters[1]
        error = expit(z) - targets
        total = float((np.logaddexp(0.0, z) - targets * z).sum())
        return total, np.array([error @ x, error.sum()])

    found = minimize(
        loss,
        np.array([1.0, np.log((n_yes + 1) / (n_no + 1))]),
        jac=True,
        bounds=[(_SMALLEST, None), (None, None)],
    )
    scale = float(found.x[0]) / spread
    return Transform(
        kind="logistic", mean=float(found.x[1]) - scale * center, std=scale
    )


def cross_fitted(
    outputs: FloatArray, labels: FloatArray, folds: NDArray[np.int64]
) -> FloatArray:
    """Return probabilities of rows, each calibrated on the rows of other folds.

    Parameters
    ----------
    outputs, labels : ndarray of shape (n_rows,)
        See :func:`fit_platt`.
    folds : ndarray of shape (n_rows,)
        At least two different numbers.

    Returns
    -------
    ndarray of shape (n_rows,)
        What errors are measured on: those of the rows that a calibration is made of
        would look too good.
    """
    probabilities = np.empty(len(outputs))
    for fold in np.unique(folds):
        own = folds == fold
        made = fit_platt(outputs[~own], labels[~own])
        probabilities[own] = made.undo(outputs[own])
    return probabilities


def calibrate_held_out(
    outputs: FloatArray,
    labels: FloatArray,
    new: NDArray[np.bool_],
    folds: NDArray[np.int64] | None = None,
) -> tuple[Transform, FloatArray]:
    """Return what makes probabilities of outputs, and those of the rows themselves.

    Parameters
    ----------
    outputs, labels : ndarray of shape (n_rows,)
        See :func:`fit_platt`.
    new : ndarray of shape (n_rows,)
        Whether the classifier was fitted to no equal row: of others it is too sure.
    folds : ndarray of shape (n_rows,), optional
        Of the new rows, at least two different numbers; drawn by default.

    Returns
    -------
    Transform
        From the new rows.
    ndarray of shape (n_rows,)
        Of new rows, calibrated on those of other folds.
    """
    made = fit_platt(outputs[new], labels[new])
    probabilities = made.undo(outputs)
    own = draw_balanced(labels[new], FEWEST) if folds is None else folds[new]
    probabilities[new] = cross_fitted(outputs[new], labels[new], own)
    return made, probabilities


def draw_balanced(labels: FloatArray, n_folds: int) -> NDArray[np.int64]:
    """Return a fold for each row, with about as many of each kind in all.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
    n_folds : int

    Returns
    -------
    ndarray of shape (n_rows,)
        Numbers from 0.

    Examples
    --------
    >>> draw_balanced(np.array([0.0, 0.0, 1.0, 1.0]), 2).reshape(2, 2).sum(axis=1)
    array([1, 1])
    """
    drawn = np.random.default_rng(0).permutation(len(labels))
    order = drawn[np.argsort(labels[drawn], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[order] = np.arange(len(labels)) % n_folds
    return folds


def logits(probabilities: FloatArray) -> FloatArray:
    """Return what a logistic function makes such probabilities of.

    Examples
    --------
    >>> logits(np.array([0.5]))
    array([0.])
    """
    p = np.clip(probabilities, 1e-300, 1.0)
    with np.errstate(divide="ignore"):
        found = np.log(p) - np.log1p(-p)
    return np.asarray(np.clip(found, -_LARGEST, _LARGEST))
