"""Random structures of the pool that several benchmarks draw from."""

from __future__ import annotations

import math
from pathlib import Path

import click
import numpy as np
from ase import Atoms

from mftscreen.data.readers import iter_extxyz
from mftscreen.errors import StructureError
from mftscreen.model.loaded_model import Model
from mftscreen.structures import check_structure

FILE = Path("pools/mp_gap_pool20k.extxyz.gz")
"""Structures of MatBench mp_gap, in the data folder."""


def draw(
    path: Path, model: Model, count: int, seed: int, max_atoms: float = math.inf
) -> list[Atoms]:
    """Return random structures of elements that the model knows."""
    usable = []
    for atoms in iter_extxyz(path):
        if isinstance(atoms, Atoms) and len(atoms) <= max_atoms:
            try:
                check_structure(atoms, model.type_map)
            except StructureError:
                continue
            usable.append(atoms)
    if not 1 <= count <= len(usable):
        raise click.ClickException(
            f"{count} structures (-n) cannot be drawn: {path} has {len(usable)} that "
            "can be used"
        )
    chosen = np.random.default_rng(seed).choice(len(usable), count, replace=False)
    return [usable[k] for k in chosen]
