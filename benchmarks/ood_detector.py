"""What the out-of-distribution detector finds, what it misses, and how fast it is.

The reference set is 3,800 random rows of MatBench dielectric. Sets to be told apart
from it: the 964 other rows (the same distribution: the share that is flagged should be
alpha), other MatBench tasks, the held-out rows with one element replaced at random,
and the held-out rows with all lengths scaled.

Prints, for every variant of the detector, the share flagged at alpha 0.05 and the area
under the ROC curve against the held-out rows; then the speed of the search among
20,000 reference vectors, and the peak memory of the process.

    MFTSCREEN_DATA=... python benchmarks/ood_detector.py
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from scipy.sparse import csr_array, vstack
from sklearn.metrics import roc_auc_score

from mftscreen.data.readers import iter_matbench
from mftscreen.ood import OFMDensityDetector, OFMFeaturizer
from mftscreen.ood.ofm.featurizer import VOLUME_SCALE

N_REFERENCE = 3800
N_OTHER = 600
STRAINS = (0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.3)
OTHERS = ("perovskites", "log_gvrh", "jdft2d")
N_SEARCHED = 20_000

VARIANTS: list[tuple[str, dict[str, Any], float]] = [
    *((f"{k} nearest", {"n_neighbors": k}, VOLUME_SCALE) for k in (1, 2, 3, 5, 10)),
    ("KDE", {"method": "kde"}, VOLUME_SCALE),
    *(
        (f"2 nearest, volume x {scale:g}", {"n_neighbors": 2}, scale)
        for scale in (0.0, 1.0, 4.0, 8.0)
    ),
]


def read_structures(path: Path) -> list[Atoms]:
    return [atoms for _, atoms, *_ in iter_matbench(path)]


def swap_element(atoms: Atoms, symbols: list[str], rng: np.random.Generator) -> Atoms:
    swapped = atoms.copy()
    old = rng.choice(np.unique(atoms.numbers))
    new = atomic_numbers[str(rng.choice(symbols))]
    swapped.numbers[atoms.numbers == old] = new
    return swapped


def scale_lengths(atoms: Atoms, factor: float) -> Atoms:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * factor, scale_atoms=True)
    return scaled


def featurize(structures: list[Atoms], jobs: int) -> csr_array:
    rows = OFMFeaturizer(n_jobs=jobs)(structures)
    return csr_array(np.array([r.features for r in rows if r.features is not None]))


def make_sets(folder: Path, seed: int, jobs: int) -> dict[str, csr_array]:
    rng = np.random.default_rng(seed)
    dielectric = read_structures(folder / "matbench_dielectric.json.gz")
    order = rng.permutation(len(dielectric))
    inside = [dielectric[k] for k in order[:N_REFERENCE]]
    held_out = [dielectric[k] for k in order[N_REFERENCE:]]
    symbols = sorted({symbol for atoms in dielectric for symbol in atoms.symbols})
    sets = {"reference": inside, "held out": held_out}
    for task in OTHERS:
        structures = read_structures(folder / f"matbench_{task}.json.gz")
        chosen = rng.choice(len(structures), N_OTHER, replace=False)
        sets[task] = [structures[k] for k in chosen]
    sets["swap"] = [swap_element(atoms, symbols, rng) for atoms in held_out]
    for factor in STRAINS:
        sets[f"x{factor}"] = [scale_lengths(atoms, factor) for atoms in held_out]
    return {name: featurize(structures, jobs) for name, structures in sets.items()}


def rescale_volume(vectors: csr_array, scale: float) -> csr_array:
    scales = np.ones(vectors.shape[1])
    scales[-1] = scale / VOLUME_SCALE
    return csr_array(vectors.multiply(scales))


def print_detection(sets: dict[str, csr_array]) -> None:
    names = [name for name in sets if name not in ("reference", "held out")]
    print("Held out: flagged at alpha 0.05 / 0.01; others: AUROC / flagged at 0.05")
    print(f"{'':26}{'held out':>13}" + "".join(f"{name:>13}" for name in names))
    for label, parameters, scale in VARIANTS:
        scaled = {name: rescale_volume(x, scale) for name, x in sets.items()}
        detector = OFMDensityDetector(**parameters).fit(scaled["reference"])
        scores = {
            name: detector.score_samples(x)
            for name, x in scaled.items()
            if name != "reference"
        }
        p_values = {name: detector.p_value(scaled[name]) for name in scores}
        own = p_values["held out"]
        cells = [f"{np.mean(own <= 0.05):.3f}/{np.mean(own <= 0.01):.3f}"]
        for name in names:
            both = -np.concatenate([scores["held out"], scores[name]])
            known = np.zeros(len(both))
            known[len(own) :] = 1.0
            flagged = np.mean(p_values[name] <= 0.05)
            cells.append(f"{roc_auc_score(known, both):.2f}/{flagged:.2f}")
        print(f"{label:26}" + "".join(f"{cell:>13}" for cell in cells), flush=True)


def print_search(folder: Path, n_queries: int, seed: int, jobs: int) -> None:
    tasks = ("dielectric", "log_gvrh", "perovskites")
    structures = [
        atoms
        for task in tasks
        for atoms in read_structures(folder / f"matbench_{task}.json.gz")
    ]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(structures))
    vectors = featurize([structures[k] for k in order], jobs)
    del structures
    detector = OFMDensityDetector(n_jobs=jobs).fit(vectors[:N_SEARCHED])
    others = vectors[N_SEARCHED:]
    del vectors
    repeats = -(-n_queries // others.shape[0])
    queries = vstack([others] * repeats, format="csr")[:n_queries]
    # slightly different each time, so that no query occurs twice
    queries.data *= 1.0 + 1e-3 * rng.standard_normal(queries.nnz)
    start = time.perf_counter()
    detector.p_value(queries)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\n{n_queries} queries against {N_SEARCHED} reference vectors, {jobs} threads:"
        f" {n_queries / seconds:.0f} queries/s; peak memory {peak:.2f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MFTSCREEN_DATA"))
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("set MFTSCREEN_DATA or give --data")
    folder = Path(arguments.data) / "matbench"
    # first, so that the peak memory is its own
    print_search(folder, arguments.queries, arguments.seed, arguments.jobs)
    print_detection(make_sets(folder, arguments.seed, arguments.jobs))


if __name__ == "__main__":
    main()
