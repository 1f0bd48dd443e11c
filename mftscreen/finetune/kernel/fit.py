"""From labelled rows to a kernel read-out and what it says of rows held out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.finetune.kernel.regression import (
    Regression,
    Ridge,
    SupportVectors,
    project,
)
from mftscreen.finetune.kernel.search import (
    Metric,
    PooledRows,
    Setting,
    Targets,
    choose_setting,
    cross_validate,
)
from mftscreen.metrics import regression_metrics
from mftscreen.model.readouts.kernel import KernelCard, KernelReadout
from mftscreen.properties import Transform

__all__ = ["Fitted", "fit_readout"]

FloatArray = NDArray[np.float64]

N_LANDMARKS = 4000
"""Of more, the function is projected on so many: the cost of a prediction, and the
size of a file, do not grow with the training set."""

ERROR_NOISE = 3.0
"""Residuals are their own noise: the expected error varies slowly."""

LEAST_ERROR = 0.1
"""In units of the median absolute residual; some rows are predicted well by chance."""


class Fitted(NamedTuple):
    """A read-out, and its predictions (n_rows,) of rows that it was not fitted to.

    NaN for rows that no fold holds out.
    """

    readout: KernelReadout
    held_out: FloatArray


def fit_readout(
    rows: PooledRows, metric: Metric, *, per_atom: Sequence[bool] = (False,)
) -> Fitted:
    """Choose settings by cross-validation, and fit all rows.

    Parameters
    ----------
    rows : PooledRows
    metric : {"mae", "rmse"}
    per_atom : sequence of bool
        See :func:`mftscreen.finetune.kernel.search.choose_setting`.

    Returns
    -------
    Fitted
    """
    begin = time.perf_counter()
    setting = choose_setting(rows, metric, per_atom=per_atom)
    outputs = cross_validate(rows, setting)
    targets = Targets(setting, rows)
    everything = np.arange(len(rows))
    of_elements = targets.of_elements(everything)
    symbols, shares = rows.elements
    x = rows.standardised(setting.pooling)
    values = setting.regression.fit(
        x, targets.values - shares @ of_elements, setting.gamma
    )
    errors = _expected_error(x, targets.values - outputs, setting)
    landmarks, weights = _landmarks(x, values, errors, setting.gamma)
    held_out = targets.undo(outputs)
    known = np.isfinite(held_out)
    settings = vars(setting.regression)
    card = KernelCard(
        method=(
            "support_vectors"
            if isinstance(setting.regression, SupportVectors)
            else "ridge"
        ),
        settings=settings,
        pooling=setting.pooling,
        gamma=setting.gamma,
        transform=Transform(kind=setting.transform),
        per_atom=setting.per_atom,
        offset=values.offset,
        error_offset=errors.offset,
        elements=(
            dict(zip(symbols, of_elements.tolist(), strict=True))
            if setting.per_atom
            else {}
        ),
        n_landmarks=len(landmarks),
        metrics={
            name: value
            for name, value in regression_metrics(
                held_out[known], rows.labels[known]
            ).items()
            if np.isfinite(value)
        },
        seconds=round(time.perf_counter() - begin, 1),
    )
    center, scale = rows.standard(setting.pooling)
    readout = KernelReadout(
        card, center, scale, x[landmarks], weights[:, 0], weights[:, 1]
    )
    return Fitted(readout, held_out)


def _expected_error(
    x: FloatArray, residuals: FloatArray, setting: Setting
) -> Regression:
    """Fit the logarithm of the absolute error to expect of each row."""
    known = np.isfinite(residuals)
    sizes = np.abs(residuals[known])
    floor = LEAST_ERROR * float(np.median(sizes)) or 1e-12
    logs = np.log(np.maximum(sizes, floor))
    found = Ridge(noise=ERROR_NOISE).fit(x[known], logs, setting.gamma)
    weights = np.zeros(len(x))
    weights[known] = found.weights
    # the mean of a logarithm says less than the logarithm of the mean
    return Regression(weights, found.offset + float(np.log(sizes.mean()) - logs.mean()))


def _landmarks(
    x: FloatArray, values: Regression, errors: Regression, gamma: float
) -> tuple[NDArray[np.intp], FloatArray]:
    """Return which rows are landmarks, and the weights of both functions for them."""
    weights = np.stack([values.weights, errors.weights], axis=1)
    used = np.flatnonzero(values.weights)
    if len(used) == 0:  # labels that are all the same
        used = np.arange(1)
    drawn = np.random.default_rng(0).permutation(len(used))[:N_LANDMARKS]
    chosen = np.sort(used[drawn])
    if len(chosen) == len(used):
        # of the error, which varies slowly, rows that are no landmarks say little
        projected = project(x, x[chosen], gamma, weights[:, 1:])
        return chosen, np.hstack([weights[chosen, :1], projected])
    return chosen, project(x, x[chosen], gamma, weights)
