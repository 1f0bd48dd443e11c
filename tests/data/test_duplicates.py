from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule, niggli_reduce
from ase.spacegroup import crystal

from mftscreen.data.duplicates import possible_repeats, same_structures


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


CRYSTALS = [
    *(bulk(s) for s in ("Cu", "Fe", "Mg", "Si", "Ti", "W", "C", "Zn")),
    *(bulk("MgO", "rocksalt", a=a) for a in (4.2, 4.242)),
    *(bulk("CsCl", kind, a=4.12) for kind in ("cesiumchloride", "rocksalt")),
    *(bulk("ZnS", "zincblende", a=5.41), bulk("GaAs", "zincblende", a=5.65)),
    bulk("ZnS", "wurtzite", a=3.82, c=6.26, u=0.375),
    bulk("CaF2", "fluorite", a=5.46),
    crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136,
        cellpar=[4.6, 4.6, 2.96, 90, 90, 90],
    ),
    crystal(
        ["Ti", "O"], [(0, 0, 0), (0, 0, 0.208)], spacegroup=141,
        cellpar=[3.78, 3.78, 9.51, 90, 90, 90],
    ),
    crystal(
        ["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221,
        cellpar=[3.9, 3.9, 3.9, 90, 90, 90],
    ),
    crystal(
        ["Si", "O"], [(0.47, 0, 1 / 3), (0.4135, 0.2669, 0.7858)], spacegroup=152,
        cellpar=[4.91, 4.91, 5.40, 90, 90, 120],
    ),
    crystal(
        ["Ca", "C", "O"], [(0, 0, 0), (0, 0, 0.25), (0.257, 0, 0.25)], spacegroup=167,
        cellpar=[4.99, 4.99, 17.06, 90, 90, 120],
    ),
    CRYSTAL,
]  # fmt: skip
"""22, among them polymorphs and lattice constants 1 % apart."""


def unwrapped(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    shifts = np.random.default_rng(5).integers(-3, 4, size=(len(atoms), 3))
    atoms.positions += shifts @ atoms.cell
    return atoms


def skewed(atoms: Atoms) -> Atoms:
    return make_supercell(atoms, [[1, 0, 0], [4, 1, 0], [-3, 5, 1]])


def supercell(atoms: Atoms) -> Atoms:
    return make_supercell(atoms, [[1, 1, 0], [-1, 1, 0], [0, 1, 2]])


def niggli(atoms: Atoms) -> Atoms:
    atoms = skewed(atoms)
    niggli_reduce(atoms)
    return atoms


def primitive(atoms: Atoms) -> Atoms:
    from pymatgen.io.ase import AseAtomsAdaptor

    structure = AseAtomsAdaptor.get_structure(supercell(atoms))
    return AseAtomsAdaptor.get_atoms(structure.get_primitive_structure())


def mirrored(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, -atoms.positions, cell=-atoms.cell, pbc=True)


def everything(atoms: Atoms) -> Atoms:
    return unwrapped(shuffled(turned(moved(skewed(supercell(atoms))))))


REWRITINGS: list[Callable[[Atoms], Atoms]] = [
    shuffled, turned, moved, unwrapped, skewed, supercell, niggli, primitive, mirrored,
    everything,
]  # fmt: skip


def test_rewritten_crystals_are_recognised_and_others_are_not() -> None:
    structures = [*CRYSTALS]
    structures += [change(atoms) for change in REWRITINGS for atoms in CRYSTALS]
    assert len(structures) == 22 + 220
    expected = np.tile(np.arange(22), 11)
    assert same_structures(structures).tolist() == expected.tolist()


@pytest.mark.parametrize("change", [turned, niggli, everything])
def test_small_differences_are_seen_in_any_cell(change) -> None:
    for atoms in CRYSTALS:
        strained, displaced = atoms.copy(), supercell(atoms)
        strained.set_cell(atoms.cell * 1.001, scale_atoms=True)
        displaced.positions[0, 0] += 0.1
        found = same_structures([atoms, change(strained), change(displaced)])
        assert found.tolist() == [0, 1, 2]


def test_a_slab_may_lie_in_any_plane() -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    lying = slab.copy()
    lying.set_cell(slab.cell[[2, 0, 1]])
    lying.pbc = slab.pbc[[2, 0, 1]]
    assert same_structures([slab, lying]).tolist() == [0, 0]


def test_only_those_of_one_composition_and_volume_may_be_repeated() -> None:
    same, larger = bulk("MgO", "rocksalt", a=4.2), bulk("MgO", "rocksalt", a=4.21)
    other = bulk("MgO", "zincblende", a=4.2)
    structures = iter([larger, same, CRYSTAL, bulk("Si"), other, same])
    assert possible_repeats(structures).tolist() == [
        False,
        True,
        True,
        False,
        True,
        True,
    ]


def test_numbers_are_in_the_order_of_first_structures() -> None:
    silicon, copper, zinc = bulk("Si"), bulk("Cu"), bulk("Zn")
    structures = [zinc, silicon, copper, silicon, zinc]
    assert same_structures(structures).tolist() == [0, 1, 2, 1, 0]


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
