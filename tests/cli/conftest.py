"""A finished screening, and structures with a reference set to compare with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write
from click.testing import CliRunner

from mftscreen.cli import main


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader has had enough."""
    reader, writer = os.pipe()
    os.close(reader)
    # what is left in the buffer cannot be written
    with suppress(BrokenPipeError), os.fdopen(writer, "w") as stream:
        yield stream


@pytest.fixture(scope="session")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished screening of four oxides and an unknown element."""
    folder = tmp_path_factory.mktemp("results")
    with connect(folder / "pool.db") as database:
        for k in range(4):
            database.write(bulk("MgO", "rocksalt", a=4.1 + 0.1 * k))
        database.write(bulk("Pb"))
    arguments = [str(folder / "pool.db"), "-m", str(tiny_model), "-q"]
    done = CliRunner().invoke(main, ["rank", *arguments, "--run", str(folder / "run")])
    assert done.exit_code == 3, done.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty rock salts to compare with, and six candidates of every kind."""
    folder = tmp_path_factory.mktemp("ood")
    salts = [bulk("NaCl", "rocksalt", a=5.4 + 0.01 * k) for k in range(30)]
    for number, atoms in enumerate(salts):
        atoms.info["material_id"] = f"salt-{number}"
    write(folder / "salts.extxyz", salts)
    slab = bulk("NaCl", "rocksalt", a=5.5, cubic=True)
    slab.center(vacuum=9.0, axis=2)
    candidates = [
        bulk("Si"),
        bulk("NaCl", "rocksalt", a=5.5001),
        molecule("H2O"),
        bulk("KCl", "rocksalt", a=5.6),
        slab,
        bulk("NaCl", "rocksalt", a=5.6001),
    ]
    with connect(folder / "candidates.db") as database:
        for atoms in candidates:
            database.write(atoms)
    fit = ["ood", "fit", str(folder / "salts.extxyz")]
    done = CliRunner().invoke(main, [*fit, "-o", str(folder / "reference.npz")])
    assert done.exit_code == 0, done.output
    return folder
