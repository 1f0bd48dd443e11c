from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mftscreen.data.frames.npy import NpySet
from mftscreen.errors import DataError


def fault(block: Path, number: int = 1) -> str:
    error = NpySet(block).read(number).structure
    assert isinstance(error, DataError)
    return str(error)


def test_standard_system_without_box_or_labels(tmp_path: Path) -> None:
    block = tmp_path / "water" / "set.000"
    block.mkdir(parents=True)
    coordinates = np.random.default_rng(0).normal(size=(3, 9)).astype("<f4")
    np.save(block / "coord.npy", coordinates)
    np.save(block / "energy.npy", [1.0, 2.0, 3.0])
    (tmp_path / "water" / "type.raw").write_text("0\n1\n1\n")
    (tmp_path / "water" / "type_map.raw").write_text("O H")
    (tmp_path / "water" / "nopbc").touch()
    file = NpySet(block)
    assert len(file) == 3
    row = file.read(2)
    assert row.name == "water/set.000#2"
    atoms = row.structure
    assert isinstance(atoms, Atoms)
    assert list(atoms.symbols) == ["O", "H", "H"]
    assert not atoms.pbc.any()
    np.testing.assert_array_equal(atoms.positions.ravel(), coordinates[2])
    assert atoms.calc.results == {"energy": 3.0}


def test_arrays_that_are_damaged_are_named(npy: Path) -> None:
    block = npy / "2" / "set.000"
    energies = np.load(block / "energy.npy")
    faults = (
        (energies[:1], "energy.npy has fewer frames"),
        (energies.astype(str), "does not hold numbers"),
        (np.asfortranarray(np.ones((12, 2))), "does not hold numbers"),
    )
    for turn, (broken, message) in enumerate(faults):
        np.save(block / "energy.npy", broken)
        # headers are remembered by path
        block = block.rename(block.parent / f"set.turn-{turn}")
        assert message in fault(block)
    np.save(block / "energy.npy", energies)
    content = (block / "force.npy").read_bytes()
    (block / "force.npy").write_bytes(content[: len(content) // 2])
    assert "is cut short" in fault(block.rename(block.parent / "set.cut"), 11)


def test_objects_are_not_loaded(npy: Path) -> None:
    block = npy / "2" / "set.000"
    np.save(block / "coord.npy", np.array([print] * 12), allow_pickle=True)
    with pytest.raises(DataError, match="does not hold numbers"):
        NpySet(block)


@pytest.mark.parametrize(
    "shape", [(10**30, 6), (10**18, 6), (-1, 6), (1, 10**12), (1, 2**62, 4), (1, -6)]
)
def test_shapes_that_no_file_has(npy: Path, shape: tuple[int, ...]) -> None:
    block = npy / "2" / "set.000"
    for name in ("energy", "coord"):
        with (block / f"{name}.npy").open("wb") as stream:
            header = {"descr": "<f8", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            stream.write(bytes(1000))
        if name == "energy":
            assert "its header tells of a shape" in fault(block, 0)
            # headers are remembered by path
            block = block.rename(block.parent / "set.001")
    with pytest.raises(DataError, match="its header tells of a shape"):
        NpySet(block)


def test_set_without_coordinates(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no readable set"):
        NpySet(tmp_path)
