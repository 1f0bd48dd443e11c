"""Try designs of the pretrained descriptor in short trainings; plot errors and costs.

Usage: python search.py [--steps 500] [--seed 7] [--to search] [DESIGN ...]

Trains ``pretrain.yaml`` once for each design below, all with the same seed and steps,
on every third crystal, DFT frame, molecule and frame of mlearn, so that short runs
start and end soon; skips those that are there already. Writes ``search.csv`` and
``search.png`` with all runs in the folder, of whatever length: the force errors on
held-out rows of the three heads and on mlearn, and what energy, forces and stress of a
structure cost (CPU seconds, one thread, median of three rounds that take the designs in
turns), relative to the first. Another seed, which needs another folder, holds
other rows out, too, and says how much of a difference between designs is chance.

Ranks after few steps are not those after many: deep and wide descriptors learn late. Go
on with the best of a length, and with those that may come from behind, to a longer one.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Hashable, Mapping
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
import yaml
from ase import Atoms
from ase.io import write
from matplotlib.figure import Figure

from mftscreen import Predictor
from mftscreen.data.readers import iter_extxyz
from mftscreen.model.files.bundle import read_bundle

BASE = Path("pretrain.yaml")
DESIGNS: dict[str, dict[str, dict[str, Any]]] = {
    "shipped": {},
    "4 layers": {"descriptor": {"n_layers": 4}},
    "6 layers": {"descriptor": {"n_layers": 6}},
    "width 48": {"descriptor": {"n_dim": 48, "e_dim": 24, "a_dim": 12}},
    "width 64": {"descriptor": {"n_dim": 64, "e_dim": 32, "a_dim": 16}},
    "width 128": {"descriptor": {"n_dim": 128, "e_dim": 64, "a_dim": 32}},
    "edges 4.5": {"descriptor": {"edge_cutoff": 4.5, "edge_scale": 8.0}},
    "edges 6": {"descriptor": {"edge_cutoff": 6.0, "edge_scale": 19.0}},
    "angles 3": {"descriptor": {"angle_cutoff": 3.0, "angle_scale": 2.3}},
    "angles 4": {"descriptor": {"angle_cutoff": 4.0, "angle_scale": 5.4}},
    "batch 48": {"training": {"batch_size": 48}},
    "batch 192": {"training": {"batch_size": 192}},
    "rate 5e-3": {"training": {"learning_rate": [5e-3, 5e-5]}},
    "rate 2e-2": {"training": {"learning_rate": [2e-2, 2e-4]}},
}
"""Changes to ``pretrain.yaml``. Sums over neighbours are divided by numbers that grow
with the volume within the cutoff."""
SHARE = 3
"""Of so many parents, one is trained on."""
N_TIMED, ROUNDS = 200, 3


def thin(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the branches, with files that have every third parent of theirs only."""
    branches = yaml.safe_load(BASE.read_text())["branches"]
    for branch in branches.values():
        # as many held-out frames as in the whole
        branch["validation_fraction"] = 0.02 * SHARE
        group = branch.get("group")
        branch["data"] = [thinned(Path(p), group, folder) for p in branch["data"]]
        tests = branch.get("test", {})
        branch["test"] = {k: thinned(Path(p), None, folder) for k, p in tests.items()}
    return branches


def thinned(source: Path, group: str | None, folder: Path) -> str:
    """Return the path of a file with the frames of every third parent of another."""
    path = folder.resolve() / source.name
    if not path.exists():
        frames = (a for a in iter_extxyz(BASE.parent / source) if isinstance(a, Atoms))
        numbers: dict[Hashable, int] = {}
        kept = []
        for k, atoms in enumerate(frames):
            parent = atoms.info[group] if group else k
            if numbers.setdefault(parent, len(numbers)) % SHARE == 0:
                kept.append(atoms)
        partial = path.with_suffix(".partial")
        write(partial, kept, format="extxyz")
        partial.replace(path)
    return str(path)


