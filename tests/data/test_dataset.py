from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from mftscreen.data.dataset import (
    LabelledStructure,
    force_field_labels,
    write_deepmd_npy,
)
from mftscreen.errors import DataError

TYPE_MAP = ["H", "O", "Mg", "Si"]


def labelled(name: str, atoms: Atoms, gap: float) -> LabelledStructure:
    return LabelledStructure(name, atoms, {"gap": np.asarray(gap)})


@pytest.fixture
def structures() -> list[LabelledStructure]:
    return [
        labelled("a", bulk("MgO", "rocksalt", a=4.2), 5.0),
        labelled("b", molecule("H2O"), 7.0),
        labelled("c", bulk("Si", a=5.4), 1.1),
        labelled("d", bulk("MgO", "rocksalt", a=4.3, cubic=True), 4.8),
        labelled("e", molecule("O2"), 0.5),
    ]


def test_systems_hold_one_size_each_and_aperiodic_ones_apart(
    structures: list[LabelledStructure], tmp_path: Path
) -> None:
    systems = write_deepmd_npy(structures, tmp_path / "data", TYPE_MAP, ["gap"])
    assert {path.name for path in systems} == {"2", "2_nopbc", "3_nopbc", "8"}
    assert [int(path.name.split("_")[0]) for path in systems] == [2, 2, 3, 8]
    assert {path.name for path in systems if (path / "nopbc").exists()} == {
        "2_nopbc",
        "3_nopbc",
    }
    assert set((tmp_path / "data").iterdir()) == set(systems)


def test_values_are_those_of_the_structures(
    structures: list[LabelledStructure], tmp_path: Path
) -> None:
    write_deepmd_npy(structures, tmp_path / "data", TYPE_MAP, ["gap"])
    block = tmp_path / "data" / "2" / "set.000"
    crystals = [structures[0].atoms, structures[2].atoms]
    found = {path.stem: np.load(path) for path in block.iterdir()}
    assert found.keys() == {"real_atom_types", "coord", "box", "gap"}
    np.testing.assert_array_equal(found["real_atom_types"], [[2, 1], [3, 3]])
    np.testing.assert_array_equal(found["gap"], [[5.0], [1.1]])
    for k, atoms in enumerate(crystals):
        np.testing.assert_array_equal(found["coord"][k], atoms.positions.ravel())
        np.testing.assert_array_equal(found["box"][k], np.asarray(atoms.cell).ravel())


def test_type_files_are_those_of_deepmds_mixed_type(
    structures: list[LabelledStructure], tmp_path: Path
) -> None:
    write_deepmd_npy(structures, tmp_path / "data", TYPE_MAP, ["gap"])
    water = tmp_path / "data" / "3_nopbc"
    assert (water / "type_map.raw").read_text().split() == TYPE_MAP
    assert (water / "type.raw").read_text().split() == ["0", "0", "0"]
    types = np.load(water / "set.000" / "real_atom_types.npy")
    np.testing.assert_array_equal(types, [[1, 0, 0]])


def test_only_the_labels_asked_for_are_written(tmp_path: Path) -> None:
    forces = np.arange(6.0).reshape(2, 3)
    labels = {"force": forces, "energy": np.asarray(-2.5), "gap": np.asarray(1.0)}
    item = LabelledStructure("a", bulk("Si"), labels)
    (system,) = write_deepmd_npy(
        [item], tmp_path / "data", TYPE_MAP, ["energy", "force"]
    )
    np.testing.assert_array_equal(np.load(system / "set.000/energy.npy"), [[-2.5]])
    np.testing.assert_array_equal(
        np.load(system / "set.000/force.npy"), [forces.ravel()]
    )
    assert not (system / "set.000/gap.npy").exists()


def test_old_data_is_replaced(
    structures: list[LabelledStructure], tmp_path: Path
) -> None:
    write_deepmd_npy(structures, tmp_path / "data", TYPE_MAP, ["gap"])
    write_deepmd_npy(structures[:1], tmp_path / "data", TYPE_MAP, ["gap"])
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["2"]


