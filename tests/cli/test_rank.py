from __future__ import annotations

import base64
import csv
import gzip
import json
import os
import re
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect
from ase.io import write
from click.testing import CliRunner, Result

from mftscreen.cli import main
from mftscreen.model.files.bundle import read_bundle, write_bundle


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rank") / "candidates.db"
    broken = bulk("Si")
    broken.positions[1] = broken.positions[0] + 0.01
    with connect(path) as db:
        for k in range(4):
            db.write(bulk("MgO", "rocksalt", a=4.1 + 0.1 * k), group="oxide")
        db.write(bulk("GaAs", "zincblende", a=5.65), group="pnictide")
        db.write(broken, group="broken")
        db.write(Atoms("Pb"), group="element")
    return path


def _rank(tiny_model: Path, *arguments: str) -> Result:
    options = ["-m", str(tiny_model), "-q"]
    return CliRunner().invoke(main, ["rank", *arguments, *options])


def _rows(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(result.stdout.splitlines()))


def test_every_candidate_has_a_row_and_values_are_in_order(
    database: Path, tiny_model: Path
) -> None:
    result = _rank(tiny_model, str(database))
    assert result.exit_code == 3
    rows = _rows(result)
    assert list(rows[0]) == [
        "rank", "id", "formula", "gap", "gap_unit", "gap_no_interval", "trust",
        "ood_p_value", "ood", "low_dimensional", "status", "reason", "model",
    ]  # fmt: skip
    assert sorted(row["id"] for row in rows) == [str(k) for k in range(1, 8)]
    values = [float(row["gap"]) for row in rows if row["status"] == "ok"]
    assert values == sorted(values, reverse=True)
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5", "", ""]
    assert {row["status"] for row in rows[5:]} == {
        "invalid_geometry", "unknown_element",
    }  # fmt: skip
    assert "7 candidates: 5 predicted" in result.stderr
    assert {len(row["model"]) for row in rows} == {13}


def test_query_goal_and_limit(database: Path, tiny_model: Path) -> None:
    result = _rank(
        tiny_model, str(database), "group=oxide", "--minimize", "--format", "table",
        "-L", "2",
    )  # fmt: skip
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 3
    assert "band gap" not in result.stdout
    assert "gap (eV)" in result.stdout


def test_target_orders_by_distance(database: Path, tiny_model: Path) -> None:
    rows = _rows(_rank(tiny_model, str(database), "group=oxide"))
    wanted = rows[2]
    found = _rows(
        _rank(tiny_model, str(database), "group=oxide", "--target", wanted["gap"])
    )
    assert found[0]["id"] == wanted["id"]


