"""A screening from end to end, and two other ways to get the same table.

Usage: python benchmarks/screening.py CANDIDATES.extxyz[.gz] [-n 300] [-j 2] [--all]

In one run, on the same structures, with the same model, which is in memory before:

* ours: read, predict, OFM and p-value, write to a journal, in as many processes as the
  others have threads (``OMP_NUM_THREADS``); the share of each part, measured one after
  the other in this process;
* a loop of an ASE calculator and matminer's OFM, one structure after the other;
* deepmd-kit's ``DeepProperty`` with one batch for each composition (atoms of a batch
  must be the same there), and our OFM.

With ``--all``, peak memory and speed of ``mftscreen rank`` for 2,000 structures and for
all of the file, each in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from ase import Atoms
from ase.io import write
from deepmd.infer.deep_property import DeepProperty
from matminer.featurizers.structure.matrix import OrbitalFieldMatrix
from pymatgen.io.ase import AseAtomsAdaptor

from mftscreen import MFTCalculator, load_model
from mftscreen.data.readers import iter_extxyz
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import resolve_model
from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.reference.reference_set import open_reference, reference_arrays
from mftscreen.predictor import Predictor
from mftscreen.screen.candidates.stream import iter_candidates
from mftscreen.screen.work.evaluation import (
    EvaluationSettings,
    Evaluator,
    open_evaluator,
)
from mftscreen.screen.work.journal import Journal
from mftscreen.screen.work.pipeline import screen
from mftscreen.screen.work.workers import Workers

NAME = "dielectric"


@contextmanager
def timed(times: dict[str, float], what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[what] = time.perf_counter() - start


class TimedJournal(Journal):
    """A journal that adds up the seconds that it takes."""

    seconds = 0.0

    def known(self, *args: Any) -> set[str]:
        """Look keys up, timed."""
        start = time.perf_counter()
        found = super().known(*args)
        self.seconds += time.perf_counter() - start
        return found

    def write(self, *args: Any) -> None:
        """Write a chunk, timed."""
        start = time.perf_counter()
        super().write(*args)
        self.seconds += time.perf_counter() - start


def run_ours(path: Path, folder: Path, evaluator: Evaluator, workers: Workers) -> float:
    """Screen a file and return the seconds that the journal took."""
    with TimedJournal(folder) as journal:
        journal.begin({})
        for _ in screen(iter_candidates(path), evaluator.key, workers, journal):
            pass
        journal.finish()
        return journal.seconds


def run_parts(path: Path, times: dict[str, float]) -> None:
    """Time the parts of a screening one after the other."""
    model = load_model(check_domain=False)
    with timed(times, "read"):
        candidates = list(iter_candidates(path))
    structures = [candidate.structure for candidate in candidates]
    with timed(times, "predict"):
        for _ in Predictor(model, properties=[NAME])(structures):
            pass
    reference = open_reference(reference_arrays(model.reference, NAME))
    with timed(times, "OFM"):
        features = [row.features for row in OFMFeaturizer()(structures)]
    assert reference.detector is not None
    with timed(times, "p-value"):
        reference.detector.p_value(np.array([f for f in features if f is not None]))


def run_calculator(structures: list[Atoms]) -> None:
    calculator = MFTCalculator(check_domain=False)
    featurizer = OrbitalFieldMatrix(flatten=True)
    adaptor = AseAtomsAdaptor()
    for atoms in structures:
        calculator.get_property(NAME, atoms)
        featurizer.featurize(adaptor.get_structure(atoms))


def run_compositions(structures: list[Atoms], evaluator: DeepProperty) -> None:
    index = {symbol: k for k, symbol in enumerate(evaluator.get_type_map())}
    groups: dict[tuple[int, ...], list[Atoms]] = {}
    for atoms in structures:
        atoms = atoms[np.argsort(atoms.numbers)]
        groups.setdefault(tuple(atoms.numbers), []).append(atoms)
    for group in groups.values():
        evaluator.eval(
            np.stack([atoms.positions.ravel() for atoms in group]),
            np.stack([np.asarray(atoms.cell).ravel() for atoms in group]),
            [index[symbol] for symbol in group[0].symbols],
        )
    for _ in OFMFeaturizer()(structures):
        pass


def compare(path: Path, count: int, rounds: int, jobs: int) -> None:
    structures = [a for a in islice(iter_extxyz(path), count) if isinstance(a, Atoms)]
    bundle = read_bundle(resolve_model("mft-mini")[0])
    ratios: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, checkpoint = folder / "few.extxyz", folder / "model.pt"
        write(few, structures, format="extxyz")
        checkpoint.write_bytes(bundle.checkpoint)
        head = bundle.card.properties[NAME].head
        deep_property = DeepProperty(str(checkpoint), head=head)
        evaluator = open_evaluator(EvaluationSettings(("mft-mini",), (NAME,)))
        with Workers(evaluator.settings, jobs) as workers:
            # models are in memory and compiled before anything is timed
            run_compositions(structures[:5], deep_property)
            run_ours(few, folder / "warm", evaluator, workers)
            for number in range(rounds):
                times: dict[str, float] = {}
                with timed(times, "ours"):
                    journal = run_ours(
                        few, folder / f"run {number}", evaluator, workers
                    )
                click.echo(f"ours: {len(structures) / times['ours']:.1f} structures/s")
                with timed(times, "calculator and matminer"):
                    run_calculator(structures)
                with timed(times, "one batch per composition"):
                    run_compositions(structures, deep_property)
                for what, seconds in times.items():
                    ratios.setdefault(what, []).append(seconds / times["ours"])
                parts = {"journal": journal}
                run_parts(few, parts)
                for what, seconds in parts.items():
                    shares.setdefault(what, []).append(seconds / sum(parts.values()))
    for what, values in ratios.items():
        click.echo(
            f"{what:26s} {np.median(values):6.2f} times ours "
            f"({min(values):.2f}-{max(values):.2f})"
        )
    for what, values in shares.items():
        click.echo(f"  share of {what:17s} {100 * float(np.median(values)):5.1f} %")


def measure_memory(path: Path, count: int | None) -> None:
    frames = (a for a in islice(iter_extxyz(path), count) if isinstance(a, Atoms))
    with tempfile.TemporaryDirectory() as folder:
        database, result = Path(folder) / "some.extxyz", Path(folder) / "out.csv"
        write(database, list(frames), format="extxyz")
        arguments = ["rank", str(database), "-p", NAME, "-o", str(result), "-q"]
        code = (
            "import resource, sys\n"
            "from mftscreen.cli import main\n"
            f"main({[*arguments, '--format', 'table']!r}, standalone_mode=False)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        start = time.perf_counter()
        done: Any = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
        )
        seconds = time.perf_counter() - start
        n = sum(1 for _ in result.open()) - 1
    peak = int(done.stdout.split()[-1]) / 2**20
    click.echo(
        f"{n} rows: {n / seconds:.1f} structures/s with start-up, {peak:.2f} GiB"
    )


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-n", "count", default=300, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("-j", "jobs", default=2, show_default=True, help="Processes of ours.")
@click.option("--all", "whole", is_flag=True, help="Peak memory for the whole file.")
def main(path: Path, count: int, rounds: int, jobs: int, whole: bool) -> None:
    """Print the ratios: medians of the rounds, and their ranges."""
    if whole:
        for size in (2000, None):
            measure_memory(path, size)
    else:
        compare(path, count, rounds, jobs)


if __name__ == "__main__":
    main()
