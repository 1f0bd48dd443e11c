from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import re
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen.errors import DataError, StructureError
from mftscreen.screen.candidates.stream import (
    count_candidates,
    explain_empty,
    iter_candidates,
)

CRYSTALS = [
    bulk("Si"),
    bulk("MgO", "rocksalt", a=4.2),
    bulk("GaAs", "zincblende", a=5.6),
]


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
    *frames, last = iter_candidates(extxyz)
    assert [frame.atoms is not None for frame in frames] == [True] * 3
    assert last.id == "crystals.extxyz"
    assert isinstance(last.structure, DataError)
    assert "frame 3 should begin" in str(last.structure)
    extxyz.write_text("no number of atoms\n")
    with pytest.raises(DataError, match="frame 0 should begin"):
        list(iter_candidates(extxyz))


@pytest.mark.parametrize("name", ["pool.jsonl.gz", "pool.json.gz", "pool.csv.gz"])
def test_truncated_file_ends_in_a_row_that_says_so(tmp_path: Path, name: str) -> None:
    rows = [LINE.replace("3", str(3 + k / 1000)) for k in range(4000)]
    if ".csv" in name:
        text = "structure\n" + "\n".join(
            '"{}"'.format(row.replace('"', '""')) for row in rows
        )
    else:
        text = "\n".join(rows) if "l.gz" in name else f"[{','.join(rows)}]"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode())[:-500])
    *found, last = iter_candidates(path)
    assert len(found) > 2
    assert all(candidate.atoms is not None for candidate in found)
    assert last.id == name
    assert "cannot be read" in str(last.structure)


def test_one_byte_that_is_no_utf8_costs_nothing(tmp_path: Path) -> None:
    frame = "1\nProperties=species:S:1:pos:R:3 name=Zürich\nH 0 0 0\n".encode("latin-1")
    (tmp_path / "x.extxyz").write_bytes(frame * 2)
    assert ids(tmp_path / "x.extxyz") == [r"Z\udcfcrich", r"Z\udcfcrich#2"]
    document = LINE.replace("{", '{"id": "Zürich", ', 1).encode("latin-1")
    (tmp_path / "x.jsonl").write_bytes(document + b"\n" + LINE.encode())
    assert ids(tmp_path / "x.jsonl") == [r"Z\udcfcrich", "x.jsonl#1"]
    write(tmp_path / "a.cif", CRYSTALS[1])
    (tmp_path / "x.csv").write_bytes("id,file\nZürich,a.cif\n".encode("latin-1"))
    assert ids(tmp_path / "x.csv") == [r"Z\udcfcrich"]


def test_ids_and_reasons_can_be_written_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[{"id": "a\\ud800"}, {"id": "b", "lattice": {"\\ud800": 1}}]')
    first, second = iter_candidates(path)
    assert (first.id, second.id) == (r"a\ud800", "b")
    name = os.fsdecode(b"\xff.cif")
    (tmp_path / name).write_text("nothing")
    (only,) = iter_candidates(f"{tmp_path}/*.cif")
    assert only.id == r"\udcff.cif"
    assert str(only.structure).encode()
    assert only.structure.status == "unreadable"


def test_frame_that_makes_the_parser_fail_in_any_way(tmp_path: Path) -> None:
    nested = "[" * 100_000 + "]" * 100_000
    text = f'1\nProperties=species:S:1:pos:R:3 x="_JSON {nested}"\nH 0 0 0\n'
    (tmp_path / "x.extxyz").write_text(text + FRAME)
    first, second = iter_candidates(tmp_path / "x.extxyz")
    assert isinstance(first.structure, DataError)
    assert "frame 0 is not valid extxyz" in str(first.structure)
    assert second.atoms is not None


def test_number_beyond_all_floats(tmp_path: Path) -> None:
    huge = LINE.replace("[3, 0, 0]", f"[1{'0' * 400}, 0, 0]")
    (tmp_path / "x.jsonl").write_text(f"{huge}\n{LINE}\n")
    assert ids(tmp_path / "x.jsonl") == ["x.jsonl#0: error", "x.jsonl#1"]


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


