"""How many structures of a database relax soundly in a model's force field.

Usage: python benchmarks/pool_relaxation.py --data FOLDER [-m MODEL] [-n 100]

Structures of mp_gap (DFT-relaxed, Materials Project by way of MatBench;
``pools/mp_gap_pool20k.extxyz.gz`` of the data folder) are drawn at random from those of
up to 40 atoms whose elements the model knows, and relaxed in batches with the defaults
of :class:`mftscreen.screen.relax.batched.RelaxSettings`: FIRE, positions and cell, 500
steps, 0.05 eV/Å. One has exploded if it was stopped for that on its way, or if

* the volume changes by more than 30 %;
* the shortest distance of two elements falls below 0.75 of what it was at the start;
* the energy rises, or falls by more than 1 eV/atom.

Prints how many converge without that, quantiles of these numbers, and what went wrong
in each of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from ase import Atoms
from ase.io import write
from pools import FILE, draw
from tqdm import tqdm

from mftscreen import Predictor, load_model
from mftscreen.model.loaded_model import Model
from mftscreen.screen.relax.batched import Relaxer, RelaxResult, RelaxSettings
from mftscreen.structures import find_neighbors

MAX_ATOMS = 40
MAX_VOLUME_CHANGE = 0.3
MIN_APPROACH = 0.75
CUTOFF = 5.0
"""Å; pairs of elements that are farther apart count as this far."""
MIN_GAIN, MAX_GAIN = -0.001, 1.0
"""Energy that relaxation releases, in eV/atom."""


def shortest_distances(atoms: Atoms) -> dict[str, float]:
    """Return the shortest distance (Å) of each pair of elements, up to a cutoff."""
    centers, others, _, distances = find_neighbors(atoms, CUTOFF)
    symbols = atoms.get_chemical_symbols()
    shortest: dict[str, float] = {}
    for i, j, distance in zip(centers, others, distances, strict=True):
        pair = "-".join(sorted((symbols[i], symbols[j])))
        shortest[pair] = min(float(distance), shortest.get(pair, CUTOFF))
    return shortest


def closest_approach(before: Atoms, after: Atoms) -> tuple[float, str]:
    """Return to what fraction of its distance a pair of elements comes, and which.

    Covalent radii would not do for a scale: two cations, or two oxygens, that approach
    far too much for a crystal may still be farther apart than in a bond.
    """
    start = shortest_distances(before)
    fractions = [
        (distance / start.get(pair, CUTOFF), pair)
        for pair, distance in shortest_distances(after).items()
    ]
    return min(fractions, default=(1.0, ""))


@dataclass(frozen=True)
class Outcome:
    """One relaxation beside its start.

    Attributes
    ----------
    name : str
    result : RelaxResult
    approach : float
    pair : str
        See :func:`closest_approach`.
    gain : float
        Energy that relaxation has released, in eV/atom; NaN if one of both is missing.
    """

    name: str
    result: RelaxResult
    approach: float
    pair: str
    gain: float

    @property
    def explosion(self) -> str:
        """What has gone beyond all bounds; empty if nothing has."""
        if not self.result.ok:
            return self.result.reason
        change = self.result.volume_change
        if not np.isfinite([change, self.approach, self.gain]).all():
            return "there is no finite number to compare with the start"
        if abs(change) > MAX_VOLUME_CHANGE:
            return f"the volume changes by {100 * change:+.0f} %"
        if self.approach < MIN_APPROACH:
            return f"{self.pair} comes to {self.approach:.2f} of its shortest distance"
        if self.gain < MIN_GAIN:
            return f"the energy rises by {-self.gain:.3f} eV/atom"
        if self.gain > MAX_GAIN:
            return f"the energy falls by {self.gain:.3f} eV/atom"
        return ""


def relax(
    structures: list[Atoms], model: Model, settings: RelaxSettings
) -> list[Outcome]:
    """Relax all in batches."""
    before = Predictor(model, properties=[], energy=True)(structures)
    results = tqdm(Relaxer(model, settings)(structures), total=len(structures))
    outcomes = []
    for atoms, row, result in zip(structures, before, results, strict=True):
        gain = np.nan
        if row.energy is not None and result.energy is not None:
            gain = (row.energy - result.energy) / len(atoms)
        approach, pair = closest_approach(atoms, result.atoms)
        outcomes.append(
            Outcome(
                name=f"{atoms.info['mb_id']} {atoms.symbols.formula.format('reduce')}",
                result=result,
                approach=approach,
                pair=pair,
                gain=gain,
            )
        )
    return outcomes


def report(outcomes: list[Outcome]) -> None:
    """Print counts, quantiles, and what is not sound."""
    exploded = [o for o in outcomes if o.explosion]
    converged = [o for o in outcomes if o.result.converged]
    sound = [o for o in converged if not o.explosion]
    click.echo(
        f"{len(sound)} of {len(outcomes)} converge without explosion: "
        f"{len(converged)} converge, {len(exploded)} explode"
    )
    whole = [o for o in outcomes if o.result.ok]
    quantities: dict[str, list[float]] = {
        "steps": [o.result.steps for o in whole],
        "volume change, %": [100 * o.result.volume_change for o in whole],
        "closest approach, relative to the start": [o.approach for o in whole],
        "energy released, eV/atom": [o.gain for o in whole],
    }
    for what, values in quantities.items():
        finite = [value for value in values if np.isfinite(value)]
        if not finite:
            continue
        low, lower, median, upper, high = np.quantile(finite, [0, 0.05, 0.5, 0.95, 1])
        click.echo(
            f"  {what:40s} median {median:.3g}, 90 % in {lower:.3g} to {upper:.3g}, "
            f"all in {low:.3g} to {high:.3g}"
        )
    for outcome in outcomes:
        troubles = dict.fromkeys((outcome.explosion, outcome.result.reason))
        if any(troubles):
            click.echo(f"  {outcome.name}: {'; '.join(filter(None, troubles))}")


@click.command()
@click.option(
    "--data", envvar="MFTSCREEN_DATA", required=True, show_envvar=True,
    type=click.Path(exists=True, path_type=Path),
)  # fmt: skip
@click.option("-m", "--model", "source", default="mft-mini", show_default=True)
@click.option("-n", "count", default=100, show_default=True)
@click.option("--steps", default=500, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="Write the final structures here, too (extended XYZ).",
)  # fmt: skip
def main(
    data: Path,
    source: str,
    count: int,
    steps: int,
    seed: int,
    threads: int,
    output: Path | None,
) -> None:
    """Print how many relaxations are sound."""
    torch.set_num_threads(threads)
    model = load_model(source)
    structures = draw(data / FILE, model, count, seed, MAX_ATOMS)
    sizes = [len(atoms) for atoms in structures]
    click.echo(f"{count} structures of {min(sizes)}-{max(sizes)} atoms, seed {seed}")
    outcomes = relax(structures, model, RelaxSettings(steps=steps))
    report(outcomes)
    if output is not None:
        write(output, [o.result.atoms for o in outcomes], format="extxyz")


if __name__ == "__main__":
    main()
