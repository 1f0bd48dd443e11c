"""Whether what a goal asks for is where values are at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mftscreen.screen.order.goals import Goal, write_goal

__all__ = ["find_empty_windows"]


def find_empty_windows(
    goals: Mapping[str, Goal],
    values: Mapping[str, NDArray[np.float64]],
    label_ranges: Mapping[str, Sequence[float]],
    units: Mapping[str, str],
) -> list[str]:
    """Return a remark for each goal that neither candidates nor labels come near.

    Parameters
    ----------
    goals : mapping of str to Goal
    values : mapping of str to ndarray of shape (n_candidates,)
        Predicted; NaN for none.
    label_ranges : mapping of str to (float, float)
        Smallest and largest training label, where they are known.
    units : mapping of str to str

    Returns
    -------
    list of str

    Examples
    --------
    >>> goals = {"gap": Goal("target", (4.0, 6.0))}
    >>> labels = {"gap": (0.02, 0.62)}
    >>> find_empty_windows(goals, {"gap": np.array([0.2, 0.3])}, labels, {"gap": "Ha"})
    ['gap=4.0..6.0: no candidate and no training label lies there; predictions are 0.2
    to 0.3 Ha, labels 0.02 to 0.62 Ha. Is it in another unit?']
    """
    remarks = []
    for name, goal in goals.items():
        low, high = _asked_for(goal)
        found = values[name][np.isfinite(values[name])]
        if name not in label_ranges or not found.size:
            continue
        predicted = (float(found.min()), float(found.max()))
        labels = label_ranges[name]
        if any(first <= high and last >= low for first, last in (predicted, labels)):
            continue
        unit = "" if units[name] == "1" else f" {units[name]}"
        remarks.append(
            f"{write_goal(name, goal)}: no candidate and no training label lies there; "
            f"predictions are {predicted[0]:.4g} to {predicted[1]:.4g}{unit}, labels "
            f"{labels[0]:.4g} to {labels[1]:.4g}{unit}. Is it in another unit?"
        )
    return remarks


def _asked_for(goal: Goal) -> tuple[float, float]:
    low, high = goal.at_least, goal.at_most
    if goal.target is None:
        return low, high
    ends = goal.target if isinstance(goal.target, tuple) else (goal.target,) * 2
    return max(low, ends[0]), min(high, ends[1])
