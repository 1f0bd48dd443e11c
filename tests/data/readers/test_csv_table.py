from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen.data.readers import iter_csv, iter_rows
from mftscreen.errors import DataError
from mftscreen.screen.candidates.stream import iter_candidates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "ok.cif", bulk("Si"))
    return tmp_path


def read(folder: Path, text: str | bytes) -> dict[str, str]:
    """Return formulas or reasons by id."""
    path = folder / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return {
        c.id: str(c.structure if c.atoms is None else c.atoms.symbols)
        for c in iter_candidates(path)
    }


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x" * 300, "too long"),
        ("pipe.cif", "it is a pipe, socket or device"),
        ("/dev/zero", "it is a pipe, socket or device"),
        ("below", "it is a folder"),
        ("a\0b", "null byte"),
        ("none.cif", "No such file"),
        ('"two\nlines"', "a cell of 2 lines; is a quote left open?"),
    ],
)
def test_one_bad_cell_is_one_row(folder: Path, cell: str, reason: str) -> None:
    os.mkfifo(folder / "pipe.cif")
    (folder / "below").mkdir()
    found = read(folder, f"id,file\na,ok.cif\nbad,{cell}\nb,ok.cif\nc,ok.cif\n")
    assert list(found) == ["a", "bad", "b", "c"]
    assert reason in found.pop("bad")
    assert set(found.values()) == {"Si2"}


def test_id_that_names_no_file_says_where_files_may_stand(folder: Path) -> None:
    found = read(folder, "id,gap\nok,1\nother,2\n")
    assert found["ok"] == "Si2"
    assert "other.cif: no such file; without a column file, path" in found["other"]


def test_file_without_permission(as_nobody: Path) -> None:
    write(as_nobody / "ok.cif", bulk("Si"))
    write(as_nobody / "closed.cif", bulk("Si"))
    (as_nobody / "closed.cif").chmod(0)
    found = read(as_nobody, "id,file\nbad,closed.cif\nb,ok.cif\n")
    assert "Permission denied" in found["bad"]
    assert found["b"] == "Si2"


def test_pipe_in_a_folder_is_one_candidate(folder: Path) -> None:
    for name in ("a.cif", "b.extxyz"):
        os.mkfifo(folder / name)
    found = {c.id: c.structure for c in iter_candidates(folder)}
    assert [isinstance(s, Atoms) for s in found.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("id,file\n007,ok.cif\n1e3,ok.cif\nnan,ok.cif\n", ["007", "1e3", "nan"]),
        ("id,file\nNone,ok.cif\nT,ok.cif\n", ["None", "T"]),
        ("# a\n# b\nid,file\nx,ok.cif\n", ["x"]),
        ("# id,file\nx,ok.cif\n", ["x"]),
        ("#,file\n1,ok.cif\n", ["t.csv#0"]),
        ("id,file,,\nx,ok.cif,,\n", ["x"]),
        ("id,file\nü,ok.cif\n".encode("utf-8-sig"), ["ü"]),
        ("id,file\nü,ok.cif\n".encode("utf-16"), ["ü"]),
        ("id,file\nü,ok.cif\n".encode("utf-16-le"), ["ü"]),
    ],
)
def test_tables_that_are_read(folder: Path, text: str | bytes, ids: list[str]) -> None:
    found = read(folder, text)
    assert list(found) == ids
    assert set(found.values()) == {"Si2"}


@pytest.mark.parametrize(
    ("header", "name"),
    [("id,file,gap,gap", "gap"), ("id,ID,file", "id"), ("File,file", "file")],
)
def test_ambiguous_columns(folder: Path, header: str, name: str) -> None:
    with pytest.raises(DataError, match=f"several columns are called '{name}'"):
        read(folder, f"{header}\na,b,c,d\n")


def test_columns_that_differ_in_case_only_are_two(folder: Path) -> None:
    (folder / "t.csv").write_text("file,Eg,eg\nok.cif,1,2\n")
    (row,) = iter_rows(folder / "t.csv")
    assert (row.values["Eg"], row.values["eg"]) == ("1", "2")


def test_decimal_comma_does_not_shift_a_label(folder: Path) -> None:
    found = read(folder, "id,file,gap\na,ok.cif,1,5\nb,ok.cif,2,,\nc,ok.cif\n")
    assert "row 0 has 4 cells, but there are 3 columns" in found["a"]
    assert found["b"] == found["c"] == "Si2"


def test_row_that_may_be_commented_out(folder: Path) -> None:
    found = read(folder, "id,file\n#a,ok.cif\nb,ok.cif\n")
    assert "begins with '#'" in found["#a"]
    assert found["b"] == "Si2"


def test_two_tables_are_read_by_turns(folder: Path) -> None:
    site = {"species": [{"element": "Si", "occu": 1}], "abc": [0, 0, 0]}
    document = {"lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}}
    long = json.dumps(document | {"sites": [site | {"label": "x" * 200_000}]})
    for name in ("a.csv", "b.csv"):
        with (folder / name).open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["id", "structure"])
            table.writerows([[str(k), long] for k in range(3)])
    first, second = iter_csv(folder / "a.csv"), iter_csv(folder / "b.csv")
    next(first), next(second)
    assert [len(list(rest)) for rest in (first, second)] == [2, 2]