def test_missing_label_names_the_structure(
    structures: list[LabelledStructure], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^a has no label energy$"):
        write_deepmd_npy(structures, tmp_path / "data", TYPE_MAP, ["gap", "energy"])


def test_unknown_element_names_the_structure_and_keeps_old_data(
    structures: list[LabelledStructure], tmp_path: Path
) -> None:
    write_deepmd_npy(structures, tmp_path / "data", TYPE_MAP, ["gap"])
    copper = labelled("f", bulk("Cu"), 0.0)
    with pytest.raises(DataError, match=r"^f holds Cu, not in the type map$"):
        write_deepmd_npy([*structures, copper], tmp_path / "data", TYPE_MAP, ["gap"])
    assert (tmp_path / "data" / "8").exists()


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no structures to write"):
        write_deepmd_npy([], tmp_path / "data", TYPE_MAP, ["gap"])


def with_results(atoms: Atoms, **results: object) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_virial_is_minus_volume_times_stress() -> None:
    stress = np.array([0.01, -0.02, 0.03, 0.004, -0.005, 0.006])
    forces = np.arange(6.0).reshape(2, 3)
    atoms = with_results(bulk("Si"), energy=-3.0, forces=forces, stress=stress)
    labels = force_field_labels(atoms)
    assert labels["energy"] == -3.0
    np.testing.assert_array_equal(labels["force"], forces)
    xx, yy, zz, yz, xz, xy = stress
    expected = -atoms.get_volume() * np.array(
        [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
    )
    np.testing.assert_allclose(labels["virial"], expected, rtol=1e-14)


def test_compressed_crystal_has_a_positive_virial() -> None:
    from ase.calculators.emt import EMT

    atoms = bulk("Cu", a=3.4)
    atoms.calc = EMT()
    stress = atoms.get_stress()
    # EMT's sign, not ours: the energy falls when the crystal expands
    grown = bulk("Cu", a=3.41)
    grown.calc = EMT()
    assert grown.get_potential_energy() < atoms.get_potential_energy()
    frozen = with_results(
        bulk("Cu", a=3.4), energy=0.0, forces=[[0] * 3], stress=stress
    )
    assert np.trace(force_field_labels(frozen)["virial"]) > 0


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_no_virial_unless_fully_periodic(pbc: bool | tuple[bool, ...]) -> None:
    atoms = bulk("Si")
    atoms.pbc = pbc
    atoms = with_results(atoms, energy=0.0, forces=np.zeros((2, 3)), stress=np.ones(6))
    assert force_field_labels(atoms).keys() == {"energy", "force"}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (None, r"missing \['energy', 'forces'\]"),
        ({"energy": 0.0}, r"missing \['forces'\]"),
        ({"forces": np.zeros((2, 3))}, r"missing \['energy'\]"),
        ({"energy": np.nan, "forces": np.zeros((2, 3))}, "energy label is not finite"),
        ({"energy": 0.0, "forces": np.full((2, 3), np.inf)}, "force label is not"),
        (
            {"energy": 0.0, "forces": np.zeros((2, 3)), "stress": np.full(6, np.nan)},
            "virial label is not finite",
        ),
        ({"energy": 0.0, "forces": np.zeros((1, 3))}, r"of 2 atoms have .* \(1, 3\)"),
        (
            {"energy": "low", "forces": np.zeros((2, 3))},
            "cannot be used: could not convert string to float: 'low'",
        ),
    ],
)
def test_unusable_force_field_labels(
    results: dict[str, object] | None, message: str
) -> None:
    atoms = bulk("Si")
    if results is not None:
        atoms = with_results(atoms, **results)
    with pytest.raises(DataError, match=message):
        force_field_labels(atoms)


def test_crystal_without_a_cell_has_no_virial() -> None:
    atoms = bulk("Si")
    atoms.set_cell(np.zeros((3, 3)))
    atoms = with_results(atoms, energy=0.0, forces=np.zeros((2, 3)), stress=np.ones(6))
    with pytest.raises(DataError, match="volume not defined"):
        force_field_labels(atoms)


def test_virial_of_an_extended_xyz(tmp_path: Path) -> None:
    path = tmp_path / "one.xyz"
    path.write_text(
        '1\nLattice="4 0 0 0 4 0 0 0 4" virial="1 2 3 2 5 6 3 6 9" energy=-1 '
        "Properties=species:S:1:pos:R:3:forces:R:3\nSi 0 0 0 0.1 0.2 0.3\n"
    )
    atoms = read(path)
    labels = force_field_labels(atoms)
    np.testing.assert_array_equal(labels["virial"], [[1, 2, 3], [2, 5, 6], [3, 6, 9]])
    atoms.pbc = False
    assert force_field_labels(atoms).keys() == {"energy", "force"}
