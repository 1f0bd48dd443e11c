from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

from mftscreen.domain import total_charge
from mftscreen.errors import (
    InvalidGeometryError,
    StructureError,
    UnknownElementError,
)
from mftscreen.structures import (
    check_distances,
    check_sites,
    check_structure,
    find_neighbors,
    find_separate_neighbors,
    reduced_formula,
    shown_formula,
    structure_hash,
    to_atoms,
    without_calculator,
)

ELEMENTS = ("H", "O", "Mg", "Si")


def hydrogen(positions: Any = ((0.0, 0.0, 0.0),), **kwargs: Any) -> Atoms:
    return Atoms(f"H{len(positions)}", positions=positions, **kwargs)


def silicon_slab() -> Atoms:
    slab = bulk("Si", cubic=True)
    slab.cell[2] = 0.0
    slab.pbc = (True, True, False)
    return slab


USABLE = {
    "crystal": bulk("Si"),
    "molecule": molecule("H2O"),
    "single atom": Atoms("O"),
    "slab with a zero third vector": silicon_slab(),
    "slab with a third vector in its plane": hydrogen(
        cell=[[3, 0, 0], [0, 3, 0], [3, 0, 0]], pbc=(True, True, False)
    ),
    "chain": hydrogen(cell=[0, 0, 2.0], pbc=(False, False, True)),
    "left-handed cell": hydrogen(cell=np.eye(3)[::-1] * 3.0, pbc=True),
    "atoms outside the cell": hydrogen([(7.0, -9.0, 0.0)], cell=[3, 3, 3], pbc=True),
    "atoms just far enough apart": hydrogen([(0, 0, 0), (0, 0, 0.31)]),
}


@pytest.mark.parametrize("name", USABLE)
def test_usable_structure_passes_and_is_not_changed(name: str) -> None:
    before = USABLE[name].copy()
    check_structure(USABLE[name], ELEMENTS)
    assert USABLE[name] == before


BAD_GEOMETRY = {
    "no atoms": (Atoms(), "no atoms"),
    "NaN position": (
        hydrogen([(0, 0, 0), (0, np.nan, 1)]),
        r"position of atom 1 \(H\) is not finite: \[0.0, nan, 1.0\]",
    ),
    "infinite position": (hydrogen([(np.inf, 0, 0)]), "atom 0 .* not finite"),
    "NaN cell": (hydrogen(cell=[3, 3, np.nan], pbc=True), "cell is not finite"),
    "NaN cell without pbc": (hydrogen(cell=[np.nan, 3, 3]), "cell is not finite"),
    "no cell": (hydrogen(pbc=True), r"pbc is \[True, True, True\] but the cell is"),
    "missing vector": (
        hydrogen(cell=[3, 0, 3], pbc=(True, True, False)),
        r"pbc is \[True, True, False\] but the cell is \[\[3.0",
    ),
    "vectors in one plane": (
        hydrogen(cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True),
        "no volume",
    ),
    "nearly flat": (
        hydrogen(cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0.4]], pbc=True),
        "no volume",
    ),
    "flat slab": (
        hydrogen(cell=[[3, 0, 0], [3, 0.1, 0], [0, 0, 9]], pbc=(True, True, False)),
        "no volume",
    ),
    "overlap": (
        hydrogen([(0, 0, 0), (0, 0, 5), (0, 0, 0.25)]),
        r"atoms 0 \(H\) and 2 \(H\) are 0.250 Å apart; at least 0.3 Å",
    ),
    "same place": (hydrogen([(1, 1, 1), (1, 1, 1)]), "0.000 Å apart"),
    "overlap across the boundary": (
        hydrogen([(0.1, 2, 2), (3.9, 2, 2)], cell=[4, 4, 4], pbc=True),
        r"atoms 0 \(H\) and 1 \(H\) are 0.200 Å apart",
    ),
}


@pytest.mark.parametrize("name", BAD_GEOMETRY)
def test_bad_geometry_is_refused(name: str) -> None:
    atoms, message = BAD_GEOMETRY[name]
    with pytest.raises(InvalidGeometryError, match=message) as caught:
        check_structure(atoms, ELEMENTS)
    assert caught.value.status == "invalid_geometry"


