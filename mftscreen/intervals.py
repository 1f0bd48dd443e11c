r"""Prediction intervals from residuals of rows that a model was not trained on.

MAPIE 1.6 wants an estimator that predicts from a feature matrix, has no groups
(Mondrian), and tests exchangeability on labelled rows, which candidates are not; what
is needed here is a sorted array for each group.

The method is split-conformal prediction [1]_ with a group for each range of OOD
p-values [2]_. For calibration rows with predictions :math:`f_i`, targets :math:`y_i`
and difficulties :math:`\sigma_i`, the interval of a candidate with prediction :math:`f`
is

.. math:: f \pm \sigma q, \qquad
    q = s_{(\lceil (n + 1) c \rceil)}, \quad s_i = |y_i - f_i| / \sigma_i,

with the :math:`n` scores of its group in ascending order. It covers the target of a
candidate that is drawn like the calibration rows of its group with a probability of at
least :math:`c`, on average over calibration sets and candidates.

The difficulty [3]_ is the median absolute residual of the calibration rows with the
nearest predictions, the row itself left out. Large refractive indices, for instance,
are predicted worse than small ones, and with a constant width the intervals of just
those candidates that a ranking puts first would be too narrow. Since a difficulty
depends on the residuals of other rows, the guarantee is no longer exact.
``benchmarks/intervals.py`` measures what is covered, by group and for the candidates
that rank first, beside intervals of constant width, with and without a separate
quantile for each side.

References
----------
.. [1] V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World
   (2005), doi:10.1007/b106715; J. Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018),
   doi:10.1080/01621459.2017.1307116, algorithm 2
.. [2] H. Boström and U. Johansson, Mondrian conformal regressors, Proc. Mach. Learn.
   Res. 128, 114 (2020), https://proceedings.mlr.press/v128/bostrom20a.html
.. [3] H. Papadopoulos, V. Vovk and A. Gammerman, J. Artif. Intell. Res. 40, 815 (2011),
   doi:10.1613/jair.3198
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import DataError, ModelFileError
from mftscreen.ood.reference.conformal import is_significant
from mftscreen.ood.reference.novelty import Novelty, flag

__all__ = [
    "IntervalCalibration",
    "conformal_quantile",
    "usable_p_values",
]

FloatArray = NDArray[np.float64]

GROUP_EDGE = 0.3
"""Of the unflagged, those up to this p-value are a group of their own."""

NEIGHBORS = 25
"""Calibration rows that a difficulty is the median of, at most a quarter of all. For
mft-mini, 10 to 30 make little difference."""

LEAST_DIFFICULTY = 0.1
"""In units of the median absolute residual; some rows are predicted well by chance."""

_KEYS = ("residuals", "predictions", "p_values", "ids")


def usable_p_values(compared: Iterable[Novelty]) -> FloatArray:
    """Return OOD p-values, NaN where a p-value is not enough to go by.

    Parameters
    ----------
    compared : iterable of Novelty

    Returns
    -------
    ndarray of shape (n_structures,)
        NaN for a structure that is flagged whatever its p-value, or has none.
    """
    return np.array(
        [
            np.nan
            if each.p_value is None or flag(each, alpha=0.0).ood
            else each.p_value
            for each in compared
        ],
        dtype=np.float64,
    )


def conformal_quantile(scores: ArrayLike, coverage: float) -> float:
    r"""Return the score that a further one stays below with probability `coverage`.

    Parameters
    ----------
    scores : array_like of shape (n_scores,)
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float
        The :math:`\lceil (n + 1) c \rceil`-th smallest of the :math:`n` scores, which
        at least a share `c` of further scores do not exceed; NaN if there are fewer
        scores than that: less than :math:`c / (1 - c)`, i.e. 9 for 0.9.

    References
    ----------
    Lei et al. (2018), doi:10.1080/01621459.2017.1307116, algorithm 2.

    Examples
    --------
    >>> conformal_quantile([5.0, 1.0, 3.0, 2.0], 0.8)
    5.0
    >>> conformal_quantile([5.0, 1.0, 3.0, 2.0], 0.9)
    nan
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    # the small number is for a product that is an integer but for rounding
    rank = ceil((len(ordered) + 1) * coverage * (1.0 - 1e-12))
    return float(ordered[rank - 1]) if rank <= len(ordered) else float("nan")


