r"""How well errors can be told beforehand, on published folds of a MatBench task.

    MFTSCREEN_DATA=... python benchmarks/error_estimates.py dielectric --method LOCO \
        --pretrained 7net-0 -n 10

For each of the largest folds, a kernel read-out with one setting (chosen on the
training rows of the first random fold) predicts the test rows, and in five inner folds
the training rows, of which no substance is in two. From the residuals of these, each
estimator learns how large the error of a row is:

* ``mean``: the same for all;
* ``value``: the median of 25 rows with the nearest predictions, as
  :mod:`mftscreen.intervals` has it;
* ``distance``: :math:`\log e = a + b \log d`, with the mean distance :math:`d` to the
  five nearest training rows among pooled descriptors;
* ``three``: :math:`\log e = a + b \log d + c f + g \log s`, with the prediction
  :math:`f` and the spread :math:`s` of the labels of the ten nearest;
* ``trees``: gradient boosting on the same three and the distance to the nearest row.

An interval is the prediction with :math:`\pm q e`, where :math:`q` is the conformal
quantile of inner residuals in units of estimates, which other residuals have made. All
in the logarithm if that is what the read-out fits; printed are errors and widths in the
unit of the label:

* Spearman's rank correlation of estimate and error of test rows;
* the mean error of the tenth with the largest estimates over that of the others;
* the area between the sparsification curve (error of what remains while the least
  certain rows are dropped) and that of an oracle, over that of a random order;
* the share of test rows in 90 % intervals, in all and in the worst fold, and their
  median width.

For dielectric from 7net-0 (seed 0; the ten largest LOCO folds; two official folds):
Spearman, share in intervals, in the worst fold, and median width.

=========  ==========================  ==========================
estimator  LOCO                        random
=========  ==========================  ==========================
mean       0.449, 0.942, 0.877, 0.423  0.485, 0.921, 0.920, 0.512
value      0.374, 0.916, 0.862, 0.307  0.444, 0.916, 0.907, 0.417
distance   0.501, 0.929, 0.862, 0.317  0.562, 0.879, 0.863, 0.318
three      0.524, 0.911, 0.849, 0.257  0.593, 0.889, 0.875, 0.297
trees      0.526, 0.924, 0.881, 0.250  0.605, 0.892, 0.876, 0.254
=========  ==========================  ==========================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from kernel_folds import COLUMNS, METHODS, SEED, folds
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from mftscreen.console.text_table import text_table
from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.search import (
    PooledRows,
    Setting,
    Targets,
    choose_setting,
    cross_validate,
)
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.intervals import conformal_quantile
from mftscreen.model.network.backend import DeepmdNetwork

FloatArray = NDArray[np.float64]
Estimate = Callable[["Facts"], FloatArray]

COVERAGE = 0.9
LEAST = 0.1
"""Of the median residual: some rows are predicted well by chance."""


class Facts(NamedTuple):
    """What an error may depend on, for n rows."""

    nearest: FloatArray
    distance: FloatArray
    value: FloatArray
    spread: FloatArray

    def take(self, rows: NDArray[np.int64]) -> Facts:
        """Return some of the rows."""
        return Facts(*(column[rows] for column in self))


class Fold(NamedTuple):
    """Inner residuals and outer predictions, in the unit that is fitted."""

    inner: Facts
    residuals: FloatArray
    outer: Facts
    labels: FloatArray
    undo: Callable[[FloatArray], FloatArray]


def measure(
    x: FloatArray,
    targets: FloatArray,
    train: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the distance to the nearest, to five, and the spread of ten labels."""
    distances = cdist(x[rows], x[train])
    order = np.argsort(distances, axis=1)[:, :10]
    near = np.take_along_axis(distances, order, axis=1)
    return near[:, 0], near[:, :5].mean(axis=1), targets[train][order].std(axis=1)


def evaluate_fold(
    rows: PooledRows,
    groups: NDArray[np.int64],
    test: NDArray[np.int64],
    setting: Setting,
) -> Fold:
    """Predict the test rows, and each training row by others."""
    train = np.setdiff1d(np.arange(len(rows)), test)
    learned = rows.take(train)
    learned = PooledRows(
        learned.pooled, learned.labels, learned.structures,
        draw_folds(groups[train], 5, SEED + 1),
    )  # fmt: skip
    outer = np.full(len(rows), -1)
    outer[test] = 0
    divided = PooledRows(rows.pooled, rows.labels, rows.structures, outer)
    targets = Targets(setting, divided)
    x = divided.standardised(setting.pooling) / np.sqrt(rows.pooled.shape[1])
    values = cross_validate(learned, setting)
    found = [np.empty(len(train)) for _ in range(3)]
    for number in np.unique(learned.folds):
        held_out = np.flatnonzero(learned.folds == number)
        others = np.flatnonzero(learned.folds != number)
        parts = measure(x, targets.values, train[others], train[held_out])
        for column, part in zip(found, parts, strict=True):
            column[held_out] = part
    predicted = cross_validate(divided, setting)[test]
    nearest, distance, spread = measure(x, targets.values, train, test)
    return Fold(
        Facts(found[0], found[1], values, found[2]),
        values - targets.values[train],
        Facts(nearest, distance, predicted, spread),
        rows.labels[test],
        Targets(setting, divided.take(test)).undo,
    )


def _bounded(sizes: FloatArray) -> FloatArray:
    return np.maximum(sizes, LEAST * np.median(sizes))


def by_mean(_: Facts, sizes: FloatArray) -> Estimate:
    mean = sizes.mean()
    return lambda facts: np.full(len(facts.value), mean)


