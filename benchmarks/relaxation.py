"""Batched relaxation against ASE's own loop over one structure at a time.

Usage: python benchmarks/relaxation.py STRUCTURES.extxyz[.gz] [--optimizer fire]

One process, one run, as many threads for torch in both; only ratios mean anything on a
machine that does other things, too. One by one is ``MFTCalculator``, ASE's
``FrechetCellFilter`` and ASE's optimiser. Prints

* for 30 structures, with how many both ways converge: the largest differences of
  energy and cell;
* for 64 small structures the ratios of wall and of CPU times.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import ase.optimize
import click
import numpy as np
import torch
from ase import Atoms
from ase.filters import FrechetCellFilter

from mftscreen import MFTCalculator, load_model
from mftscreen.data.readers import iter_extxyz
from mftscreen.screen.relax.batched import Relaxer, RelaxResult, RelaxSettings

MAX_ATOMS, MAX_ATOMS_SMALL = 20, 10


def relax_one_by_one(
    model: Any, structures: Iterable[Atoms], settings: RelaxSettings
) -> list[RelaxResult]:
    calculator = MFTCalculator(model)
    optimizer_class = getattr(ase.optimize, settings.optimizer.upper())
    results = []
    for structure in structures:
        atoms = structure.copy()
        atoms.calc = calculator
        cell_filter = FrechetCellFilter(atoms)
        optimizer = optimizer_class(cell_filter, logfile=None)
        converged = optimizer.run(fmax=settings.fmax, steps=settings.steps)
        fmax = np.linalg.norm(cell_filter.get_forces(), axis=1).max()
        change = atoms.get_volume() / structure.get_volume() - 1
        energy = atoms.get_potential_energy()
        results.append(
            RelaxResult(atoms, converged, optimizer.nsteps, fmax, change, energy)
        )
    return results


def potential(relaxed: RelaxResult) -> float:
    """Return the energy, which what has converged has."""
    assert relaxed.energy is not None
    return relaxed.energy


def report_agreement(batched: list[RelaxResult], single: list[RelaxResult]) -> None:
    pairs = [(b, s) for b, s in zip(batched, single, strict=True) if b.ok]
    both = [(b, s) for b, s in pairs if b.converged and s.converged]
    energies = [abs(potential(b) - potential(s)) / len(b.atoms) for b, s in both]
    cells = [np.abs(b.atoms.cell - s.atoms.cell).max() for b, s in both]
    click.echo(
        f"{len(batched)} structures: {len(both)} converge both ways, "
        f"{sum(b.converged for b in batched)} batched, "
        f"{sum(s.converged for s in single)} one by one, "
        f"{sum(not b.ok for b in batched)} stopped in batches\n"
        f"  largest difference of energies {1e3 * max(energies):.2g} meV/atom, "
        f"of cell entries {max(cells):.2g} Å, "
        f"of steps {max(abs(b.steps - s.steps) for b, s in both)}"
    )


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--optimizer", default="fire", show_default=True)
@click.option("--fmax", default=0.05, show_default=True)
@click.option("--steps", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(
    path: Path,
    optimizer: Literal["fire", "bfgs", "lbfgs"],
    fmax: float,
    steps: int,
    seed: int,
    rounds: int,
    threads: int,
) -> None:
    """Print differences and the ratio of times; its median over the rounds."""
    torch.set_num_threads(threads)
    settings = RelaxSettings(optimizer=optimizer, fmax=fmax, steps=steps)
    model = load_model()
    relaxer = Relaxer(model, settings)
    rng = np.random.default_rng(seed)
    pool = [atoms for atoms in iter_extxyz(path) if isinstance(atoms, Atoms)]
    pool = [atoms for atoms in pool if len(atoms) <= MAX_ATOMS]
    chosen = [pool[k] for k in rng.choice(len(pool), 30, replace=False)]
    report_agreement(list(relaxer(chosen)), relax_one_by_one(model, chosen, settings))
    pool = [atoms for atoms in pool if len(atoms) <= MAX_ATOMS_SMALL]
    small = [pool[k] for k in rng.choice(len(pool), 64, replace=False)]
    ratios: dict[str, list[float]] = {"wall": [], "CPU": []}
    for _ in range(rounds):
        start = time.perf_counter(), time.process_time()
        batched = list(relaxer(small))
        between = time.perf_counter(), time.process_time()
        single = relax_one_by_one(model, small, settings)
        end = time.perf_counter(), time.process_time()
        for k, values in enumerate(ratios.values()):
            values.append((end[k] - between[k]) / (between[k] - start[k]))
    report_agreement(batched, single)
    steps_taken = sorted(result.steps for result in single)
    click.echo(f"  steps: median {np.median(steps_taken):.0f}, most {steps_taken[-1]}")
    for what, values in ratios.items():
        click.echo(
            f"  one by one / batched, {what} time: {np.median(values):.2f} "
            f"({min(values):.2f}-{max(values):.2f})"
        )


if __name__ == "__main__":
    main()
