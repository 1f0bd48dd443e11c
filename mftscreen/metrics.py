"""Errors of predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from mftscreen.errors import DataError

__all__ = [
    "BASELINES",
    "FEW_ROWS",
    "N_BINS",
    "TITLES",
    "classification_metrics",
    "main_error",
    "regression_metrics",
]

BASELINES = {"mae": "mae_of_training_mean", "log_loss": "log_loss_of_training_share"}
"""The error that models are compared by, for numbers and for classes, and that of a
constant."""

TITLES = {"mae": "MAE", "rmse": "RMSE", "log_loss": "log loss"}
"""What errors are called in texts."""

FEW_ROWS = 20
"""Errors of fewer decide little."""

N_BINS = 10
"""Of probabilities, each of equally many structures."""

SMALLEST = 1e-9
"""Probability that a log loss reckons with, of what was held to be impossible."""


def regression_metrics(predicted: ArrayLike, target: ArrayLike) -> dict[str, float]:
    """Return MAE, median absolute error, RMSE, R2 and Spearman's rank correlation.

    Parameters
    ----------
    predicted, target : array_like of shape (n_structures,)
        In the same unit.

    Returns
    -------
    dict of str to float
        ``n``, ``mae``, ``median_ae``, ``rmse``, ``r2``, ``spearman``; the last two
        are NaN for fewer than two distinct targets.

    Raises
    ------
    DataError
        If the lengths differ, nothing was given or a number is not finite.

    Examples
    --------
    >>> regression_metrics([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])["mae"]
    0.3333333333333333
    """
    p, t = np.asarray(predicted, dtype=float), np.asarray(target, dtype=float)
    if p.shape != t.shape or p.ndim != 1 or not len(p):
        msg = f"{p.shape} predictions for {t.shape} targets; two equal lists are needed"
        raise DataError(msg)
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        msg = "a prediction or a target is not finite"
        raise DataError(msg)
    error = np.abs(p - t)
    # the mean of equal numbers can differ from them in the last digit
    spread = float(((t - t.mean()) ** 2).sum()) if np.ptp(t) else 0.0
    return {
        "n": float(len(t)),
        "mae": float(error.mean()),
        "median_ae": float(np.median(error)),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": 1.0 - float((error**2).sum()) / spread if spread else float("nan"),
        "spearman": _spearman(p, t) if spread and np.ptp(p) else float("nan"),
    }


def classification_metrics(predicted: ArrayLike, target: ArrayLike) -> dict[str, float]:
    """Return what probabilities of yes are worth.

    Parameters
    ----------
    predicted : array_like of shape (n_structures,)
        Probabilities of 1.
    target : array_like of shape (n_structures,)
        0 or 1.

    Returns
    -------
    dict of str to float
        ``n``; ``share``, how many are 1; ``log_loss``; ``brier``, the mean squared
        difference; ``auc``, the area under the ROC curve, and ``balanced_accuracy``,
        the mean share of both kinds that are on their side of 0.5, which are NaN for
        targets of one kind; ``calibration_error``, the mean difference between
        probability and share in ten bins of equally many structures, weighted by these.

    Raises
    ------
    DataError
        If the lengths differ, nothing was given, or a number is not finite or not one
        that it can be.

    Examples
    --------
    >>> found = classification_metrics([0.9, 0.8, 0.3, 0.6], [1, 1, 0, 0])
    >>> found["auc"], found["balanced_accuracy"]
    (1.0, 0.75)
    """
    p, t = np.asarray(predicted, dtype=float), np.asarray(target, dtype=float)
    if p.shape != t.shape or p.ndim != 1 or not len(p):
        msg = f"{p.shape} predictions for {t.shape} targets; two equal lists are needed"
        raise DataError(msg)
    if not ((p >= 0.0) & (p <= 1.0)).all() or not np.isin(t, (0.0, 1.0)).all():
        msg = "a probability is not between 0 and 1, or a target neither of both"
        raise DataError(msg)
    yes = t == 1.0
    safe = p.clip(SMALLEST, 1.0 - SMALLEST)
    both = yes.any() and not yes.all()
    order = np.argsort(p, kind="stable")
    bins = np.array_split(order, min(N_BINS, len(p)))
    gaps = [len(rows) * abs(p[rows].mean() - t[rows].mean()) for rows in bins]
    return {
        "n": float(len(t)),
        "share": float(t.mean()),
        "log_loss": float(-np.log(np.where(yes, safe, 1.0 - safe)).mean()),
        "brier": float(((p - t) ** 2).mean()),
        "auc": _auc(p, yes) if both else float("nan"),
        "balanced_accuracy": (
            float(((p[yes] > 0.5).mean() + (p[~yes] <= 0.5).mean()) / 2.0)
            if both
            else float("nan")
        ),
        "calibration_error": float(sum(gaps) / len(p)),
    }


def main_error(metrics: Mapping[str, object]) -> str:
    """Return the error that models are compared by: MAE, or log loss of classes."""
    return next((key for key in BASELINES if key in metrics), "mae")


def _auc(p: np.ndarray, yes: np.ndarray) -> float:
    """Return the share of pairs of both kinds that are in order."""
    from scipy.stats import rankdata

    n_yes = int(yes.sum())
    total = float(rankdata(p)[yes].sum()) - n_yes * (n_yes + 1) / 2
    return total / (n_yes * (len(p) - n_yes))


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
