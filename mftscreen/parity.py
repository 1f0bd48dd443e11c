"""What a model predicts beside what is known: parity and reliability plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import DataError
from mftscreen.metrics import N_BINS, classification_metrics, regression_metrics

__all__ = ["plot_parity", "plot_reliability"]

COLOURS = ("#0072b2", "#d55e00")
"""Okabe and Ito's blue, and vermilion for what is flagged."""


def plot_parity(
    known: ArrayLike,
    predicted: ArrayLike,
    *,
    intervals: ArrayLike | None = None,
    flagged: ArrayLike | None = None,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Draw predictions against known values.

    Parameters
    ----------
    known, predicted : array-like of shape (n,)
        In one unit. Rows without a finite number in both are left out.
    intervals : array-like of shape (n, 2), optional
        Ends of prediction intervals; NaN where there are none.
    flagged : array-like of shape (n,), optional
        Which rows are out of distribution.
    title : str, optional
        What is predicted, with its unit.
    ax : matplotlib.axes.Axes, optional
        To draw into; by default a new one.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If lengths differ, or no row has both numbers.
    """
    import matplotlib.pyplot as plt

    x, y = (np.asarray(values, dtype=float) for values in (known, predicted))
    ends = np.full((len(y), 2), np.nan) if intervals is None else np.array(intervals)
    marks = np.zeros(len(y), bool) if flagged is None else np.array(flagged, bool)
    if x.shape != y.shape or ends.shape != (len(y), 2) or marks.shape != y.shape:
        msg = f"{x.shape} known and {y.shape} predicted values: one of each is needed"
        raise DataError(msg)
    usable = np.isfinite(x) & np.isfinite(y)
    if not usable.any():
        msg = "no row has a known and a predicted value, and there is nothing to draw"
        raise DataError(msg)
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    words: Sequence[str] = ("in distribution", "flagged")
    for mark, (word, colour) in enumerate(zip(words, COLOURS, strict=True)):
        rows = usable & (marks == bool(mark))
        if rows.any():
            ax.errorbar(
                x[rows],
                y[rows],
                _bars(y[rows], ends[rows]),
                fmt=".",
                color=colour,
                alpha=0.6,
                lw=0.6,
                label=word if marks[usable].any() else None,
            )
    both = np.concatenate([x[usable], y[usable]])
    limits = [both.min(), both.max()]
    ax.plot(limits, limits, color="0.5", lw=0.8)
    error = regression_metrics(y[usable], x[usable])["mae"]
    ax.set(xlabel=f"known {title}", ylabel=f"predicted {title}")
    ax.set_title(f"{int(usable.sum())} rows, MAE {error:.3g}")
    if marks[usable].any():
        ax.legend()
    return ax


def plot_reliability(
    known: ArrayLike, predicted: ArrayLike, *, title: str = "", ax: Any = None
) -> Any:
    """Draw how often what has some probability is so.

    Parameters
    ----------
    known : array-like of shape (n,)
        1 for yes, 0 for no.
    predicted : array-like of shape (n,)
        Probabilities of yes.
    title : str, optional
        What is predicted.
    ax : matplotlib.axes.Axes, optional
        To draw into; by default a new one.

    Returns
    -------
    matplotlib.axes.Axes
        A point for each of ten bins of equally many rows, with the standard error of
        its share.

    Raises
    ------
    DataError
        If lengths differ, there is no row, or something is no probability.
    """
    import matplotlib.pyplot as plt

    found = classification_metrics(predicted, known)
    bins = [b for b in np.array_split(np.argsort(predicted), N_BINS) if len(b)]
    truth, p = np.asarray(known, dtype=float), np.asarray(predicted, dtype=float)
    shares = np.array([truth[rows].mean() for rows in bins])
    errors = np.sqrt(shares * (1.0 - shares) / [len(rows) for rows in bins])
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    ax.errorbar([p[rows].mean() for rows in bins], shares, errors, fmt="o-", lw=0.8)
    ax.plot([0.0, 1.0], [0.0, 1.0], color="0.5", lw=0.8)
    ax.set(xlabel=f"probability of {title}", ylabel="share that is so")
    ax.set_title(f"{len(truth)} rows, AUC {found['auc']:.3g}")
    return ax


def _bars(values: NDArray[np.float64], ends: NDArray[np.float64]) -> Any:
    """Return the lengths of error bars; None if there are none."""
    bars = np.stack([values - ends[:, 0], ends[:, 1] - values])
    bars = np.nan_to_num(bars).clip(min=0.0)
    return bars if bars.any() else None
