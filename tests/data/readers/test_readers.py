from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write

from mftscreen.data.readers import (
    candidate_id,
    count_ase_db,
    iter_ase_db,
    iter_extxyz,
    open_text,
    pymatgen_dict_to_atoms,
)
from mftscreen.errors import DataError, StructureError

FRAMES = [bulk("Si"), molecule("H2O"), bulk("MgO", "rocksalt", a=4.2)]


@pytest.fixture
def text(tmp_path: Path) -> str:
    write(tmp_path / "written.extxyz", FRAMES)
    return (tmp_path / "written.extxyz").read_text()


def formulas(path: Path) -> list[str]:
    return [
        "error" if isinstance(item, DataError) else str(item.symbols)
        for item in iter_extxyz(path)
    ]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
    ],
)
def test_frames_are_those_that_were_written(
    tmp_path: Path, text: str, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"frames.extxyz{suffix}"
    path.write_bytes(compress(text.encode()))
    for found, written in zip(iter_extxyz(path), FRAMES, strict=True):
        assert isinstance(found, Atoms)
        assert found.symbols.get_chemical_formula("reduce") == (
            written.symbols.get_chemical_formula("reduce")
        )
        np.testing.assert_allclose(found.positions, written.positions, atol=1e-7)
        np.testing.assert_array_equal(found.pbc, written.pbc)


def test_blank_lines_between_frames_are_skipped(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.xyz"
    path.write_text(f"\n{text}\n\n{text}\n")
    assert formulas(path) == ["Si2", "OH2", "MgO"] * 2


@pytest.mark.parametrize("broken", ["O 0 zero 0", "O 0 0", "Xx 0 0 0", ""])
def test_later_frames_are_read_after_a_broken_one(
    tmp_path: Path, text: str, broken: str
) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(f"{text}1\nProperties=species:S:1:pos:R:3\n{broken}\n{text}")
    items = list(iter_extxyz(path))
    assert [isinstance(item, DataError) for item in items] == [False] * 3 + [True] + (
        [False] * 3
    )
    assert f"{path}: frame 3 is not valid extxyz" in str(items[3])


def test_last_frame_with_too_few_atoms_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    assert formulas(path) == ["Si2", "OH2", "error"]


def test_line_that_should_count_atoms_but_does_not(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(f"{text}two atoms\n{text}")
    frames = iter_extxyz(path)
    assert [len(next(frames)) for _ in FRAMES] == [2, 3, 2]
    with pytest.raises(DataError, match=r"frame 3 should begin .* found 'two atoms'"):
        next(frames)


def test_number_of_atoms_beyond_all_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(f"{text}{'9' * 30}\n{text}")
    with pytest.raises(DataError, match="frame 3 should begin"):
        list(iter_extxyz(path))


def test_truncated_gz_is_an_error_after_the_frames_it_holds(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "frames.extxyz.gz"
    whole = gzip.compress(text.encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read past frame"):
        list(iter_extxyz(path))


@pytest.mark.parametrize(
    "content",
    [b"not gzip at all", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 40],
    ids=["no header", "bad data"],
)
def test_damaged_gz_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frames.extxyz.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"frames\.extxyz\.gz"):
        list(iter_extxyz(path))


def test_zstandard(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.xyz.zst"
    path.write_bytes(b"")
    try:
        from backports import zstd
    except ModuleNotFoundError:
        with pytest.raises(DataError, match=r"pip install 'mftscreen\[zstd\]'"):
            list(iter_extxyz(path))
        return
    whole = zstd.compress(text.encode())
    path.write_bytes(whole)
    assert formulas(path) == ["Si2", "OH2", "MgO"]
    for damaged in (whole[: len(whole) // 2], b"\0" * 90):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read past frame 0"):
            list(iter_extxyz(path))


def test_damaged_xz_and_binary_files_are_errors(tmp_path: Path) -> None:
    for name in ("frames.xyz", "frames.xyz.xz"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x80" * 10)
        with pytest.raises(DataError, match=name):
            list(iter_extxyz(tmp_path / name))


def test_missing_file_and_directory_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "none.xyz", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            open_text(path)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, "some.extxyz#7"),
        ({"mp_id": "mp-3"}, "mp-3"),
        ({"mp_id": "mp-3", "material_id": "a"}, "a"),
        ({"material_id": "a", "name": "b", "id": 12}, "12"),
        ({"title": "x"}, "some.extxyz#7"),
        ({"id": None, "name": " ", "entry_id": 0}, "0"),
    ],
)
def test_candidate_id(info: dict[str, object], expected: str) -> None:
    atoms = Atoms("H", info=info)
    assert candidate_id(atoms, Path("folder/some.extxyz"), 7) == expected


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "three.db"
    with connect(path) as rows:
        for atoms, gap in zip(FRAMES, (1.1, 7.0, 5.0), strict=True):
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


def test_lmdb_database(tmp_path: Path) -> None:
    pytest.importorskip("ase_db_backends", reason="the extra 'db' is not installed")
    path = tmp_path / "some.aselmdb"
    with connect(path, type="aselmdb") as rows:
        for atoms, gap in zip(FRAMES, (1.1, 7.0, 5.0), strict=True):
            rows.write(atoms, gap=gap)
    assert [str(row.toatoms().symbols) for _, row in iter_ase_db(path)] == [
        "Si2",
        "OH2",
        "MgO",
    ]
    assert [number for number, _ in iter_ase_db(path, "gap>2")] == [2, 3]
    assert (count_ase_db(path), count_ase_db(path, "gap>2")) == (3, None)


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


def pymatgen_structure(**kwargs: Any) -> Any:
    from pymatgen.core import Lattice, Structure

    lattice = Lattice.from_parameters(3.1, 4.2, 5.3, 80, 95, 110)
    coordinates = [[0, 0, 0], [0.4, -0.1, 1.2], [0.7, 0.5, 0.5]]
    return Structure(lattice, ["Fe", "O", "O"], coordinates, **kwargs)


def test_pymatgen_document_gives_pymatgens_own_conversion() -> None:
    from pymatgen.io.ase import AseAtomsAdaptor

    structure = pymatgen_structure()
    found = pymatgen_dict_to_atoms(structure.as_dict())
    expected = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    assert list(found.numbers) == list(expected.numbers)
    np.testing.assert_allclose(found.cell, expected.cell, atol=1e-12)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-12)
    assert found.pbc.all()


def test_pymatgen_document_with_oxidation_states_and_pbc() -> None:
    structure = pymatgen_structure()
    structure.add_oxidation_state_by_element({"Fe": 4, "O": -2})
    document = structure.as_dict()
    document["lattice"]["pbc"] = (True, True, False)
    atoms = pymatgen_dict_to_atoms(document)
    assert list(atoms.symbols) == ["Fe", "O", "O"]
    assert atoms.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize("species", [{"Fe": 0.5, "Co": 0.5}, {"Fe": 0.5}])
def test_disordered_pymatgen_document_is_refused(species: dict[str, float]) -> None:
    structure = pymatgen_structure()
    structure[0] = species
    with pytest.raises(StructureError, match="disordered"):
        pymatgen_dict_to_atoms(structure.as_dict())


def test_other_documents_are_refused() -> None:
    flat = pymatgen_structure().as_dict()
    flat["lattice"]["matrix"] = [[1.0, 2.0]]
    for document in ({}, {"lattice": None, "sites": [{}]}, [], flat):
        with pytest.raises(StructureError, match="not a pymatgen structure"):
            pymatgen_dict_to_atoms(document)
    unknown = pymatgen_structure().as_dict()
    unknown["sites"][0]["species"][0]["element"] = "Qq"
    with pytest.raises(StructureError, match="'Qq' is no chemical symbol"):
        pymatgen_dict_to_atoms(unknown)


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


@pytest.mark.parametrize("text", ["2\n", "1\ncomment\nH 0 0 0\n2\ncomment\nH 0 0 0\n"])
def test_file_that_ends_too_early(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cut.extxyz"
    path.write_text(text)
    assert isinstance(list(iter_extxyz(path))[-1], DataError)