def by_value(facts: Facts, sizes: FloatArray) -> Estimate:
    order = np.argsort(facts.value)
    ordered, windows = (
        facts.value[order],
        np.lib.stride_tricks.sliding_window_view(sizes[order], 25),
    )
    medians = _bounded(np.median(windows, axis=1))

    def estimate(other: Facts) -> FloatArray:
        place = np.searchsorted(ordered, other.value) - 12
        return np.asarray(medians[place.clip(0, len(medians) - 1)])

    return estimate


def _columns(facts: Facts, names: tuple[str, ...]) -> FloatArray:
    columns = {
        "nearest": np.log(facts.nearest + 1e-3),
        "distance": np.log(facts.distance + 1e-3),
        "value": facts.value,
        "spread": np.log(facts.spread + 1e-3),
    }
    return np.stack([np.ones(len(facts.value)), *(columns[n] for n in names)], axis=1)


def log_linear(*names: str) -> Callable[[Facts, FloatArray], Estimate]:
    def fit(facts: Facts, sizes: FloatArray) -> Estimate:
        logs = np.log(_bounded(sizes))
        weights = np.linalg.lstsq(_columns(facts, names), logs, rcond=None)[0]
        return lambda other: np.exp(_columns(other, names) @ weights)

    return fit


def by_trees(facts: Facts, sizes: FloatArray) -> Estimate:
    names = ("nearest", "distance", "value", "spread")
    model = HistGradientBoostingRegressor(
        max_iter=80, max_leaf_nodes=6, min_samples_leaf=60, learning_rate=0.08,
        l2_regularization=1.0, random_state=SEED,
    )  # fmt: skip
    model.fit(_columns(facts, names), np.log(_bounded(sizes)))
    return lambda other: np.exp(model.predict(_columns(other, names)))


ESTIMATORS: Mapping[str, Callable[[Facts, FloatArray], Estimate]] = {
    "mean": by_mean,
    "value": by_value,
    "distance": log_linear("distance"),
    "three": log_linear("distance", "value", "spread"),
    "trees": by_trees,
}


def judge(found: list[Fold], fit: Callable[[Facts, FloatArray], Estimate]) -> list[str]:
    """Return the row of the table for an estimator."""
    errors, estimates, widths, shares = [], [], [], []
    for fold in found:
        sizes = np.abs(fold.residuals)
        scores = np.empty(len(sizes))
        halves = np.random.default_rng(SEED).permutation(len(sizes))
        for one, other in ((halves[::2], halves[1::2]), (halves[1::2], halves[::2])):
            estimate = fit(fold.inner.take(one), sizes[one])
            scores[other] = sizes[other] / estimate(fold.inner.take(other))
        expected = fit(fold.inner, sizes)(fold.outer)
        half = conformal_quantile(scores, COVERAGE) * expected
        value = fold.outer.value
        low, high = fold.undo(value - half), fold.undo(value + half)
        middle = fold.undo(value)
        errors.append(np.abs(middle - fold.labels))
        estimates.append(np.abs(fold.undo(value + expected) - middle))
        widths.append(high - low)
        shares.append(((low <= fold.labels) & (fold.labels <= high)).mean())
    error, known = np.concatenate(errors), np.concatenate(estimates)
    order = np.argsort(-known)
    tenth = len(order) // 10
    n_rows = np.array([len(each) for each in errors])
    cells = [
        spearmanr(known, error).statistic,
        error[order[:tenth]].mean() / error[order[tenth:]].mean(),
        sparsification(error, order),
        float(shares @ n_rows / n_rows.sum()),
        min(shares),
        float(np.median(np.concatenate(widths))),
    ]
    return [f"{cell:.3f}" for cell in cells]


def sparsification(error: FloatArray, order: NDArray[np.int64]) -> float:
    """Return the area above the oracle's curve, 1 for a random order."""

    def curve(rows: NDArray[np.int64]) -> FloatArray:
        starts = [int(share * len(rows)) for share in np.linspace(0, 0.95, 20)]
        return np.array([error[rows[start:]].mean() for start in starts])

    oracle = curve(np.argsort(-error))
    return float((curve(order) - oracle).mean() / (error.mean() - oracle).mean())


@click.command()
@click.argument("task", type=click.Choice(list(COLUMNS)))
@click.option("--method", type=click.Choice(METHODS), default="LOCO", show_default=True)
@click.option("--pretrained", default="7net-0", show_default=True)
@click.option("-n", "n_folds", default=10, show_default=True, help="The largest folds.")
def main(task: str, method: str, pretrained: str, n_folds: int) -> None:
    """Print how well each estimator knows the errors of a TASK."""
    data = Path(os.environ["MFTSCREEN_DATA"])
    labelled = list(
        read_labelled(data / "matbench" / f"matbench_{task}.json.gz", COLUMNS[task])
    )
    state, _ = load_pretrained(pretrained)
    groups = group_numbers(SubstanceKeys.of(labelled))
    rows = PooledRows(
        PooledDescriptors(DeepmdNetwork(state), progress=True)(labelled),
        np.array([float(row.labels[COLUMNS[task]]) for row in labelled]),
        [row.atoms for row in labelled],
        draw_folds(groups, 5, SEED),
    )
    every = np.arange(len(rows))
    first = np.setdiff1d(every, folds(data, task, "random")[0])
    setting = choose_setting(rows.take(first), "mae")
    click.echo(str(setting))
    tests = sorted(folds(data, task, method), key=len, reverse=True)[:n_folds]
    found = [evaluate_fold(rows, groups, np.array(test), setting) for test in tests]
    header = [
        "estimator", "Spearman", "least certain tenth / others", "sparsification",
        "in 90 %", "worst fold", "median width",
    ]  # fmt: skip
    lines = [[name, *judge(found, fit)] for name, fit in ESTIMATORS.items()]
    click.echo(text_table([header, *lines], "<>>>>>>"))


if __name__ == "__main__":
    main()
