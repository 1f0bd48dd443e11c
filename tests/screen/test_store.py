from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mftscreen.errors import DataError
from mftscreen.screen.pipeline import ScreenRow
from mftscreen.screen.store import (
    columns,
    format_table,
    result_records,
    write_csv,
    write_records,
    write_results,
)

MGO = bulk("MgO", "rocksalt", a=4.2)
ENDINGS = ["csv", "jsonl", "db"]

BEST = ScreenRow(
    id="mp-1265", formula="MgO", value=5.25, unit="eV", ood_p_value=0.5, ood=False,
    low_dimensional=False, status="ok", reason="", model="mdeadbeef0123", atoms=MGO,
)  # fmt: skip
FLAGGED = replace(
    BEST, id="12", formula="Si", value=0.0, ood_p_value=0.0, ood=True,
    low_dimensional=True, reason='elements never seen: "Si", 5 Å', atoms=bulk("Si"),
)  # fmt: skip
NO_DETECTOR = replace(
    BEST, id="True", value=-1.5, ood_p_value=None, ood=None, low_dimensional=None
)
UNREADABLE = replace(
    BEST, id="x.xyz#3", formula="", value=None, ood_p_value=None, ood=None,
    low_dimensional=None, status="unreadable", reason="frame 3 is not valid extxyz",
    atoms=None,
)  # fmt: skip
NOT_FINITE = replace(
    UNREADABLE, id="nan", formula="H", status="invalid_geometry",
    reason="the position of atom 0 (H) is not finite",
    atoms=Atoms("H", positions=[[np.nan, 0, 0]]),
)  # fmt: skip
RANKED = [
    (1, BEST), (2, FLAGGED), (3, NO_DETECTOR), (None, UNREADABLE), (None, NOT_FINITE),
]  # fmt: skip


def test_csv_columns_and_values(tmp_path: Path) -> None:
    write_results(tmp_path / "top.csv", RANKED, "gap")
    lines = (tmp_path / "top.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "rank,id,formula,gap,unit,ood_p_value,ood,low_dimensional,status,reason,model",
        "1,mp-1265,MgO,5.25,eV,0.5,False,False,ok,,mdeadbeef0123",
        '2,12,Si,0.0,eV,0.0,True,True,ok,"elements never seen: ""Si"", 5 Å",'
        "mdeadbeef0123",
        "3,True,MgO,-1.5,eV,,,,ok,,mdeadbeef0123",
        ",x.xyz#3,,,eV,,,,unreadable,frame 3 is not valid extxyz,mdeadbeef0123",
        ",nan,H,,eV,,,,invalid_geometry,the position of atom 0 (H) is not finite,"
        "mdeadbeef0123",
    ]


def test_csv_values_are_read_back_exactly() -> None:
    stream = io.StringIO()
    value = 0.1 + 0.2
    rows = [(1, replace(BEST, value=value, reason="two\nlines"))]
    write_csv(stream, columns("gap"), result_records(rows, "gap"))
    (record,) = csv.DictReader(io.StringIO(stream.getvalue()))
    assert float(record["gap"]) == value
    assert record["reason"] == "two\nlines"


def test_jsonl_has_one_complete_record_per_line(tmp_path: Path) -> None:
    write_results(tmp_path / "top.jsonl", RANKED, "gap")
    text = (tmp_path / "top.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    assert records[0] == {
        "rank": 1, "id": "mp-1265", "formula": "MgO", "gap": 5.25, "unit": "eV",
        "ood_p_value": 0.5, "ood": False, "low_dimensional": False, "status": "ok",
        "reason": "", "model": "mdeadbeef0123",
    }  # fmt: skip
    assert "5 Å" in text
    assert [record["rank"] for record in records] == [1, 2, 3, None, None]
    assert [record["gap"] for record in records] == [5.25, 0.0, -1.5, None, None]


def read_db(path: Path) -> list[Any]:
    return list(connect(path).select())


def test_db_rows_hold_structures_and_values(tmp_path: Path) -> None:
    write_results(tmp_path / "top.db", RANKED, "gap")
    best, flagged, no_detector, *_ = read_db(tmp_path / "top.db")
    assert best.toatoms() == MGO
    assert (best["rank"], best.gap, best.unit, best.status) == (1, 5.25, "eV", "ok")
    assert (best.ood_p_value, bool(best.ood)) == (0.5, False)
    assert best.model == "mdeadbeef0123"
    assert (flagged.gap, flagged.ood_p_value, bool(flagged.ood)) == (0.0, 0.0, True)
    assert flagged.reason == FLAGGED.reason
    assert "ood" not in no_detector
    assert "ood_p_value" not in no_detector


