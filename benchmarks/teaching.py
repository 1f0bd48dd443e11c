"""What a kernel on a small descriptor learns from the predictions of a large one.

A kernel on the descriptors of the teachers is fitted to labels and predicts them for
structures that have none. A kernel on the student's descriptor is then fitted to the
labels alone, and to both. Errors are those of rows that neither has seen, five folds by
composition of the training rows of official fold 0, and no structure without a label
has the formula of such a row.

    MFTSCREEN_DATA=... python benchmarks/teaching.py dielectric \
        --teachers 7net-l3i5 mft-mini-pretrained --student mft-mini-pretrained
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from kernel_folds import COLUMNS

from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.regression import Kernel
from mftscreen.finetune.kernel.rows import PooledRows, Setting, Targets
from mftscreen.finetune.kernel.search import choose_setting
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import side_by_side
from mftscreen.model.readouts.kernel import gaussian
from mftscreen.structures import reduced_formula

SEED, N_FOLDS = 0, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=COLUMNS)
    parser.add_argument("--teachers", nargs="+", required=True)
    parser.add_argument("--student", required=True)
    parser.add_argument("--sizes", default="0,4000,20000")
    options = parser.parse_args()
    data, column = Path(os.environ["MFTSCREEN_DATA"]), COLUMNS[options.task]
    path = data / "matbench" / f"matbench_{options.task}.json.gz"
    rows = list(read_labelled(path, column))
    text = (data / "folds" / "matbench_official_test_indices.json").read_text()
    tested = set(json.loads(text)[f"matbench_{options.task}"][0])
    rows = [row for k, row in enumerate(rows) if k not in tested]
    pool = list(read_labelled(data / "pools" / "mp_gap_pool20k.extxyz.gz", "gap_pbe"))
    drawn = np.random.default_rng(SEED).permutation(len(pool))
    pool = [pool[k] for k in drawn]
    structures = [row.atoms for row in (*rows, *pool)]
    labels = target_labels(rows, column)
    missing = np.full((len(pool), 1), labels.min())
    folds = draw_folds(group_numbers(SubstanceKeys.of(rows)), N_FOLDS, SEED)
    folds = np.concatenate([folds, np.full(len(pool), N_FOLDS)])
    teacher, student = (
        PooledRows(
            PooledDescriptors(network(names), progress=True)([*rows, *pool]),
            np.vstack([labels, missing]),
            structures,
            folds,
        )
        for names in (options.teachers, [options.student])
    )
    own = np.arange(len(rows))
    settings = [choose_setting(each.take(own), "mae") for each in (teacher, student)]
    print(settings)
    formulas = np.array([reduced_formula(atoms) for atoms in structures])
    errors: dict[str, list[float]] = {}
    for fold in range(N_FOLDS):
        test = own[folds[own] == fold]
        train = own[folds[own] != fold]
        told = predict(teacher, settings[0], train, np.arange(len(structures)))
        add(errors, "teacher", told[test] - labels[test])
        free = np.flatnonzero(folds == N_FOLDS)
        free = free[~np.isin(formulas[free], formulas[test])]
        taught = replace(student, labels=told.copy())
        taught.labels[own] = labels
        for size in map(int, options.sizes.split(",")):
            learned = np.concatenate([train, free[:size]])
            found = predict(taught, settings[1], learned, test)
            add(errors, f"labels and {size} of the teacher", found - labels[test])
    for name, found in errors.items():
        print(f"{name}: {np.mean(found):.4f} ({np.std(found, ddof=1):.4f})")


def network(names: list[str]):
    return side_by_side([DeepmdNetwork(load_pretrained(name)[0]) for name in names])


def add(errors: dict[str, list[float]], name: str, found: np.ndarray) -> None:
    errors.setdefault(name, []).append(float(np.abs(found).mean()))


def predict(
    rows: PooledRows, setting: Setting, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Return what a fit to some rows says of others."""
    x, _, _, gamma = rows.vectors(setting)
    kernel = Kernel(x[train], gamma, setting.regression.precision)
    targets = Targets(setting, rows)
    found = setting.regression.fit(kernel, targets.values[train], np.arange(len(train)))
    used = np.flatnonzero(found.used)
    outputs = np.full(rows.labels.shape, np.nan)
    for part in np.array_split(test, 1 + len(test) // 4000):
        values = gaussian(x[part], x[train[used]], gamma) @ found.weights[used]
        outputs[part] = values + found.offset
    return targets.undo(outputs)[test]


if __name__ == "__main__":
    main()
