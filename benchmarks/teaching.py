"""What a kernel on a small descriptor learns from the predictions of a large one.

A kernel on the descriptors of the teachers is fitted to labels and predicts them for
structures that have none. A kernel on the student's descriptor is then fitted to the
labels alone, and to both. Errors are those of rows that neither has seen, five folds by
composition of the training rows of official fold 0, and no structure without a label
has the formula of such a row.

With ``--recipe``, a configuration of ``mft``, its network is trained on the teacher's
predictions alone, without those labels, and a kernel is fitted to the labels on its
descriptor: for the first fold, whose rows the teacher has not seen.

    MFTSCREEN_DATA=... python benchmarks/teaching.py dielectric \
        --teachers 7net-l3i5 mft-mini-pretrained --student mft-mini-pretrained
        [--recipe recipes/paper/crystals_mini/dielectric.yaml -o taught]
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from kernel_folds import COLUMNS

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.regression import Kernel
from mftscreen.finetune.kernel.rows import PooledRows, Setting, Targets
from mftscreen.finetune.kernel.search import choose_setting
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.strategies.mft import MFTConfig
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.finetune.tune import finetune
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
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("-o", "--output", type=Path, default=Path("taught"))
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
            pooled(names, [*rows, *pool]),
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
        if options.recipe is not None and fold == 0:
            model = learn(options, structures, told[:, 0], free)
            after = replace(student.take(own), pooled=pooled([str(model)], rows))
            setting = choose_setting(after.take(train), "mae")
            found = predict(after, setting, train, test)
            add(
                errors,
                "first fold, labels on the taught descriptor",
                found - labels[test],
            )
        for size in map(int, options.sizes.split(",")):
            learned = np.concatenate([train, free[:size]])
            found = predict(taught, settings[1], learned, test)
            add(errors, f"labels and {size} of the teacher", found - labels[test])
    for name, maes in errors.items():
        by_fold = " ".join(f"{mae:.4f}" for mae in maes)
        print(f"{name}: {np.mean(maes):.4f}, by folds {by_fold}")


def pooled(models: list[str], rows: list[LabelledStructure]) -> np.ndarray:
    networks = [DeepmdNetwork(load_pretrained(model)[0]) for model in models]
    return PooledDescriptors(side_by_side(networks), progress=True)(rows)


def learn(
    options: argparse.Namespace,
    structures: list[Atoms],
    told: np.ndarray,
    free: np.ndarray,
) -> Path:
    """Train the network of a recipe on what the teacher says; return the model."""
    column = COLUMNS[options.task]
    options.output.mkdir(parents=True, exist_ok=True)
    frames = []
    for k in free:
        frame = structures[k].copy()
        frame.info = {column: float(told[k])}
        frames.append(frame)
    write(options.output / "taught.extxyz", frames)
    recipe = load_config(options.recipe)
    if not isinstance(recipe, MFTConfig):
        raise SystemExit(f"{options.recipe}: not a configuration of mft")
    data = recipe.data.model_copy(update={"train": [options.output / "taught.extxyz"]})
    training = recipe.training.model_copy(update={"steps": options.steps})
    config = recipe.model_copy(update={"data": data, "training": training})
    made = finetune(config, options.output / "run", collapse_report=False, resume=True)
    return made.path


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
    told: np.ndarray = targets.undo(outputs)[test]
    return told


if __name__ == "__main__":
    main()
