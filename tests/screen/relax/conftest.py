"""Crystals to be relaxed."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk


def rattle(n: int) -> list[Atoms]:
    """Crystals of several sizes, strained and rattled, each in its own way."""
    rng = np.random.default_rng(3)
    kinds = itertools.cycle(
        [
            bulk("MgO", "rocksalt", a=4.0),
            bulk("Si"),
            bulk("Cu", cubic=True),
            bulk("GaAs", "zincblende", a=5.5) * (2, 1, 1),
        ]
    )
    structures = []
    for atoms in itertools.islice(kinds, n):
        moved = atoms.copy()
        strain = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
        moved.set_cell(np.asarray(moved.cell) @ strain, scale_atoms=True)
        moved.positions += 0.05 * rng.normal(size=moved.positions.shape)
        structures.append(moved)
    return structures


@pytest.fixture
def rattled() -> Callable[[int], list[Atoms]]:
    return rattle