@dataclass(frozen=True, eq=False)
class IntervalCalibration:
    """Predictions of rows that a model was not trained on, and how wrong they were.

    Attributes
    ----------
    residuals, predictions : ndarray of shape (n_rows,)
        Target minus prediction, and prediction, in the unit of the property.
    p_values : ndarray of shape (n_rows,)
        From :func:`usable_p_values`, against the model's reference set.
    ids : tuple of str
        Names of the rows.

    Raises
    ------
    DataError
        If the lengths differ, or a residual or prediction is not finite.
    """

    residuals: FloatArray
    predictions: FloatArray
    p_values: FloatArray
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        rows = (self.residuals, self.predictions, self.p_values)
        if {np.shape(row) for row in rows} != {(len(self.ids),)}:
            shapes = ", ".join(str(np.shape(row)) for row in rows)
            msg = f"{len(self.ids)} calibration rows with arrays of shapes {shapes}"
            raise DataError(msg)
        if not (np.isfinite(self.residuals) & np.isfinite(self.predictions)).all():
            msg = "a residual or a prediction of the calibration set is not finite"
            raise DataError(msg)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], name: str
    ) -> IntervalCalibration:
        """Return what a model file holds for a property.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            :attr:`mftscreen.model.files.bundle.Bundle.calibration`.
        name : str
            Of the property.

        Returns
        -------
        IntervalCalibration
            Without rows, hence without intervals, if the file holds none.

        Raises
        ------
        ModelFileError
            If the arrays are damaged.
        """
        stored = [arrays.get(f"{name}/{key}") for key in _KEYS]
        if all(array is None for array in stored):
            none = np.empty(0)
            return cls(none, none, none, ())
        try:
            residuals, predictions, p_values = (
                np.asarray(array, dtype=np.float64) for array in stored[:-1]
            )
            ids = np.asarray(stored[-1])
            if ids.ndim != 1 or ids.dtype.kind != "U":
                msg = f"ids of shape {ids.shape} and type {ids.dtype}"
                raise ValueError(msg)
            return cls(residuals, predictions, p_values, tuple(ids.tolist()))
        except (TypeError, ValueError) as error:
            msg = f"the calibration set of {name} is damaged: {error}"
            raise ModelFileError(msg) from error

    def to_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the rows as arrays for a model file; see :meth:`from_arrays`."""
        values = (
            self.residuals,
            self.predictions,
            self.p_values,
            np.array(self.ids, str),
        )
        return {f"{name}/{k}": v for k, v in zip(_KEYS, values, strict=True)}

    def interval(
        self,
        values: ArrayLike,
        p_values: ArrayLike,
        coverage: float = 0.9,
        alpha: float = 0.05,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the intervals that hold the true values of a share of candidates.

        Parameters
        ----------
        values : array_like of shape (n_candidates,)
            Predictions, in the unit of the property.
        p_values : array_like of shape (n_candidates,)
            As :func:`usable_p_values`.
        coverage : float, default 0.9
            The share.
        alpha : float, default 0.05
            P-values up to this are flagged: they get no interval, and rows that have
            one calibrate nothing.

        Returns
        -------
        low, high : ndarray of shape (n_candidates,)
            NaN where nothing is claimed: for a p-value that is NaN or at most `alpha`,
            for a prediction that is NaN, and for a group with too few calibration rows
            for such a coverage, see :func:`conformal_quantile`.

        Raises
        ------
        DataError
            If `coverage` or `alpha` is not between 0 and 1, or the lengths differ.

        Notes
        -----
        The lower group of p-values takes the larger quantile of its own and the upper
        one, so that a lower p-value never makes an interval narrower.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> calibration = IntervalCalibration(
        ...     residuals=rng.normal(scale=0.1, size=100),
        ...     predictions=rng.uniform(1.0, 3.0, size=100),
        ...     p_values=rng.uniform(0.3, 1.0, size=100),
        ...     ids=tuple(map(str, range(100))),
        ... )
        >>> low, high = calibration.interval([2.0, 2.0], [0.9, 0.01])
        >>> low.round(2), high.round(2)
        (array([1.82,  nan]), array([2.18,  nan]))
        """
        _check_fraction("coverage", coverage)
        _check_fraction("alpha", alpha)
        f, p = np.asarray(values, dtype=float), np.asarray(p_values, dtype=float)
        if f.shape != p.shape or f.ndim != 1:
            msg = f"{f.shape} predictions with p-values of shape {p.shape}"
            raise DataError(msg)
        rows = self._unflagged(alpha)
        groups = _groups(p, alpha)
        quantiles = np.array(rows.quantiles(coverage))[groups]
        half = np.where(groups < 0, np.nan, quantiles) * rows.difficulty(f)
        return f - half, f + half

    def _unflagged(self, alpha: float) -> _Unflagged:
        groups = _groups(self.p_values, alpha)
        order = np.argsort(self.predictions, kind="stable")
        order = order[groups[order] >= 0]
        return _Unflagged(
            self.predictions[order], np.abs(self.residuals[order]), groups[order]
        )


