"""What a linear term beside the Gaussian, and the number of atoms, do for molecules.

Kernel ridge regression on properties of QM9, from 9,000 rows that are in none of the
tests of BOOM's split. Of these, a tenth with the rarest values of the property and a
tenth of the others are held out (the same kind of split again). Of each kernel the
noise is that with the least error in distribution; errors are RMSE in the unit of the
column.

    python benchmarks/linear_term.py data/qm9.extxyz.gz
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.linalg import cho_factor, cho_solve

from mftscreen.console.text_table import text_table
from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.readouts.kernel import gaussian
from mftscreen.ood.splits import Fold, SplitData, kde_tails
from mftscreen.trust.neighborhood import component_scales

COLUMNS = ("gap_Ha", "alpha_bohr3", "r2_bohr2", "mu_D")
N_ROWS, SEED = 9000, 0
GAMMAS, WEIGHTS, NOISES = (0.06, 0.25), (0.0, 0.3, 3.0), (1e-4, 1e-3, 1e-2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pretrained", default="mft-mini-pretrained")
    options = parser.parse_args()
    rows = list(read_labelled(options.data, *COLUMNS))
    structures = [row.atoms for row in rows]
    labels = np.array([[float(row.labels[name]) for name in COLUMNS] for row in rows])
    tested: set[int] = set()
    for column in labels.T:
        fold = divide(structures, column, 0.07469, 0.05)
        tested |= {*map(int, fold.test), *map(int, fold.id_test)}
    free = np.setdiff1d(np.arange(len(rows)), sorted(tested))
    drawn = np.random.default_rng(SEED).choice(free, N_ROWS, replace=False)
    network = DeepmdNetwork(load_pretrained(options.pretrained)[0])
    pooled = PooledDescriptors(network, progress=True)([rows[k] for k in drawn])
    structures = [structures[k] for k in drawn]
    lines = [["property", "of one atom", "gamma", "linear", "noise", "ID", "OOD"]]
    for name, column in zip(COLUMNS, labels[drawn].T, strict=True):
        fold = divide(structures, column, 0.1, 0.1)
        for per_atom, gamma, weight in product((False, True), GAMMAS, WEIGHTS):
            found = errors(pooled, structures, column, fold, per_atom, gamma, weight)
            noise, inside, outside = found
            numbers = (f"{n:.4g}" for n in (gamma, weight, noise, inside, outside))
            lines.append([name, "yes" if per_atom else "", *numbers])
            print(*lines[-1], flush=True)
    print(text_table(lines, "<<>>>>>"))


def divide(
    structures: list[Atoms], column: np.ndarray, ood: float, within: float
) -> Fold:
    """Return the fold of rare values; rows are called by their number."""
    data = SplitData([str(k) for k in range(len(column))], structures, column)
    return kde_tails(data, ood_share=ood, id_share=within, val_share=0.0).folds[0]


def errors(
    pooled: np.ndarray,
    structures: list[Atoms],
    column: np.ndarray,
    fold: Fold,
    per_atom: bool,
    gamma: float,
    weight: float,
) -> tuple[float, float, float]:
    """Return the best noise, and the errors in and out of distribution."""
    train, inside, outside = (
        np.array(part, dtype=int) for part in (fold.train, fold.id_test, fold.test)
    )
    sizes = np.array([len(atoms) for atoms in structures], dtype=float)
    targets = column / sizes if per_atom else column
    x, size, y = (
        standardised(each, train) for each in (pooled, sizes[:, None], targets[:, None])
    )
    z = np.hstack([x / np.sqrt(x.shape[1]), size])
    kernel = gaussian(x[train], x[train], gamma) + weight * z[train] @ z[train].T
    best = (np.nan, np.inf, np.inf)
    for noise in NOISES:
        matrix = kernel + noise * np.eye(len(train))
        weights = cho_solve(cho_factor(matrix, overwrite_a=True), y[train])
        rmse: list[float] = []
        for part in (inside, outside):
            values = gaussian(x[part], x[train], gamma) @ weights
            values += weight * z[part] @ (z[train].T @ weights)
            found = values[:, 0] * targets[train].std() + targets[train].mean()
            found = found * sizes[part] if per_atom else found
            rmse.append(float(np.sqrt(np.mean((found - column[part]) ** 2))))
        best = min(best, (noise, rmse[0], rmse[1]), key=lambda each: each[1])
    return best


def standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return columns shifted and scaled by those of the training rows."""
    center = values[train].mean(axis=0)
    return np.asarray((values - center) / component_scales(values[train]))


if __name__ == "__main__":
    main()
