"""The settings of a kernel read-out, chosen by cross-validation on training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from mftscreen.finetune.kernel.regression import (
    N_SINGLE,
    Classifier,
    Kernel,
    Regression,
    Ridge,
    SupportVectors,
)
from mftscreen.finetune.kernel.rows import (
    LEAST_VARIANCE,
    PooledRows,
    Setting,
    Targets,
    kernel_between,
)
from mftscreen.metrics import classification_metrics
from mftscreen.model.readouts.kernel import Pooling
from mftscreen.trust.platt import fit_platt

__all__ = ["Metric", "choose_setting", "cross_validate"]

FloatArray = NDArray[np.float64]
Metric: TypeAlias = Literal["mae", "rmse", "log_loss"]

N_SEARCHED = 2500
"""Rows that settings are chosen on, drawn at random."""

GAMMAS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0)
COSTS = (0.3, 1.0, 3.0, 10.0, 30.0)
TOLERANCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
NOISES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LINEAR_WEIGHTS = (0.0, 0.3)
"""Larger ones make little difference (``benchmarks/linear_term.py``)."""
COMPOSITION_WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)


_METHODS: Mapping[
    Metric, tuple[SupportVectors | Ridge | Classifier, Mapping[str, Sequence[float]]]
] = {
    "mae": (SupportVectors(), {"cost": COSTS, "tolerance": TOLERANCES}),
    "rmse": (Ridge(), {"noise": NOISES}),
    "log_loss": (Classifier(), {"cost": COSTS}),
}
"""What is fitted, with what there is to choose beside what all have."""


def cross_validate(
    rows: PooledRows,
    setting: Setting,
    kernel: Kernel | None = None,
    start: Regression | None = None,
) -> FloatArray:
    """Return what is predicted of each row by a fit to the rows of other folds.

    Parameters
    ----------
    rows : PooledRows
    setting : Setting
    kernel : Kernel, optional
        Between the rows, if another setting has had the same.
    start : Regression, optional
        A fit to all rows, with which those to some of them are sooner done.

    Returns
    -------
    ndarray of shape (n_rows, n_components)
        What :attr:`Targets.values` are fitted; NaN for rows that no fold holds out.
    """
    kernel = kernel_between(rows, setting) if kernel is None else kernel
    targets = Targets(setting, rows)
    outputs = np.full(rows.labels.shape, np.nan)
    for fold in np.unique(rows.folds[rows.folds >= 0]):
        held_out = np.flatnonzero(rows.folds == fold)
        train = np.flatnonzero(rows.folds != fold)
        share = rows.compositions[:, :-1] @ targets.of_elements(train)
        found = setting.regression.fit(kernel, targets.values - share, train, start)
        outputs[held_out] = kernel.evaluate(found, held_out) + share[held_out]
    return outputs


@dataclass
class _Search:
    """Settings that have been tried, with their errors."""

    rows: PooledRows
    metric: Metric
    tried: dict[Setting, float] = field(default_factory=dict)
    _last: tuple[tuple[Any, ...], Kernel] | None = None

    def error(self, setting: Setting) -> float:
        if setting not in self.tried:
            outputs = cross_validate(self.rows, setting, self._kernel(setting))
            values = Targets(setting, self.rows).undo(outputs)
            held_out = self.rows.folds >= 0
            errors = self._measure(values[held_out], self.rows.labels[held_out])
            self.tried[setting] = float((errors / self._spread).mean())
        return self.tried[setting]

    def _kernel(self, setting: Setting) -> Kernel:
        """Return the kernel of a setting, which costs and tolerances do not change."""
        key = (
            *(setting.pooling, setting.gamma),
            *(setting.composition_weight, setting.linear_weight),
        )
        if self._last is None or self._last[0] != key:
            self._last = key, kernel_between(self.rows, setting)
        return self._last[1]

    def _measure(self, values: FloatArray, labels: FloatArray) -> FloatArray:
        """Return a mean error for each component."""
        if self.metric == "log_loss":
            # two numbers that are fitted to all rows make little difference
            made = fit_platt(values[:, 0], labels[:, 0]).undo(values[:, 0])
            return np.array([classification_metrics(made, labels[:, 0])["log_loss"]])
        errors = np.abs(values - labels)
        return np.asarray((errors if self.metric == "mae" else errors**2).mean(axis=0))

    @cached_property
    def _spread(self) -> FloatArray:
        """What errors of each component are counted in, so that all count alike."""
        if self.metric == "log_loss":
            return np.ones(1)
        labels = self.rows.labels
        spread = self._measure(np.median(labels, axis=0), labels)
        return np.where(spread > 0.0, spread, 1.0)

    def best(self, settings: Sequence[Setting]) -> Setting:
        return min(settings, key=self.error)

    def climb(self, setting: Setting, key: str, values: Sequence[float]) -> Setting:
        """Go along an ordered list of values while the error gets smaller."""
        for step in (1, -1):
            place = values.index(_get(setting, key)) + step
            while 0 <= place < len(values):
                following = _set(setting, key, values[place])
                if not self.error(following) < self.error(setting):
                    break
                setting, place = following, place + step
        return setting


def choose_setting(
    rows: PooledRows,
    metric: Metric,
    *,
    per_atom: Sequence[bool] = (False,),
    linear: bool = False,
) -> Setting:
    """Return the setting with the least cross-validated error.

    Parameters
    ----------
    rows : PooledRows
    metric : {"mae", "rmse", "log_loss"}
        Of the labels as they are. For ``mae`` support vectors are fitted, for ``rmse``
        ridge, for ``log_loss`` a classifier to labels of 0 and 1.
    per_atom : sequence of bool
        What may be fitted.
    linear : bool, default False
        Whether a linear term is tried. Support vectors of more rows than have a matrix
        have none: LIBSVM knows no sum of two kernels.

    Returns
    -------
    Setting

    Notes
    -----
    One setting after the other is varied until nothing gets better. Of many rows, a
    part is looked at. Components have their settings in common; the error is the mean
    of theirs, each in units of the spread of its labels.
    """
    # a label that cannot have one may be among rows that are not looked at
    scales: list[Literal["identity", "log10"]] = ["identity"]
    if metric != "log_loss" and (rows.labels > 0.0).all():
        scales.append("log10")
    search = _Search(_part(rows), metric)
    regression, own = _METHODS[metric]
    setting = search.best([Setting(regression, per_atom=share) for share in per_atom])
    axes = {"gamma": GAMMAS, **own}
    weights: Sequence[float] = COMPOSITION_WEIGHTS
    if search.rows.composition_variance < LEAST_VARIANCE:
        weights = COMPOSITION_WEIGHTS[:1]
    before = None
    while setting != before:
        before = setting
        # all of them: a small weight may be no better than none, and a large one be
        setting = search.best([replace(setting, composition_weight=w) for w in weights])
        if linear and (metric == "rmse" or len(rows) <= N_SINGLE):
            setting = search.best(
                [replace(setting, linear_weight=w) for w in LINEAR_WEIGHTS]
            )
        for key, values in axes.items():
            setting = search.climb(setting, key, values)
        setting = search.best(
            [
                replace(setting, pooling=pooling, transform=scale)
                for pooling in get_args(Pooling)
                for scale in (scales if not setting.per_atom else scales[:1])
            ]
        )
    return setting


def _part(rows: PooledRows) -> PooledRows:
    """Return rows enough to choose settings on, up to half of them held out ones."""
    if len(rows) <= N_SEARCHED:
        return rows
    drawn = np.random.default_rng(0).permutation(len(rows))
    never = rows.folds[drawn] < 0
    if not never.any():
        return rows.take(np.sort(drawn[:N_SEARCHED]))
    held_out, learned = drawn[~never], drawn[never]
    n = max(min(len(held_out), N_SEARCHED // 2), N_SEARCHED - len(learned))
    return rows.take(np.sort(np.concatenate([held_out[:n], learned[: N_SEARCHED - n]])))


def _get(setting: Setting, key: str) -> Any:
    return getattr(setting if key == "gamma" else setting.regression, key)


def _set(setting: Setting, key: str, value: float) -> Setting:
    if key == "gamma":
        return replace(setting, gamma=value)
    settings: Any = {key: value}
    return replace(setting, regression=replace(setting.regression, **settings))
