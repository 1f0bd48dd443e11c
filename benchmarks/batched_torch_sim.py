"""Batched relaxation and dynamics in torch-sim against ASE's loop over structures.

Usage: python benchmarks/batched_torch_sim.py STRUCTURES.extxyz[.gz] [-m MODEL] [-n 16]

Needs torch-sim (pip install "mftscreen[torch-sim]"). One process and thread, one run;
ratios of CPU times, since other things may run beside it. Structures of up to 10 atoms,
drawn with the seed, are rattled by 0.05 Å and relaxed with their cells by FIRE until
the largest force is below 0.05 eV/Å; then all of them move for some steps at constant
energy. Both ways are first run on a part of them, so that what is compiled is compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch_sim as ts
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from mftscreen import MFTCalculator
from mftscreen.data.readers import iter_extxyz
from mftscreen.torch_sim import TorchSimModel

FMAX, STEPS, MAX_ATOMS = 0.05, 300, 10


def relax_together(structures: Sequence[Atoms], model: TorchSimModel) -> list[float]:
    recent = hasattr(ts, "Optimizer")  # versions for Python 3.12 and later
    options: dict[str, Any] = (
        {
            "optimizer": ts.Optimizer.fire,
            "init_kwargs": {"cell_filter": ts.CellFilter.frechet},
        }
        if recent
        else {"optimizer": ts.frechet_cell_fire}
    )
    state = ts.optimize(
        list(structures),
        model,
        convergence_fn=ts.generate_force_convergence_fn(FMAX, include_cell_forces=True),
        max_steps=STEPS,
        steps_between_swaps=1,
        **options,
    )
    found: list[float] = state.energy.tolist()
    return found


def relax_one_by_one(structures: Sequence[Atoms], model: TorchSimModel) -> list[float]:
    energies = []
    for structure in structures:
        atoms = structure.copy()
        atoms.calc = MFTCalculator(model.model)
        FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=FMAX, steps=STEPS)
        energies.append(atoms.get_potential_energy())
    return energies


def move_together(
    structures: Sequence[Atoms], model: TorchSimModel, steps: int
) -> list[float]:
    state = ts.integrate(
        list(structures),
        model,
        integrator=ts.Integrator.nve if hasattr(ts, "Integrator") else ts.nve,
        n_steps=steps,
        temperature=0.0,
        timestep=1e-3,
    )
    found: list[float] = state.energy.tolist()
    return found


def move_one_by_one(
    structures: Sequence[Atoms], model: TorchSimModel, steps: int
) -> list[float]:
    energies = []
    for structure in structures:
        atoms = structure.copy()
        atoms.calc = MFTCalculator(model.model)
        VelocityVerlet(atoms, 1 * units.fs).run(steps)
        energies.append(atoms.get_potential_energy())
    return energies


def compare(
    what: str,
    structures: Sequence[Atoms],
    together: Callable[[Sequence[Atoms]], list[float]],
    one_by_one: Callable[[Sequence[Atoms]], list[float]],
) -> None:
    together(structures[:4])
    one_by_one(structures[:1])
    start = time.process_time()
    batched = together(structures)
    between = time.process_time()
    single = one_by_one(structures)
    end = time.process_time()
    sizes = [len(atoms) for atoms in structures]
    difference = 1e3 * np.abs(np.subtract(batched, single) / sizes)
    click.echo(
        f"{what}: {len(structures) / (between - start):.2f} structures/s, one by one "
        f"{len(structures) / (end - between):.2f}, ratio "
        f"{(end - between) / (between - start):.2f}; energies differ by "
        f"{np.median(difference):.2g} meV/atom (median), {difference.max():.2g} at most"
    )


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-m", "--model", default="mft-mini", show_default=True)
@click.option("-n", "n_structures", default=16, show_default=True)
@click.option("--md-steps", default=50, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(path: Path, model: str, n_structures: int, md_steps: int, seed: int) -> None:
    """Print structures per second both ways, and how far energies differ."""
    torch.set_num_threads(1)
    adapter = TorchSimModel(model)
    pool = [atoms for atoms in iter_extxyz(path) if isinstance(atoms, Atoms)]
    pool = [atoms for atoms in pool if len(atoms) <= MAX_ATOMS]
    rng = np.random.default_rng(seed)
    structures = [pool[k] for k in rng.choice(len(pool), n_structures, replace=False)]
    for atoms in structures:
        atoms.rattle(0.05, rng=rng)
    compare(
        "relaxation",
        structures,
        lambda some: relax_together(some, adapter),
        lambda some: relax_one_by_one(some, adapter),
    )
    compare(
        f"{md_steps} steps of dynamics",
        structures,
        lambda some: move_together(some, adapter, md_steps),
        lambda some: move_one_by_one(some, adapter, md_steps),
    )


if __name__ == "__main__":
    main()
