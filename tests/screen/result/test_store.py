"""Tables as files and for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mftscreen.errors import DataError
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.result.screen_result import ScreenResult, read_result
from mftscreen.screen.result.store import (
    Record,
    check_output,
    format_table,
    write_csv,
    write_jsonl,
    write_records,
)
from mftscreen.screen.work.journal import Entry, Journal
from mftscreen.screen.work.outcome import Outcome

MGO = bulk("MgO", "rocksalt", a=4.2)
MODEL = "mdeadbeef0123"
ENDINGS = ["csv", "jsonl", "db"]

BEST = Outcome(
    formula="MgO", values={"gap": (5.25,)}, p_values={"gap": 0.5}, low_dimensional=False
)
FLAGGED = Outcome(
    formula="Si", values={"gap": (0.0,)}, p_values={"gap": 0.0},
    unseen_elements={"gap": ['"Si"', "Å"]}, low_dimensional=True,
)  # fmt: skip
WITHOUT_P_VALUE = Outcome(formula="GaAs", values={"gap": (-1.5,)})
UNREADABLE = Outcome("unreadable", "frame 3 is not valid extxyz")
NOT_FINITE = Outcome("invalid_geometry", "the position of atom 0 (H) is not finite")
NAN = Atoms("H", positions=[[np.nan, 0, 0]])

FOUND: list[tuple[str, Outcome, Atoms | None]] = [
    ("x.xyz#3", UNREADABLE, None),
    ("12", FLAGGED, bulk("Si")),
    ("nan", NOT_FINITE, NAN),
    ("mp-1265", BEST, MGO),
    ("True", WITHOUT_P_VALUE, bulk("GaAs", "zincblende", a=5.65)),
]
IDS = ["mp-1265", "12", "True", "x.xyz#3", "nan"]


def make_result(
    found: list[tuple[str, Outcome, Atoms | None]], unit: str = "eV"
) -> ScreenResult:
    """Return what a screening with these outcomes gives."""
    with Journal(None) as journal:
        journal.begin({"models": MODEL, "model_sources": [], "units": {"gap": unit}})
        for name, outcome, atoms in found:
            if atoms is None:
                journal.write([Entry(name, None, outcome)], {})
            else:
                journal.write([Entry(name, name)], {name: (outcome, atoms)})
        journal.finish()
        return read_result(journal, RankOptions({"gap": Goal()}))


@pytest.fixture(scope="module")
def result() -> ScreenResult:
    return make_result(FOUND)


def records(result: ScreenResult) -> Iterator[Record]:
    return zip(result.records(), (row.atoms for row in result.rows), strict=True)


def write_result(path: Path, result: ScreenResult) -> None:
    write_records(path, result.columns, records(result))


def read_db(path: Path) -> list[Any]:
    return list(connect(path).select())


def test_csv_columns_and_values(tmp_path: Path, result: ScreenResult) -> None:
    write_result(tmp_path / "top.csv", result)
    lines = (tmp_path / "top.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "rank,id,formula,gap,gap_unit,gap_no_interval,trust,ood_p_value,ood,"
        "low_dimensional,status,reason,model",
        "1,mp-1265,MgO,5.25,eV,the model knows of no errors,ok,0.5,False,False,ok,,"
        "mdeadbeef0123",
        "2,12,Si,0.0,eV,out of distribution,flagged,0.0,True,True,ok,"
        '"elements never seen: ""Si"", Å; low-dimensional: the OFM depends on the '
        'vacuum",mdeadbeef0123',
        "3,True,GaAs,-1.5,eV,nothing tells whether it is like the training set,"
        "untested,,,,ok,,mdeadbeef0123",
        ",x.xyz#3,,,eV,,,,,,unreadable,frame 3 is not valid extxyz,mdeadbeef0123",
        ",nan,,,eV,,,,,,invalid_geometry,the position of atom 0 (H) is not finite,"
        "mdeadbeef0123",
    ]


def test_csv_values_are_read_back_exactly() -> None:
    value = 0.1 + 0.2
    outcome = replace(BEST, values={"gap": (value,)}, reason="two\nlines")
    result = make_result([("x", outcome, MGO)])
    stream = io.StringIO()
    write_csv(stream, result.columns, records(result))
    (record,) = csv.DictReader(io.StringIO(stream.getvalue()))
    assert float(record["gap"]) == value
    assert record["reason"] == "two\nlines"


def test_jsonl_has_one_complete_record_per_line(
    tmp_path: Path, result: ScreenResult
) -> None:
    write_result(tmp_path / "top.jsonl", result)
    text = (tmp_path / "top.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    assert found[0] == {
        "rank": 1, "id": "mp-1265", "formula": "MgO", "gap": 5.25, "gap_unit": "eV",
        "gap_no_interval": "the model knows of no errors",
        "trust": "ok", "ood_p_value": 0.5, "ood": False, "low_dimensional": False,
        "status": "ok", "reason": "", "model": MODEL,
    }  # fmt: skip
    assert "Å" in text
    assert [record["id"] for record in found] == IDS
    assert [record["rank"] for record in found] == [1, 2, 3, None, None]
    assert [record["gap"] for record in found] == [5.25, 0.0, -1.5, None, None]


def test_db_rows_hold_structures_and_values(
    tmp_path: Path, result: ScreenResult
) -> None:
    write_result(tmp_path / "top.db", result)
    best, flagged, without, *_ = read_db(tmp_path / "top.db")
    assert best.toatoms() == MGO
    assert (best["rank"], best.gap, best.gap_unit, best.status) == (1, 5.25, "eV", "ok")
    assert (best.ood_p_value, bool(best.ood)) == (0.5, False)
    assert best.model == MODEL
    assert (flagged.gap, flagged.ood_p_value, bool(flagged.ood)) == (0.0, 0.0, True)
    assert flagged.reason == result.rows[1].reason
    assert "ood" not in without
    assert "ood_p_value" not in without


def test_db_keeps_rows_that_failed(tmp_path: Path, result: ScreenResult) -> None:
    write_result(tmp_path / "top.db", result)
    unreadable, not_finite = read_db(tmp_path / "top.db")[3:]
    assert (unreadable.natoms, unreadable.status) == (0, "unreadable")
    assert unreadable.reason == UNREADABLE.reason
    assert not_finite.status == "invalid_geometry"
    assert np.isnan(not_finite.positions[0, 0])
    for row in (unreadable, not_finite):
        assert "gap" not in row
        assert "rank" not in row


def test_db_keeps_ids_that_look_like_numbers(
    tmp_path: Path, result: ScreenResult
) -> None:
    write_result(tmp_path / "top.db", result)
    rows = read_db(tmp_path / "top.db")
    assert [row.candidate.removeprefix("id:") for row in rows] == IDS


def test_db_can_be_queried(tmp_path: Path, result: ScreenResult) -> None:
    write_result(tmp_path / "top.db", result)
    database = connect(tmp_path / "top.db")
    assert [row["rank"] for row in database.select("gap>-2,status=ok")] == [1, 2, 3]
    assert [row["rank"] for row in database.select("ood=True")] == [2]
    assert [row.gap for row in database.select("rank=1")] == [5.25]


def test_parquet_is_read_back(tmp_path: Path, result: ScreenResult) -> None:
    pytest.importorskip("pyarrow")
    import pandas as pd

    write_result(tmp_path / "top.parquet", result)
    table = pd.read_parquet(tmp_path / "top.parquet")
    assert list(table.columns) == result.columns
    assert table["id"].tolist() == IDS
    assert table["gap"].tolist()[:3] == [5.25, 0.0, -1.5]
    assert table["gap"].isna().tolist() == [False] * 3 + [True] * 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_table_with_other_columns(tmp_path: Path, ending: str) -> None:
    values = {"id": "7", "formula": "MgO", "distance": 0.5, "nearest": "12"}
    path = tmp_path / f"scores.{ending}"
    write_records(path, list(values), [(values, MGO)], ids=("id", "nearest"))
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
def test_nothing_ranked_still_gives_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"top.{ending}"
    write_result(path, make_result([]))
    assert path.exists()
    if ending == "db":
        assert read_db(path) == []


@pytest.mark.parametrize("name", ["top.xlsx", "top", "top.csv.gz", "csv"])
def test_unknown_ending_lists_the_known_ones(
    tmp_path: Path, result: ScreenResult, name: str
) -> None:
    with pytest.raises(DataError, match=r"unknown output format.*\.csv, \.jsonl, .*db"):
        write_result(tmp_path / name, result)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("folder", ["missing", "file"])
def test_directory_that_cannot_be_written_to(
    tmp_path: Path, result: ScreenResult, ending: str, folder: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / folder / f"top.{ending}"
    with pytest.raises(DataError, match="cannot be written") as caught:
        write_result(path, result)
    assert caught.value.path == path


def test_input_is_never_an_output(tmp_path: Path) -> None:
    source = tmp_path / "pool.db"
    source.touch()
    (tmp_path / "link.db").symlink_to(source)
    for path in (source, tmp_path / "link.db", tmp_path / "." / "pool.db"):
        with pytest.raises(DataError, match=r"belongs to .*pool\.db, which is read"):
            check_output(path, "elsewhere.db", source)
    check_output(tmp_path / "new.db", source, None, "postgresql://host/pool")


@pytest.mark.parametrize("pattern", ["", "*.db", "**/*.db", "b/[pq]ool.db"])
def test_file_of_a_folder_or_glob_is_never_an_output(
    tmp_path: Path, pattern: str
) -> None:
    source = tmp_path / "all"
    (source / "b").mkdir(parents=True)
    (source / "b" / "pool.db").touch()
    (source / "pool.db").symlink_to(source / "b" / "pool.db")
    (tmp_path / "link").symlink_to(source / "b")
    for path in (source / "b" / "pool.db", tmp_path / "link" / "pool.db"):
        with pytest.raises(DataError, match="which is read"):
            check_output(path, str(source / pattern))


def test_output_must_not_become_a_candidate_of_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.sqlite").touch()
    monkeypatch.chdir(tmp_path)
    refused = {
        ".": ["a.db", "b/a.jsonl"],
        "*.db": ["a.db"],
        "*/*.db": ["b/a.db"],
        "**/*.db": ["a.db", "b/a.db"],
        "b/**/a.*": ["b/a.csv"],
    }
    allowed = {
        ".": ["a.csv", "b/a.csv", ".a.db", "../a.db", "run/a.db"],
        "*.db": ["a.csv", "b/a.db", "../a.db"],
        "**/*.db": ["a.csv", "run/a.db"],
        "b/*/a.*": ["b/a.csv"],
    }
    for source, names in refused.items():
        for name in names:
            with pytest.raises(DataError, match="which is read"):
                check_output(Path(name), source)
    for source, names in allowed.items():
        for name in names:
            check_output(Path(name), source)
    assert {path.name for path in tmp_path.iterdir()} == {"b", "run"}


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        check_output(tmp_path / "a.db")
    with pytest.raises(DataError, match="cannot be written: File name too long"):
        check_output(tmp_path / f"{'a' * 300}.csv")
    if not Path("/proc/self").is_dir():
        pytest.skip("no folder here that nobody can write to")
    with pytest.raises(DataError, match="cannot be written: "):
        check_output(Path("/proc/self/a.csv"))


def test_parquet_without_pyarrow_is_refused_before(tmp_path: Path) -> None:
    if find_spec("pyarrow") is not None:
        check_output(tmp_path / "a.parquet")
        return
    with pytest.raises(DataError, match="parquet needs pyarrow"):
        check_output(tmp_path / "a.parquet")


@pytest.mark.parametrize("ending", ENDINGS)
def test_existing_file_is_replaced_by_a_second_run(
    tmp_path: Path, result: ScreenResult, ending: str
) -> None:
    path = tmp_path / f"top.{ending}"
    write_result(path, result)
    write_result(path, make_result(FOUND[3:4]))
    assert list(tmp_path.iterdir()) == [path]
    if ending == "db":
        assert [row["rank"] for row in read_db(path)] == [1]
    else:
        assert "x.xyz#3" not in path.read_text()


@pytest.mark.parametrize("ending", ENDINGS)
def test_interrupted_run_leaves_the_old_file_alone(
    tmp_path: Path, result: ScreenResult, ending: str
) -> None:
    def interrupted() -> Iterator[Record]:
        yield from records(result)
        raise KeyboardInterrupt

    path = tmp_path / f"top.{ending}"
    write_result(path, result)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_records(path, result.columns, interrupted())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_table_shows_ranked_rows_only(result: ScreenResult) -> None:
    lines = format_table(result, limit=9).splitlines()
    assert lines[0].split("  ")[0] == "rank"
    assert "gap (eV)" in lines[0]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["1", "mp-1265", "MgO", "5.25"],
        ["2", "12", "Si", "0"],
        ["3", "True", "GaAs", "-1.5"],
    ]
    assert "0.000" in lines[2]
    assert "flagged" in lines[2]
    assert result.rows[1].reason in lines[2]


def test_most_of_the_best_being_doubtful_the_others_follow(
    result: ScreenResult,
) -> None:
    shown = [replace(row, ood=True) for row in result.rows[:2]] + [
        replace(result.rows[2], ood=False)
    ]
    text = format_table(replace(result, rows=[*shown, *result.rows[3:]]), limit=9)
    first, second = text.split("\n\n", 1)
    assert "2 of these 3 are unlike what the model has learned from" in second
    assert "(more with --ood demote)" in second
    header, *lines = second.split("\n\n")[1].splitlines()
    assert header.split() == first.splitlines()[0].split()
    assert [line.split()[0] for line in lines] == ["3"]
    every = [replace(row, ood=True) for row in result.rows]
    text = format_table(replace(result, rows=every), limit=9)
    assert "None of all candidates is known to be in distribution" in text
    every = [replace(row, ood=None) for row in result.rows]
    text = format_table(replace(result, rows=every), limit=9)
    assert "untested" in text
    assert "\n\n" not in text
    sound = [replace(row, ood=k == 0) for k, row in enumerate(result.rows)]
    text = format_table(replace(result, rows=sound), limit=9)
    assert "\n\n" not in text


def test_table_is_cut_at_the_limit_and_aligned(result: ScreenResult) -> None:
    lines = format_table(result, limit=2).splitlines()[:3]
    words = zip(lines, ["id", "mp-1", "12"], strict=True)
    starts = [line.index(word) for line, word in words]
    assert len(set(starts)) == 1
    assert all(line == line.rstrip() for line in lines)


def test_table_shows_the_spread_of_an_ensemble() -> None:
    outcome = replace(BEST, values={"gap": (1.0, 2.0)})
    text = format_table(make_result([("x", outcome, MGO)]), limit=1)
    assert "1.5 ± 0.71" in text


def test_table_stays_a_table_whatever_the_texts() -> None:
    red = replace(BEST, formula="Mg\x1b[31mO", unseen_elements={"gap": ["a\nb\u202e"]})
    found = [("two\nlines\x00", red, MGO), ("x" * 5000, BEST, MGO)]
    lines = format_table(make_result(found), limit=9).splitlines()
    header, first, second = lines[:3]
    assert r"two\nlines\x00  " in first
    assert r"Mg\x1b[31mO  " in first
    assert r"a\nb\u202e" in first
    assert f"{'x' * 59}…  MgO" in second
    assert len(header) < 120
    long = replace(BEST, unseen_elements={"gap": ["y" * 5000]})
    text = format_table(make_result([("x", long, MGO)]), limit=1)
    assert text.splitlines()[1].endswith("y…")
    assert len(text) < 800


def test_dimensionless_property_has_no_unit(tmp_path: Path) -> None:
    result = make_result(FOUND, unit="1")
    assert "gap_unit" not in result.columns
    text = format_table(result, limit=9)
    assert "(1)" not in text
    assert "gap" in text
    for ending in ENDINGS:
        write_result(tmp_path / f"top.{ending}", result)
        assert (tmp_path / f"top.{ending}").stat().st_size > 0


def test_a_row_of_csv_is_one_row(tmp_path: Path) -> None:
    names = ["a\rb", "a\nb", "a\r\n", 'a,"b"', "plain"]
    records = [({"id": name, "formula": "MgO"}, None) for name in names]
    write_records(tmp_path / "t.csv", ["id", "formula"], records)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream)) == [["id", "formula"]] + [
            [name, "MgO"] for name in names
        ]
    assert (tmp_path / "t.csv").read_bytes().endswith(b"\nplain,MgO\n")


def test_lines_are_json_in_any_encoding() -> None:
    values = {"id": "é😀", "formula": "MgO"}
    for encoding in ("ascii", "latin-1", "utf-8"):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
        write_jsonl(stream, [(values, None)])
        stream.flush()
        assert json.loads(raw.getvalue().decode(encoding)) == values
