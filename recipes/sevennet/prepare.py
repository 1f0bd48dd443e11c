"""Parts of MatBench dielectric, to measure fine-tuning in and out of distribution.

    python prepare.py --folds omee_ood_folds.json.xz matbench_dielectric.json.gz -o data
    python prepare.py --official matbench_official_test_indices.json ... -o fold_0

The largest of the 50 clusters that Omee et al. (doi:10.1038/s41524-024-01316-4)
published is the test out of distribution. Of the other rows, a tenth each is drawn for
the test in distribution and for validation; the rest is training rows, of which the
smaller files have the first ones, in the same random order. With MatBench's own test
rows instead, those of fold 0 are ``id``, and there is no ``ood``.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.io import write
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled

TASK, COLUMN, SEED = "matbench_dielectric", "n", 7
SIZES = (300, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="matbench_dielectric.json.gz")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--folds", type=Path)
    which.add_argument("--official", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("data"))
    options = parser.parse_args()
    rows = list(read_labelled(options.data, COLUMN))
    every = np.arange(len(rows))
    if options.folds:
        with lzma.open(options.folds, "rt") as stream:
            folds = json.load(stream)[TASK]["LOCO"]
        ood = max(folds, key=lambda fold: len(fold["test"]))["test"]
        others = shuffled(every, without=ood)
        identical, others = np.split(others, [len(others) // 10])
        parts = {"ood": ood, "id": identical}
        tenth = len(identical)
    else:
        parts = {"id": json.loads(options.official.read_text())[TASK][0]}
        others = shuffled(every, without=parts["id"])
        tenth = len(others) // 10
    validation, train = np.split(others, [tenth])
    parts |= {"validation": validation, "train": train}
    parts |= {f"train_{size}": train[:size] for size in SIZES}
    options.output.mkdir(parents=True, exist_ok=True)
    for name, numbers in parts.items():
        save(options.output / f"{name}.extxyz", [rows[k] for k in numbers])
        print(name, len(numbers))


def shuffled(
    numbers: NDArray[np.int64], *, without: Sequence[int]
) -> NDArray[np.int64]:
    others = np.setdiff1d(numbers, without)
    np.random.default_rng(SEED).shuffle(others)
    return others


def save(path: Path, rows: Sequence[LabelledStructure]) -> None:
    frames = []
    for row in rows:
        atoms = row.atoms.copy()
        atoms.info = {"id": row.id, COLUMN: float(row.labels[COLUMN])}
        frames.append(atoms)
    write(path, frames, format="extxyz")


if __name__ == "__main__":
    main()
