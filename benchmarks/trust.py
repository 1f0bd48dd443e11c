r"""How far that what a model says of its own errors can be trusted.

Labelled structures that a model has not seen are predicted and judged as candidates
of ``mftscreen rank`` are, all together, and its flags, error estimates and intervals
are compared with the true errors.

    python recipes/mft-mini/prepare.py --to data     # makes the files
    python benchmarks/trust.py MODEL.mft data/dielectric_test.extxyz -p dielectric

``--column`` says where the labels stand; a row of the table for each property:

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
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mftscreen import load_model
from mftscreen.console.text_table import text_table
from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled
from mftscreen.model.loaded_model import LoadedModel
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.predictions import predict_rows
from mftscreen.screen.result.rows import ScreenRow
from mftscreen.screen.result.uncertainty import judge_candidates, withhold

FloatArray = NDArray[np.float64]

COVERAGES = (0.8, 0.9, 0.95)
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


def judge(
    model: LoadedModel, name: str, rows: Sequence[LabelledStructure]
) -> list[str]:
    """Return the row of the table for a property."""
    by_coverage = {c: predict(model, name, rows, c) for c in COVERAGES}
    first = by_coverage[0.9]
    kept = [k for k, row in enumerate(first) if row.status == "ok"]
    labels = np.array([float(rows[k].labels[name]) for k in kept])
    values = np.array([first[k].values[name] for k in kept])
    errors = np.abs(values - labels)
    expected = np.array([first[k].errors.get(name, np.nan) for k in kept])
    flagged = np.array([first[k].ood is True for k in kept])
    shares = []
    for found in by_coverage.values():
        ends = [found[k].intervals.get(name, (np.nan, np.nan)) for k in kept]
        low, high = np.array(ends).T
        claimed = np.isfinite(low)
        inside = (low <= labels) & (labels <= high)
        shares.append(inside[claimed].mean() if claimed.any() else np.nan)
        if found is first:
            best = np.flatnonzero(claimed)[np.argsort(-values[claimed])[:N_TOP]]
            top = inside[best].mean() if claimed.any() else np.nan
            width = np.median((high - low)[claimed]) if claimed.any() else np.nan
            without = len(rows) - claimed.sum()
    order = np.argsort(-expected)
    tenth = len(order) // 10
    cells = [
        *(f"{share:.3f}" for share in (*shares, top)),
        f"{width:.3g}",
        f"{spearmanr(expected, errors).statistic:.2f}",
        f"{errors[order[:tenth]].mean() / errors[order[tenth:]].mean():.2f}",
        f"{sparsification(errors, order):.2f}",
        f"{flagged.mean():.3f}",
        f"{errors[flagged].mean() / errors[~flagged].mean():.2f}"
        if flagged.any()
        else "",
    ]
    return [name, str(len(rows)), str(without), *cells]


def sparsification(errors: FloatArray, order: NDArray[np.int64]) -> float:
    """Return the area above the oracle's curve, 1 for a random order."""

    def curve(rows: NDArray[np.int64]) -> FloatArray:
        starts = [int(share * len(rows)) for share in np.linspace(0, 0.95, 20)]
        return np.array([errors[rows[start:]].mean() for start in starts])

    oracle = curve(np.argsort(-errors))
    return float((curve(order) - oracle).mean() / (errors.mean() - oracle).mean())


@click.command()
@click.argument("model")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-p", "--property", "names", multiple=True, help="All by default.")
@click.option("--column", help="Of the labels, if not the property's name.")
def main(model: str, path: Path, names: tuple[str, ...], column: str | None) -> None:
    """Compare what MODEL says of errors with those for the structures of PATH."""
    loaded = load_model(model, properties=names)
    table = [HEADER]
    for name in names or tuple(loaded.properties):
        labelled = read_labelled(path, column or name)
        rows = [
            LabelledStructure(row.id, row.atoms, {name: row.labels[column or name]})
            for row in labelled
        ]
        table.append(judge(loaded, name, rows))
    click.echo(text_table(table, "<" + ">" * (len(HEADER) - 1)))


if __name__ == "__main__":
    main()
