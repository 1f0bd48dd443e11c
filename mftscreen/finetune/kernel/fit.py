"""From labelled rows to a kernel read-out and what it says of rows held out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.finetune.kernel.regression import (
    N_LANDMARKS,
    Classifier,
    Regression,
    Ridge,
    SupportVectors,
    project,
)
from mftscreen.finetune.kernel.rows import (
    PooledRows,
    Setting,
    Targets,
    kernel_between,
    linear_term,
)
from mftscreen.finetune.kernel.search import Metric, choose_setting, cross_validate
from mftscreen.metrics import classification_metrics, regression_metrics
from mftscreen.model.readouts.kernel import KernelCard, KernelReadout
from mftscreen.transforms import Transform
from mftscreen.trust.platt import calibrate_held_out

__all__ = ["Fitted", "fit_readout"]

FloatArray = NDArray[np.float64]

_NAMES: Mapping[type, Literal["support_vectors", "ridge", "classifier"]] = {
    SupportVectors: "support_vectors", Ridge: "ridge", Classifier: "classifier",
}  # fmt: skip


class Fitted(NamedTuple):
    """A read-out, and what it would say of rows that it was not fitted to.

    Attributes
    ----------
    readout : KernelReadout
    held_out : ndarray of shape (n_rows, n_components)
        Predictions by the other folds, of a class also calibrated on these; NaN for
        rows that no fold holds out.
    folds : ndarray of shape (n_rows,)
        Numbers of these folds; -1 for none.
    """

    readout: KernelReadout
    held_out: FloatArray
    folds: NDArray[np.int64]


def fit_readout(
    rows: PooledRows,
    metric: Metric,
    *,
    per_atom: Sequence[bool] = (False,),
    linear: bool = False,
    other_folds: NDArray[np.int64] | None = None,
    new: NDArray[np.bool_] | None = None,
) -> Fitted:
    """Choose settings by cross-validation, and fit.

    Parameters
    ----------
    rows : PooledRows
        Fitted are those that are never held out, or else all.
    metric : {"mae", "rmse", "log_loss"}
    per_atom : sequence of bool
    linear : bool, default False
        See :func:`mftscreen.finetune.kernel.search.choose_setting`.
    other_folds : ndarray of shape (n_rows,), optional
        Folds that the predictions are made in, for they would look too good in those
        that the settings have been chosen in.
    new : ndarray of shape (n_rows,), optional
        Whether no fitted row has the same structure, for rows that are held out; all by
        default. On these settings are chosen, errors measured and probabilities
        calibrated: of others, what is remembered looks best.

    Returns
    -------
    Fitted

    Notes
    -----
    Settings are chosen on the rows that errors are measured on, in other folds, which
    are the same if there are few groups. In a trial, errors were an eighth to a quarter
    too small with 5 to 20 rows, and 2 % with 50; intervals are made of these.
    """
    begin = time.perf_counter()
    searched = np.ones(len(rows), dtype=bool) if new is None else rows.learned | new
    choosing = rows if searched.all() else rows.take(np.flatnonzero(searched))
    setting = choose_setting(choosing, metric, per_atom=per_atom, linear=linear)
    if other_folds is not None:
        rows = replace(rows, folds=other_folds)
    kernel, targets = kernel_between(rows, setting), Targets(setting, rows)
    fitted = np.flatnonzero(rows.learned)
    of_elements = targets.of_elements(fitted)
    shares = rows.compositions[:, :-1] @ of_elements
    values = setting.regression.fit(kernel, targets.values - shares, fitted)
    outputs = cross_validate(rows, setting, kernel, values)
    factors = None
    if setting.linear_weight:
        factors, offset = linear_term(rows, setting, kernel, values.weights)
        values = values._replace(offset=values.offset + offset)
    del kernel  # what follows may need as much memory
    transform, held_out = Transform(kind=setting.transform), targets.undo(outputs)
    if metric == "log_loss":
        transform, held_out = _as_probabilities(rows, outputs, new)
    symbols = rows.symbols
    x, center, scale, gamma = rows.vectors(setting)
    landmarks, weights = _landmarks(x, fitted, values, gamma)
    measured = held_out[searched], rows.labels[searched]
    card = _card(setting, gamma, transform, values, *measured).model_copy(
        update={
            "elements": (
                dict(zip(symbols, map(_plain, of_elements), strict=True))
                if setting.per_atom
                else {}
            ),
            "composition": symbols if setting.composition_weight else [],
            "linear": factors is not None,
            "n_landmarks": len(landmarks),
            "seconds": round(time.perf_counter() - begin, 1),
        }
    )
    readout = KernelReadout(card, center, scale, landmarks, weights, factors)
    return Fitted(readout, held_out, rows.folds)


def _as_probabilities(
    rows: PooledRows, outputs: FloatArray, new: NDArray[np.bool_] | None
) -> tuple[Transform, FloatArray]:
    """Return what makes probabilities of outputs, and those of the rows held out.

    These are calibrated without the rows of their fold; of a single fold, in parts.
    """
    known = np.isfinite(outputs[:, 0])
    f, labels, folds = outputs[known, 0], rows.labels[known, 0], rows.folds[known]
    held_out = np.full(outputs.shape, np.nan)
    made, held_out[known, 0] = calibrate_held_out(
        f,
        labels,
        np.ones(len(f), dtype=bool) if new is None else new[known],
        folds if len(np.unique(folds)) > 1 else None,
    )
    return made, held_out


def _card(
    setting: Setting,
    gamma: float,
    transform: Transform,
    values: Regression,
    held_out: FloatArray,
    labels: FloatArray,
) -> KernelCard:
    known = np.isfinite(held_out).all(axis=1)
    measure = regression_metrics
    if transform.kind == "logistic":
        measure = classification_metrics
    errors = [
        measure(*columns)
        for columns in zip(held_out[known].T, labels[known].T, strict=True)
    ]
    metrics = {key: float(np.mean([e[key] for e in errors])) for key in errors[0]}
    settings = vars(setting.regression)
    if setting.composition_weight:
        settings = {**settings, "composition_weight": setting.composition_weight}
    if setting.linear_weight:
        settings = {**settings, "linear_weight": setting.linear_weight}
    return KernelCard(
        method=_NAMES[type(setting.regression)],
        settings=settings,
        pooling=setting.pooling,
        gamma=gamma,
        transform=transform,
        per_atom=setting.per_atom,
        offset=_plain(values.offset),
        metrics={name: v for name, v in metrics.items() if np.isfinite(v)},
    )


def _landmarks(
    x: FloatArray, fitted: NDArray[np.intp], values: Regression, gamma: float
) -> tuple[FloatArray, FloatArray]:
    """Return the landmarks and their weights."""
    used = np.flatnonzero(values.used)
    if len(used) == 0:  # labels that are all the same
        used = fitted[:1]
    drawn = np.random.default_rng(0).permutation(len(used))[:N_LANDMARKS]
    chosen = np.sort(used[drawn])
    if len(chosen) == len(used):
        return x[chosen], values.weights[chosen]
    return x[chosen], project(x[used], x[chosen], gamma, values.weights[used])


def _plain(numbers: FloatArray) -> float | list[float]:
    """Return numbers as a card has them: one alone is no list."""
    return float(numbers[0]) if len(numbers) == 1 else list(map(float, numbers))
