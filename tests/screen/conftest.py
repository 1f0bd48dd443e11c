"""A small database, and what a ranking of it gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mftscreen import ScreenResult, rank


@pytest.fixture(scope="session")
def crystals() -> list[Atoms]:
    """Oxides, two with elements of no reference structure, one of no model, a copy."""
    return [
        *(bulk("MgO", "rocksalt", a=4.1 + 0.05 * k) for k in range(4)),
        bulk("GaAs", "zincblende", a=5.65),
        Atoms("Pb"),
        bulk("MgO", "rocksalt", a=4.1),
        bulk("Si", cubic=True),
    ]


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory, crystals: list[Atoms]) -> Path:
    path = tmp_path_factory.mktemp("pool") / "pool.db"
    with connect(path, append=False) as database:
        for atoms in crystals:
            database.write(atoms)
    return path


@pytest.fixture(scope="session")
def ranked(pool: Path, tiny_model: Path) -> ScreenResult:
    return rank(pool, goals="gap:max", models=tiny_model)
