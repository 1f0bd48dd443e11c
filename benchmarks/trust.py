r"""How far that what a model says of its own errors can be trusted.

Labelled structures that a model has not seen are predicted and judged as candidates
of ``mftscreen rank`` are, all together, and its flags, error estimates and intervals
are compared with the true errors.

    python recipes/mft-mini/prepare.py --to data     # makes the files
    python benchmarks/trust.py MODEL.mft data/dielectric_test.extxyz -p dielectric

``--column`` says where the labels stand, ``--plots`` draws predictions beside labels
and the sparsification curve; a row of the table for each property:

* rows, those without an interval, and the share of the others that 80, 90 and 95 %
  intervals hold; of the 50 with the highest prediction that of 90 %; median width;
* Spearman's rank correlation of the estimated and the true error, the mean error of the
  tenth with the largest estimates over that of the others, and the area between the
  sparsification curve (error of what remains while the least certain rows are dropped)
  and that of an oracle, over that of a random order;
* the share of rows that are flagged, and their mean error over that of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mftscreen import load_model
from mftscreen.console.text_table import text_table
from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled
from mftscreen.model.loaded_model import LoadedModel
from mftscreen.parity import plot_parity
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.predictions import predict_rows
from mftscreen.screen.result.rows import ScreenRow
from mftscreen.screen.result.uncertainty import judge_candidates, withhold

FloatArray = NDArray[np.float64]

COVERAGES = (0.8, 0.9, 0.95)
DROPPED = np.linspace(0, 0.95, 20)
N_TOP = 50
HEADER = [
    "property", "rows", "without", "in 80 %", "90 %", "95 %", "90 %, top 50", "width",
    "Spearman", "least certain tenth / others", "sparsification", "flagged",
    "their error / others'",
]  # fmt: skip


def predict(
    model: LoadedModel, name: str, rows: Sequence[LabelledStructure], coverage: float
) -> list[ScreenRow]:
    """Return what a model says of structures."""
    candidates = (Candidate(row.id, row.atoms) for row in rows)
    found = [
        row for row, _ in predict_rows(candidates, model, [name], coverage=coverage)
    ]
    if why := judge_candidates(found, name):
        withhold(found, name, why)
    return found


@dataclass(frozen=True)
class Judged:
    """What a model said of the rows that it could predict, and what is true."""

    labels: FloatArray
    values: FloatArray
    expected: FloatArray
    flagged: NDArray[np.bool_]
    intervals: dict[float, FloatArray]
    n_rows: int

    @classmethod
    def of(
        cls, model: LoadedModel, name: str, rows: Sequence[LabelledStructure]
    ) -> Judged:
        """Predict rows and judge the predictions."""
        by_coverage = {c: predict(model, name, rows, c) for c in COVERAGES}
        first = by_coverage[0.9]
        kept = [k for k, row in enumerate(first) if row.status == "ok"]
        nowhere = (np.nan, np.nan)
        return cls(
            labels=np.array([float(rows[k].labels[name]) for k in kept]),
            values=np.array([first[k].values[name] for k in kept]),
            expected=np.array([first[k].errors.get(name, np.nan) for k in kept]),
            flagged=np.array([first[k].ood is True for k in kept]),
            intervals={
                c: np.array([found[k].intervals.get(name, nowhere) for k in kept])
                for c, found in by_coverage.items()
            },
            n_rows=len(rows),
        )

    @property
    def errors(self) -> FloatArray:
        """The true ones."""
        return np.abs(self.values - self.labels)

    @property
    def order(self) -> NDArray[np.int64]:
        """The rows, the least certain one first."""
        return np.argsort(-self.expected)


def to_row(name: str, judged: Judged) -> list[str]:
    """Return the row of the table for a property."""
    shares = []
    for coverage, ends in judged.intervals.items():
        low, high = ends.T
        claimed = np.isfinite(low)
        inside = (low <= judged.labels) & (judged.labels <= high)
        shares.append(inside[claimed].mean() if claimed.any() else np.nan)
        if coverage == 0.9:
            highest = np.argsort(-judged.values[claimed])[:N_TOP]
            top = inside[claimed][highest].mean() if claimed.any() else np.nan
            width = np.median((high - low)[claimed]) if claimed.any() else np.nan
            without = judged.n_rows - claimed.sum()
    errors, order, flagged = judged.errors, judged.order, judged.flagged
    tenth = len(order) // 10
    return [
        name,
        str(judged.n_rows),
        str(without),
        *(f"{share:.3f}" for share in (*shares, top)),
        f"{width:.3g}",
        f"{spearmanr(judged.expected, errors).statistic:.2f}",
        f"{errors[order[:tenth]].mean() / errors[order[tenth:]].mean():.2f}",
        f"{sparsification(errors, order):.2f}",
        f"{flagged.mean():.3f}",
        f"{errors[flagged].mean() / errors[~flagged].mean():.2f}"
        if flagged.any()
        else "",
    ]


def sparsification_curve(errors: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    """Return the mean error of what remains while rows are dropped in order."""
    return np.array([errors[order[int(x * len(order)) :]].mean() for x in DROPPED])


def sparsification(errors: FloatArray, order: NDArray[np.int64]) -> float:
    """Return the area above the oracle's curve, 1 for a random order."""
    oracle = sparsification_curve(errors, np.argsort(-errors))
    above = sparsification_curve(errors, order) - oracle
    return float(above.mean() / (errors.mean() - oracle).mean())


def draw(path: Path, title: str, judged: Judged) -> None:
    """Draw predictions beside labels, and the sparsification curve."""
    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    parity, dropping = figure.subplots(1, 2)
    plot_parity(
        judged.labels,
        judged.values,
        intervals=judged.intervals[0.9],
        flagged=judged.flagged,
        title=title,
        ax=parity,
    )
    errors = judged.errors
    for label, order in {
        "by what the model expects": judged.order,
        "by the true error": np.argsort(-errors),
    }.items():
        dropping.plot(100 * DROPPED, sparsification_curve(errors, order), label=label)
    dropping.axhline(errors.mean(), color="0.5", lw=0.8, label="at random")
    dropping.set(
        xlabel="rows dropped, the least certain ones first (%)",
        ylabel=f"MAE of the others, {title}",
        ylim=(0, None),
    )
    dropping.legend()
    figure.savefig(path, dpi=120)


@click.command()
@click.argument("model")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-p", "--property", "names", multiple=True, help="All by default.")
@click.option("--column", help="Of the labels, if not the property's name.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder for pictures.")
def main(
    model: str,
    path: Path,
    names: tuple[str, ...],
    column: str | None,
    plots: Path | None,
) -> None:
    """Compare what MODEL says of errors with those for the structures of PATH."""
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    loaded = load_model(model, properties=names)
    table = [HEADER]
    for name in names or tuple(loaded.properties):
        labelled = read_labelled(path, column or name)
        rows = [
            LabelledStructure(row.id, row.atoms, {name: row.labels[column or name]})
            for row in labelled
        ]
        judged = Judged.of(loaded, name, rows)
        table.append(to_row(name, judged))
        if plots is not None:
            unit = loaded.properties[name].unit
            title = name if unit == "1" else f"{name} ({unit})"
            draw(plots / f"trust_{name}.png", title, judged)
    click.echo(text_table(table, "<" + ">" * (len(HEADER) - 1)))


if __name__ == "__main__":
    main()
