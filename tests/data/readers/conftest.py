"""Structures, and an extended XYZ file of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write


@pytest.fixture(scope="session")
def frames() -> list[Atoms]:
    return [bulk("Si"), molecule("H2O"), bulk("MgO", "rocksalt", a=4.2)]


@pytest.fixture
def text(tmp_path: Path, frames: list[Atoms]) -> str:
    write(tmp_path / "written.extxyz", frames)
    return (tmp_path / "written.extxyz").read_text()
