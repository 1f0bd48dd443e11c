"""Batched prediction against a loop over deepmd-kit's own inference.

Usage: python benchmarks/prediction.py STRUCTURES.extxyz[.gz] [-n 500] [-m MODEL]

Same structures, same checkpoint, one process, one run; only ratios mean anything on a
machine that does other things, too. Prints

* structures per second of ``DeepProperty.eval`` one by one, of ours one by one and of
  ours in mixed batches, and the largest relative differences between them;
* the cost of energy + forces + stress + property relative to energy + forces + stress.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from ase import Atoms

from mftscreen import Predictor, load_model
from mftscreen.data.readers import iter_extxyz
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import resolve_model
from mftscreen.structures import check_structure


def timed(task: Callable[[], list[float]]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    values = np.array(task())
    return time.perf_counter() - start, values


def deepmd_loop(evaluator: Any, structures: list[Atoms]) -> list[float]:
    index = {symbol: i for i, symbol in enumerate(evaluator.get_type_map())}
    return [
        evaluator.eval(
            atoms.positions.reshape(1, -1),
            np.asarray(atoms.cell).reshape(1, -1),
            [index[symbol] for symbol in atoms.symbols],
        )[0].item()
        for atoms in structures
    ]


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-n", "count", default=500, show_default=True)
@click.option("-m", "--model", "source", default="mft-mini", show_default=True)
@click.option("-p", "--property", "name", default="dielectric", show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(path: Path, count: int, source: str, name: str, rounds: int) -> None:
    """Print the ratios; the median of the rounds."""
    from deepmd.infer.deep_property import DeepProperty

    model = load_model(source, check_domain=False)
    structures = []
    for atoms in iter_extxyz(path):
        if isinstance(atoms, Atoms):
            check_structure(atoms, model.type_map)
            structures.append(atoms)
    structures = list(islice(structures, count))
    sizes = [len(atoms) for atoms in structures]
    click.echo(f"{len(structures)} structures of {min(sizes)}-{max(sizes)} atoms, ")
    head = model.card.properties[name].head

    def ours(**options: Any) -> list[float]:
        predictor = Predictor(model, properties=[name], **options)
        return [row.properties[name] for row in predictor(structures)]

    def force_field(properties: list[str]) -> list[float]:
        predictor = Predictor(model, properties=properties, forces=True)
        return [row.energy for row in predictor(structures) if row.energy is not None]

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.pt"
        checkpoint.write_bytes(read_bundle(resolve_model(source)[0]).checkpoint)
        evaluator = DeepProperty(str(checkpoint), head=head)
        deepmd_loop(evaluator, structures[:5])  # compiles the model
        tasks: dict[str, Callable[[], list[float]]] = {
            "deepmd-kit, one by one": lambda: deepmd_loop(evaluator, structures),
            "ours, one by one": lambda: ours(batch_size=1),
            "ours, mixed batches": ours,
            "E+F+S": lambda: force_field([]),
            "E+F+S+property": lambda: force_field([name]),
        }
        ours()  # warms up, too
        times: dict[str, list[float]] = {task: [] for task in tasks}
        values = {}
        for _ in range(rounds):
            for task, run in tasks.items():
                seconds, values[task] = timed(run)
                times[task].append(seconds)
    median = {task: float(np.median(seconds)) for task, seconds in times.items()}
    for task, seconds in median.items():
        click.echo(f"{task:24s} {len(structures) / seconds:8.1f} structures/s")
    loop, batches = "deepmd-kit, one by one", "ours, mixed batches"
    deepmd, batched = values[loop], values[batches]
    single = values["ours, one by one"]
    click.echo(
        f"deepmd-kit loop / ours:  {_ratio(times, loop, batches)}\n"
        f"E+F+S+property / E+F+S:  {_ratio(times, 'E+F+S+property', 'E+F+S')}\n"
        f"batched against single, largest relative difference: "
        f"{np.max(np.abs(batched / single - 1)):.1e}\n"
        f"ours against deepmd-kit, largest relative difference: "
        f"{np.max(np.abs(single / deepmd - 1)):.1e}"
    )


def _ratio(times: dict[str, list[float]], first: str, second: str) -> str:
    ratios = np.divide(times[first], times[second])
    return f"{np.median(ratios):.2f} ({ratios.min():.2f}-{ratios.max():.2f})"


if __name__ == "__main__":
    main()
