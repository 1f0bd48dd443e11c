"""What p-values, error estimates and intervals are worth with few training rows.

    MFTSCREEN_DATA=... python benchmarks/small_sets.py

Draws training rows of MatBench dielectric, ten times for each number, fits a kernel to
the descriptor of a pretrained model with settings chosen on these rows alone, and
predicts 964 other rows. Printed are the mean and, in brackets, the smallest and largest
of the ten

* error of these rows (MAE);
* share of them in 90 % intervals, flagged ones left out;
* Spearman's rank correlation of estimated and true errors;
* share of them that the OFM flags at 0.05, and the descriptor at 0.01;
* share of 600 rows of log_gvrh that the OFM flags, and the area under the ROC curve.

From 7net-0:

====  ================  ================  ================  ================
rows  MAE               in 90 %           Spearman          others flagged
====  ================  ================  ================  ================
20    0.68 (0.61-0.71)  0.86 (0.52-0.97)  0.45 (0.29-0.58)  0.48 (0.32-0.57)
50    0.60 (0.55-0.65)  0.85 (0.70-0.93)  0.53 (0.44-0.64)  0.45 (0.20-0.57)
100   0.55 (0.51-0.59)  0.85 (0.74-0.95)  0.56 (0.50-0.63)  0.50 (0.34-0.59)
200   0.48 (0.46-0.51)  0.87 (0.81-0.91)  0.57 (0.51-0.60)  0.54 (0.45-0.59)
500   0.43 (0.42-0.44)  0.89 (0.87-0.91)  0.57 (0.55-0.60)  0.57 (0.51-0.60)
1000  0.40 (0.39-0.41)  0.88 (0.87-0.91)  0.58 (0.55-0.63)  0.57 (0.53-0.58)
====  ================  ================  ================  ================

The OFM flags 4 to 7 % of the 964 rows in the mean, and of 20 rows between 1 and 17 %.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from error_estimates import COVERAGE, FAR, evaluate_fold
from kernel_folds import COLUMNS, SEED
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from mftscreen.console.text_table import text_table
from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.rows import PooledRows
from mftscreen.finetune.kernel.search import choose_setting
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.ood import OFMDensityDetector, OFMFeaturizer

SIZES = (20, 50, 100, 200, 500, 1000)
N_DRAWS, N_TEST, N_OTHER, ALPHA = 10, 964, 600, 0.05
HEADER = [
    "rows", "MAE", "in 90 %", "Spearman", "flagged by OFM", "by descriptor",
    "of others, by OFM", "AUROC",
]  # fmt: skip


def vectors(rows: list[LabelledStructure]) -> csr_array:
    """Return orbital field matrices; of what has none, zeros."""
    found = [row.features for row in OFMFeaturizer()(row.atoms for row in rows)]
    width = next(len(each) for each in found if each is not None)
    empty = np.zeros(width)
    parts = [csr_array((empty if v is None else v)[None]) for v in found]
    return csr_array(vstack(parts, format="csr"))


@click.command()
@click.option("--pretrained", default="7net-0", show_default=True)
def main(pretrained: str) -> None:
    """Print a row for each number of training rows."""
    data = Path(os.environ["MFTSCREEN_DATA"]) / "matbench"
    rows, others = (
        list(read_labelled(data / f"matbench_{task}.json.gz", COLUMNS[task]))
        for task in ("dielectric", "log_gvrh")
    )
    rng = np.random.default_rng(SEED)
    others = [others[k] for k in rng.permutation(len(others))[:N_OTHER]]
    state, _ = load_pretrained(pretrained)
    groups = group_numbers(SubstanceKeys.of(rows))
    every = PooledRows(
        PooledDescriptors(DeepmdNetwork(state), progress=True)(rows),
        target_labels(rows, COLUMNS["dielectric"]),
        [row.atoms for row in rows],
        np.zeros(len(rows), dtype=np.int64),
    )
    known, new = vectors(rows), vectors(others)
    order = rng.permutation(len(rows))
    test, pool = order[:N_TEST], order[N_TEST:]
    table = [HEADER]
    for n in SIZES:
        found = []
        for draw in range(N_DRAWS):
            train = np.random.default_rng(draw).permutation(pool)[:n]
            chosen = every.take(train)
            folds = draw_folds(groups[train], 5, SEED)
            setting = choose_setting(replace(chosen, folds=folds), "mae")
            fold = evaluate_fold(every, groups, train, test, setting)
            detector = OFMDensityDetector().fit(known[train])
            found.append(judge(fold, detector.p_value(known[test]),
                               detector.p_value(new)))  # fmt: skip
        table.append([str(n), *summarise(np.array(found))])
        click.echo(text_table(table, "<" + ">" * (len(HEADER) - 1)))


def judge(fold, own_p: NDArray[Any], other_p: NDArray[Any]) -> list[float]:  # type: ignore[no-untyped-def]
    """Return the numbers of one draw."""
    error = np.abs(fold.predictions - fold.labels)
    estimate = fold.calibration.expected_errors(fold.predictions, fold.around)
    low, high = fold.calibration.interval(fold.predictions, fold.around, COVERAGE)
    far = fold.calibration.descriptor_p_values(fold.around.distance) <= FAR
    flagged = own_p <= ALPHA
    kept = np.isfinite(low) & ~far & ~flagged
    inside = (low <= fold.labels) & (fold.labels <= high)
    truth = np.repeat([0, 1], [len(own_p), len(other_p)])
    return [
        error.mean(),
        inside[kept].mean() if kept.any() else np.nan,
        spearmanr(estimate, error).statistic,
        flagged.mean(),
        far.mean(),
        (other_p <= ALPHA).mean(),
        roc_auc_score(truth, -np.concatenate([own_p, other_p])),
    ]


def summarise(found: NDArray[np.float64]) -> list[str]:
    """Return mean and range of each column."""
    return [
        f"{column.mean():.2f} ({column.min():.2f}-{column.max():.2f})"
        for column in found.T
    ]


if __name__ == "__main__":
    main()
