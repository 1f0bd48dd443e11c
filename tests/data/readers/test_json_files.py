from __future__ import annotations

import gzip
import json
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.data.readers import (
    iter_json,
    iter_json_lines,
    iter_matbench,
)
from mftscreen.data.readers.records import iter_rows
from mftscreen.errors import DataError


def structure(symbol: str = "Cu", occupancy: float = 1) -> dict[str, Any]:
    species = [{"element": symbol, "occu": occupancy}]
    return {
        "lattice": {"matrix": [[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]]},
        "sites": [{"species": species, "abc": [0.5, 0, 0]}],
    }


def entry(name: str = "e", **attributes: Any) -> dict[str, Any]:
    default = {
        "cartesian_site_positions": [[0, 0, 0], [2.1, 0, 0]],
        "lattice_vectors": [[4.2, 0, 0], [0, 4.2, 0], [0, 0, 4.2]],
        "species_at_sites": ["magnesium", "O"],
        "species": [
            {"name": "magnesium", "chemical_symbols": ["Mg"], "concentration": [1.0]},
            {"name": "O", "chemical_symbols": ["O"], "concentration": [1.0]},
        ],
        "dimension_types": [1, 1, 0],
    }
    return {"id": name, "type": "structures", "attributes": default | attributes}


def rows(path: Path, reader: Callable = iter_json) -> list[tuple[str | None, str]]:
    return [
        (name, str(item.symbols) if isinstance(item, Atoms) else "error")
        for name, item, *_ in reader(path)
    ]


def dump(path: Path, content: Any) -> Path:
    text = json.dumps(content).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


HALF = structure(occupancy=0.5)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], []),
        ({"data": [], "meta": {}}, []),
        ([structure(), HALF, 7], [(None, "Cu"), (None, "error"), (None, "error")]),
        ({"mp-1": structure(), "ä": HALF}, [("mp-1", "Cu"), ("ä", "error")]),
        (structure("Fe"), [(None, "Fe")]),
        ([{"entry_id": "mp-3", "structure": structure()}], [("mp-3", "Cu")]),
        (
            {"entries": [{"entry_id": None, "energy": math.nan, "structure": HALF}]},
            [(None, "error")],
        ),
        ({"meta": {}, "data": [entry("a"), entry("b")]}, [("a", "MgO"), ("b", "MgO")]),
        ({"data": entry("only"), "links": None}, [("only", "MgO")]),
        (entry("alone"), [("alone", "MgO")]),
    ],
)
@pytest.mark.parametrize("name", ["some.json", "some.json.gz"])
def test_layouts(tmp_path: Path, name: str, content: Any, expected: list) -> None:
    assert rows(dump(tmp_path / name, content)) == expected


