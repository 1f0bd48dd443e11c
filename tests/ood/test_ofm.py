"""Orbital field matrices against matminer, and their invariances."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, mx2

from mftscreen.errors import (
    InvalidGeometryError,
    PeriodicityError,
    StructureError,
    UnknownElementError,
)
from mftscreen.ood import orbital_field_matrix
from mftscreen.ood.ofm import (
    LOW_DIMENSIONAL_RADIUS,
    max_voronoi_radius,
    orbital_field_matrices,
)
from mftscreen.ood.orbitals import ORBITALS, element_table, pair_label, table_hash

DATA = Path(__file__).parents[1] / "data"


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
    }


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
def test_equals_matminer(name: str) -> None:
    with np.load(DATA / "ofm_reference.npz") as stored:
        expected = stored[name]
    atoms = reference_crystals()[name]
    vector = orbital_field_matrix(atoms, mode="matminer")
    assert np.abs(vector - expected).max() < 1e-8
    # in a dense crystal there is nothing that matminer's approximations could change
    assert np.abs(orbital_field_matrix(atoms) - expected).max() < 1e-8


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
def test_invariances(table: str) -> None:
    atoms = triclinic()
    expected = orbital_field_matrix(atoms, table=table)
    changed = {
        "supercell": make_supercell(atoms, [[2, 1, 0], [0, 1, 0], [1, 0, 3]]),
        "permutation": atoms[[2, 0, 3, 1]],
    }
    turned = atoms.copy()
    turned.set_cell(atoms.cell @ rotation(), scale_atoms=True)
    changed["rotation"] = turned
    shifted = atoms.copy()
    shifted.positions += [7.3, -2.1, 40.0]
    changed["translation"] = shifted
    for name, other in changed.items():
        delta = np.abs(orbital_field_matrix(other, table=table) - expected).max()
        assert delta < 1e-10, name


@pytest.mark.parametrize("crystal", ["Cu", "NaCl", "SrTiO3"])
def test_degenerate_vertices_are_continuous(crystal: str) -> None:
    atoms = reference_crystals()[crystal].repeat(2)
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
    from mftscreen.ood.voronoi import _clip, _solid_angle, _start_cube

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


def test_vacuum_is_flagged_and_covered() -> None:
    layer = mx2("MoS2", vacuum=10.0)
    layer.pbc = True
    assert max_voronoi_radius(layer) > LOW_DIMENSIONAL_RADIUS
    assert max_voronoi_radius(bulk("Cu")) == pytest.approx(3.61 / 2)
    single = Atoms("Si", cell=[12.0, 12.0, 12.0], pbc=True)
    assert max_voronoi_radius(single) == pytest.approx(6 * 3**0.5)
    for atoms in (layer, single):
        doubled = orbital_field_matrix(atoms.repeat((2, 1, 1)))
        assert np.allclose(doubled, orbital_field_matrix(atoms), atol=1e-10)


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
            Atoms("SiC", [[0, 0, 0], [0, 0, 4.9]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            r"0 \(Si\) and 1 \(C\) are 0.100 Å",
        ),
        (
            Atoms("SiC", [[0, 0, 0], [0, 0, 0]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            "0.000 Å",
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


def test_batch_keeps_failures_in_place() -> None:
    results = orbital_field_matrices([bulk("Si"), Atoms("H"), bulk("Cu")])
    assert isinstance(results[1], PeriodicityError)
    assert np.array_equal(results[2], orbital_field_matrix(bulk("Cu")))


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
    from mftscreen.ood.orbitals import electron_configuration

    for z in range(1, 95):
        shells = periodic_table.Element.from_Z(z).full_electronic_structure
        expected = {(n, letter): count for n, letter, count in shells}
        assert electron_configuration(z) == expected


@pytest.mark.filterwarnings("ignore")  # of matminer and pymatgen
@pytest.mark.skipif("MFTSCREEN_DATA" not in os.environ, reason="MFTSCREEN_DATA unset")
@pytest.mark.parametrize(
    ("task", "column"), [("dielectric", "n"), ("log_gvrh", "log10(G_VRH)")]
)
def test_equals_matminer_on_matbench(task: str, column: str) -> None:
    structure = pytest.importorskip("matminer.featurizers.structure")
    from pymatgen.io.ase import AseAtomsAdaptor

    from mftscreen.finetune.sources import read_matbench

    path = Path(os.environ["MFTSCREEN_DATA"]) / f"matbench/matbench_{task}.json.gz"
    crystals = [row.atoms for row in read_matbench(path, column)]
    crystals = [atoms for atoms in crystals if len(atoms) <= 20]
    featurizer = structure.OrbitalFieldMatrix()
    for k in np.random.default_rng(11).choice(len(crystals), 30, replace=False):
        expected = featurizer.featurize(AseAtomsAdaptor.get_structure(crystals[k]))
        vector = orbital_field_matrix(crystals[k], mode="matminer")
        assert np.abs(vector - expected).max() < 1e-8, crystals[k].symbols
