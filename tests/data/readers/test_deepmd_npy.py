from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mftscreen.data.dataset import (
    LabelledStructure,
    force_field_labels,
    write_deepmd_npy,
)
from mftscreen.data.readers import iter_rows
from mftscreen.errors import DataError

SYMBOLS = ["H", "O", "Al", "Cu"]


def strained_copper(k: int) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    shear = np.array([[1 + 0.02 * k, 0.03, 0], [0, 1, 0.01], [0, 0, 0.98]])
    atoms.set_cell(atoms.cell @ shear, scale_atoms=True)
    atoms.rattle(0.05, seed=k)
    atoms.symbols[0] = "Al"
    atoms.calc = EMT()
    atoms.get_stress()
    return atoms


def write_standard(system: Path, frames: list[Atoms], types: str) -> None:
    """Write a system by hand, in two sets, as deepmd-kit's documentation has it."""
    for number, atoms in enumerate(frames):
        block = system / f"set.{number:03d}"
        block.mkdir(parents=True)
        np.save(block / "coord.npy", atoms.positions.reshape(1, -1))
        np.save(block / "box.npy", np.asarray(atoms.cell).reshape(1, 9))
        np.save(block / "energy.npy", [atoms.get_potential_energy()])
        np.save(block / "gap.npy", [[0.5 + number]])
    (system / "type.raw").write_text(types)
    (system / "type_map.raw").write_text("Cu\nAl\n")


def test_standard_system_of_two_sets(tmp_path: Path) -> None:
    frames = [strained_copper(0), strained_copper(1)]
    write_standard(tmp_path / "data" / "one", frames, "1 0\n0\n0\n")
    rows = list(iter_rows(tmp_path / "data"))
    assert [row.name for row in rows] == ["data/one#0", "data/one#1"]
    for number, (row, atoms) in enumerate(zip(rows, frames, strict=True)):
        assert isinstance(row.structure, Atoms)
        assert list(row.structure.symbols) == ["Al", "Cu", "Cu", "Cu"]
        np.testing.assert_array_equal(row.structure.positions, atoms.positions)
        np.testing.assert_array_equal(row.structure.cell, atoms.cell)
        assert row.structure.pbc.all()
        assert row.structure.get_potential_energy() == atoms.get_potential_energy()
        assert row.values["gap"] == 0.5 + number


def test_mixed_systems_keep_energy_forces_and_virial(tmp_path: Path) -> None:
    crystals = [strained_copper(k) for k in range(2)]
    water = molecule("H2O")
    water.calc = EMT()
    water.get_forces()
    frames = [*crystals, water]
    items = [
        LabelledStructure(str(k), a, force_field_labels(a))
        for k, a in enumerate(frames)
    ]
    write_deepmd_npy(items, tmp_path / "ff", SYMBOLS, ["energy", "force", "virial"])
    found = [row.structure for row in iter_rows(tmp_path / "ff")]
    assert len(found) == 3
    for atoms, item in zip(sorted(found, key=lambda a: -len(a)), items, strict=True):
        assert isinstance(atoms, Atoms)
        assert list(atoms.symbols) == list(item.atoms.symbols)
        assert (atoms.pbc == item.atoms.pbc).all()
        labels = force_field_labels(atoms)
        assert labels.keys() == item.labels.keys()
        for name, value in item.labels.items():
            np.testing.assert_allclose(labels[name], value, rtol=1e-12, atol=1e-12)


def test_padding_atoms_are_left_out(tmp_path: Path) -> None:
    write_standard(tmp_path / "one", [strained_copper(0)], "1 0 0 0\n")
    block = tmp_path / "one" / "set.000"
    np.save(block / "real_atom_types.npy", [[1, 0, -1, 0]])
    np.save(block / "force.npy", [np.arange(12.0)])
    (row,) = iter_rows(tmp_path / "one")
    assert isinstance(row.structure, Atoms)
    assert list(row.structure.symbols) == ["Al", "Cu", "Cu"]
    np.testing.assert_array_equal(row.structure.get_forces()[:, 0], [0, 3, 9])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no type map", "type_map.raw"),
        ("no box", "set.000 has no box.npy"),
        ("lengths", "arrays of different lengths"),
        ("no sets", r"there is no set\.\*"),
        ("unknown type", "out of range"),
        ("cut short", "is no readable deepmd/npy system"),
        ("empty", "is no readable deepmd/npy system"),
        ("claims", "is no readable deepmd/npy system"),
        ("no symbols", "has Type_0, which is no chemical symbol"),
    ],
)
def test_damaged_system_is_named(tmp_path: Path, damage: str, message: str) -> None:
    system = tmp_path / "one"
    write_standard(system, [strained_copper(0)], "1 0 0 0\n")
    block = system / "set.000"
    if damage == "no type map":
        (system / "type_map.raw").unlink()
    elif damage == "no box":
        (block / "box.npy").unlink()
    elif damage == "lengths":
        np.save(block / "gap.npy", [[1.0], [2.0]])
    elif damage == "no sets":
        block.rename(system / "frames")
    elif damage == "unknown type":
        (system / "type.raw").write_text("5 0 0 0\n")
    elif damage == "no symbols":
        (system / "type_map.raw").write_text("Type_0\nAl\n")
    elif damage == "claims":
        array = np.lib.stride_tricks.as_strided(np.zeros(1), (10**13, 12), (0, 0))
        with (block / "coord.npy").open("wb") as stream:
            np.lib.format.write_array_header_1_0(
                stream, np.lib.format.header_data_from_array_1_0(array)
            )
    elif damage == "empty":
        (block / "coord.npy").write_bytes(b"")
    else:
        (block / "coord.npy").write_bytes((block / "coord.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=message) as caught:
        list(iter_rows(system))
    assert caught.value.path == system


def test_folder_without_systems(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no deepmd/npy system .*in a CSV"):
        list(iter_rows(tmp_path))


def test_types_as_floats_and_a_label_without_axes(tmp_path: Path) -> None:
    write_standard(tmp_path / "one", [strained_copper(0)], "1 0 0 0\n")
    block = tmp_path / "one" / "set.000"
    np.save(block / "real_atom_types.npy", [[1.0, 0.0, 0.0, 0.0]])
    np.save(block / "gap.npy", 0.5)
    (row,) = iter_rows(tmp_path / "one")
    assert isinstance(row.structure, Atoms)
    assert list(row.structure.symbols) == ["Al", "Cu", "Cu", "Cu"]
    assert row.values["gap"] == 0.5