def test_pymatgens_own_documents(tmp_path: Path) -> None:
    from monty.json import MontyEncoder
    from pymatgen.core import Lattice, Structure
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    crystal = Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0, 0]])
    computed = ComputedStructureEntry(crystal, energy=-1.0, entry_id="mp-1")
    path = tmp_path / "entries.json"
    path.write_text(json.dumps([crystal, computed], cls=MontyEncoder))
    assert rows(path) == [(None, "MgO"), ("mp-1", "MgO")]
    (tmp_path / "one.json").write_text(crystal.to_json())
    ((_, atoms, *_),) = iter_json(tmp_path / "one.json")
    np.testing.assert_allclose(atoms.positions, [[0, 0, 0], [2.1, 0, 0]])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"gap": 1.2, "n": 2}', "unknown layout .*'gap'"),
        ("{}", "holds no structure$"),
        ('{"data": []}', "holds no structure in a list 'data'"),
        ('{"entries": []}', "holds no structure in a list 'data' or 'entries'"),
        ('{"meta": {}, "errors": []}', "holds no structure in a list 'data'"),
        ('{"index": [0], "columns": ["n"], "data": [[1]]}', "not a MatBench"),
        ('{"index": [0], "columns": ["structure"]}', "not a MatBench"),
        ('{"index": [0], "data": [[1]]}', "not a MatBench"),
        ('{"index": [0], "columns": ["structure"], "data": []}', "as many data"),
        ('"text"', "cannot be read as JSON: expected '{'"),
        ("", "ends too early"),
        ("[1, 2", "cannot be read as JSON: ends too early"),
        ("[1, 2] [3]", "expected nothing more"),
        ('[{"a": 1,]', "cannot be read as JSON"),
        ("{1: 2}", "expected a key in quotes"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("\x00\x01", "cannot be read as JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(content)
    with pytest.raises(DataError, match=reason):
        list(iter_json(path))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_truncated_file_gives_the_rows_it_holds_then_raises(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    numbers = np.random.default_rng(0).random(10_000)
    documents = [structure() | {"number": number} for number in numbers]
    text = compress(json.dumps(documents).encode())
    path = tmp_path / ("cut.json" if compress is bytes else "cut.json.gz")
    path.write_bytes(text[: -len(text) // 4])
    found = iter_json(path)
    assert isinstance(next(found)[1], Atoms)
    with pytest.raises(DataError, match="cannot be read as JSON"):
        list(found)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "many.json"
    document = json.dumps(structure())
    with path.open("w") as stream:
        stream.write("[" + document)
        stream.writelines("," + document for _ in range(100_000))
        stream.write("]")
    assert path.stat().st_size > 14e6
    tracemalloc.start()
    try:
        assert sum(1 for _ in zip(iter_json(path), range(4_000), strict=False)) == 4000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3e6


def test_json_lines_after_a_broken_one_are_read(tmp_path: Path) -> None:
    lines = [
        json.dumps({"x-optimade": {"meta": {"api_version": "1.2"}}}),
        json.dumps({"type": "info", "id": "structures", "properties": {}}),
        json.dumps(entry("a")),
        "",
        '{"id": "b", "attrib',
        json.dumps({"type": "references", "id": "r", "attributes": {}}),
        json.dumps(structure() | {"material_id": "mp-5"}),
    ]
    path = tmp_path / "some.jsonl"
    path.write_text("\ufeff" + "\n".join(lines))
    assert rows(path, iter_json_lines) == [
        ("a", "MgO"),
        (None, "error"),
        ("mp-5", "Cu"),
    ]
    assert "line 5 is not valid JSON" in str(list(iter_json_lines(path))[1][1])


def test_truncated_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl.gz"
    whole = gzip.compress(json.dumps(entry()).encode() * 9)
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="cannot be read past line"):
        list(iter_json_lines(path))


def test_matbench_rows_have_the_width_of_the_index(tmp_path: Path) -> None:
    table = {
        "index": list(range(10)),
        "columns": ["structure", "n"],
        "data": [[structure(), 1.5], *[[HALF, None]] * 9],
    }
    path = dump(tmp_path / "matbench_log_gvrh.json.gz", table)
    found = list(iter_matbench(path))
    assert [found[0][0], found[9][0]] == ["mb-log-gvrh-01", "mb-log-gvrh-10"]
    assert [found[0][2], found[9][2]] == [{"n": 1.5}, {"n": None}]
    with pytest.raises(DataError, match="not a MatBench"):
        list(iter_matbench(dump(tmp_path / "a.json", [structure()])))


def ase_database(path: Path) -> None:
    from ase.calculators.emt import EMT
    from ase.db import connect

    with connect(path) as rows:
        copper = bulk("Cu")
        copper.calc = EMT()
        copper.get_potential_energy()
        rows.write(copper, gap=1.5, data={"x": [1, 2]})
        rows.write(Atoms("OH", [[0, 0, 0], [0, 0, 1]]), name="water")


def test_ase_database_in_json(tmp_path: Path) -> None:
    ase_database(tmp_path / "two.json")
    first, second = iter_json(tmp_path / "two.json")
    assert (first.name, str(first.structure.symbols)) == ("1", "Cu")
    assert first.values["gap"] == 1.5
    assert first.values["forces"].shape == (1, 3)
    assert (second.name, second.structure.pbc.any()) == ("2", False)


def test_damaged_row_of_an_ase_database_in_json(tmp_path: Path) -> None:
    ase_database(tmp_path / "two.json")
    document = json.loads((tmp_path / "two.json").read_text())
    document["1"]["positions"] = "far"
    (tmp_path / "two.json").write_text(json.dumps(document))
    first, second = iter_json(tmp_path / "two.json")
    assert first.name == "1"
    assert "holds no valid structure of ASE" in str(first.structure)
    assert isinstance(second.structure, Atoms)


def test_atoms_of_ase_in_json(tmp_path: Path) -> None:
    from ase.io.jsonio import encode

    (tmp_path / "one.json").write_text(encode(bulk("Cu").todict()))
    (row,) = iter_json(tmp_path / "one.json")
    assert (row.name, str(row.structure.symbols)) == (None, "Cu")


@pytest.mark.parametrize("name", ["two.json", "two.jsonl"])
def test_encoded_atoms_of_ase(tmp_path: Path, name: str) -> None:
    from ase.io.jsonio import encode

    both = [bulk("Cu"), bulk("Si")]
    lines = "\n".join(map(encode, both))
    (tmp_path / name).write_text(lines if name.endswith("l") else encode(both))
    found = [str(row.structure.symbols) for row in iter_rows(tmp_path / name)]
    assert found == ["Cu", "Si2"]


@pytest.mark.parametrize(
    "order", ["ids nextid metadata 1 2", "1 2 metadata ids nextid"]
)
def test_database_of_ase_in_any_order(tmp_path: Path, order: str) -> None:
    ase_database(tmp_path / "two.json")
    document = json.loads((tmp_path / "two.json").read_text())
    document["metadata"] = {"title": "two"}
    ordered = {key: document[key] for key in order.split()}
    (tmp_path / "two.json").write_text(json.dumps(ordered))
    assert [row.name for row in iter_json(tmp_path / "two.json")] == ["1", "2"]


@pytest.mark.parametrize("column", ["material", "cif"])
def test_table_without_a_column_of_structures(tmp_path: Path, column: str) -> None:
    import pandas as pd

    table = pd.DataFrame({column: [structure("Cu"), structure("Si")], "gap": [1, 2]})
    table.to_json(tmp_path / "t.json")
    with pytest.raises(DataError, match=rf"'{column}', 'gap'.*column 'structure'"):
        list(iter_json(tmp_path / "t.json"))


@pytest.mark.parametrize("columns", ["structure gap", "gap material_id structure"])
@pytest.mark.parametrize("orient", ["columns", "index", "records", "split", "table"])
def test_tables_of_pandas(tmp_path: Path, orient: str, columns: str) -> None:
    import pandas as pd

    documents = [structure("Cu"), structure("Si")]
    table = pd.DataFrame(
        {"structure": documents, "gap": [1.5, 2.5], "material_id": ["mp-1", "007"]}
    )
    table[columns.split()].to_json(tmp_path / "t.json", orient=orient)
    found = list(iter_json(tmp_path / "t.json"))
    assert [str(row.structure.symbols) for row in found] == ["Cu", "Si"]
    assert [row.values["gap"] for row in found] == [1.5, 2.5]
    # the keys of a mapping are its ids
    if "material_id" in columns and orient != "index":
        assert [row.name for row in found] == ["mp-1", "007"]


def test_molecule_of_pymatgen(tmp_path: Path) -> None:
    from pymatgen.core import Molecule

    document = Molecule(["C", "O"], [[0, 0, 0], [0, 0, 1.1]]).as_dict()
    (tmp_path / "m.json").write_text(json.dumps({"a": document}))
    (row,) = iter_json(tmp_path / "m.json")
    assert not row.structure.pbc.any()
    assert row.structure.get_distance(0, 1) == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("species", "found"),
    [
        ([{"element": "Cu", "occu": 0.9999999}], "Cu"),
        ([{"element": "Cu2+", "occu": 1}], "Cu"),
        ([{"element": "D", "occu": 1}], "H"),
        ([{"element": "Cu", "occu": 0.5}], "occupied sites (Cu 0.5)"),
        ([{"element": "Cu", "occu": 0.5}, {"element": "Ag", "occu": 0.5}], "Ag 0.5"),
        ([{"element": "Va", "occu": 1}], "'Va' is a dummy atom or a vacancy"),
        ([{"element": "Qq", "occu": 1}], "'Qq' is no chemical symbol"),
    ],
)
def test_species_of_a_site(tmp_path: Path, species: list, found: str) -> None:
    document = structure()
    document["sites"][0]["species"] = species
    (tmp_path / "s.json").write_text(json.dumps([document]))
    (row,) = iter_json(tmp_path / "s.json")
    read = row.structure
    assert found in str(read.symbols if isinstance(read, Atoms) else read)