@pytest.mark.parametrize("name", ["notes", "a.gz", "a.db.gz", "a.txt"])
def test_unknown_format_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    text = b"no structure"
    (tmp_path / name).write_bytes(gzip.compress(text) if ".gz" in name else text)
    with pytest.raises(DataError, match=r"unknown format; expected .db, .*optimade:"):
        list(iter_candidates(tmp_path / name))


@pytest.mark.parametrize("name", ["POSCAR", "a.cif", "a.csv", "a.traj", "a.json.gz"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name}: "):
        list(iter_candidates(tmp_path / name))


@pytest.mark.parametrize(
    "name", ["none.db", "none.extxyz", "none.xyz.gz", "none.cif", "none.csv", "*.cif"]
)
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=re.escape(name)):
        list(iter_candidates(tmp_path / name))
    assert not list(tmp_path.iterdir())


def ids(source: str | Path) -> list[str]:
    return [
        candidate.id if candidate.atoms is not None else f"{candidate.id}: error"
        for candidate in iter_candidates(source)
    ]


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("name", ["x.traj", "x.cif", "POSCAR"])
def test_compressed_files(tmp_path: Path, name: str, suffix: str) -> None:
    formats = {"x.traj": "traj", "x.cif": "cif", "POSCAR": "vasp"}
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    write(tmp_path / "plain", CRYSTALS[1], format=formats[name])
    content = compress.get(suffix, bytes)((tmp_path / "plain").read_bytes())
    path = tmp_path / (name + suffix)
    path.write_bytes(content)
    assert formulas(path) == ["MgO"]
    if suffix:
        path.write_bytes(content[:-9])
        with pytest.raises(DataError, match="cannot be decompressed"):
            ids(path)


def cif(symbols: list[str], occupancies: list[float]) -> str:
    rows = "".join(
        f"{symbol}{k} {symbol} 0 0 0 {share}\n"
        for k, (symbol, share) in enumerate(zip(symbols, occupancies, strict=True))
    )
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy"]
    names = "".join(f"_atom_site_{column}\n" for column in columns)
    cell = "".join(f"_cell_length_{x} 4.2\n" for x in "abc")
    angles = "".join(f"_cell_angle_{x} 90\n" for x in ("alpha", "beta", "gamma"))
    group = "_symmetry_space_group_name_H-M 'P 1'\n"
    return f"data_x\n{cell}{angles}{group}loop_\n{names}{rows}"


@pytest.mark.parametrize(
    ("symbols", "occupancies", "ordered"),
    [
        (["Fe"], [1.0], True),
        (["Fe"], [0.5], False),
        (["Fe", "Co"], [0.5, 0.5], False),
    ],
)
def test_disordered_cif_is_a_row_of_its_own_kind(
    tmp_path: Path, symbols: list[str], occupancies: list[float], ordered: bool
) -> None:
    (tmp_path / "x.cif").write_text(cif(symbols, occupancies))
    (only,) = iter_candidates(tmp_path / "x.cif")
    assert isinstance(only.structure, Atoms if ordered else StructureError)
    assert ordered or "disordered or partially occupied" in str(only.structure)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.cif", "junk\n", r"x.cif: not a valid CIF: .*data_"),
        ("POSCAR", "x\n", r"POSCAR: cannot be read as vasp: "),
        ("x.traj", "junk\n", r"x.traj: cannot be read as traj: "),
        ("x.csv", "id;file\na;b.cif\n", "a comma-separated table is needed"),
    ],
)
def test_reason_says_what_was_tried(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=reason):
        ids(tmp_path / name)


def test_row_that_names_a_folder(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "x.csv").write_text("id,file\na,below\n")
    (only,) = iter_candidates(tmp_path / "x.csv")
    assert str(only.structure) == (
        f"{tmp_path / 'below'}: cannot be read: it is a folder, not a file"
    )


