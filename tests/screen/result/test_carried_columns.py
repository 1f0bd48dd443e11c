from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.db import connect
from hypothesis import given
from hypothesis import strategies as st

from mftscreen import rank
from mftscreen.screen.result.carried_columns import (
    carried_columns,
    database_name,
    database_value,
)
from mftscreen.screen.result.columns import result_columns
from mftscreen.screen.result.store import write_records


def test_names_of_results_are_told_from_those_of_the_source() -> None:
    names = ["rank", "gap", "source_gap", "group", "gap_low"]
    columns = [column.name for column in carried_columns(names, {"gap": "eV"})]
    assert columns == [
        "source_rank", "source_gap", "source_source_gap", "group", "source_gap_low"
    ]  # fmt: skip
    assert not {c.name for c in result_columns({"gap": "eV"})} & set(columns)


@given(st.text(), st.one_of(st.text(min_size=1), st.integers(), st.booleans()))
def test_every_pair_is_one_that_ase_takes(name: str, value: Any) -> None:
    from ase.db.core import check

    key, kept = database_name(name, {"value"}), database_value(value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check({key: kept})
    assert key != "value"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "db", "parquet"])
def test_every_output_has_them(ending: str, tmp_path: Path, tiny_model: Path) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "atoms": [bulk("MgO", "rocksalt", a=4.2), bulk("Si")],
            "band gap": [7.8, 1.1],
            "energy": [-1.0, None],
            "Si": ["no", "yes"],
            "code": ["007", "1e3"],
        }
    )
    result = rank(table, goals="gap", models=tiny_model)
    path = tmp_path / f"out.{ending}"
    pairs = ((record, row.atoms) for record, row in zip(
        result.records(), result.rows, strict=True
    ))  # fmt: skip
    write_records(path, result.columns, pairs, foreign=result.foreign)
    if ending == "db":
        with connect(path) as database:
            rows = {row.candidate: row.key_value_pairs for row in database.select()}
        assert rows["id:0"]["band_gap"] == 7.8
        assert rows["id:0"]["source_energy"] == -1.0
        assert "source_energy" not in rows["id:1"]
        assert rows["id:1"]["source_Si"] == "yes"
        assert rows["id:1"]["code"] == "text:1e3"
        return
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}.get(ending)
    found = read(path) if read else pd.read_json(path, lines=True)
    assert found.sort_values("id")["band gap"].tolist() == [7.8, 1.1]


def test_a_database_has_them_in_one_place_and_apart_from_results(
    tmp_path: Path,
) -> None:
    header = ["id", "formula", "gap", "energy", "gap ", "energy of it", "group"]
    found = [
        ("a", "MgO", 7.0, -1.0, 8.0, 2.0, "g0"),
        ("b", "MgO", None, None, 99.0, None, 3),  # failed
    ]
    records = [(dict(zip(header, row, strict=True)), None) for row in found]
    write_records(tmp_path / "t.db", header, records, foreign=header[4:])
    with connect(tmp_path / "t.db") as database:
        first, second = (row.key_value_pairs for row in database.select())
    assert (first["gap"], first["predicted_energy"], first["source_gap"]) == (7, -1, 8)
    assert second == {"candidate": "id:b", "source_gap": 99.0, "group": 3}


def test_parquet_has_columns_of_one_type(tmp_path: Path) -> None:
    import pandas as pd

    values = {"mixed": ["g0", 1, None], "flag": [True, "no", None], "n": [1, 2, None]}
    values["known"] = [True, None, False]
    values["large"] = [2**70, 1, None]  # type: ignore[list-item]
    values["text"] = ["a", None, "b"]
    records = [
        ({"id": str(k), **{key: column[k] for key, column in values.items()}}, None)
        for k in range(3)
    ]
    path = tmp_path / "t.parquet"
    write_records(path, ["id", *values], records, foreign=list(values))
    found = pd.read_parquet(path)
    assert found["mixed"].tolist() == ["g0", "1", None]
    assert found["flag"].tolist() == ["True", "no", None]
    assert found["known"].tolist() == [True, None, False]
    assert found["large"].tolist() == [str(2**70), "1", None]
    assert found["text"].tolist() == ["a", None, "b"]
    assert found["n"].tolist()[:2] == [1, 2]
