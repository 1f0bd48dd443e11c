"""Make frames of how a force field leads crystals astray, for its teacher to label.

Usage: python astray.py POOL FRAMES.extxyz [-m MODEL] [--without FILE ...]

POOL holds structures at a minimum of the energy, such as those of the Materials
Project, where a good force field leaves them. MODEL relaxes a random --draw of them,
and the --keep that lose most energy per atom are kept: the force field is wrong there.
Each gives frames on the straight line, of cell and atoms, from where it was to where it
went: before the start, at the start, between, and at the end. A frame has the hash of
its structure under ``parent``, so that all of one structure stay on one side of a
split.

Left out are structures with the reduced formula of a row of the three MatBench tasks,
as in ``prepare.py``, or of a structure of --without: those that tests are to relax.

Then ``pretrain/label_frames.py FRAMES.extxyz LABELLED.extxyz --no-copies`` labels them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from ase import Atoms
from ase.io import write
from prepare import composition, forbidden_compositions
from tqdm import tqdm

from mftscreen import Predictor, load_model
from mftscreen.data.readers import iter_extxyz
from mftscreen.errors import StructureError
from mftscreen.finetune.task.self_replay import PARENT
from mftscreen.model.loaded_model import Model
from mftscreen.screen.relax.batched import Relaxer, RelaxSettings
from mftscreen.structures import check_structure, structure_hash

PLACES = (-0.25, 0.0, 0.25, 0.5, 1.0)
"""Of frames, on the line from the start of a relaxation (0) to its end (1)."""


def draw(
    pool: Path, model: Model, forbidden: set[str], count: int, max_atoms: int, seed: int
) -> list[Atoms]:
    """Return random structures that are not forbidden, of elements the model knows."""
    usable = []
    for atoms in iter_extxyz(pool):
        if not isinstance(atoms, Atoms) or len(atoms) > max_atoms:
            continue
        try:
            check_structure(atoms, model.type_map)
        except StructureError:
            continue
        if composition(atoms) not in forbidden:
            usable.append(atoms)
    chosen = np.random.default_rng(seed).permutation(len(usable))[:count]
    return [usable[k] for k in chosen]


def relax(
    structures: list[Atoms], model: Model, steps: int
) -> Iterator[tuple[float, Atoms, Atoms]]:
    """Yield the energy released (eV/atom), the structure, and what it becomes."""
    before = Predictor(model, properties=[], energy=True)(structures)
    after = Relaxer(model, RelaxSettings(steps=steps))(structures)
    for atoms, row, result in zip(structures, before, after, strict=True):
        # failed relaxations give the start back, of which there is nothing to learn
        if result.ok and row.energy is not None and result.energy is not None:
            yield (row.energy - result.energy) / len(atoms), atoms, result.atoms


def frames_between(start: Atoms, end: Atoms) -> list[Atoms]:
    """Return frames on the line from one state of a crystal to another."""
    parent = structure_hash(start)
    frames = []
    for place in PLACES:
        frame = Atoms(
            start.numbers,
            (1 - place) * start.positions + place * end.positions,
            cell=(1 - place) * start.cell.array + place * end.cell.array,
            pbc=start.pbc,
            info={PARENT: parent, "place": place},
        )
        frames.append(frame)
    return frames


@click.command()
@click.argument("pool", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-m", "--model", "source", default="runs/crystals/model.mft")
@click.option(
    "--data", envvar="MFTSCREEN_DATA", required=True, show_envvar=True,
    type=click.Path(exists=True, path_type=Path), help="With the MatBench tasks.",
)  # fmt: skip
@click.option(
    "--without", multiple=True, type=click.Path(exists=True, path_type=Path),
    help="Extended XYZ with structures whose formulas are left out.",
)  # fmt: skip
@click.option("--draw", "count", default=1000, show_default=True)
@click.option("--keep", default=300, show_default=True)
@click.option("--max-atoms", default=24, show_default=True)
@click.option("--steps", default=150, show_default=True)
@click.option("--seed", default=7, show_default=True)
def main(
    pool: Path,
    output: Path,
    source: str,
    data: Path,
    without: tuple[Path, ...],
    count: int,
    keep: int,
    max_atoms: int,
    steps: int,
    seed: int,
) -> None:
    """Write frames of the relaxations that release most energy."""
    torch.set_num_threads(1)
    model = load_model(source)
    forbidden = forbidden_compositions(data)
    for path in without:
        forbidden |= {composition(a) for a in iter_extxyz(path) if isinstance(a, Atoms)}
    structures = draw(pool, model, forbidden, count, max_atoms, seed)
    relaxed = tqdm(relax(structures, model, steps), total=len(structures))
    worst = sorted(relaxed, key=lambda found: -found[0])[:keep]
    frames = [f for _, start, end in worst for f in frames_between(start, end)]
    write(output, frames, format="extxyz")
    click.echo(f"{len(frames)} frames of {len(worst)} of {len(structures)} structures")
    for gain, start, _ in (*worst[:1], *worst[-1:]):
        click.echo(f"  {gain:.3f} eV/atom: {start.get_chemical_formula()}")


if __name__ == "__main__":
    main()
