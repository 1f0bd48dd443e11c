r"""Errors by the number of training rows: kernels beside a random forest.

    MFTSCREEN_DATA=... python benchmarks/learning_curves.py dielectric --plot curves.png
    MFTSCREEN_DATA=... python benchmarks/learning_curves.py log_gvrh \
        --pretrained 7net-l3i5 --pretrained mft-mini-pretrained

Training rows are drawn from those of official fold 0, and from those outside the
largest published LOCO cluster, three times for each number; the tests are that fold's
and that cluster. Kernels are those of ``strategy: kernel`` on the descriptor of a
pretrained model, or of several, with settings chosen on the training rows alone. The
random forest (500 trees) has the 132 Magpie features of the composition
(doi:10.1038/npjcompumats.2016.28), by matminer, and the logarithm of the label where
all are positive. Printed are the mean MAE, its range, and CPU seconds of one fit,
descriptors not counted.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from error_estimates import IntArray
from kernel_folds import COLUMNS, SEED, folds, predict
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pymatgen.core import Composition

from mftscreen.console.text_table import text_table
from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.rows import PooledRows, kernel_between
from mftscreen.finetune.kernel.search import choose_setting
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import side_by_side

SIZES, N_DRAWS = (50, 200, 1000, None), 3
Fit = Callable[[IntArray, IntArray], NDArray[np.float64]]


def magpie(rows: PooledRows) -> NDArray[np.float64]:
    """Return the features of the compositions."""
    from matminer.featurizers.composition import ElementProperty

    featurizer = ElementProperty.from_preset("magpie", impute_nan=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(
            [
                featurizer.featurize(Composition(atoms.get_chemical_formula()))
                for atoms in rows.structures
            ]
        )


def forest(rows: PooledRows) -> Fit:
    """Return what fits a random forest to some rows and predicts others."""
    from sklearn.ensemble import RandomForestRegressor

    x, log = magpie(rows), bool((rows.labels > 0.0).all())

    def fit(train: IntArray, test: IntArray) -> NDArray[np.float64]:
        model = RandomForestRegressor(500, max_features=1 / 3, random_state=SEED)
        labels = rows.labels[train, 0]
        model.fit(x[train], np.log(labels) if log else labels)
        values = model.predict(x[test])
        return np.asarray(np.exp(values) if log else values)[:, None]

    return fit


def kernel(rows: PooledRows, groups: IntArray) -> Fit:
    """Return what fits a kernel to some rows and predicts others."""

    def fit(train: IntArray, test: IntArray) -> NDArray[np.float64]:
        chosen = rows.take(train)
        inner = draw_folds(groups[train], 5, SEED)
        setting = choose_setting(
            PooledRows(chosen.pooled, chosen.labels, chosen.structures, inner), "mae"
        )
        both = rows.take(np.concatenate([train, test]))
        between = kernel_between(both, setting)
        return predict(both, setting, between, np.arange(len(train), len(both)))

    return fit


@click.command()
@click.argument("task", type=click.Choice(list(COLUMNS)))
@click.option(
    "--pretrained", multiple=True, default=["7net-0"], show_default=True,
    help="Model; several side by side.",
)  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path), help="PNG file to draw to.")
def main(task: str, pretrained: tuple[str, ...], plot: Path | None) -> None:
    """Print errors of a TASK for each method and number of rows."""
    data = Path(os.environ["MFTSCREEN_DATA"])
    path = data / "matbench" / f"matbench_{task}.json.gz"
    labelled = list(read_labelled(path, COLUMNS[task]))
    network = side_by_side(
        [DeepmdNetwork(load_pretrained(name)[0]) for name in pretrained]
    )
    rows = PooledRows(
        PooledDescriptors(network, progress=True)(labelled),
        target_labels(labelled, COLUMNS[task]),
        [row.atoms for row in labelled],
        np.zeros(len(labelled), dtype=np.int64),
    )
    groups = group_numbers(SubstanceKeys.of(labelled))
    tests = {
        "fold 0": np.array(folds(data, task, "random")[0]),
        "LOCO": np.array(max(folds(data, task, "LOCO"), key=len)),
    }
    table = [["method", "rows", *(f"MAE, {test}" for test in tests), "CPU s"]]
    curves: dict[str, list[Point]] = {}
    for name, fit in (("kernel", kernel(rows, groups)), ("forest", forest(rows))):
        for size in SIZES:
            point = measure(fit, rows.labels, tests, size)
            curves.setdefault(name, []).append(point)
            table.append([name, *point.cells])
            click.echo("  ".join(table[-1]))
    click.echo(text_table(table, "<>>>>"))
    if plot is not None:
        draw(plot, task, curves)


@dataclass(frozen=True)
class Point:
    """Numbers of training rows and errors of several draws, by test."""

    n_train: dict[str, int]
    errors: dict[str, list[float]]
    seconds: float

    @property
    def cells(self) -> list[str]:
        """Of the table."""
        spreads = (
            f"{np.mean(mae):.3g} ({min(mae):.3g}-{max(mae):.3g})"
            for mae in self.errors.values()
        )
        rows = dict.fromkeys(map(str, self.n_train.values()))
        return [" or ".join(rows), *spreads, f"{self.seconds:.1f}"]


def measure(
    fit: Fit,
    labels: NDArray[np.float64],
    tests: dict[str, IntArray],
    size: int | None,
) -> Point:
    """Fit so many rows, as often as there are draws."""
    errors: dict[str, list[float]] = {name: [] for name in tests}
    n_train, seconds = {}, []
    for name, test in tests.items():
        others = np.setdiff1d(np.arange(len(labels)), test)
        for draw_number in range(1 if size is None else N_DRAWS):
            train = np.random.default_rng(draw_number).permutation(others)[:size]
            begin, n_train[name] = time.process_time(), len(train)
            errors[name].append(float(np.abs(fit(train, test) - labels[test]).mean()))
            seconds.append(time.process_time() - begin)
    return Point(n_train, errors, float(np.mean(seconds)))


def draw(path: Path, task: str, curves: dict[str, list[Point]]) -> None:
    """Draw mean errors, with their ranges, over the number of training rows."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    tests = list(next(iter(curves.values()))[0].errors)
    for axes, test in zip(figure.subplots(1, len(tests)), tests, strict=True):
        for name, points in curves.items():
            found = np.array(
                [[np.mean(e), min(e), max(e)] for e in (p.errors[test] for p in points)]
            )
            mean, low, high = found.T
            sizes = [point.n_train[test] for point in points]
            axes.errorbar(
                sizes,
                mean,
                (mean - low, high - mean),
                marker="o",
                capsize=2,
                label=name,
            )
        axes.set(xscale="log", xlabel="training rows", ylabel="MAE")
        axes.set_title(f"{task}, {test}")
        axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
