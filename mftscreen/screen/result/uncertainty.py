"""Whether prediction intervals apply to candidates, and ensembles of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import DataError
from mftscreen.intervals import IntervalCalibration
from mftscreen.screen.result.rows import ScreenRow

__all__ = [
    "ExchangeabilityCheck",
    "add_intervals",
    "check_exchangeable",
    "combine_calibrations",
]

FloatArray = NDArray[np.float64]

LEVEL = 0.01
"""P-values of the test from which on the candidates are called different."""

N_TO_TELL = 20
"""Rows of each kind below which the test could hardly tell any difference."""


@dataclass(frozen=True)
class ExchangeabilityCheck:
    """Whether candidates look as if they were drawn like the calibration rows.

    Attributes
    ----------
    statistic, p_value : float
        Of the two-sample Kolmogorov–Smirnov test on OOD p-values; NaN without rows.
    message : str
        One sentence for people.
    details : str
        What it rests on.
    """

    statistic: float
    p_value: float
    message: str
    details: str


def check_exchangeable(
    calibration_p: ArrayLike, candidate_p: ArrayLike
) -> ExchangeabilityCheck:
    """Compare the OOD p-values of candidates with those of calibration rows.

    Parameters
    ----------
    calibration_p, candidate_p : array_like of shape (n_rows,), (n_candidates,)
        As :func:`mftscreen.intervals.usable_p_values`; NaN is left out.

    Returns
    -------
    ExchangeabilityCheck

    Notes
    -----
    Both are compared with each other, not with a uniform distribution: p-values against
    the same reference set share its chance, calibration rows and candidates alike.
    Intervals hold for each group of p-values on its own. Different p-values are
    therefore no proof that the coverage is wrong, but a sign that the candidates differ
    from the calibration rows in more than what the groups account for; equal ones are
    no proof that it is right.

    Examples
    --------
    >>> p = np.arange(1, 201) / 200.0
    >>> check_exchangeable(p, p**4).message
    'probably too narrow: the candidates lie further from the training set than the ...'
    """
    from scipy.stats import ks_2samp

    rows, candidates = (
        values[np.isfinite(values)]
        for values in (np.asarray(v, dtype=float) for v in (calibration_p, candidate_p))
    )
    if min(len(rows), len(candidates)) < N_TO_TELL:
        few = "calibration rows" if len(rows) < N_TO_TELL else "candidates"
        details = (
            f"{len(rows)} calibration rows and {len(candidates)} candidates have an "
            f"OOD p-value, {N_TO_TELL} of each are needed"
        )
        message = f"too few {few} to say whether they hold"
        return ExchangeabilityCheck(float("nan"), float("nan"), message, details)
    test = ks_2samp(rows, candidates, method="asymp")
    details = (
        f"Kolmogorov-Smirnov D = {test.statistic:.2g}, p = {test.pvalue:.2g}, "
        f"{len(rows)} calibration rows, {len(candidates)} candidates"
    )
    if test.pvalue > LEVEL:
        message = (
            "as claimed for all candidates together, not the best, as far as "
            "distances from the training set tell"
        )
    elif test.statistic_sign < 0:  # the candidates have the smaller p-values
        message = (
            "probably too narrow: the candidates lie further from the training set "
            "than the rows that the intervals were made from"
        )
    else:
        message = (
            "probably wider than need be: the candidates lie closer to the training "
            "set than the rows that the intervals were made from"
        )
    return ExchangeabilityCheck(
        float(test.statistic), float(test.pvalue), message, details
    )


def add_intervals(
    found: Sequence[ScreenRow],
    name: str,
    calibration: IntervalCalibration,
    coverage: float,
    alpha: float,
) -> None:
    """Put the intervals of a property into rows.

    Parameters
    ----------
    found : sequence of ScreenRow
        Of what failed, is flagged for whatever reason or not relaxed, nothing is
        claimed.
    name : str
        Of the property.
    calibration : IntervalCalibration
    coverage, alpha : float
        As :meth:`mftscreen.intervals.IntervalCalibration.interval` takes them.
    """
    p_values = [
        p
        if row.status == "ok"
        and not (row.ood or _unrelaxed(row))
        and (p := row.ood_p_value) is not None
        else np.nan
        for row in found
    ]
    values = [row.values.get(name, np.nan) for row in found]
    low, high = calibration.interval(values, p_values, coverage, alpha)
    for k in np.flatnonzero(np.isfinite(low)).tolist():
        found[k].intervals[name] = (float(low[k]), float(high[k]))


def _unrelaxed(row: ScreenRow) -> bool:
    """Return whether a relaxation was tried and did not come to its end."""
    return row.relaxation is not None and not row.relaxation.converged


def combine_calibrations(
    calibrations: Sequence[IntervalCalibration],
) -> IntervalCalibration:
    """Return the calibration set of the mean of several models.

    Parameters
    ----------
    calibrations : sequence of IntervalCalibration
        One for each model, at least one.

    Returns
    -------
    IntervalCalibration
        Of the rows that all models hold out: any other was trained on by one of them.
        A row's p-value is the smallest that it has for a model. For the intervals of
        candidates, take the smallest, too.

    Raises
    ------
    DataError
        If the target of a row differs between models, as for models of different
        properties.
    """
    numbers = [{name: k for k, name in enumerate(c.ids)} for c in calibrations]
    ids = tuple(name for name in calibrations[0].ids if all(name in n for n in numbers))
    rows = [np.array([n[name] for name in ids], dtype=int) for n in numbers]
    pairs = list(zip(calibrations, rows, strict=True))
    residuals = np.array([c.residuals[k] for c, k in pairs])
    predictions = np.array([c.predictions[k] for c, k in pairs])
    targets = residuals + predictions
    differs = ~np.isclose(targets, targets[0]).all(axis=0)
    if differs.any():
        worst = int(np.argmax(differs))
        msg = (
            f"row {ids[worst]} has the targets {targets[:, worst].tolist()} in the "
            "models' calibration sets; an ensemble predicts one property"
        )
        raise DataError(msg)
    p_values = np.array([c.p_values[k] for c, k in pairs]).min(axis=0)
    return IntervalCalibration(
        residuals.mean(axis=0), predictions.mean(axis=0), p_values, ids
    )