@pytest.mark.parametrize("name", BAD_GEOMETRY)
def test_neighbours_that_are_there_already_are_enough(name: str) -> None:
    atoms, message = BAD_GEOMETRY[name]

    def check() -> None:
        check_sites(atoms, ELEMENTS)
        find_separate_neighbors(atoms, 5.0)

    with pytest.raises(InvalidGeometryError, match=message):
        check()


def test_no_overlap_across_a_boundary_that_is_not_periodic() -> None:
    atoms = hydrogen([(0.1, 2, 2), (3.9, 2, 2)], cell=[4, 4, 4])
    check_structure(atoms, ELEMENTS)


def test_closest_pair_is_named() -> None:
    atoms = hydrogen([(0, 0, 0), (0, 0, 0.25), (9, 0, 0), (9, 0, 0.1)])
    with pytest.raises(InvalidGeometryError, match=r"atoms 2 .* and 3 .* 0.100 Å"):
        check_structure(atoms, ELEMENTS)


def test_unknown_elements_are_named() -> None:
    with pytest.raises(UnknownElementError) as caught:
        check_structure(Atoms("CuHAu", positions=np.eye(3) * 3), ELEMENTS)
    assert str(caught.value) == "holds Au, Cu, which the model does not know"
    assert caught.value.status == "unknown_element"


@pytest.mark.parametrize("number", [0, 119, 200])
def test_number_of_no_element_is_unknown(number: int) -> None:
    with pytest.raises(UnknownElementError):
        check_structure(Atoms(numbers=[number]), ELEMENTS)


def test_to_atoms_returns_atoms_as_they_are() -> None:
    atoms = bulk("Si")
    assert to_atoms(atoms) is atoms


def test_to_atoms_converts_pymatgen_structures_and_molecules() -> None:
    from pymatgen.core import Lattice, Molecule, Structure

    coordinates = [[0, 0, 0], [0.5, 0.5, 0.4]]
    crystal = to_atoms(Structure(Lattice.cubic(3.0), ["Mg", "O"], coordinates))
    assert list(crystal.symbols) == ["Mg", "O"]
    assert crystal.pbc.all()
    np.testing.assert_allclose(crystal.cell, np.eye(3) * 3.0)
    np.testing.assert_allclose(crystal.positions[1], [1.5, 1.5, 1.2])
    oxygen = to_atoms(Molecule(["O", "O"], [[0, 0, 0], [0, 0, 1.2]]))
    assert not oxygen.pbc.any()
    assert oxygen.get_distance(0, 1) == pytest.approx(1.2)


@pytest.mark.parametrize("species", [{"Si": 0.5, "Ge": 0.5}, {"Si": 0.9}])
def test_to_atoms_refuses_disorder(species: dict[str, float]) -> None:
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice.cubic(4.0), [species], [[0, 0, 0]])
    with pytest.raises(StructureError, match="disordered or partially occupied"):
        to_atoms(structure)


@pytest.mark.parametrize("nonsense", ["POSCAR", None, 3, [Atoms("H")]])
def test_to_atoms_refuses_other_types(nonsense: object) -> None:
    with pytest.raises(StructureError, match=type(nonsense).__name__):
        to_atoms(nonsense)


def test_to_atoms_refuses_pymatgen_objects_that_are_no_structures() -> None:
    from pymatgen.core import Lattice

    with pytest.raises(StructureError, match="Lattice"):
        to_atoms(Lattice.cubic(4.0))


@pytest.fixture
def rattled() -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_hash_survives_extxyz(rattled: Atoms, tmp_path: Path) -> None:
    write(tmp_path / "atoms.extxyz", rattled)
    assert structure_hash(read(tmp_path / "atoms.extxyz")) == structure_hash(rattled)


def test_hash_ignores_what_no_model_sees(rattled: Atoms) -> None:
    labelled = rattled.copy()
    labelled.info["id"] = "mp-1"
    labelled.set_tags(3)
    labelled.positions += 1e-9
    assert structure_hash(labelled) == structure_hash(rattled)


