r"""How well errors are known beforehand, on published folds of a MatBench task.

    MFTSCREEN_DATA=... python benchmarks/error_estimates.py dielectric --method LOCO \
        --pretrained 7net-0 -n 10 --rows 4000

For each of the largest folds, a kernel read-out with one setting (chosen on the
training rows of the first random fold) predicts the test rows, and in five inner folds
the training rows, of which no substance is in two. The latter calibrate what
``strategy: kernel`` writes into a model: errors to expect
(:mod:`mftscreen.trust.error_model`) and intervals (:mod:`mftscreen.trust.intervals`).
Compared are estimates that know

* ``value``: only the prediction;
* ``distance``: that, and the distance to the nearest training rows;
* ``all``: also the spread of their labels, as models have it.

Printed are, in the unit of the label:

* Spearman's rank correlation of estimate and error of test rows;
* the mean error of the tenth with the largest estimates over that of the others;
* the area between the sparsification curve (error of what remains while the least
  certain rows are dropped) and that of an oracle, over that of a random order;
* the share of test rows in 90 % intervals, in all and in the worst fold, their median
  width, and the share of rows that the descriptor's p-value flags at a hundredth; that
  among those in intervals is told for the others.

From 7net-0, estimates that know all: Spearman, share in intervals, in the worst fold,
and median width; in brackets Spearman and share where only the value is known.

* dielectric, ten largest LOCO folds: 0.525 (0.453), 0.914 (0.914), 0.852, 0.271;
* three official folds: 0.605 (0.507), 0.887 (0.920), 0.871, 0.297;
* log_gvrh, ten largest LOCO folds: 0.237 (0.153), 0.885 (0.859), 0.802, 0.455.

Of perovskites, an earlier state of the script had 0.280, 0.879, 0.775, 0.348 on ten
LOCO folds and 0.230, 0.909, 0.903, 0.342 on two official ones (3,000 training rows),
and of log_gvrh 0.283, 0.902, 0.902, 0.395 on two official ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from kernel_folds import COLUMNS, METHODS, SEED, folds
from numpy.typing import NDArray
from scipy.stats import spearmanr
from trust import sparsification

from mftscreen.console.text_table import text_table
from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.rows import PooledRows, Setting, Targets
from mftscreen.finetune.kernel.search import choose_setting, cross_validate
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.trust.intervals import IntervalCalibration
from mftscreen.trust.neighborhood import (
    Neighborhood,
    Space,
    Surroundings,
    draw_rows,
    measure_held_out,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

COVERAGE, FAR = 0.9, 0.01
KNOWN = {"value": (False, False), "distance": (True, False), "all": (True, True)}
"""Whether distance and spread are known."""


class Fold(NamedTuple):
    """Calibration rows, and test rows with predictions and labels."""

    calibration: IntervalCalibration
    predictions: FloatArray
    around: Surroundings
    labels: FloatArray


def evaluate_fold(
    rows: PooledRows,
    groups: IntArray,
    train: IntArray,
    test: IntArray,
    setting: Setting,
) -> Fold:
    """Predict the test rows, and each training row by others."""
    learned = rows.take(train)
    inner = draw_folds(groups[train], 5, SEED + 1)
    learned = PooledRows(learned.pooled, learned.labels, learned.structures, inner)
    both = np.concatenate([train, test])
    outer = np.repeat([-1, 0], [len(train), len(test)])
    divided = rows.take(both)
    divided = PooledRows(divided.pooled, divided.labels, divided.structures, outer)
    targets, undo = Targets(setting, divided), Targets(setting, learned).undo
    known = undo(cross_validate(learned, setting))[:, 0]
    predictions = targets.undo(cross_validate(divided, setting))[len(train) :, 0]
    scaled = targets.values[: len(train), 0]
    space = Space.of(learned.pooled)
    kept = draw_rows(len(train))
    points = Neighborhood.of(space, learned.pooled[kept], {"": scaled[kept]})
    calibration = IntervalCalibration(
        learned.labels[:, 0] - known, known, np.full(len(train), np.nan),
        measure_held_out(space, learned.pooled, scaled, inner),
        tuple(map(str, train)), setting.transform,
    )  # fmt: skip
    around = points.measure(rows.pooled[test])[""]
    return Fold(calibration, predictions, around, rows.labels[test, 0])


def judge(found: list[Fold], known: tuple[bool, bool]) -> list[str]:
    """Return the row of the table for what estimates know."""
    errors, expected, widths, held, far = [], [], [], [], []
    for fold in found:
        own = fold.calibration
        calibration = IntervalCalibration(
            own.residuals, own.predictions, own.p_values, mask(own.around, known),
            own.ids, own.scale,
        )  # fmt: skip
        around = mask(fold.around, known)
        low, high = calibration.interval(fold.predictions, around, COVERAGE)
        errors.append(np.abs(fold.predictions - fold.labels))
        expected.append(calibration.expected_errors(fold.predictions, around))
        widths.append(high - low)
        held.append((low <= fold.labels) & (fold.labels <= high))
        far.append(own.descriptor_p_values(fold.around.distance) <= FAR)
    error, estimate = np.concatenate(errors), np.concatenate(expected)
    inside, flagged = np.concatenate(held), np.concatenate(far)
    order = np.argsort(-estimate)
    tenth = len(order) // 10
    cells = [
        spearmanr(estimate, error).statistic,
        error[order[:tenth]].mean() / error[order[tenth:]].mean(),
        sparsification(error, order),
        inside.mean(),
        min(each.mean() for each in held),
        float(np.median(np.concatenate(widths))),
        flagged.mean(),
        inside[~flagged].mean(),
        error[flagged].mean() / error[~flagged].mean() if flagged.any() else np.nan,
    ]
    return [f"{cell:.3f}" for cell in cells]


def mask(around: Surroundings, known: tuple[bool, bool]) -> Surroundings:
    """Forget what is not known."""
    pairs = zip(around, known, strict=True)
    return Surroundings(*(c if k else np.full(len(c), np.nan) for c, k in pairs))


@click.command()
@click.argument("task", type=click.Choice(list(COLUMNS)))
@click.option("--method", type=click.Choice(METHODS), default="LOCO", show_default=True)
@click.option("--pretrained", default="7net-0", show_default=True)
@click.option("-n", "n_folds", default=10, show_default=True, help="The largest folds.")
@click.option("--rows", default=4000, show_default=True, help="Of training, at most.")
def main(task: str, method: str, pretrained: str, n_folds: int, rows: int) -> None:
    """Print how well each estimate knows the errors of a TASK."""
    data = Path(os.environ["MFTSCREEN_DATA"])
    labelled = list(
        read_labelled(data / "matbench" / f"matbench_{task}.json.gz", COLUMNS[task])
    )
    state, _ = load_pretrained(pretrained)
    groups = group_numbers(SubstanceKeys.of(labelled))
    every = PooledRows(
        PooledDescriptors(DeepmdNetwork(state), progress=True)(labelled),
        target_labels(labelled, COLUMNS[task]),
        [row.atoms for row in labelled],
        draw_folds(groups, 5, SEED),
    )
    first = np.setdiff1d(np.arange(len(every)), folds(data, task, "random")[0])
    setting = choose_setting(every.take(first), "mae")
    click.echo(str(setting))
    tests = sorted(folds(data, task, method), key=len, reverse=True)[:n_folds]
    found = []
    for test in tests:
        train = np.setdiff1d(np.arange(len(every)), test)
        drawn = np.random.default_rng(SEED).permutation(len(train))[:rows]
        train = train[np.sort(drawn)]
        found.append(evaluate_fold(every, groups, train, np.array(test), setting))
    header = [
        "knows", "Spearman", "least certain tenth / others", "sparsification",
        "in 90 %", "worst fold", "median width", "flagged", "in 90 %, others",
        "error, flagged / others",
    ]  # fmt: skip
    lines = [[name, *judge(found, known)] for name, known in KNOWN.items()]
    click.echo(text_table([header, *lines], "<>>>>>>>>>"))


if __name__ == "__main__":
    main()
