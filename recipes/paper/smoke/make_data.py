"""Make the crystals of the smoke study: a property that anyone can compute.

Usage: python make_data.py

Writes ``data.extxyz``: rock salts, zinc blendes and caesium chlorides of several
lengths, labelled with the number of atoms per volume.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

CUBIC_NM = 1000.0  # Å^3
KINDS = [
    ("MgO", "rocksalt", 4.2), ("NaCl", "rocksalt", 5.6), ("CaO", "rocksalt", 4.8),
    ("GaAs", "zincblende", 5.7), ("ZnS", "zincblende", 5.4),
    ("CsCl", "cesiumchloride", 4.1),
]  # fmt: skip


def crystal(formula: str, prototype: str, length: float) -> Atoms:
    """Return a crystal with its label."""
    atoms = bulk(formula, prototype, a=length)
    density = len(atoms) / atoms.get_volume() * CUBIC_NM
    atoms.info = {"id": f"{formula}-{length:.3f}", "number_density": density}
    return atoms


def main() -> None:
    """Write the structures."""
    draw = np.random.default_rng(0)
    crystals = [
        crystal(formula, prototype, length * draw.uniform(0.93, 1.07))
        for formula, prototype, length in KINDS
        for _ in range(8)
    ]
    write(Path("data.extxyz"), crystals, format="extxyz")


if __name__ == "__main__":
    main()
