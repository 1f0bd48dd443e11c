"""Rattle and strain structures, and label them with any ASE calculator.

Usage: python label_frames.py PARENTS FRAMES.extxyz --calculator MODULE:FACTORY

PARENTS is any file that mftscreen reads. Each parent gives itself and one frame per
strength. A frame keeps its parent's hash, or what
its parent has there, under ``parent``, so that all frames of one
parent can stay on one side of a split. Frames with a force above --max-force, or that
the calculator fails on, are dropped and counted. Finished blocks of parents are kept in
``FRAMES.parts`` and not computed again: a run that was killed goes on where it was.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from tqdm import tqdm

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.readers import iter_rows
from mftscreen.finetune.config.auxiliary import SelfReplayConfig
from mftscreen.finetune.task.self_replay import PARENT, perturb_structures

BLOCK = 20
"""Parents per file."""


def open_calculator(factory: str, arguments: tuple[str, ...]) -> Any:
    """Return the calculator that ``MODULE:FACTORY`` makes of ``KEY=VALUE`` texts."""
    module, _, name = factory.partition(":")
    options = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            msg = f"--argument {argument}: not KEY=VALUE"
            raise click.UsageError(msg)
        try:
            options[key] = json.loads(value)  # numbers, true, false
        except json.JSONDecodeError:
            options[key] = value
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"--calculator {factory}: {error}; it is MODULE:FACTORY"
        raise click.UsageError(msg) from error
    return make(**options)


def make_frames(
    parents: list[Atoms], rattles: tuple[float, ...], strain: float, seed: int
) -> list[Atoms]:
    """Return the parents and, for every strength, a rattled and strained copy.

    Parents that are frames of one structure already, and say so, stay together, and so
    do their copies.
    """
    frames = []
    families = {}
    rows = [LabelledStructure(str(k), atoms) for k, atoms in enumerate(parents)]
    for row in rows:
        atoms = row.atoms
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        given = atoms.info.get(PARENT)
        family = families.setdefault(row.hash, row.hash if given is None else given)
        frame.info[PARENT] = family
        frames.append(frame)
    for number, rattle in enumerate(rattles):
        settings = SelfReplayConfig(
            per_structure=1, rattle=rattle, strain=strain, seed=seed + number
        )
        for made in perturb_structures(rows, settings):
            made.atoms.info[PARENT] = families[made.atoms.info[PARENT]]
            frames.append(made.atoms)
    return frames


def label(
    frames: list[Atoms], calculator: Any, max_force: float, dropped: Counter[str]
) -> Iterator[Atoms]:
    """Yield the frames with energy, forces and, if periodic, stress."""
    for frame in frames:
        labelled, frame.calc = frame.copy(), calculator
        try:
            results = {"energy": frame.get_potential_energy()}
            results["forces"] = frame.get_forces()
            if frame.pbc.all():
                results["stress"] = frame.get_stress()
        except Exception as error:  # noqa: BLE001 - calculators raise whatever they like
            dropped[f"the calculator failed: {error}"] += 1
            continue
        # written so that NaN is dropped, too
        if not np.linalg.norm(results["forces"], axis=1).max() <= max_force:
            dropped[f"a force above {max_force:g} eV/Å"] += 1
            continue
        labelled.calc = SinglePointCalculator(labelled, **results)
        yield labelled


def read_parents(path: Path) -> list[Atoms]:
    """Return all structures of a file; raise what is wrong with the first bad one."""
    parents = []
    for row in iter_rows(path):
        if not isinstance(row.structure, Atoms):
            raise row.structure
        parents.append(row.structure)
    return parents


def check_settings(folder: Path, settings: str) -> None:
    """Raise if finished blocks were made with other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if path.exists() and path.read_text() != settings:
        msg = f"{folder} was made with {path.read_text()}; write to another file"
        raise click.UsageError(msg)
    path.write_text(settings)


@click.command()
@click.argument("parents", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--calculator", required=True, help="MODULE:FACTORY, e.g. ase.calculators.emt:EMT"
)
@click.option("--argument", "arguments", multiple=True, help="KEY=VALUE of FACTORY")
@click.option(
    "--rattle",
    "rattles",
    multiple=True,
    default=(0.05, 0.14, 0.28),
    show_default=True,
    help="Standard deviation in Å; one frame of each parent for each.",
)
@click.option(
    "--strain",
    default=0.03,
    show_default=True,
    help="Standard deviation; 0 for none.",
)
@click.option(
    "--no-copies", is_flag=True, help="Label PARENTS alone; nothing is made of them."
)
@click.option(
    "--max-force",
    default=30.0,
    show_default=True,
    help="Drop frames with larger forces, in eV/Å.",
)
@click.option("--seed", default=0, show_default=True)
def main(
    parents: Path,
    output: Path,
    calculator: str,
    arguments: tuple[str, ...],
    rattles: tuple[float, ...],
    strain: float,
    no_copies: bool,
    max_force: float,
    seed: int,
) -> None:
    """Label frames made of PARENTS and write them to OUTPUT, an extended XYZ file."""
    teacher = open_calculator(calculator, arguments)
    folder = output.with_suffix(".parts")
    if no_copies:
        rattles = ()
    settings = [calculator, *arguments, *rattles, strain, max_force, seed]
    check_settings(folder, json.dumps(settings))
    structures = read_parents(parents)
    dropped: Counter[str] = Counter()
    parts = []
    for start in tqdm(range(0, len(structures), BLOCK), unit="block"):
        part = folder / f"{start:08d}.extxyz"
        parts.append(part)
        if part.exists():
            continue
        block = structures[start : start + BLOCK]
        frames = make_frames(block, rattles, strain, seed + start * len(rattles))
        labelled = list(label(frames, teacher, max_force, dropped))
        partial = part.with_suffix(".partial")
        partial.touch()
        if labelled:
            write(partial, labelled, format="extxyz")
        partial.replace(part)
    with output.open("wb") as stream:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, stream)
    for reason, count in dropped.items():
        click.echo(f"{count} frames dropped: {reason}", err=True)


if __name__ == "__main__":
    main()
