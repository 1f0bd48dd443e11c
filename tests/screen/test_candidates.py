from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect
from ase.io import write

from mftscreen.errors import DataError, StructureError
from mftscreen.screen.candidates import iter_candidates

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
def extxyz(tmp_path: Path) -> Path:
    path = tmp_path / "crystals.extxyz"
    frames = [atoms.copy() for atoms in CRYSTALS]
    frames[1].info["material_id"] = "mp-1265"
    write(path, frames)
    return path


def formulas(path: Path, query: str | None = None) -> list:
    return [
        str(candidate.structure.symbols)
        for candidate in iter_candidates(path, query)
        if isinstance(candidate.structure, Atoms)
    ]


def test_database_rows_have_their_row_id(database: Path) -> None:
    candidates = list(iter_candidates(database))
    assert [candidate.id for candidate in candidates] == ["1", "2", "3"]
    assert formulas(database) == ["Si2", "MgO", "GaAs"]


def test_query_selects_rows_and_keeps_their_ids(database: Path) -> None:
    assert [c.id for c in iter_candidates(database, "Ga")] == ["3"]
    assert formulas(database, "natoms=2,source=made_up") == ["Si2", "MgO", "GaAs"]


def test_row_without_a_valid_structure_is_kept_as_an_error(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE systems SET constraints = ? WHERE id = 2",
            ['[{"name": "Nonsense", "kwargs": {}}]'],
        )
    connection.close()
    first, second, third = iter_candidates(database)
    assert isinstance(first.structure, Atoms)
    assert isinstance(third.structure, Atoms)
    assert second.id == "2"
    assert isinstance(second.structure, DataError)
    assert "row 2 holds no valid structure" in str(second.structure)


def test_frames_have_the_id_of_their_info_or_their_index(extxyz: Path) -> None:
    assert [candidate.id for candidate in iter_candidates(extxyz)] == [
        "crystals.extxyz#0",
        "mp-1265",
        "crystals.extxyz#2",
    ]


def test_compressed_frames(extxyz: Path) -> None:
    path = extxyz.with_name("packed.xyz.gz")
    path.write_bytes(gzip.compress(extxyz.read_bytes()))
    assert formulas(path) == ["Si2", "MgO", "GaAs"]


def test_broken_frame_is_kept_as_an_error(extxyz: Path) -> None:
    text = extxyz.read_text()
    extxyz.write_text(f"{text}1\n\nSi 0 0 zero\n{text}")
    candidates = list(iter_candidates(extxyz))
    assert len(candidates) == 7
    assert candidates[3].id == "crystals.extxyz#3"
    assert isinstance(candidates[3].structure, DataError)
    assert candidates[6].id == "crystals.extxyz#6"


def test_nothing_is_read_beyond_a_line_that_is_no_header(extxyz: Path) -> None:
    extxyz.write_text(extxyz.read_text() + "no number of atoms\n")
    with pytest.raises(DataError, match="frame 3"):
        list(iter_candidates(extxyz))


def test_query_needs_a_database(extxyz: Path) -> None:
    with pytest.raises(DataError, match=r"a query \('Si'\) needs an ase.db"):
        list(iter_candidates(extxyz, "Si"))


def test_matbench_file_without_its_labels(tmp_path: Path) -> None:
    sites = [{"species": [{"element": "Cu", "occu": 1}], "abc": [0, 0, 0]}]
    lattice = {"matrix": [[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]}
    half = [{"species": [{"element": "Cu", "occu": 0.5}], "abc": [0, 0, 0]}]
    table = {
        "index": [0, 1],
        "columns": ["structure", "n"],
        "data": [
            [{"lattice": lattice, "sites": sites}, None],
            [{"lattice": lattice, "sites": half}, 1.5],
        ],
    }
    path = tmp_path / "matbench_log_gvrh.json.gz"
    path.write_bytes(gzip.compress(json.dumps(table).encode()))
    good, disordered = iter_candidates(path)
    assert (good.id, disordered.id) == ("mb-log-gvrh-1", "mb-log-gvrh-2")
    assert good.atoms is good.structure
    assert str(good.atoms.symbols) == "Cu"
    assert isinstance(disordered.structure, StructureError)
    assert disordered.atoms is None
    with pytest.raises(DataError, match="a query"):
        list(iter_candidates(path, "Cu"))


@pytest.mark.parametrize("name", ["POSCAR", "a.cif", "a.csv", "db", "a.gz", "a.db.gz"])
def test_unknown_format_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"unknown format; expected .db, .extxyz"):
        list(iter_candidates(tmp_path / name))


@pytest.mark.parametrize("name", ["none.db", "none.extxyz", "none.xyz.gz"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        list(iter_candidates(tmp_path / name))
    assert not list(tmp_path.iterdir())
