"""Structures per second for a property, and for energy, forces and stress.

Of a property that a kernel predicts, also with the neural head in its place.

Usage: python benchmarks/throughput.py --data FOLDER [-m MODEL] [--threads 2]

Random structures of mp_gap (``pools/mp_gap_pool20k.extxyz.gz`` of the data folder, up
to 60 atoms) go through ``Predictor`` as a user would call it: one process, mixed
batches. Structures per second are those of this machine and of what else it does;
their ratios are not. Prints both, the medians of the rounds.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
import torch
from pools import FILE, draw
from tqdm import tqdm

from mftscreen import Predictor, load_model


@click.command()
@click.option(
    "--data", envvar="MFTSCREEN_DATA", required=True, show_envvar=True,
    type=click.Path(exists=True, path_type=Path),
)  # fmt: skip
@click.option("-m", "--model", "source", default="mft-mini", show_default=True)
@click.option("-n", "count", default=500, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(
    data: Path, source: str, count: int, rounds: int, seed: int, threads: int
) -> None:
    """Print structures per second, and the ratios of tasks."""
    torch.set_num_threads(threads)
    model = load_model(source, check_domain=False)
    structures = draw(data / FILE, model, count, seed)
    name = next(iter(model.properties))
    predictors = {
        f"{name} only": Predictor(model, properties=[name]),
        "E+F+S": Predictor(model, properties=[], forces=True),
    }
    if model.card.properties[name].readout is not None:
        plain = load_model(source, check_domain=False, neural=True)
        predictors["neural head"] = Predictor(plain, properties=[name])
    seconds: dict[str, list[tuple[float, float]]] = {task: [] for task in predictors}
    for predictor in predictors.values():
        list(predictor(structures[:50]))  # compiles the kernels
    for _ in tqdm(range(rounds)):
        for task, predictor in predictors.items():
            start = time.perf_counter(), time.process_time()
            failed = sum(not row.ok for row in predictor(structures))
            end = time.perf_counter(), time.process_time()
            seconds[task].append((end[0] - start[0], end[1] - start[1]))
            if failed:
                msg = f"{failed} structures could not be evaluated"
                raise click.ClickException(msg)
    click.echo(
        f"{count} structures of {np.mean([len(atoms) for atoms in structures]):.1f} "
        f"atoms on average, {threads} threads, seed {seed}"
    )
    for task, times in seconds.items():
        wall, cpu = (count / np.array(kind) for kind in zip(*times, strict=True))
        click.echo(
            f"{task:16s} {np.median(wall):7.1f} structures/s "
            f"({wall.min():.1f}-{wall.max():.1f}), "
            f"{np.median(cpu):.1f} per CPU second ({cpu.min():.1f}-{cpu.max():.1f})"
        )
    base, *others = seconds
    for task in others:
        ratios = np.array(seconds[task]) / np.array(seconds[base])
        for what, found in zip(("wall", "CPU"), ratios.T, strict=True):
            click.echo(
                f"{task} / {base}, {what} time: {np.median(found):.2f} "
                f"({found.min():.2f}-{found.max():.2f})"
            )


if __name__ == "__main__":
    main()
