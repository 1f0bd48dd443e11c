"""7net in mftscreen against sevenn's own calculator: results, and time.

Usage: python benchmarks/sevennet.py --data FOLDER [-m 7net-0]

Structures are random ones of mp_gap (``pools/mp_gap_pool20k.extxyz.gz`` of the data
folder) and random frames of mlearn (``dft_ef/mlearn.json.zip``). Prints the largest
differences of energies, forces and stress; then, of the structures of mp_gap, how many
times as many are evaluated per second as by sevenn's calculator, called one by one:
energies, forces and stress by ``MFTCalculator`` in the same way and by ``Predictor`` in
batches, and features alone. Times are medians of rounds in turn, on one thread.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from force_field import FILE as MLEARN
from force_field import read_mlearn
from pools import FILE, draw
from tqdm import tqdm

from mftscreen import MFTCalculator, Predictor, load_model
from mftscreen.model.network.many import BatchLimit, evaluate_many

ASKED = {"energy": 1e-5, "forces": 1e-5, "stress": 1e-6}
"""Largest difference allowed: eV/atom, eV/Å, eV/Å³."""


def differences(
    structures: Sequence[Atoms], ours: Calculator, theirs: Calculator
) -> dict[str, float]:
    """Return the largest difference of each quantity."""
    largest = dict.fromkeys(ASKED, 0.0)
    for atoms in tqdm(structures):
        found = []
        for calculator in (ours, theirs):
            own = atoms.copy()
            own.calc = calculator
            energy = own.get_potential_energy() / len(own)
            found.append((energy, own.get_forces(), own.get_stress()))
        for name, first, second in zip(ASKED, *found, strict=True):
            largest[name] = max(largest[name], float(np.abs(first - second).max()))
    return largest


def call_one_by_one(structures: Sequence[Atoms], calculator: Calculator) -> None:
    for atoms in structures:
        own = atoms.copy()
        own.calc = calculator
        own.get_forces()
        own.get_stress()


@click.command()
@click.option(
    "--data", envvar="MFTSCREEN_DATA", required=True, show_envvar=True,
    type=click.Path(exists=True, path_type=Path),
)  # fmt: skip
@click.option("-m", "--model", "name", default="7net-0", show_default=True)
@click.option("-n", "count", default=100, show_default=True)
@click.option("--frames", default=20, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    data: Path, name: str, count: int, frames: int, rounds: int, seed: int
) -> None:
    """Print differences, and ratios of speed."""
    warnings.filterwarnings("ignore")  # of sevenn, about accelerators for GPUs
    from sevenn.calculator import SevenNetCalculator

    torch.set_num_threads(1)
    model = load_model(name)
    pool = draw(data / FILE, model, count, seed)
    learned = [atoms for atoms, _ in read_mlearn(data / MLEARN)]
    chosen = np.random.default_rng(seed).choice(len(learned), frames, replace=False)
    ours, theirs = MFTCalculator(name), SevenNetCalculator(name, device="cpu")
    for title, structures in [
        (f"{count} of mp_gap", pool),
        (f"{frames} of mlearn", [learned[k] for k in chosen]),
    ]:
        found = differences(structures, ours, theirs)
        texts = [f"{q} {d:.1e} (asked {ASKED[q]:.0e})" for q, d in found.items()]
        click.echo(f"{title}, largest differences: {', '.join(texts)}")
    predictor = Predictor(model, properties=[], forces=True)

    def features() -> None:
        found = evaluate_many(
            lambda batch: model.network.evaluate(
                batch, derivatives=False, descriptors=True
            ),
            pool,
            BatchLimit(atoms=320),
        )
        assert all(not isinstance(one, Exception) for _, one in found)

    tasks: dict[str, Callable[[], object]] = {
        "sevenn, E+F+S one by one": lambda: call_one_by_one(pool, theirs),
        "MFTCalculator, E+F+S one by one": lambda: call_one_by_one(pool, ours),
        "Predictor, E+F+S": lambda: list(predictor(pool)),
        "features": features,
    }
    seconds: dict[str, list[float]] = {task: [] for task in tasks}
    for _ in tqdm(range(rounds)):
        for task, run in tasks.items():
            start = time.process_time()
            run()
            seconds[task].append(time.process_time() - start)
    reference = np.array(seconds["sevenn, E+F+S one by one"])
    click.echo(f"{np.mean([len(atoms) for atoms in pool]):.1f} atoms on average")
    for task, times in seconds.items():
        ratios = reference / times
        click.echo(
            f"{task:32s} {count / np.median(times):7.2f} structures per CPU second, "
            f"{np.median(ratios):6.2f} times ({ratios.min():.2f}-{ratios.max():.2f})"
        )


if __name__ == "__main__":
    main()
