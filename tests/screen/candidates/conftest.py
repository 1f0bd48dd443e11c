"""A database, and a folder as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write

CRYSTALS = [
    bulk("Si"),
    bulk("MgO", "rocksalt", a=4.2),
    bulk("GaAs", "zincblende", a=5.6),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "crystals.db"
    with connect(path) as rows:
        for atoms in CRYSTALS:
            rows.write(atoms, source="made_up")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them: several formats, damaged files, a loop."""
    folder = tmp_path / "pool"
    (folder / "b").mkdir(parents=True)
    write(folder / "POSCAR", CRYSTALS[0], format="vasp")
    write(folder / "b" / "Å@3 β.cif", CRYSTALS[1])
    write(folder / "b" / "two.cif", CRYSTALS[:2])
    write(folder / "b" / "path.traj", CRYSTALS)
    (folder / "a.cif").write_text("data_x\n_cell_length_a 4.2\n")
    (folder / "cut.xyz").write_text("1\n\nH 0 0 0\nnonsense\n")
    (folder / "readme.txt").write_text("no structure")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "id_prop.csv").write_text("id,gap\nx,1\n")
    (folder / "b" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "b" / "self.cif").symlink_to("self.cif")
    (folder / "gone.cif").symlink_to("nowhere")
    return folder
