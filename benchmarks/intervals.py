"""How often the shipped model's prediction intervals hold the true value.

The calibration set is the one in the model file, 190 validation rows of MatBench
dielectric, fold 0; what is covered is counted on the 953 test rows of that fold.
Compared are

* ``local``: what mftscreen gives, a width that follows the errors of calibration rows
  with similar predictions;
* ``constant``: one width for each group of OOD p-values;
* ``two-sided``: the same with a quantile for each side, half of the misses for each.

Flagged rows get no interval; printed is what that of the lower group would cover. The
last rows are means over random divisions of all 1,143 rows, with as many for
calibration, because one calibration set is too small to judge the methods by.
``local`` was chosen for what the last column shows, on these very rows.

    MFTSCREEN_DATA=... python benchmarks/intervals.py
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen import Predictor, load_model
from mftscreen.data.sources import read_labelled
from mftscreen.intervals import (
    GROUP_EDGE,
    IntervalCalibration,
    conformal_quantile,
    usable_p_values,
)
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import DEFAULT_MODEL, resolve_model
from mftscreen.ood.reference.measure import measure_novelty
from mftscreen.ood.reference.reference_set import open_reference, reference_arrays
from mftscreen.screen.result.uncertainty import check_exchangeable

NAME, COLUMN, FOLD = "dielectric", "n", 0
COVERAGES = (0.8, 0.9, 0.95)
N_TOP = 50
ALPHA = 0.05

Array = NDArray[np.float64]


class Rows(NamedTuple):
    """Predictions of held-out rows, their residuals and OOD p-values."""

    predictions: Array
    residuals: Array
    p_values: Array

    def take(self, chosen: Array) -> Rows:
        """Return some of the rows."""
        return Rows(*(array[chosen] for array in self))


def read_test_rows(folder: Path, jobs: int) -> Rows:
    folds = json.loads(
        (folder / "folds/matbench_official_test_indices.json").read_text()
    )
    rows = list(read_labelled(folder / f"matbench/matbench_{NAME}.json.gz", COLUMN))
    rows = [rows[k] for k in sorted(folds[f"matbench_{NAME}"][FOLD])]
    structures = [row.atoms for row in rows]
    model = load_model(DEFAULT_MODEL, check_domain=False)
    elements = model.card.properties[NAME].elements
    reference = open_reference(reference_arrays(model.reference, NAME), elements)
    predicted = np.array(
        [
            row.properties[NAME]
            for row in Predictor(model, properties=[NAME])(structures)
        ],
        dtype=float,
    )
    targets = np.array([float(row.labels[COLUMN]) for row in rows])
    p_values = usable_p_values(measure_novelty(structures, reference, n_jobs=jobs))
    return Rows(predicted, targets - predicted, p_values)


def local(rows: Rows, values: Array, p: Array, coverage: float) -> tuple[Array, Array]:
    ids = tuple(map(str, range(len(rows.residuals))))
    calibration = IntervalCalibration(
        rows.residuals, rows.predictions, rows.p_values, ids
    )
    return calibration.interval(values, p, coverage, ALPHA)


def constant(
    rows: Rows, values: Array, p: Array, coverage: float
) -> tuple[Array, Array]:
    half = by_group(np.abs(rows.residuals), rows.p_values, p, coverage)
    return values - half, values + half


def two_sided(
    rows: Rows, values: Array, p: Array, coverage: float
) -> tuple[Array, Array]:
    each = (1.0 + coverage) / 2.0
    below = by_group(-rows.residuals, rows.p_values, p, each)
    above = by_group(rows.residuals, rows.p_values, p, each)
    return values - below, values + above


def by_group(scores: Array, known_p: Array, p: Array, coverage: float) -> Array:
    groups = ((ALPHA, GROUP_EDGE), (GROUP_EDGE, 1.0))
    low, high = (
        conformal_quantile(scores[(known_p > a) & (known_p <= b)], coverage)
        for a, b in groups
    )
    quantiles = np.where(p > GROUP_EDGE, high, max(low, high))
    return np.where(p > ALPHA, quantiles, np.nan)


METHODS: dict[str, Callable[[Rows, Array, Array, float], tuple[Array, Array]]] = {
    "local": local,
    "constant": constant,
    "two-sided": two_sided,
}
COLUMNS = ("all", "high p", "low p", "flagged", "top 50")


def measure(method: str, calibration: Rows, test: Rows, coverage: float) -> Array:
    """Return coverage and median width, (n_columns, 2)."""
    p = test.p_values
    flagged = ~(p > ALPHA)
    # a flagged row is given the p-value of a row that is nearly flagged
    assumed = np.where(flagged, np.nextafter(ALPHA, 1.0), p)
    low, high = METHODS[method](calibration, test.predictions, assumed, coverage)
    targets = test.predictions + test.residuals
    covered, widths = (low <= targets) & (targets <= high), high - low
    claimed = np.flatnonzero(~flagged)
    best = claimed[np.argsort(-test.predictions[claimed])[:N_TOP]]
    sets = (
        claimed,
        np.flatnonzero(p > GROUP_EDGE),
        np.flatnonzero(~flagged & (p <= GROUP_EDGE)),
        np.flatnonzero(flagged),
        best,
    )
    return np.array([[covered[s].mean(), np.median(widths[s])] for s in sets])


def print_line(label: str, cells: Array) -> None:
    text = "".join(f"{f'{share:.3f} ({width:.2f})':>15}" for share, width in cells)
    print(f"{label:26}{text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MFTSCREEN_DATA"))
    parser.add_argument("--divisions", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("set MFTSCREEN_DATA or give --data")
    stored = IntervalCalibration.from_arrays(
        read_bundle(resolve_model(DEFAULT_MODEL)[0]).calibration, NAME
    )
    calibration = Rows(stored.predictions, stored.residuals, stored.p_values)
    test = read_test_rows(Path(arguments.data), arguments.jobs)
    for name, rows in (("calibration", calibration), ("test", test)):
        p = rows.p_values
        counts = np.histogram(p, [0.0, *np.nextafter([ALPHA, GROUP_EDGE], 1), 1.0])[0]
        print(f"{name}: {len(p)} rows; flagged, low p, high p: {counts.tolist()}")
    print(check_exchangeable(calibration.p_values, test.p_values).message)
    print("\nShare covered (median width)")
    print(f"{'':26}" + "".join(f"{name:>15}" for name in COLUMNS))
    for coverage in COVERAGES:
        for method in METHODS:
            cells = measure(method, calibration, test, coverage)
            print_line(f"{coverage:g} {method}", cells)
    both = Rows(*(np.concatenate(pair) for pair in zip(calibration, test, strict=True)))
    rng = np.random.default_rng(arguments.seed)
    n = len(stored.ids)
    orders = [rng.permutation(len(both.p_values)) for _ in range(arguments.divisions)]
    print(f"\nMean over {arguments.divisions} random divisions")
    for coverage in COVERAGES:
        for method in METHODS:
            cells = np.array(
                [
                    measure(method, both.take(o[:n]), both.take(o[n:]), coverage)
                    for o in orders
                ]
            )
            print_line(f"{coverage:g} {method}", np.nanmean(cells, axis=0))


if __name__ == "__main__":
    main()