def test_unseen_elements_are_flagged_demoted_and_excluded(
    database: Path, tiny_model: Path
) -> None:
    rows = {row["id"]: row for row in _rows(_rank(tiny_model, str(database)))}
    assert rows["5"]["ood"] == "True"
    assert "elements never seen: As, Ga" in rows["5"]["reason"]
    demoted = _rows(_rank(tiny_model, str(database), "--ood", "demote"))
    assert demoted[4]["id"] == "5"
    assert demoted[4]["rank"] == "5"
    excluded = _rows(_rank(tiny_model, str(database), "--ood", "exclude"))
    assert excluded[4]["id"] == "5"
    assert excluded[4]["rank"] == ""


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "db"])
def test_output_files_hold_every_row(
    database: Path, tiny_model: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"out.{suffix}"
    result = _rank(tiny_model, str(database), "-o", str(path))
    assert result.exit_code == 3
    if suffix == "csv":
        assert len(path.read_text().splitlines()) == 8
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(rows) == 7
        assert rows[-1]["gap"] is None
    else:
        assert connect(path).count() == 7
        assert connect(path).count("status=ok") == 5
        assert connect(path).count("ood=False") + connect(path).count("ood=True") == 5


def test_extxyz_ids(tmp_path: Path, tiny_model: Path) -> None:
    named = bulk("MgO", "rocksalt", a=4.2)
    named.info["material_id"] = "mp-1265"
    path = tmp_path / "c.extxyz"
    write(path, [named, bulk("MgO", "rocksalt", a=4.3)])
    rows = _rows(_rank(tiny_model, str(path)))
    assert {row["id"] for row in rows} == {"mp-1265", "c.extxyz#1"}


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["missing.db"], "missing.db: no such file", 1),
        (["candidates.txt"], "candidates.txt: ", 1),
        (["c.db", "-m", "mft-max"], "no model named 'mft-max'", 1),
        (["c.db", "--maximize", "--target", "2"], "choose one of", 2),
        (["c.db", "--alpha", "2"], "--alpha", 2),
        (["c.db", "--target", "nan"], "nan is not a finite number", 2),
        (["c.db", "--relax", "fire", "--fmax", "nan"], "not a finite number", 2),
        (["c.db", "--then", "a.mft", "--keep", ""], "--keep", 2),
        ([""], "'DATABASE': an empty text", 2),
        (["c.db", "--run", ""], "'--run': an empty path", 2),
    ],
)
def test_errors_are_short_and_have_exit_codes(
    arguments: list[str], text: str, code: int
) -> None:
    result = CliRunner().invoke(main, ["rank", "-p", "dielectric", *arguments])
    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_unknown_property_lists_what_there_is(database: Path, tiny_model: Path) -> None:
    result = _rank(tiny_model, str(database), "-p", "colour")
    assert result.exit_code == 1
    assert "colour" in result.stderr
    assert "gap" in result.stderr


