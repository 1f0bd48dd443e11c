"""Orbital field matrices: cost against matminer, by size, and of all MatBench.

Usage: python benchmarks/ofm.py --data FOLDER [-n 20] [--n-jobs 2]

Same structures, one process, one run; only ratios mean anything on a machine that does
other things, too. FOLDER/matbench holds matbench_perovskites.json.gz, dielectric and
log_gvrh as matminer downloads them. Prints

* by number of atoms: milliseconds per structure of ours (exact) and of matminer, their
  ratio, and the largest difference between matminer and ours in matminer's mode;
* microseconds per atom of growing supercells of one crystal;
* structures, failures and seconds of all tasks, reading and matrices apart.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import numpy as np
from ase import Atoms
from matminer.featurizers.structure import OrbitalFieldMatrix
from pymatgen.io.ase import AseAtomsAdaptor

from mftscreen.data.sources import read_labelled
from mftscreen.ood import OFMFeaturizer, orbital_field_matrix

TASKS = {"perovskites": "e_form", "dielectric": "n", "log_gvrh": "log10(G_VRH)"}

SIZES = [(1, 5), (6, 10), (11, 20), (21, 40), (41, 80), (81, 160)]

ROUNDS = 5
"""Ours is too quick to be timed once."""


def read_all(data: Path) -> Iterator[Atoms]:
    for task, column in TASKS.items():
        path = data / f"matbench/matbench_{task}.json.gz"
        yield from (row.atoms for row in read_labelled(path, column))


def timed(task: Callable[[], object]) -> tuple[float, float]:
    """Return the processor time and the wall time of a task, in s."""
    processor, wall = time.process_time(), time.perf_counter()
    task()
    return time.process_time() - processor, time.perf_counter() - wall


def print_sizes(crystals: list[Atoms], count: int, seed: int) -> None:
    click.echo(
        "            CPU ms/structure      wall ms/structure      ratio      "
        "ours, CPU\n"
        "atoms    n    ours  matminer       ours  matminer    CPU  wall    "
        "us/atom   max |diff|"
    )
    rng = np.random.default_rng(seed)
    for low, high in SIZES:
        fitting = [atoms for atoms in crystals if low <= len(atoms) <= high]
        # matminer needs seconds for each of the larger ones
        wanted = min(len(fitting), count if high <= 20 else max(1, count // 4))
        chosen = [fitting[k] for k in rng.choice(len(fitting), wanted, replace=False)]
        print_size(f"{low}-{high}", chosen)


def print_size(label: str, chosen: list[Atoms]) -> None:
    featurizer = OrbitalFieldMatrix()
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in chosen]
    vectors: list[np.ndarray] = []

    def peer() -> None:
        vectors.extend(featurizer.featurize(each) for each in structures)

    def ours() -> None:
        for _ in range(ROUNDS):
            for atoms in chosen:
                orbital_field_matrix(atoms)

    n = len(chosen)
    seconds = np.array([timed(ours), timed(peer)]) / [[n * ROUNDS], [n]]
    (cpu, wall), (peer_cpu, peer_wall) = seconds
    largest = max(
        np.abs(orbital_field_matrix(atoms, mode="matminer") - vector).max()
        for atoms, vector in zip(chosen, vectors, strict=True)
    )
    per_atom = cpu / np.mean([len(atoms) for atoms in chosen])
    click.echo(
        f"{label:7s} {n:3d} {1e3 * cpu:7.2f} {1e3 * peer_cpu:9.1f}    "
        f"{1e3 * wall:7.2f} {1e3 * peer_wall:9.1f}  {peer_cpu / cpu:5.0f} "
        f"{peer_wall / wall:5.0f}    {1e6 * per_atom:7.0f}   {largest:10.1e}"
    )


def print_growth(crystal: Atoms) -> None:
    click.echo(f"\nsupercells of {crystal.symbols}\natoms   CPU us/atom")
    for times in (1, 2, 3, 4, 5, 6):
        atoms = crystal.repeat(times)

        def several(atoms: Atoms = atoms) -> None:
            for _ in range(ROUNDS):
                orbital_field_matrix(atoms)

        seconds, _ = timed(several)
        click.echo(f"{len(atoms):5d}   {1e6 * seconds / ROUNDS / len(atoms):11.0f}")


def print_throughput(data: Path, n_jobs: int) -> None:
    featurize = OFMFeaturizer(n_jobs=n_jobs)

    def failures(structures: Iterable[Atoms]) -> int:
        return sum(row.vector is None for row in featurize(structures))

    start = time.perf_counter()
    crystals = list(read_all(data))
    read = time.perf_counter()
    failures(crystals)
    computed = time.perf_counter()
    failed = failures(read_all(data))
    both = time.perf_counter()
    click.echo(
        f"\n{len(crystals)} MatBench structures, {n_jobs} processes: {failed} failed; "
        f"{both - computed:.1f} s (alone, reading takes {read - start:.1f} s and the "
        f"matrices {computed - read:.1f} s)"
    )


@click.command()
@click.option(
    "--data",
    envvar="MFTSCREEN_DATA",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that holds matbench/; default: MFTSCREEN_DATA.",
)
@click.option(
    "-n",
    "--structures",
    "count",
    default=20,
    show_default=True,
    help="Per size; a quarter of it above 20 atoms.",
)
@click.option("--n-jobs", default=2, show_default=True, help="For all of MatBench.")
@click.option("--seed", default=0, show_default=True, help="Of the choice.")
def main(data: Path, count: int, n_jobs: int, seed: int) -> None:
    """Print the three tables."""
    crystals = list(read_all(data))
    orbital_field_matrix(crystals[0])  # loads the compiled functions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matminer and pymatgen
        OrbitalFieldMatrix().featurize(AseAtomsAdaptor.get_structure(crystals[0]))
        print_sizes(crystals, count, seed)
    print_growth(crystals[0])
    print_throughput(data, n_jobs)


if __name__ == "__main__":
    main()