def test_db_keeps_rows_that_failed(tmp_path: Path) -> None:
    write_results(tmp_path / "top.db", RANKED, "gap")
    unreadable, not_finite = read_db(tmp_path / "top.db")[3:]
    assert (unreadable.natoms, unreadable.status) == (0, "unreadable")
    assert unreadable.reason == UNREADABLE.reason
    assert not_finite.status == "invalid_geometry"
    assert np.isnan(not_finite.positions[0, 0])
    for row in (unreadable, not_finite):
        assert "gap" not in row
        assert "rank" not in row


def test_db_keeps_ids_that_look_like_numbers(tmp_path: Path) -> None:
    write_results(tmp_path / "top.db", RANKED, "gap")
    rows = read_db(tmp_path / "top.db")
    assert [row.candidate.removeprefix("id:") for row in rows] == [
        "mp-1265", "12", "True", "x.xyz#3", "nan",
    ]  # fmt: skip


def test_db_can_be_queried(tmp_path: Path) -> None:
    write_results(tmp_path / "top.db", RANKED, "gap")
    database = connect(tmp_path / "top.db")
    assert [row["rank"] for row in database.select("gap>-2,status=ok")] == [1, 2, 3]
    assert [row["rank"] for row in database.select("ood=True")] == [2]
    assert [row.gap for row in database.select("rank=1")] == [5.25]


@pytest.mark.parametrize("ending", ENDINGS)
def test_table_with_other_columns(tmp_path: Path, ending: str) -> None:
    values = {"id": "7", "formula": "MgO", "distance": 0.5, "nearest": "12"}
    path = tmp_path / f"scores.{ending}"
    write_records(path, list(values), [(values, MGO)])
    if ending == "csv":
        assert path.read_text() == "id,formula,distance,nearest\n7,MgO,0.5,12\n"
    elif ending == "jsonl":
        assert json.loads(path.read_text()) == values
    else:
        (row,) = read_db(path)
        assert row.key_value_pairs == {
            "candidate": "id:7", "distance": 0.5, "nearest": "id:12",
        }  # fmt: skip
        assert row.toatoms() == MGO


@pytest.mark.parametrize("ending", ENDINGS)
def test_dimensionless_property_can_be_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"top.{ending}"
    write_results(path, [(1, replace(BEST, unit="1"))], "dielectric")
    assert path.stat().st_size > 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_ranked_still_gives_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"top.{ending}"
    write_results(path, [], "gap")
    assert path.exists()
    if ending == "db":
        assert read_db(path) == []


@pytest.mark.parametrize("name", ["top.xlsx", "top", "top.csv.gz", "csv"])
def test_unknown_ending_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"unknown output format.*\.csv, \.jsonl, \.db"):
        write_results(tmp_path / name, RANKED, "gap")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("folder", ["missing", "file"])
def test_directory_that_cannot_be_written_to(
    tmp_path: Path, ending: str, folder: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / folder / f"top.{ending}"
    with pytest.raises(DataError, match="cannot be written") as caught:
        write_results(path, RANKED, "gap")
    assert caught.value.path == path


@pytest.mark.parametrize("ending", ENDINGS)
def test_existing_file_is_replaced_by_a_second_run(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"top.{ending}"
    write_results(path, RANKED, "gap")
    write_results(path, RANKED[:1], "gap")
    assert list(tmp_path.iterdir()) == [path]
    if ending == "db":
        assert [row["rank"] for row in read_db(path)] == [1]
    else:
        assert "x.xyz#3" not in path.read_text()


@pytest.mark.parametrize("ending", ENDINGS)
def test_interrupted_run_leaves_the_old_file_alone(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"top.{ending}"
    write_results(path, RANKED, "gap")
    before = path.read_bytes()
    broken: Any = [*RANKED, (6, None)]
    with pytest.raises(AttributeError):
        write_results(path, broken, "gap")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_table_shows_ranked_rows_only() -> None:
    lines = format_table(RANKED, "gap", limit=None).splitlines()
    assert lines[0].split("  ")[0] == "rank"
    assert "gap (eV)" in lines[0]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["1", "mp-1265", "MgO", "5.25"],
        ["2", "12", "Si", "0"],
        ["3", "True", "MgO", "-1.5"],
    ]
    assert "0.000" in lines[2]
    assert "yes" in lines[2]
    assert FLAGGED.reason in lines[2]
    assert not any("x.xyz#3" in line for line in lines)


def test_table_is_cut_at_the_limit_and_aligned() -> None:
    lines = format_table(RANKED, "gap", limit=2).splitlines()
    assert "True" not in "".join(lines)
    words = zip(lines, ["id", "mp-1", "12"], strict=True)
    starts = [line.index(word) for line, word in words]
    assert len(set(starts)) == 1
    assert all(line == line.rstrip() for line in lines)


def test_table_of_a_dimensionless_property_has_no_unit() -> None:
    text = format_table([(1, replace(BEST, unit="1"))], "dielectric", limit=None)
    assert "(1)" not in text
    assert "dielectric" in text
