"""Lattice constants of cubic crystals, relaxed with a model's force field.

Usage: python benchmarks/lattice_constants.py [-m MODEL]

Experimental values at room temperature, in Å, from the CRC Handbook of Chemistry and
Physics.
"""

from __future__ import annotations

import click
import numpy as np
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from mftscreen import MFTCalculator

CRYSTALS = [
    ("MgO", "rocksalt", 4.21), ("NaCl", "rocksalt", 5.64), ("LiF", "rocksalt", 4.03),
    ("CaO", "rocksalt", 4.81), ("KCl", "rocksalt", 6.29), ("GaAs", "zincblende", 5.65),
    ("ZnS", "zincblende", 5.41), ("InP", "zincblende", 5.87),
    ("SiC", "zincblende", 4.36), ("Si", "diamond", 5.43), ("Cu", "fcc", 3.61),
    ("CaF2", "fluorite", 5.46),
]  # fmt: skip


@click.command()
@click.option("-m", "--model", default="mft-mini", show_default=True)
def main(model: str) -> None:
    """Print the deviation of each crystal and their mean."""
    calculator = MFTCalculator(model)
    deviations = []
    for formula, structure, experiment in CRYSTALS:
        atoms = bulk(formula, structure, a=experiment)
        atoms.calc = calculator
        FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=300)
        relaxed = (4 * atoms.get_volume()) ** (1 / 3)
        deviations.append(100 * (relaxed / experiment - 1))
        click.echo(
            f"{formula:5s} {experiment:5.2f} {relaxed:5.2f} {deviations[-1]:+.1f} %"
        )
    click.echo(f"mean absolute deviation {np.abs(deviations).mean():.1f} %")


if __name__ == "__main__":
    main()