def train(name: str, steps: int, seed: int, folder: Path, threads: int) -> None:
    """Train a design, if that has not been done."""
    run = folder / f"{name.replace(' ', '_')}_{steps}"
    if (run / "model.mft").exists():
        training = read_bundle(run / "model.mft").card.provenance["config"]["training"]
        if training["seed"] != seed:
            msg = f"{run} has seed {training['seed']}; choose another folder with --to"
            raise click.ClickException(msg)
        return
    document = yaml.safe_load(BASE.read_text())
    document["branches"] = thin(folder)
    for block, changes in DESIGNS[name].items():
        document[block] |= changes
    document["training"] |= {"steps": steps, "save_every": steps, "seed": seed}
    config = BASE.with_name(f".{run.name}.yaml")  # paths start where it is
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    command = [sys.executable, "-m", "mftscreen", "finetune", str(config)]
    command += ["-o", str(run), "--threads", str(threads)]
    if run.exists():
        command.append("--resume")
    try:
        subprocess.run(command, check=True)
    finally:
        config.unlink()


def find_runs(folder: Path) -> dict[tuple[str, int], Path]:
    """Return the models in a folder by design and steps."""
    runs = {}
    for name in DESIGNS:
        prefix = name.replace(" ", "_")
        for path in folder.glob(f"{prefix}_*/model.mft"):
            length = path.parent.name.removeprefix(f"{prefix}_")
            if length.isdecimal():
                runs[name, int(length)] = path
    return dict(sorted(runs.items(), key=lambda run: run[0][1]))


def force_errors(path: Path) -> dict[str, float]:
    """Return the MAE of force components (eV/Å) by head and on mlearn."""
    found = {}
    for head, card in read_bundle(path).card.force_field.items():
        for part, metrics in card.items():
            if isinstance(metrics, dict):
                name = head if part == "validation" else part
                found[name] = metrics["force_mae"]
    return found


def costs(models: Mapping[str, Path]) -> dict[str, float]:
    """Return the CPU seconds of energy, forces and stress of a structure."""
    torch.set_num_threads(1)
    crystals = (a for a in iter_extxyz(Path("data/crystals.extxyz")))
    structures = list(islice((a for a in crystals if isinstance(a, Atoms)), N_TIMED))
    predictors = {
        name: Predictor(path, properties=[], forces=True)
        for name, path in models.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, predictor in predictors.items():
            start = time.process_time()
            for _ in predictor(structures):
                pass
            seconds[name].append((time.process_time() - start) / N_TIMED)
    return {name: median(times) for name, times in seconds.items()}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot the errors of every data set against the cost."""
    shown = [key for key in rows[0] if key not in ("design", "steps", "cost")]
    figure = Figure(figsize=(4 * len(shown), 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for steps in sorted({row["steps"] for row in rows}):
            some = [row for row in rows if row["steps"] == steps]
            places = [row["cost"] for row in some], [row[key] for row in some]
            axes.scatter(*places, label=f"{steps} steps")
            for row in some:
                axes.annotate(row["design"], (row["cost"], row[key]), fontsize=7)
        axes.set(title=key, xlabel="relative cost of E+F+S", ylabel="force MAE / eV/Å")
        axes.set(xscale="log")
    axes.legend()
    figure.savefig(path, dpi=150)


@click.command()
@click.argument("designs", nargs=-1, type=click.Choice(list(DESIGNS)))
@click.option("--steps", default=500, show_default=True)
@click.option("--seed", default=7, show_default=True)
@click.option("--to", "folder", type=click.Path(path_type=Path), default="search")
@click.option("--threads", default=1, show_default=True)
def main(
    designs: tuple[str, ...], steps: int, seed: int, folder: Path, threads: int
) -> None:
    """Train each design that is missing, and compare all that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in designs or DESIGNS:
        train(name, steps, seed, folder, threads)
    runs = find_runs(folder)
    cost = costs({name: path for (name, _), path in runs.items()})
    first = next(iter(cost.values()))
    rows = [
        {
            "design": name,
            "steps": length,
            "cost": round(cost[name] / first, 2),
            **{key: round(value, 3) for key, value in force_errors(path).items()},
        }
        for (name, length), path in runs.items()
    ]
    with (folder / "search.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(rows)
    draw(rows, folder / "search.png")
    click.echo((folder / "search.csv").read_text(), nl=False)


if __name__ == "__main__":
    main()
