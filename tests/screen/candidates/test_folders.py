"""Folders and globs: which of their files are candidates."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from mftscreen.errors import DataError
from mftscreen.screen.candidates.stream import (
    count_candidates,
    iter_candidates,
)


def ids(source: str | Path) -> list[str]:
    return [
        candidate.id if candidate.atoms is not None else f"{candidate.id}: error"
        for candidate in iter_candidates(source)
    ]


def test_every_file_of_a_folder_is_a_row(folder: Path) -> None:
    assert ids(folder) == [
        "POSCAR",
        "a.cif: error",
        "b/path.traj#0",
        "b/path.traj#1",
        "b/path.traj#2",
        "b/self.cif: error",
        "b/two.cif",
        "b/two.cif#1",
        "b/Å@3 β.cif",
        "cut.xyz#0",
        "cut.xyz: error",
        "gone.cif: error",
        "readme.txt: error",
    ]


def test_globs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["b/self.cif: error", "b/two.cif", "b/two.cif#1", "b/Å@3 β.cif"]
    both = ["a.cif: error", *found, "gone.cif: error"]
    assert ids(f"{folder}/**/*.cif") == both
    monkeypatch.chdir(folder)
    assert ids("b/*.cif") == [name.removeprefix("b/") for name in found]
    assert ids(Path("[P]OSCAR")) == ["POSCAR"]
    write("x[1].cif", bulk("Si"))
    assert ids("x[1].cif") == ["x[1].cif"]
    with pytest.raises(DataError, match="no structure files found"):
        ids("*.vasp")


def test_globs_of_databases_and_folders_with_brackets(
    database: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "d[1]"
    odd.mkdir()
    database.rename(odd / "G.DB")
    assert ids(odd / "G.DB") == ["1", "2", "3"]
    assert [c.id for c in iter_candidates(odd / "G.DB", "Ga")] == ["3"]
    assert count_candidates(odd / "G.DB") == 3
    in_glob = [f"G.DB#{k}" for k in (1, 2, 3)]
    assert ids(odd) == ids(f"{odd}/*.DB") == ids(f"{odd}/**/*") == in_glob
    (odd / "G.DB").rename(odd / "g.db")
    assert ids(f"{odd}/*.db") == ["g.db#1", "g.db#2", "g.db#3"]
    assert ids(f"{tmp_path}/*/g.db") == [f"d[1]/g.db#{k}" for k in (1, 2, 3)]
    assert count_candidates(f"{odd}/*.db") is None
    with pytest.raises(DataError, match=r"\*\.db: a query"):
        list(iter_candidates(f"{odd}/*.db", "Ga"))
    content = gzip.compress(b"1\nProperties=species:S:1:pos:R:3\nH 0 0 0\n")
    (tmp_path / "A.XYZ.GZ").write_bytes(content)
    assert ids(tmp_path / "A.XYZ.GZ") == ["A.XYZ.GZ#0"]


def test_run_of_a_screening_is_passed_over(folder: Path) -> None:
    before = ids(folder)
    for run in (folder, folder / "b" / "run"):
        run.mkdir(exist_ok=True)
        write(run / "relaxed.cif", bulk("Si"))
        for name in ("journal.sqlite", "journal.sqlite-wal", ".lock"):
            (run / name).touch()
        (run / "models").mkdir()  # of models that were in memory
        (run / "models" / "a.mft").touch()
    assert ids(folder) == sorted([*before, "relaxed.cif"])
    assert "b/run/relaxed.cif" not in ids(f"{folder}/**/*.cif")
    assert "journal.sqlite: error" not in ids(f"{folder}/*")


def test_folder_that_cannot_be_listed_is_a_row(as_nobody: Path) -> None:
    write(as_nobody / "a.cif", bulk("Si"))
    locked = as_nobody / "b" / "locked"
    locked.mkdir(mode=0, parents=True)
    assert "b/locked: error" in ids(as_nobody)


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no structure files found"):
        ids(tmp_path)


def test_database_in_a_folder(database: Path) -> None:
    assert ids(database.parent) == [f"crystals.db#{k}" for k in (1, 2, 3)]
