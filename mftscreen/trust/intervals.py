r"""Prediction intervals from residuals of rows that a model was not trained on.

The method is split-conformal prediction [1]_ with residuals in units of the error to
expect (:mod:`mftscreen.trust.error_model`) [2]_. For calibration rows with predictions
:math:`f_i`, targets :math:`y_i` and expected errors :math:`e_i`, the interval of a
candidate with prediction :math:`f` and expected error :math:`e` is

.. math:: f \pm e q, \qquad
    q = s_{(\lceil (n + 1) c \rceil)}, \quad s_i = |y_i - f_i| / e_i,

with the :math:`n` scores in ascending order; all in the logarithm where that is what
the model fits. It covers the target of a candidate that is drawn like the calibration
rows with a probability of at least :math:`c`, on average over calibration sets and
candidates. Expected errors of calibration rows are those of a model that other rows
have made (cross-fitting), so that the guarantee holds but for the difference between
that model and the one of all rows.

Candidates lie further from the training rows than calibration rows do, more often than
not. Where there are enough rows, thirds of them by distance have a quantile each [3]_,
of which the further ones are never smaller.
``benchmarks/error_estimates.py`` measures what is covered, on clusters that were left
out, too.

crepes makes the same intervals of given difficulties, and is the oracle of the tests;
here a sorted array for each third is all that is needed.

References
----------
.. [1] V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World
   (2005), doi:10.1007/b106715; J. Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018),
   doi:10.1080/01621459.2017.1307116, algorithm 2
.. [2] H. Papadopoulos, V. Vovk and A. Gammerman, J. Artif. Intell. Res. 40, 815 (2011),
   doi:10.1613/jair.3198
.. [3] H. Boström and U. Johansson, Mondrian conformal regressors, Proc. Mach. Learn.
   Res. 128, 114 (2020), https://proceedings.mlr.press/v128/bostrom20a.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import DataError, ModelFileError
from mftscreen.trust.conformal import (
    conformal_p_values,
    conformal_quantile,
    is_significant,
)
from mftscreen.trust.error_model import ErrorModel
from mftscreen.trust.neighborhood import Surroundings

__all__ = ["FEW_ROWS", "IntervalCalibration", "Scale", "is_within"]

FloatArray = NDArray[np.float64]
Scale = Literal["identity", "log10", "none"]

N_FLAGGING = 19
"""Rows from which on there are p-values of 0.05."""

N_THIRD = 150
"""Rows that a third by distance needs for a quantile of its own."""

FEW_ROWS = 100
"""Below, chance alone lets intervals of 90 % hold 84 to 96 % or worse."""

ROUNDING = 1e-14
"""Of a prediction: a positive target may look as much below zero."""

N_FOLDS = 5
"""Parts of the calibration rows, each with expected errors that the others made."""

_COLUMNS = ("residuals", "predictions", "p_values", "distances", "spreads")
_LATER = ("distances", "spreads")
"""Unknown in files of format 4 and before."""


@dataclass(frozen=True, eq=False)
class IntervalCalibration:
    """Predictions of rows that a model was not trained on, and how wrong they were.

    Attributes
    ----------
    residuals, predictions : ndarray of shape (n_rows,)
        Target minus prediction, and prediction, in the unit of the property.
    p_values : ndarray of shape (n_rows,)
        OOD p-values against the model's reference set; NaN where there is none.
    around : Surroundings
        Of each row, without itself; NaN where that is not known.
    ids : tuple of str
        Names of the rows.
    scale : {"identity", "log10", "none"}
        In which errors are estimated; ``none`` for probabilities, which say themselves
        how sure they are: then there are no errors to expect, nor intervals.

    Raises
    ------
    DataError
        If the lengths differ, or a number is not finite, negative where it cannot be,
        or has no logarithm where that is the scale.
    """

    residuals: FloatArray
    predictions: FloatArray
    p_values: FloatArray
    around: Surroundings
    ids: tuple[str, ...]
    scale: Scale = "identity"

    def __post_init__(self) -> None:
        rows = (self.residuals, self.predictions, self.p_values, *self.around)
        if {np.shape(row) for row in rows} != {(len(self.ids),)}:
            shapes = ", ".join(str(np.shape(row)) for row in rows)
            msg = f"{len(self.ids)} calibration rows with arrays of shapes {shapes}"
            raise DataError(msg)
        if not (np.isfinite(self.residuals) & np.isfinite(self.predictions)).all():
            msg = "a residual or a prediction of the calibration set is not finite"
            raise DataError(msg)
        if any(
            (column < 0.0).any() or np.isinf(column).any() for column in self.around
        ):
            msg = (
                "a distance or a spread of the calibration set is negative or infinite"
            )
            raise DataError(msg)
        if not np.isfinite(self._errors).all():
            msg = "a target or a prediction of the calibration set has no logarithm"
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
        stored = {key: arrays.get(f"{name}/{key}") for key in (*_COLUMNS, "ids")}
        if all(array is None for array in stored.values()):
            none = np.empty(0)
            return cls(none, none, none, Surroundings(none, none), ())
        try:
            ids = np.asarray(stored.pop("ids"))
            if ids.ndim != 1 or ids.dtype.kind != "U":
                msg = f"ids of shape {ids.shape} and type {ids.dtype}"
                raise ValueError(msg)
            unknown = np.full(len(ids), np.nan)
            for key in _LATER:
                stored[key] = unknown if stored[key] is None else stored[key]
            residuals, predictions, p_values, *around = (
                np.asarray(array, dtype=np.float64) for array in stored.values()
            )
            return cls(
                residuals,
                predictions,
                p_values,
                Surroundings(*around),
                tuple(ids.tolist()),
                _scale(str(arrays.get(f"{name}/scale", "identity"))),
            )
        except (TypeError, ValueError) as error:
            msg = f"the calibration set of {name} is damaged: {error}"
            raise ModelFileError(msg) from error

    def to_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the rows as arrays for a model file; see :meth:`from_arrays`."""
        columns = (self.residuals, self.predictions, self.p_values, *self.around)
        arrays = {f"{name}/{k}": v for k, v in zip(_COLUMNS, columns, strict=True)}
        scale, ids = np.array(self.scale), np.array(self.ids, str)
        return arrays | {f"{name}/ids": ids, f"{name}/scale": scale}

    def descriptor_p_values(self, distances: ArrayLike) -> FloatArray:
        """Return the share of rows at least as far from training rows as structures.

        Parameters
        ----------
        distances : array_like of shape (n_structures,)
            As :attr:`~mftscreen.trust.neighborhood.Surroundings.distance`.

        Returns
        -------
        ndarray of shape (n_structures,)
            Conformal p-values; NaN where a distance is, and of so few rows that nothing
            could ever be flagged at 0.05.
        """
        asked = np.asarray(distances, dtype=np.float64)
        if len(self._nearness) < N_FLAGGING:
            return np.full(asked.shape, np.nan)
        p_values = conformal_p_values(-asked, self._nearness)
        return np.where(np.isnan(asked), np.nan, p_values)

    def n_usable(self, alpha: float = 0.05) -> int:
        """Return the number of rows that intervals are made of."""
        if self.scale == "none":
            return 0
        return int(np.count_nonzero(self._usable(alpha)))

    def expected_errors(self, values: ArrayLike, around: Surroundings) -> FloatArray:
        """Return the absolute errors to expect of predictions.

        Parameters
        ----------
        values : array_like of shape (n_candidates,)
            Predictions, in the unit of the property.
        around : Surroundings
            With arrays of shape (n_candidates,).

        Returns
        -------
        ndarray of shape (n_candidates,)
            In the unit of the property; NaN for a prediction that is NaN, and without
            rows. Estimates, to sort by and to weigh against, and no bounds.
        """
        f = np.asarray(values, dtype=np.float64)
        if not self.ids or self.scale == "none":
            return np.full(f.shape, np.nan)
        inner = self._apply(f)
        errors = self._model(inner, around)
        return np.asarray(np.abs(self._undo(inner + errors) - self._undo(inner)))

    def interval(
        self,
        values: ArrayLike,
        around: Surroundings,
        coverage: float = 0.9,
        alpha: float = 0.05,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the intervals that hold the true values of a share of candidates.

        Parameters
        ----------
        values : array_like of shape (n_candidates,)
            Predictions, in the unit of the property.
        around : Surroundings
            With arrays of shape (n_candidates,).
        coverage : float, default 0.9
            The share.
        alpha : float, default 0.05
            P-values up to this are flagged: rows that have one calibrate nothing.

        Returns
        -------
        low, high : ndarray of shape (n_candidates,)
            NaN for a prediction that is NaN, and if there are too few calibration rows
            for such a coverage, see :func:`conformal_quantile`.

        Raises
        ------
        DataError
            If `coverage` or `alpha` is not between 0 and 1, or the lengths differ.

        Notes
        -----
        Nothing is to be claimed for candidates that are flagged, which this does not
        know of.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> near = Surroundings(np.full(100, 0.2), np.full(100, 0.1))
        >>> calibration = IntervalCalibration(
        ...     residuals=rng.normal(scale=0.1, size=100),
        ...     predictions=rng.uniform(1.0, 3.0, size=100),
        ...     p_values=np.full(100, np.nan),
        ...     around=near,
        ...     ids=tuple(map(str, range(100))),
        ... )
        >>> low, high = calibration.interval([2.0], Surroundings([0.2], [0.1]))
        >>> low.round(2), high.round(2)
        (array([1.84]), array([2.16]))
        """
        _check_fraction("coverage", coverage)
        _check_fraction("alpha", alpha)
        f = np.asarray(values, dtype=np.float64)
        around = Surroundings(*(np.asarray(c, dtype=np.float64) for c in around))
        if {f.shape, *(c.shape for c in around)} != {(len(f),)}:
            msg = f"{f.shape} predictions in surroundings of other shapes"
            raise DataError(msg)
        if self.scale == "none":
            return np.full(f.shape, np.nan), np.full(f.shape, np.nan)
        inner = self._apply(f)
        half = self._quantiles(around.distance, coverage, alpha)
        half = half * self._model(inner, around)
        return self._undo(inner - half), self._undo(inner + half)

    def _quantiles(
        self, distances: FloatArray, coverage: float, alpha: float
    ) -> FloatArray:
        """Return the quantile (n_candidates,) for candidates at such distances."""
        usable = self._usable(alpha)
        scores, at = self._scores[usable], self.around.distance[usable]
        if len(scores) < 3 * N_THIRD or np.isnan(at).any():
            return np.full(len(distances), conformal_quantile(scores, coverage))
        edges = np.quantile(at, [1 / 3, 2 / 3])
        third = np.searchsorted(edges, at)
        own = [conformal_quantile(scores[third == k], coverage) for k in range(3)]
        pooled = conformal_quantile(scores, coverage)
        # of too few far ones for the coverage, or near ones, all rows have to tell
        if np.isnan(own[-1]):
            return np.full(len(distances), pooled)
        quantiles = np.maximum.accumulate(np.where(np.isnan(own), pooled, own))
        # what lies at an unknown distance may lie far away
        return np.asarray(quantiles[np.searchsorted(edges, distances).clip(max=2)])

    def _usable(self, alpha: float) -> NDArray[np.bool_]:
        """Return which rows would not be flagged, as candidates with intervals are."""
        usable = ~is_significant(self.p_values, alpha)
        known = np.isfinite(self.p_values)
        if known.any():
            return usable & known
        return ~is_significant(self.descriptor_p_values(self.around.distance), alpha)

    @cached_property
    def _nearness(self) -> FloatArray:
        """Negative distances from the training rows, ascending."""
        return np.sort(-self.around.distance[np.isfinite(self.around.distance)])

    @cached_property
    def _errors(self) -> FloatArray:
        targets = self.predictions + self.residuals
        if self.scale == "log10":
            # of a target much smaller than its prediction, a sum holds nothing: it is
            # then as small as one that a sum can hold
            f = np.abs(self.predictions)
            smallest = 0.25 * np.finfo(np.float64).eps * f
            lost = (targets < smallest) & (targets > -ROUNDING * f)
            targets = np.where(lost, smallest, targets)
        return np.abs(self._apply(targets) - self._apply(self.predictions))

    @cached_property
    def _model(self) -> ErrorModel:
        values = self._apply(self.predictions)
        return ErrorModel.fit(values, self.around, self._errors)

    @cached_property
    def _scores(self) -> FloatArray:
        """Errors of rows in units of those that other rows let expect."""
        n, values = len(self.ids), self._apply(self.predictions)
        fold = np.random.default_rng(0).permutation(n) % N_FOLDS
        scores = np.empty(n)
        for k in range(N_FOLDS):
            own, others = (
                (values[rows], Surroundings(*(c[rows] for c in self.around)))
                for rows in (fold == k, fold != k)
            )
            model = ErrorModel.fit(*others, self._errors[fold != k])
            scores[fold == k] = self._errors[fold == k] / model(*own)
        return scores

    def _apply(self, values: FloatArray) -> FloatArray:
        if self.scale != "log10":
            return values
        # a prediction that cannot be has no logarithm, nor an interval
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0.0, np.log10(values), np.nan)

    def _undo(self, values: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            return values if self.scale != "log10" else np.asarray(10.0**values)


def _scale(text: str) -> Scale:
    for known in get_args(Scale):
        if text == known:
            return known  # type: ignore[no-any-return]
    msg = f"a scale {text!r}"
    raise ValueError(msg)


def is_within(
    values: ArrayLike, errors: ArrayLike, learned: Sequence[float]
) -> NDArray[np.bool_]:
    """Return which values, give or take an error, lie within the training labels.

    Parameters
    ----------
    values, errors : array_like of shape (n,)
        Predictions, and the errors to expect.
    learned : sequence of float
        Smallest and largest training label.

    Returns
    -------
    ndarray of shape (n,)
        Of the others nobody knows how wrong they are.
    """
    f, e = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    return np.asarray((learned[0] <= f - e) & (f + e <= learned[1]))


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        msg = f"{name} must be between 0 and 1, got {value}"
        raise DataError(msg)
