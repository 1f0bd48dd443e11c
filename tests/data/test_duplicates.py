from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule

from mftscreen.data.duplicates import same_structures


def rattled(atoms: Atoms, seed: int = 0, size: float = 0.1) -> Atoms:
    atoms = atoms.copy()
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(scale=size, size=atoms.positions.shape)
    return atoms


CRYSTAL = rattled(bulk("MgO", "rocksalt", a=4.2, cubic=True))
MOLECULE = rattled(molecule("CH3CH2OH"))


def shuffled(atoms: Atoms) -> Atoms:
    return atoms[np.random.default_rng(3).permutation(len(atoms))]


def turned(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    return atoms


def moved(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += (0.4, 1.7, -2.9)
    if atoms.pbc.any():
        atoms.wrap()
    return atoms


def rounded(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.positions = atoms.positions.round(4)
    atoms.set_cell(atoms.cell.round(4))
    return atoms


@pytest.mark.parametrize("change", [shuffled, turned, moved, rounded])
@pytest.mark.parametrize("atoms", [CRYSTAL, MOLECULE], ids=["crystal", "molecule"])
def test_same_however_it_is_written(atoms: Atoms, change) -> None:
    assert same_structures([atoms, change(atoms)]).tolist() == [0, 0]


@pytest.mark.parametrize("size", [2, 3])
def test_supercells_are_the_same(size: int) -> None:
    sheared = make_supercell(CRYSTAL, [[1, 0, 0], [1, 1, 0], [0, -1, size]])
    assert same_structures([CRYSTAL, sheared]).tolist() == [0, 0]


def test_others_are_not() -> None:
    swapped = CRYSTAL.copy()
    swapped.symbols[[0, 1]] = swapped.symbols[[1, 0]]
    structures = [
        CRYSTAL,
        rattled(CRYSTAL, size=0.01),
        swapped,
        Atoms(CRYSTAL, pbc=False),
        MOLECULE,
        rattled(MOLECULE, size=0.01),
        molecule("CH3OCH3"),
        bulk("Si"),
        bulk("Si", a=5.44),
        bulk("Ge", "diamond", a=5.43),
        bulk("ZnS", "zincblende", a=5.41),
        bulk("ZnS", "wurtzite", a=5.41 / np.sqrt(2), c=5.41 * 2 / np.sqrt(3)),
    ]
    assert sorted(same_structures(structures)) == list(range(len(structures)))


def test_nothing() -> None:
    assert same_structures([]).shape == (0,)


def test_many_copies() -> None:
    structures = [Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])] * 600
    tracemalloc.start()
    groups = same_structures(structures)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert groups.tolist() == [0] * 600
    # the numbers of 180,000 pairs take 3 MB
    assert peak < 2e6