@pytest.mark.parametrize("what", ["pbc", "cell", "positions", "numbers", "order"])
def test_hash_depends_on_what_a_model_sees(rattled: Atoms, what: str) -> None:
    other = rattled.copy()
    if what == "pbc":
        other.pbc = (True, True, False)
    elif what == "cell":
        other.cell[0, 1] += 1e-4
    elif what == "positions":
        other.positions[3, 2] += 1e-4
    elif what == "numbers":
        other.numbers[0] = 20
    else:
        other = other[::-1]
    assert structure_hash(other) != structure_hash(rattled)


def test_hash_of_minus_zero_is_that_of_zero() -> None:
    assert structure_hash(hydrogen([(-0.0, -1e-12, 0.0)])) == structure_hash(hydrogen())


@pytest.mark.parametrize("pbc", [False, True, (True, True, False)])
@pytest.mark.parametrize("far", [2e4, 1e6, 1e300])
def test_absurd_coordinates_are_refused(pbc: object, far: float) -> None:
    atoms = Atoms("H2", [[0, 0, 0], [1.2, 0.9, far]], cell=[5, 5, 5], pbc=pbc)
    with pytest.raises(InvalidGeometryError, match="coordinate"):
        check_structure(atoms, {"H"})


@pytest.mark.parametrize(
    ("formula", "expected"),
    [("O4Si2", "SiO2"), ("CSi", "SiC"), ("SrTiO3", "SrTiO3"), ("As2", "As")],
)
def test_formula_in_the_usual_order(formula: str, expected: str) -> None:
    assert reduced_formula(Atoms(formula)) == expected
    assert shown_formula(Atoms(formula, pbc=True)) == expected


def test_formula_of_a_molecule_is_not_reduced() -> None:
    assert shown_formula(Atoms("C2H4O2")) == "C2H4O2"
    assert shown_formula(Atoms("C2H4O2", pbc=(True, False, False))) == "H2CO"


def test_formula_of_nothing_and_of_unknown_elements() -> None:
    assert reduced_formula(None) == reduced_formula(Atoms()) == ""
    assert reduced_formula(Atoms(numbers=[130])) == reduced_formula(Atoms("X")) == ""
    assert shown_formula(None) == shown_formula(Atoms(numbers=[130])) == ""


@pytest.mark.parametrize("pbc", [True, [True, True, False]])
def test_cells_that_would_take_gigabytes_are_refused(pbc: object) -> None:
    dense = Atoms("H", cell=[0.55, 0.55, 0.55], pbc=True) * (1, 1, 6)
    dense.pbc = pbc
    with pytest.raises(InvalidGeometryError, match=r"too dense: atom .* within 2 Å"):
        check_structure(dense, {"H"})


def test_the_densest_crystals_are_not_refused() -> None:
    # diamond at a terapascal, and hydrogen as a metal at half of that
    check_structure(bulk("C", "diamond", a=2.6), {"C"})
    check_structure(bulk("H", "bcc", a=(2 / 0.83) ** (1 / 3)), {"H"})


@pytest.mark.parametrize("distance", [0.0, 0.1, 0.2999, 0.45])
def test_neighbors_of_a_model_tell_of_atoms_that_are_too_close(
    distance: float,
) -> None:
    atoms = bulk("Si", cubic=True) + Atoms("H", [[1.0, 2.0, 3.0]])
    atoms += Atoms("O", [[1.0, 2.0, 3.0 + distance]])
    check_sites(atoms, ELEMENTS)
    if distance > 0.3:
        found = find_separate_neighbors(atoms, 6.0)
        for ours, plain in zip(found, find_neighbors(atoms, 6.0), strict=True):
            np.testing.assert_array_equal(ours, plain)
        return
    messages = set()
    for check in (
        lambda: check_structure(atoms, ELEMENTS),
        lambda: check_distances(atoms),
        lambda: find_separate_neighbors(atoms, 6.0),
    ):
        with pytest.raises(InvalidGeometryError, match=r"H\) and 9 \(O\)") as caught:
            check()
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_copy_keeps_the_charge_that_pymatgen_s_adaptor_sets() -> None:
    from pymatgen.core import Molecule

    ion = to_atoms(Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.8]], charge=1))
    assert total_charge(ion) == total_charge(without_calculator(ion)) == 1
    said = bulk("Si")
    said.info["total_charge"] = 2
    assert total_charge(without_calculator(said)) == 2
    assert "charge" not in without_calculator(bulk("Si")).info