class _Unflagged(NamedTuple):
    """Calibration rows that are not flagged, in ascending order of predictions."""

    predictions: FloatArray
    sizes: FloatArray  # absolute residuals
    groups: NDArray[np.int64]

    def quantiles(self, coverage: float) -> tuple[float, float]:
        """Return the quantiles of the scores of each group."""
        scores = self.sizes / _leave_one_out_difficulty(self.predictions, self.sizes)
        low, high = (
            conformal_quantile(scores[self.groups == group], coverage)
            for group in (0, 1)
        )
        # a quantile that does not exist is NaN, which is not greater than anything
        return (high if high > low else low), high

    def difficulty(self, values: FloatArray) -> FloatArray:
        """Return how hard predictions of these values are."""
        k = _n_neighbors(len(self.predictions))
        if k == 0:
            return np.ones(len(values))
        nearest = _nearest_window(self.predictions, values, k)
        windows = np.lib.stride_tricks.sliding_window_view(self.sizes, k)
        return _bounded(np.median(windows, axis=1)[nearest], self.sizes)


def _groups(p_values: FloatArray, alpha: float) -> NDArray[np.int64]:
    """Return 0 for low p-values, 1 for high ones, -1 for no claim."""
    claimed = ~(np.isnan(p_values) | is_significant(p_values, alpha))
    return np.where(claimed, np.where(p_values > GROUP_EDGE, 1, 0), -1)


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        msg = f"{name} must be between 0 and 1, got {value}"
        raise DataError(msg)


def _n_neighbors(n_rows: int) -> int:
    return min(NEIGHBORS, n_rows // 4)


def _nearest_window(
    ordered: FloatArray, values: FloatArray, k: int
) -> NDArray[np.int64]:
    """Return where the `k` entries of a sorted array that are nearest begin."""
    return np.searchsorted((ordered[:-k] + ordered[k:]) / 2.0, values)


def _leave_one_out_difficulty(ordered: FloatArray, sizes: FloatArray) -> FloatArray:
    """Return the median size among the neighbours of each entry, itself left out."""
    n, k = len(ordered), _n_neighbors(len(ordered))
    if k == 0:
        return np.ones(n)
    own = np.arange(n)
    # among many equal entries, the nearest need not include the entry itself
    starts = _nearest_window(ordered, ordered, k + 1).clip(own - k, own)
    columns = starts[:, None] + np.arange(k + 1)
    others = sizes[columns[columns != own[:, None]].reshape(n, k)]
    return _bounded(np.median(others, axis=1), sizes)


def _bounded(difficulty: FloatArray, sizes: FloatArray) -> FloatArray:
    typical = float(np.median(sizes))
    if typical == 0.0:
        return np.ones(len(difficulty))
    return np.maximum(difficulty, LEAST_DIFFICULTY * typical)
