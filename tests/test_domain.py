"""Kinds of structures, and what a head can know of them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, graphene, molecule, nanotube
from ase.build.supercells import make_supercell
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Molecule
from pymatgen.io.ase import AseAtomsAdaptor

from mftscreen.domain import VACUUM, HeadDomain, find_kind, total_charge, widest_gap

CRYSTALS = {
    "silicon": bulk("Si"),
    "rocksalt": bulk("NaCl", "rocksalt", a=5.64, cubic=True),
    "graphite": bulk("C", "hcp", a=2.46, c=6.7),
    "caesium": bulk("Cs", "bcc", a=6.14),
    "one layer a cell": graphene(vacuum=1.7),
}
CRYSTALS["one layer a cell"].pbc = True

_SHEET = graphene(vacuum=5.0)
_SHEET.pbc = True
_SLAB = fcc111("Cu", (2, 2, 3), vacuum=5.0, periodic=True)
_TUBE = nanotube(4, 4, vacuum=4.0)
_TUBE.pbc = True
_IN_A_BOX = molecule("C6H6", vacuum=5.0, pbc=True)
LOW = {
    "sheet": _SHEET,
    "slab": _SLAB,
    "slab, open": fcc111("Cu", (1, 1, 3), vacuum=2.0),
    "tube": _TUBE,
    "molecule in a box": _IN_A_BOX,
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_crystals(name: str) -> None:
    assert find_kind(CRYSTALS[name]) == "crystals"


@pytest.mark.parametrize("name", LOW)
def test_what_is_neither_crystal_nor_molecule(name: str) -> None:
    assert find_kind(LOW[name]) == "low-dimensional"


@given(
    name=st.sampled_from(["silicon", "rocksalt", "sheet", "slab", "molecule in a box"]),
    rows=st.lists(st.integers(-2, 2), min_size=6, max_size=6),
    shift=st.floats(0, 1),
    angle=st.floats(0, 360),
)
def test_the_kind_does_not_depend_on_the_description(
    name: str, rows: list[int], shift: float, angle: float
) -> None:
    atoms = {**CRYSTALS, **LOW}[name]
    a, b, c, d, e, f = rows
    # unimodular: another cell of the same lattice
    lower, upper = np.eye(3), np.eye(3)
    lower[1, 0], lower[2, 0], lower[2, 1] = a, b, c
    upper[0, 1], upper[0, 2], upper[1, 2] = d, e, f
    other = make_supercell(atoms, (lower @ upper).round().astype(int))
    other.set_scaled_positions((other.get_scaled_positions() + shift) % 1.0)
    other.rotate(angle, (1, 2, 3), rotate_cell=True)
    assert find_kind(other) == find_kind(atoms)


def test_a_slab_in_a_tilted_cell() -> None:
    slab = bulk("Cu", cubic=True).repeat((6, 6, 1))
    cell = slab.cell.array.copy()
    cell[2] = (8.0, 0.0, 11.0)  # shorter than what lies in the plane
    slab.set_cell(cell)
    assert widest_gap(slab) == pytest.approx(11.0 - 3.61 / 2)
    assert find_kind(slab) == "low-dimensional"


def test_gaps_are_between_planes_of_atoms() -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=4.0, periodic=True)
    assert widest_gap(slab) == pytest.approx(8.0)
    add_adsorbate(slab, "O", 1.0)
    assert widest_gap(slab) == pytest.approx(7.0)
    assert widest_gap(bulk("Cu", cubic=True)) <= VACUUM


def test_a_training_set_has_the_kinds_that_are_no_strays() -> None:
    many = [bulk("Si")] * 97
    assert HeadDomain.of([*many, _SHEET]).kinds == ("crystals",)
    mixed = HeadDomain.of([*many, *[molecule("H2O")] * 10])
    assert mixed.kinds == ("crystals", "molecules")
    assert mixed.n_atoms == (3, 3)
    assert HeadDomain.of([]).refusal(bulk("Si")) == ""


@pytest.mark.parametrize(
    ("trained", "asked", "reason"),
    [
        (bulk("Si"), molecule("H2O"), "it is for crystals, and this is not periodic"),
        (bulk("Si"), _SHEET, "10.0 Å of it are without atoms"),
        (bulk("Si"), LOW["slab, open"], "it is periodic in 2 of 3 directions"),
        (molecule("H2O"), bulk("Si"), "it is for molecules, and this is periodic"),
        (molecule("H2O"), _IN_A_BOX, "Set atoms.pbc = False if it is a molecule"),
    ],
)
def test_other_kinds_are_refused(trained: Atoms, asked: Atoms, reason: str) -> None:
    domain = HeadDomain.of([trained])
    assert domain.refusal(trained) == ""
    assert reason in domain.refusal(asked)


def test_what_is_beyond_the_molecules_of_the_training_set() -> None:
    domain = HeadDomain.of([molecule("H2O"), molecule("C2H6")])
    assert domain.doubts(molecule("CH4")) == ()
    (size,) = domain.doubts(molecule("C60"))
    assert size == "larger (60 atoms) than what it was trained on (3 to 8)"
    (size,) = domain.doubts(molecule("N2"))
    assert size.startswith("smaller (2 atoms)")
    (radical,) = domain.doubts(molecule("CH3"))
    assert radical == "an odd number of electrons, which it never saw"
    ion = molecule("CH3")
    ion.info["charge"] = 1
    assert domain.doubts(ion) == ("a charge of +1, which the model does not see",)
    seen = HeadDomain.of([molecule("H2O"), molecule("CH3"), ion, molecule("C2H6")])
    assert seen.doubts(molecule("CH3")) == seen.doubts(ion) == ()


def test_charges_are_found_where_they_are_written() -> None:
    ion = Molecule("OHH", np.eye(3), charge=1)
    assert total_charge(AseAtomsAdaptor.get_atoms(ion, msonable=False)) == 1
    for key in ("charge", "total_charge"):
        assert total_charge(Atoms("O", info={key: np.int64(-2)})) == -2
    assert total_charge(Atoms("NaCl", charges=[1.0, -1.0])) == 0
    assert total_charge(Atoms("Na", charges=[1.0])) == 1
    assert total_charge(Atoms("O", info={"charge": "?"})) == 0
    assert total_charge(Atoms("O", charges=[float("nan")])) == 0
