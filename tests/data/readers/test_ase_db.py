"""ASE databases: rows, queries, damage."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mftscreen.data.readers import (
    count_ase_db,
    iter_ase_db,
)
from mftscreen.errors import DataError


@pytest.fixture
def database(tmp_path: Path, frames: list[Atoms]) -> Path:
    path = tmp_path / "three.db"
    with connect(path) as rows:
        for atoms, gap in zip(frames, (1.1, 7.0, 5.0), strict=True):
            rows.write(atoms, gap=gap)
    return path


@pytest.mark.parametrize(
    ("query", "ids"),
    [(None, [1, 2, 3]), ("", [1, 2, 3]), ("gap>2", [2, 3]), ("O,natoms<3", [3])],
)
def test_ase_db_rows_match_the_query(
    database: Path, query: str | None, ids: list[int]
) -> None:
    assert [number for number, _ in iter_ase_db(database, query)] == ids


@pytest.mark.parametrize(
    "query",
    ["gap>>2", "natoms<", "=", "gap>", ",,", "a b", "foo(", "age<3", "gap=1=2"],
)
def test_malformed_query_is_named(database: Path, query: str) -> None:
    with pytest.raises(DataError, match=f"query '{re.escape(query)}' "):
        list(iter_ase_db(database, query))


@pytest.mark.parametrize("query", ["gap>2, O", " gap > 2", "1<natoms<3,O", "MgO"])
def test_query_as_people_write_it(database: Path, query: str) -> None:
    expected = {" gap > 2": [], "gap>2, O": [2, 3]}.get(query, [3])
    assert [number for number, _ in iter_ase_db(database, query)] == expected


def test_rows_of_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mftscreen.data.readers.ase_db._PAGE", 3)
    path = tmp_path / "many.db"
    with connect(path) as rows:
        for number in range(10):
            rows.write(bulk("Si"), even=number % 2 == 0, data={"big": "x" * 1000})
        rows.delete([4])
    assert [number for number, _ in iter_ase_db(path)] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert [number for number, _ in iter_ase_db(path, "even=1")] == [1, 3, 5, 7, 9]
    assert (count_ase_db(path), count_ase_db(path, "even=1")) == (9, 5)


def test_lmdb_database(tmp_path: Path, frames: list[Atoms]) -> None:
    pytest.importorskip("ase_db_backends", reason="the extra 'db' is not installed")
    path = tmp_path / "some.aselmdb"
    with connect(path, type="aselmdb") as rows:
        for atoms, gap in zip(frames, (1.1, 7.0, 5.0), strict=True):
            rows.write(atoms, gap=gap)
    assert [str(row.toatoms().symbols) for _, row in iter_ase_db(path)] == [
        "Si2",
        "OH2",
        "MgO",
    ]
    assert [number for number, _ in iter_ase_db(path, "gap>2")] == [2, 3]
    assert (count_ase_db(path), count_ase_db(path, "gap>2")) == (3, None)


def test_lmdb_database_that_is_cut_short(tmp_path: Path) -> None:
    pytest.importorskip("ase_db_backends", reason="the extra 'db' is not installed")
    path = tmp_path / "pool.aselmdb"
    with connect(path, type="aselmdb") as database:
        for k in range(200):
            database.write(bulk("Si", a=5.0 + 0.01 * k).repeat((2, 2, 1)))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match="is cut short"):
        list(iter_ase_db(path))


def test_server_that_is_not_there_is_named_without_its_password() -> None:
    url = "postgresql://ase:secret@127.0.0.1:9/pool"
    with pytest.raises(DataError, match=r"mftscreen\[db\]|opened|answered") as error:
        list(iter_ase_db(url))
    assert "secret" not in str(error.value)
    assert "ase:***@" in str(error.value)


def test_missing_database_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(iter_ase_db(tmp_path / "none.db"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["some.db", "list.json", "mapping.json"])
def test_file_that_is_no_database(tmp_path: Path, name: str) -> None:
    content = {"mapping.json": '{"a": 1}'}.get(name, "[this is no database, " * 20)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=name):
        list(iter_ase_db(tmp_path / name))


def test_other_sqlite_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table things (x int)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="no table 'systems'"):
        list(iter_ase_db(path))
    assert path.read_bytes() == before


def test_damaged_row_of_a_database_is_an_item(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "three.db"
    with connect(path) as database:
        for symbol in ("Si", "Ge", "C"):
            database.write(bulk(symbol, "diamond", a=5.0))
    with sqlite3.connect(path) as connection:
        connection.execute("update systems set positions = x'00' where id = 2")
    connection.close()
    rows = dict(iter_ase_db(path))
    assert list(rows) == [1, 2, 3]
    assert isinstance(rows[2], DataError)
    assert rows[3].toatoms().symbols[0] == "C"
