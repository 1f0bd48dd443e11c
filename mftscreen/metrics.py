"""Errors of predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mftscreen.errors import DataError

__all__ = ["regression_metrics"]


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


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
