"""The same labelled frames in each format that is read in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from mftscreen.data.convert import write_labelled
from mftscreen.data.sources import read_force_field


@pytest.fixture
def frames() -> list[Atoms]:
    rng = np.random.default_rng(0)
    frames = []
    for k in range(12):
        atoms = bulk("MgO", "rocksalt", a=4.2 + 0.01 * k)
        atoms.positions += rng.normal(scale=0.05, size=(2, 3))
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=-10.0 - k,
            forces=rng.normal(size=(2, 3)),
            stress=0.01 * rng.normal(size=6),
        )
        atoms.info["trajectory"] = f"t{k // 3}"
        frames.append(atoms)
    return frames


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache of one test, in which nothing is yet."""
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def extxyz(frames: list[Atoms], tmp_path: Path) -> Path:
    write(tmp_path / "frames.extxyz", frames)
    return tmp_path / "frames.extxyz"


@pytest.fixture
def aselmdb(frames: list[Atoms], tmp_path: Path) -> Path:
    path = tmp_path / "frames.aselmdb"
    with connect(path, type="aselmdb") as database:
        for atoms in frames:
            database.write(atoms, data={"trajectory": atoms.info["trajectory"]})
    return path


@pytest.fixture
def npy(extxyz: Path, tmp_path: Path) -> Path:
    labels = ("energy", "force", "virial")
    write_labelled(read_force_field(extxyz), tmp_path / "npy", "npy", labels)
    return tmp_path / "npy"


def check_same(found: Atoms, given: Atoms) -> None:
    """Raise unless two frames and their labels are the same."""
    assert (found.numbers == given.numbers).all()
    assert (found.pbc == given.pbc).all()
    np.testing.assert_allclose(found.positions, given.positions, atol=1e-7)
    np.testing.assert_allclose(found.cell, given.cell, atol=1e-7)
    results, expected = found.calc.results, given.calc.results
    assert results["energy"] == pytest.approx(expected["energy"])
    for key in ("forces", "stress"):
        np.testing.assert_allclose(results[key], expected[key], atol=1e-7)


@pytest.fixture(name="check_same")
def check_same_fixture() -> object:
    return check_same