def test_nothing_found_names_what_no_row_has(database: Path) -> None:
    text = explain_empty(database, "gap>3,source=made_up,colour,Si,natoms<0")
    assert text.endswith(f"in {database}; no row has colour, gap")
    assert "no row has" not in explain_empty(database, "source=other,Si9")
    assert explain_empty("x.json") == "no candidate in x.json"
    url = "optimade://example.org"
    assert explain_empty(url, "nsites=2").endswith(f"'nsites=2' in {url}")


def test_rows_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path / "below" / "a.cif", CRYSTALS[1])
    document = json.dumps(
        {
            "lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]},
            "sites": [{"species": [{"element": "Po", "occu": 1}], "abc": [0, 0, 0]}],
        }
    )
    long = cif(["Fe"], [1.0]) + "# " + "x" * 200_000 + "\n"
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["\ufeffid", "gap", "Structure"])
        rows.writerow(["a", 1, "below/a.cif"])
        rows.writerow(["text", 1, long])
        rows.writerow(["json", 1, document])
        rows.writerow(["mixed", 1, cif(["Fe"], [0.5])])
        rows.writerow(["gone", 1, "below/none.cif"])
        rows.writerow(["a", 1])
        rows.writerow(["", 1, "below/a.cif"])
        rows.writerow(["bad", 1, "{"])
    limit = csv.field_size_limit()
    assert ids(tmp_path / "t.csv") == [
        "a",
        "text",
        "json",
        "mixed: error",
        "gone: error",
        "a#2: error",
        "t.csv#6",
        "bad: error",
    ]
    assert csv.field_size_limit() == limit


def test_table_of_names_and_table_without(tmp_path: Path) -> None:
    write(tmp_path / "x.cif", CRYSTALS[1])
    path = tmp_path / "id.csv"
    path.write_text("id,gap\nx,1\ny,2\n")
    assert ids(path) == ["x", "y: error"]
    path.write_text("gap,n\n1,2\n")
    with pytest.raises(DataError, match=r"no column file, path, .* columns are gap, n"):
        ids(path)


def test_ids_that_occur_again_are_numbered(tmp_path: Path) -> None:
    names = ["a", "a#2", "a", "a", "a#2"]
    frames = [Atoms("H", info={"name": name}) for name in names]
    write(tmp_path / "x.extxyz", frames)
    assert ids(tmp_path / "x.extxyz") == ["a", "a#2", "a#3", "a#4", "a#2#2"]


def test_numbers_of_candidates(folder: Path, database: Path, extxyz: Path) -> None:
    assert count_candidates(database) == 3
    assert count_candidates(str(database), "Ga") == 1
    assert count_candidates(folder / "b" / "path.traj") == 3
    assert count_candidates(f"{folder}/*.cif") == 2
    assert count_candidates(folder) is None
    assert count_candidates(extxyz) is None
    with pytest.raises(DataError, match="malformed"):
        count_candidates(database, "natoms<<3")


FRAME = "1\nProperties=species:S:1:pos:R:3\nH 0 0 0\n"
LINE = json.dumps(
    {
        "lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]},
        "sites": [{"species": [{"element": "Po", "occu": 1}], "abc": [0, 0, 0]}],
    }
)


@pytest.mark.parametrize(
    ("name", "before", "item"),
    [
        ("pipe.extxyz", "", FRAME),
        ("pipe.jsonl", "", LINE + "\n"),
        ("pipe.json", "[" + LINE, "," + LINE),
    ],
)
def test_nothing_is_read_ahead_of_demand(
    tmp_path: Path, name: str, before: str, item: str
) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    batch, written = item * (1 + 4096 // len(item)), 0

    def feed() -> None:
        nonlocal written
        with suppress(BrokenPipeError), path.open("w") as pipe:
            pipe.write(before)
            while written < 50e6:
                pipe.write(batch)
                written += len(batch)

    writer = threading.Thread(target=feed, daemon=True)
    writer.start()
    found = iter_candidates(path)
    assert all(next(found).atoms is not None for _ in range(5))
    found.close()
    writer.join(timeout=30)
    assert not writer.is_alive()
    assert 0 < written < 1e6
