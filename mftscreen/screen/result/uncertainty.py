"""Whether prediction intervals apply to candidates, and ensembles of models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import DataError
from mftscreen.screen.result.rows import ScreenRow
from mftscreen.trust.intervals import FEW_ROWS, IntervalCalibration, Scale, is_within
from mftscreen.trust.neighborhood import (
    Surroundings,
    gather_surroundings,
    merge_surroundings,
)

__all__ = [
    "IntervalCheck",
    "add_intervals",
    "check_intervals",
    "combine_calibrations",
    "judge_candidates",
    "say_weak",
    "withhold",
]

FloatArray = NDArray[np.float64]

LEVEL = 0.01
"""P-values of the test from which on the candidates are called different."""

N_TO_TELL = 20
"""Rows of each kind below which nothing can be told."""

NO_ROWS = "the model knows of no errors"

PROBABILITY = "a probability says itself how sure it is"

BEYOND = "at or beyond the ends of the labels learned from"

MOST = 0.5
"""Share of candidates that are flagged or beyond the labels, from which on the others
are not to be trusted either: ``benchmarks/shifts.py`` found 76 % in intervals of 90 %
where 74 % were flagged, and of molecules with rare values next to none."""

FEW_LEARNED = 200
"""Training rows below which what is flagged, and what intervals hold, differs much from
one set of them to the next: ``benchmarks/small_sets.py``."""


@dataclass(frozen=True)
class IntervalCheck:
    """Whether intervals can be expected to hold what they claim.

    Attributes
    ----------
    message : str
        One sentence for people.
    details : str
        What it rests on.
    """

    message: str
    details: str


def check_intervals(
    calibration: IntervalCalibration,
    name: str,
    found: Sequence[ScreenRow],
    coverage: float = 0.9,
    alpha: float = 0.05,
) -> IntervalCheck:
    """Compare candidates with the rows that intervals are made from.

    Parameters
    ----------
    calibration : IntervalCalibration
        With rows.
    name : str
        Of the property.
    found : sequence of ScreenRow
        Results for candidates, after :func:`add_intervals`.
    coverage, alpha : float
        As for :func:`add_intervals`.

    Returns
    -------
    IntervalCheck

    Notes
    -----
    Distances from the training set are compared by the two-sample Kolmogorov-Smirnov
    test: those of descriptors, or OOD p-values where a model knows no others. Intervals
    grow with the distance, so that they may hold for candidates that lie further away
    than calibration rows, as they did for most clusters of MatBench
    (``benchmarks/error_estimates.py``), but not for molecules with rare values. Equal
    distances are no proof that intervals hold: labels of another origin, for instance,
    differ in nothing that could be seen.
    """
    from scipy.stats import ks_2samp

    n = calibration.n_usable(alpha)
    own, others = (
        values[np.isfinite(values)] for values in _nearness(calibration, name, found)
    )
    if not any(name in row.intervals for row in found):
        reasons = Counter(row.no_intervals.get(name, "") for row in found)
        reasons.pop("", None)
        most = f" (mostly: {reasons.most_common(1)[0][0]})" if reasons else ""
        return IntervalCheck(f"none{most}", f"{n} calibration rows are usable")
    if min(n, len(own), len(others)) < N_TO_TELL:
        few = "candidates" if min(n, len(own)) >= N_TO_TELL else "calibration rows"
        details = (
            f"{n} calibration rows are usable, {len(own)} of all and {len(others)} "
            f"candidates have a distance, {N_TO_TELL} of each are needed"
        )
        return IntervalCheck(f"too few {few} to say whether they hold", details)
    test = ks_2samp(own, others, method="asymp")
    details = (
        f"Kolmogorov-Smirnov D = {test.statistic:.2g}, p = {test.pvalue:.2g}, "
        f"{len(own)} calibration rows, {len(others)} candidates"
    )
    # negative: the candidates have the smaller values
    if test.pvalue <= LEVEL and test.statistic_sign < 0:
        message = (
            "perhaps too narrow: the candidates lie further from the training set than "
            "the rows that the intervals were made from"
        )
    elif n < FEW_ROWS:
        deviation = 200 * np.sqrt(coverage * (1.0 - coverage) / n)
        message = (
            f"made from {n} calibration rows only, so that what they hold may be off "
            f"by {deviation:.0f} % of the candidates"
        )
    else:
        message = (
            "as claimed for all candidates together, as far as distances from the "
            "training set tell; nothing is claimed of the best alone"
        )
    return IntervalCheck(message, details)


def _nearness(
    calibration: IntervalCalibration, name: str, found: Sequence[ScreenRow]
) -> tuple[FloatArray, FloatArray]:
    """Return numbers for calibration rows and candidates that are smaller further away.

    NaN where there is none.
    """
    if np.isfinite(calibration.around.distance).any():
        around = gather_surroundings(row.around.get(name) for row in found)
        return -calibration.around.distance, -around.distance
    p_values = [np.nan if (p := r.ood_p_value) is None else p for r in found]
    return calibration.p_values, np.array(p_values, dtype=float)


def judge_candidates(found: Sequence[ScreenRow], name: str) -> str:
    """Return why the intervals of a property are withheld from all candidates.

    Parameters
    ----------
    found : sequence of ScreenRow
        After :func:`add_intervals`.
    name : str
        Of the property.

    Returns
    -------
    str
        Empty if there is no reason.
    """
    tested = [r for r in found if name in r.values and r.trust in ("ok", "flagged")]
    odd = [
        row.trust == "flagged" or row.no_intervals.get(name, "").startswith(BEYOND)
        for row in tested
    ]
    if len(odd) < N_TO_TELL or sum(odd) <= MOST * len(odd):
        return ""
    return "most candidates are unlike the training set"


def withhold(found: Sequence[ScreenRow], name: str, why: str) -> None:
    """Take back the intervals of a property.

    Parameters
    ----------
    found : sequence of ScreenRow
    name : str
        Of the property.
    why : str
        What the rows say instead.
    """
    for row in found:
        if row.intervals.pop(name, None) is not None:
            row.no_intervals[name] = why


def say_weak(name: str, n_train: int) -> str:
    """Return what to know of a small training set; empty for a large one.

    Parameters
    ----------
    name : str
        Of the property.
    n_train : int
        0 if that is not known.

    Examples
    --------
    >>> say_weak("gap", 161)
    'gap was learned from 161 rows: with so few, flags and intervals change from ...'
    """
    if not 0 < n_train < FEW_LEARNED:
        return ""
    return (
        f"{name} was learned from {n_train} rows: with so few, flags and intervals "
        "change from one training set to the next."
    )


def add_intervals(
    found: Sequence[ScreenRow],
    name: str,
    calibration: IntervalCalibration,
    learned: Sequence[float],
    coverage: float,
    alpha: float,
) -> None:
    """Put errors to expect and intervals of a property into rows.

    Parameters
    ----------
    found : sequence of ScreenRow
        Where a prediction has no interval, the row says why: nothing is claimed of what
        is flagged for whatever reason, untested, or not relaxed to the end, nor where a
        value, give or take the error to expect, may lie beyond the labels that were
        learned from: nobody knows how wrong predictions are there.
    name : str
        Of the property.
    calibration : IntervalCalibration
        Without rows if the model has none.
    learned : sequence of float
        Smallest and largest label of the training set; empty if that is not known.
    coverage, alpha : float
        As :meth:`mftscreen.trust.intervals.IntervalCalibration.interval` takes them.
    """
    rows = [row for row in found if name in row.values and row.status == "ok"]
    around = gather_surroundings(row.around.get(name) for row in rows)
    values = [row.values[name] for row in rows]
    errors = calibration.expected_errors(values, around)
    low, high = calibration.interval(values, around, coverage, alpha)
    n = calibration.n_usable(alpha)
    few = f"{n} calibration rows are too few for {100 * coverage:g} %"
    if not calibration.ids:
        few = NO_ROWS
    elif calibration.scale == "none":
        few = PROBABILITY
    for row, error, *limits in zip(
        rows, errors.tolist(), low.tolist(), high.tolist(), strict=True
    ):
        if isfinite(error):
            row.errors[name] = error
        why = _why_none(row) or ("" if all(map(isfinite, limits)) else few)
        if why := why or _beyond(row.values[name], error, learned):
            row.no_intervals[name] = why
        else:
            row.intervals[name] = (limits[0], limits[1])


def _beyond(value: float, error: float, learned: Sequence[float]) -> str:
    if not learned or is_within(value, error, learned):
        return ""
    return f"{BEYOND} ({learned[0]:.4g} to {learned[1]:.4g})"


def _why_none(row: ScreenRow) -> str:
    if row.relaxation is not None and not row.relaxation.converged:
        return "not relaxed to the end"
    return {
        "flagged": "out of distribution",
        "untested": "nothing tells whether it is like the training set",
    }.get(row.trust, "")


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
        The n-th rows of an id are taken for the same. A row's p-value is the smallest
        that it has for a model. For the intervals of candidates, take the smallest,
        too. That of one model is its own.

    Raises
    ------
    DataError
        If the target of a row differs between models, as for models of different
        properties.
    """
    if len(calibrations) == 1:
        return calibrations[0]
    numbers = [_numbered(c.ids) for c in calibrations]
    common = [key for key in numbers[0] if all(key in n for n in numbers)]
    ids = tuple(name for name, _ in common)
    rows = [np.array([n[key] for key in common], dtype=int) for n in numbers]
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
    around = merge_surroundings(
        [Surroundings(*(a[k] for a in c.around)) for c, k in pairs]
    )
    # with a logarithm for one, there is one for all, but for what a model got wrong
    positive = (predictions > 0.0).all() and (targets > 0.0).all()
    logs = positive and any(c.scale == "log10" for c in calibrations)
    scale: Scale = "log10" if logs else "identity"
    if any(c.scale == "none" for c in calibrations):
        scale = "none"
    return IntervalCalibration(
        residuals.mean(axis=0),
        predictions.mean(axis=0),
        np.array([c.p_values[k] for c, k in pairs]).min(axis=0),
        around,
        ids,
        scale,
    )


def _numbered(ids: Iterable[str]) -> dict[tuple[str, int], int]:
    """Return the places of ids, each with how often it has occurred before."""
    counts: Counter[str] = Counter()
    places = {}
    for place, name in enumerate(ids):
        places[name, counts[name]] = place
        counts[name] += 1
    return places