def test_checkpoint_has_no_card_to_say_the_property(
    database: Path, checkpoint: Path
) -> None:
    arguments = ["rank", str(database), "-m", str(checkpoint), "-q"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert f"Error: {checkpoint} is a deepmd-kit checkpoint" in result.stderr
    assert "--property" in result.stderr
    assert "Traceback" not in result.stderr


def test_output_is_refused_before_the_work(
    database: Path, tiny_model: Path, tmp_path: Path
) -> None:
    before = database.read_bytes()
    run = tmp_path / "run"
    for output, text in (
        (database, "which is read; choose another output"),
        (tmp_path / "out.xlsx", "unknown output format"),
        (tmp_path / "missing" / "out.csv", "is not a folder"),
    ):
        result = _rank(tiny_model, str(database), "-o", str(output), "--run", str(run))
        assert result.exit_code == 1
        assert text in result.stderr
    assert not run.exists()
    assert database.read_bytes() == before


def test_output_beside_the_candidates_is_refused(
    database: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    shutil.copy(database, pool / "a.db")
    before = (pool / "a.db").read_bytes()
    for source in (pool, f"{pool}/*.db"):
        for name in ("a.db", "out.db"):
            result = _rank(tiny_model, str(source), "-o", str(pool / name))
            assert result.exit_code == 1
            assert "which is read" in result.stderr
    assert [path.name for path in pool.iterdir()] == ["a.db"]
    assert (pool / "a.db").read_bytes() == before


def test_run_inside_the_source_is_no_candidate(
    database: Path, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copy(database, tmp_path / "a.db")
    for source in (tmp_path, f"{tmp_path}/**/*"):
        for run in ("", "run"):
            for _ in range(2):
                result = _rank(tiny_model, str(source), "--run", str(tmp_path / run))
                assert len(_rows(result)) == 7, result.stderr


def test_no_candidate_is_said(database: Path, tiny_model: Path) -> None:
    result = _rank(tiny_model, str(database), "gap>5,group=oxide")
    assert result.exit_code == 0
    assert "no candidate matches 'gap>5,group=oxide' in" in result.stderr
    assert "no row has gap\n" in result.stderr
    result = _rank(tiny_model, str(database), "group=none")
    assert "no row has" not in result.stderr
    assert "no candidate matches 'group=none'" in result.stderr


def test_a_file_without_candidates_leaves_what_was_found(
    database: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = str(tmp_path / "run")
    assert len(_rows(_rank(tiny_model, str(database), "--run", run))) == 7
    (tmp_path / "empty.extxyz").touch()
    result = _rank(tiny_model, str(tmp_path / "empty.extxyz"), "--run", run)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"no candidate in {tmp_path / 'empty.extxyz'}" in result.stderr
    shown = CliRunner().invoke(main, ["results", "show", run])
    assert len(_rows(shown)) == 7


def test_another_source_is_said_to_replace_what_was_found(
    database: Path, tiny_model: Path, tmp_path: Path
) -> None:
    other, run = tmp_path / "other.extxyz", tmp_path / "run"
    write(other, bulk("MgO", "rocksalt", a=4.2))

    def said(source: Path, *options: str) -> bool:
        line = ["rank", str(source), "-m", str(tiny_model), "--run", str(run)]
        done = CliRunner().invoke(main, [*line, *options])
        assert done.exit_code in (0, 3), done.stderr
        message = f"{run} holds the candidates of {database}; those of DATABASE will"
        return message in done.stderr

    assert not said(database)
    assert not said(database, "group=oxide")
    assert said(other)
    assert not said(other)
    assert not said(database, "-q")
    assert not said(other, "-q")


def test_truncated_source_gives_the_table_of_what_was_read(
    tiny_model: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "pool.extxyz"
    write(plain, [bulk("MgO", "rocksalt", a=4 + 0.001 * k) for k in range(200)])
    path = tmp_path / "pool.extxyz.gz"
    path.write_bytes(gzip.compress(plain.read_bytes())[:-300])
    result = _rank(tiny_model, str(path))
    assert result.exit_code == 3
    rows = _rows(result)
    assert 2 < len(rows) < 201
    assert (rows[-1]["id"], rows[-1]["status"]) == (path.name, "unreadable")
    assert "cannot be read past frame" in rows[-1]["reason"]
    assert {row["status"] for row in rows[:-1]} == {"ok"}


def test_names_that_are_no_utf8(tiny_model: Path, tmp_path: Path) -> None:
    name = os.fsdecode("Zürich.cif".encode("latin-1"))
    write(tmp_path / "x.cif", bulk("MgO", "rocksalt", a=4.2))
    (tmp_path / "x.cif").rename(tmp_path / name)
    (tmp_path / f"broken-{name}").write_text("nothing")
    (row, broken) = _rows(_rank(tiny_model, str(tmp_path)))
    assert (row["id"], row["status"]) == (r"Z\udcfcrich.cif", "ok")
    assert (broken["id"], broken["status"]) == (
        r"broken-Z\udcfcrich.cif", "unreadable",
    )  # fmt: skip
    assert r"Z\udcfcrich.cif: not a valid CIF" in broken["reason"]


def test_report_of_names_that_are_no_utf8(tiny_model: Path, tmp_path: Path) -> None:
    strange = os.fsdecode("Zürich".encode("latin-1"))
    pool = tmp_path / f"pool-{strange}"
    pool.mkdir()
    write(tmp_path / "x.cif", bulk("MgO", "rocksalt", a=4.2))
    (tmp_path / "x.cif").rename(pool / f"{strange}.cif")
    run, page = tmp_path / f"run-{strange}", tmp_path / f"page-{strange}.html"
    assert _rank(tiny_model, str(pool), "--run", str(run)).exit_code == 0
    made = CliRunner().invoke(main, ["report", str(run), "-o", str(page)])
    assert made.exit_code == 0, made.stderr
    packed = re.search(r'id="data">([^<]*)<', page.read_text("utf-8"))
    assert packed is not None
    data = gzip.decompress(base64.b64decode(packed[1])).decode("utf-8")
    assert "udcfcrich.cif" in data


def test_password_of_an_output_that_is_none_is_not_printed(tiny_model: Path) -> None:
    result = _rank(tiny_model, "x.db", "-o", "postgresql://ase:sec#r@t@host:5432/pool")
    assert result.exit_code == 2
    assert "postgresql://ase:***@host:5432/pool is a URL" in result.output
    assert "sec" not in result.output


def test_filtered_candidates_are_no_failures(database: Path, tiny_model: Path) -> None:
    result = _rank(
        tiny_model, str(database), "group!=broken", "--exclude-elements", "Pb,As"
    )
    assert result.exit_code == 0
    statuses = [row["status"] for row in _rows(result)]
    assert sorted(statuses) == ["filtered"] * 2 + ["ok"] * 4
    assert "2 filtered out" in result.stderr


@pytest.fixture(scope="module")
def slow_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with another card, which makes it another file."""
    bundle = read_bundle(tiny_model)
    path = tmp_path_factory.mktemp("slow") / "slow.mft"
    card = bundle.card.model_copy(update={"name": "slow"})
    write_bundle(path, card, bundle.checkpoint, bundle.reference)
    return path


def test_funnel(database: Path, tiny_model: Path, slow_model: Path) -> None:
    plain = {row["id"]: row for row in _rows(_rank(tiny_model, str(database)))}
    result = _rank(
        tiny_model, str(database), "--then", str(slow_model), "--keep", "40%"
    )
    assert result.exit_code == 3
    rows = _rows(result)
    assert [row["status"] for row in rows[:5]] == ["ok"] * 2 + ["fast_only"] * 3
    for row in rows:
        assert row["fast_gap"] == plain[row["id"]]["gap"]
        assert row["fast_rank"] == plain[row["id"]]["rank"]
        assert row["gap"] == (row["fast_gap"] if row["status"] == "ok" else "")
        assert row["fast_model"] == plain[row["id"]]["model"] != row["model"]
    assert "7 candidates: 2 predicted" in result.stderr
    assert "3 by the fast model only, 2 failed" in result.stderr
    table = _rank(
        tiny_model, str(database), "--then", str(slow_model), "--format", "table"
    )
    lines = table.stdout.splitlines()
    assert "fast gap" in lines[0]
    assert lines[1].split()[0] == "1"
    assert lines[2] == ""
    # which a table has not
    reasons = "; --format csv has the reasons\n"
    assert table.stderr.endswith(reasons)
    assert not result.stderr.endswith(reasons)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "db", "parquet"])
def test_every_file_holds_a_funnel(
    database: Path, tiny_model: Path, slow_model: Path, tmp_path: Path, suffix: str
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path, run = tmp_path / f"out.{suffix}", tmp_path / "run"
    funnel = ["--then", str(slow_model), "--keep", "2"]
    _rank(tiny_model, str(database), *funnel, "-o", str(path), "--run", str(run))
    if suffix == "db":
        assert connect(path).count("status=fast_only,fast_rank>2") == 3
        assert connect(path).count("status=ok,fast_ood=True") == 1
        assert all(row.natoms for row in connect(path).select(status="fast_only"))
        return
    read = {"csv": pd.read_csv, "jsonl": partial(pd.read_json, lines=True)}
    table = read.get(suffix, pd.read_parquet)(path)
    assert table["status"].value_counts()["fast_only"] == 3
    assert table["fast_gap"].notna().sum() == 5
    assert table["gap"].notna().sum() == 2


def test_results_of_a_funnel(
    database: Path, tiny_model: Path, slow_model: Path, tmp_path: Path
) -> None:
    funnel = ["--then", str(slow_model), "--keep", "2", "--run", str(tmp_path / "run")]
    _rank(tiny_model, str(database), *funnel)
    query = ["results", "query", str(tmp_path / "run")]
    shown = CliRunner().invoke(main, [*query, "status == 'fast_only' and not fast_ood"])
    assert shown.exit_code == 0, shown.stderr
    assert {row["formula"] for row in _rows(shown)} == {"MgO"}


def test_keep_needs_a_second_model(database: Path, tiny_model: Path) -> None:
    result = _rank(tiny_model, str(database), "--keep", "5%")
    assert result.exit_code == 2
    assert "--keep needs --then" in result.stderr
