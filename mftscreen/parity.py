"""Parity plots: what a model predicts beside what is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import DataError
from mftscreen.metrics import regression_metrics

__all__ = ["plot_parity"]

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


def _bars(values: NDArray[np.float64], ends: NDArray[np.float64]) -> Any:
    """Return the lengths of error bars; None if there are none."""
    bars = np.stack([values - ends[:, 0], ends[:, 1] - values])
    bars = np.nan_to_num(bars).clip(min=0.0)
    return bars if bars.any() else None
