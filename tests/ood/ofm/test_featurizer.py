"""Orbital field matrices against matminer, and their invariances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, mx2
from ase.spacegroup import crystal

from mftscreen.errors import (
    InvalidGeometryError,
    PeriodicityError,
    StructureError,
    UnknownElementError,
)
from mftscreen.ood import orbital_field_matrix
from mftscreen.ood.ofm.orbitals import ORBITALS, element_table, pair_label, table_hash

DATA = Path(__file__).parent


def reference_crystals() -> dict[str, Atoms]:
    """Crystals whose matrices by matminer are in ofm_reference.npz."""
    perovskite = Atoms(
        "SrTiO3",
        scaled_positions=[
            [0, 0, 0],
            [0.5, 0.5, 0.5],
            [0.5, 0.5, 0],
            [0.5, 0, 0.5],
            [0, 0.5, 0.5],
        ],
        cell=[3.9, 3.9, 3.9],
        pbc=True,
    )
    return {
        "NaCl": bulk("NaCl", "rocksalt", a=5.64),
        "Si": bulk("Si"),
        "Cu": bulk("Cu"),
        "Ti": bulk("Ti"),
        "ZnS": bulk("ZnS", "wurtzite", a=3.82, c=6.26),
        "SrTiO3": perovskite,
        "triclinic": triclinic(),
        "Fe": bulk("Fe"),
        "CsCl": bulk("CsCl", "cesiumchloride", a=4.12),
        "UO2": bulk("UO2", "fluorite", a=5.47),
        "TiO2": crystal(
            ["Ti", "O"],
            [(0, 0, 0), (0.305, 0.305, 0)],
            spacegroup=136,
            cellpar=[4.59, 4.59, 2.96, 90, 90, 90],
        ),
        "Al2O3": crystal(
            ["Al", "O"],
            [(0, 0, 0.352), (0.306, 0, 0.25)],
            spacegroup=167,
            cellpar=[4.76, 4.76, 12.99, 90, 90, 120],
            primitive_cell=True,
        ),
        "LaNi5": crystal(
            ["La", "Ni", "Ni"],
            [(0, 0, 0), (1 / 3, 2 / 3, 0), (0.5, 0, 0.5)],
            spacegroup=191,
            cellpar=[5.02, 5.02, 3.99, 90, 90, 120],
        ),
        "layer": layer(),
    }


def layer() -> Atoms:
    atoms = mx2("MoS2", vacuum=10.0)
    atoms.pbc = True
    return atoms


def triclinic() -> Atoms:
    return Atoms(
        "FeUBi2",
        positions=[[0.1, 0.2, 0.3], [2.4, 0.7, 1.9], [1.0, 2.9, 0.8], [3.1, 2.6, 3.7]],
        cell=[[4.6, 0.3, -0.2], [0.8, 4.9, 0.5], [-0.6, 1.1, 5.3]],
        pbc=True,
    )


def rotation() -> np.ndarray:
    matrix, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.mark.parametrize("name", reference_crystals())
@pytest.mark.parametrize("table", ["current", "paper"])
def test_equals_matminer(name: str, table: str) -> None:
    with np.load(DATA / "ofm_reference.npz") as stored:
        expected = stored[f"{name}/{table}"]
    atoms = reference_crystals()[name]
    vector = orbital_field_matrix(atoms, table=table, mode="matminer")
    assert np.abs(vector - expected).max() < 1e-8
    exact = np.abs(orbital_field_matrix(atoms, table=table) - expected).max()
    # in a dense crystal there is nothing that matminer's approximations could change
    assert exact > 1e-3 if name == "layer" else exact < 1e-8


def test_simple_cubic_by_hand() -> None:
    # six faces of equal solid angle at distance a; polonium has s2, d10, f14 and p4
    vector = orbital_field_matrix(bulk("Po", "sc", a=3.0), table="paper")
    expected = 6 / (3.0 * 1.00001495 / 0.529177210544)
    assert vector.max() == pytest.approx(expected, rel=1e-10)
    assert {pair_label(k).split(" – ")[0] for k in vector.nonzero()[0]} == {
        *("s2", "p4", "d10", "f14")
    }


def test_rows_are_neighbours_and_columns_are_centres() -> None:
    sites = orbital_field_matrix(bulk("NaCl", "rocksalt", a=5.64), per_site=True)
    # valence of Na: s1; of Cl: s2 p5; the six nearest neighbours are of the other kind
    column = ORBITALS.index("p5") * 32 + ORBITALS.index("s1")
    assert pair_label(column) == "p5 – s1"
    assert sites[0, column] > 1.0
    assert sites[1, column] == 0.0


@pytest.mark.parametrize("table", ["current", "paper"])
@pytest.mark.parametrize("name", ["triclinic", "SrTiO3", "LaNi5", "layer"])
def test_invariances(name: str, table: str) -> None:
    atoms = reference_crystals()[name]
    expected = orbital_field_matrix(atoms, table=table)
    changed = {
        "supercell": make_supercell(atoms, [[2, 1, 0], [0, 1, 0], [1, 0, 3]]),
        "permutation": atoms[np.random.default_rng(5).permutation(len(atoms))],
    }
    turned = atoms.copy()
    turned.set_cell(atoms.cell @ rotation(), scale_atoms=True)
    changed["rotation"] = turned
    shifted = atoms.copy()
    shifted.positions += [7.3, -2.1, 40.0]
    changed["translation"] = shifted
    for change, other in changed.items():
        delta = np.abs(orbital_field_matrix(other, table=table) - expected).max()
        assert delta < 1e-10, change


@pytest.mark.parametrize("name", ["Cu", "NaCl", "SrTiO3"])
def test_degenerate_vertices_are_continuous(name: str) -> None:
    atoms = reference_crystals()[name].repeat(2)
    expected = orbital_field_matrix(atoms)
    atoms.positions += np.random.default_rng(0).normal(scale=1e-8, size=(len(atoms), 3))
    assert np.abs(orbital_field_matrix(atoms) - expected).max() < 1e-6


def test_mean_of_sites_and_input_untouched() -> None:
    atoms = triclinic()
    before = atoms.copy()
    sites = orbital_field_matrix(atoms, per_site=True)
    assert sites.shape == (4, 1024)
    assert np.allclose(sites.mean(axis=0), orbital_field_matrix(atoms), atol=1e-14)
    assert atoms == before


def test_cells_fill_space() -> None:
    # a solid angle that is lost or counted twice would change this sum
    from mftscreen.ood.ofm.voronoi import _clip, _solid_angle, _start_cube

    vertices, counts = np.zeros((96, 48, 3)), np.zeros(96, dtype=np.int64)
    owners, sides = np.zeros((96, 4)), np.zeros((96, 48))
    _start_cube(vertices, counts, 3.0)
    n_faces = 6
    for neighbour in np.random.default_rng(1).normal(size=(40, 3)) * 2.5 + 0.1:
        result = _clip(
            vertices, counts, owners, n_faces, np.array([*neighbour, 0.0]), sides
        )
        n_faces = n_faces if result == -2 else result
    total = sum(_solid_angle(vertices[f], counts[f]) for f in range(n_faces))
    assert total == pytest.approx(4 * np.pi, abs=1e-10)


def test_supercell_with_vacuum() -> None:
    for atoms in (layer(), Atoms("Si", cell=[12.0, 12.0, 12.0], pbc=True)):
        doubled = orbital_field_matrix(atoms.repeat((2, 1, 1)))
        assert np.abs(doubled - orbital_field_matrix(atoms)).max() < 1e-10


@pytest.mark.parametrize("name", reference_crystals())
@pytest.mark.parametrize("size", [7, 60])
def test_skewed_cells_have_the_matrix_of_the_compact_one(name: str, size: int) -> None:
    atoms = reference_crystals()[name]
    basis = [[1, 0, 0], [size, 1, 0], [3 - size, size - 2, 1]]
    skewed = make_supercell(atoms, basis, wrap=False)
    heights = 1 / np.linalg.norm(skewed.cell.reciprocal(), axis=1)
    assert size == 7 or heights.min() < 0.2
    expected = orbital_field_matrix(atoms)
    assert orbital_field_matrix(skewed) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("atoms", "error", "message"),
    [
        (Atoms(cell=[5, 5, 5], pbc=True), InvalidGeometryError, "no atoms"),
        (Atoms("Si", cell=[5, 5, 5]), PeriodicityError, "False"),
        (bulk("Am", "fcc", a=4.9), UnknownElementError, "Am"),
        (Atoms("X", cell=[5, 5, 5], pbc=True), UnknownElementError, "X"),
        (
            Atoms("Si", [[np.nan, 0, 0]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            "not finite",
        ),
        (
            Atoms("Si", cell=[5, 5, np.inf], pbc=True),
            InvalidGeometryError,
            "cell is not finite",
        ),
        (
            Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True),
            InvalidGeometryError,
            "no volume",
        ),
        (
            Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [0, 0, 0]], pbc=True),
            InvalidGeometryError,
            "no volume",
        ),
        (
            Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [90, 75, 0.4]], pbc=True),
            InvalidGeometryError,
            "no volume",
        ),
        (
            Atoms("SiC", [[0, 0, 0], [0, 0, 4.9]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            r"0 \(Si\) and 1 \(C\) are 0.100 Å",
        ),
        (
            Atoms("SiC", [[0, 0, 0], [0, 0, 0]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            "0.000 Å",
        ),
        (
            Atoms("Si", [[2e4, 0, 0]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            r"coordinate of 2e\+04 Å",
        ),
        (
            Atoms("Si", cell=[1e200, 5, 5], pbc=True),
            InvalidGeometryError,
            r"coordinate of 1e\+200 Å",
        ),
        (
            Atoms("C", cell=[2.5, 2.5, 9e3], pbc=True),
            InvalidGeometryError,
            "reduce the vacuum",
        ),
        (
            Atoms(numbers=[200], cell=[5, 5, 5], pbc=True),
            UnknownElementError,
            "number 200",
        ),
        ("Si", StructureError, "str"),
    ],
)
def test_errors(atoms: Atoms, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        orbital_field_matrix(atoms)


def test_unknown_options() -> None:
    with pytest.raises(ValueError, match="table must be"):
        orbital_field_matrix(bulk("Si"), table="old")
    with pytest.raises(ValueError, match="mode must be"):
        orbital_field_matrix(bulk("Si"), mode="fast")


def test_element_tables() -> None:
    def names(z: int, table: str) -> str:
        return " ".join(ORBITALS[k] for k in element_table(table)[z].nonzero()[0])

    assert names(29, "paper") == "s1 d10"
    assert names(29, "current") == "s1 s2 p6 d10"
    assert names(92, "paper") == "s2 d1 f3"
    assert names(92, "current") == "s2 p6 d1 d10 f3 f14"
    assert len(np.unique(element_table("paper")[1:], axis=0)) == 59
    assert len(np.unique(element_table("current")[1:], axis=0)) == 61
    # stored reference sets name their table by these
    assert table_hash("current") == "3bffdefb6c4eeb49"
    assert table_hash("paper") == "4abc2d545af2c64a"


def test_electron_configurations_are_those_of_pymatgen() -> None:
    periodic_table = pytest.importorskip("pymatgen.core.periodic_table")
    from mftscreen.ood.ofm.orbitals import electron_configuration

    for z in range(1, 95):
        shells = periodic_table.Element.from_Z(z).full_electronic_structure
        expected = {(n, letter): count for n, letter, count in shells}
        assert electron_configuration(z) == expected
