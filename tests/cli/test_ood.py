from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write
from click.testing import CliRunner, Result

from mftscreen.cli import main
from mftscreen.model.files.bundle import ModelCard, write_bundle
from mftscreen.ood.reference.reference_set import read_reference

DATA = os.environ.get("MFTSCREEN_DATA")


def ood(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ood", *map(str, arguments)])


def rows(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(result.stdout.splitlines()))


@pytest.mark.parametrize("name", ["fit", "score", "explain", "map"])
def test_examples_in_help_have_a_line_each(name: str) -> None:
    text = ood(name, "--help").stdout
    assert "\\b" not in text
    assert re.search(rf"^  Example:\n    mftscreen ood {name} ", text, re.MULTILINE)


def score(folder: Path, *arguments: str | Path) -> Result:
    reference = folder / "reference.npz"
    return ood("score", folder / "candidates.db", "-r", reference, *arguments)


def test_fit_writes_a_reference_set(folder: Path) -> None:
    reference = read_reference(folder / "reference.npz")
    assert reference.ids == tuple(f"salt-{k}" for k in range(30))
    assert reference.elements == {"Na", "Cl"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_fit_lists_what_it_leaves_out(tmp_path: Path, jobs: int) -> None:
    frames = [bulk("Cu"), molecule("H2O"), bulk("Ag"), bulk("Am", "fcc", a=4.9)]
    frames.append(bulk("Au"))
    write(tmp_path / "data.extxyz", frames)
    path = tmp_path / "reference.npz"
    options = ["--table", "paper", "-j", jobs]
    result = ood("fit", tmp_path / "data.extxyz", "-o", path, *options)
    assert result.exit_code == 3
    assert "data.extxyz#1: " in result.stderr
    assert "Am" in result.stderr
    assert "5 structures: 3 kept, 0 left out as equal" in result.stderr
    reference = read_reference(path)
    assert reference.ids == ("data.extxyz#0", "data.extxyz#2", "data.extxyz#4")
    assert reference.detector is not None
    assert reference.detector.table == "paper"


def test_fit_leaves_out_twins(tmp_path: Path) -> None:
    metals = [bulk("Cu"), bulk("Ag"), bulk("Au"), bulk("Cu").repeat(2)]
    write(tmp_path / "data.extxyz", metals)
    path = tmp_path / "reference.npz"
    result = ood("fit", tmp_path / "data.extxyz", "-o", path)
    assert result.exit_code == 0
    assert "4 structures: 3 kept" in result.stderr
    assert "1 left out as equal to an earlier one, 0 without" in result.stderr
    warning = "3 reference structures are too few for a p-value of 0.05"
    assert warning in result.stderr
    scored = ood("score", tmp_path / "data.extxyz", "-r", path)
    assert warning in scored.stderr
    assert (
        "too few"
        not in ood(
            "score", tmp_path / "data.extxyz", "-r", path, "--alpha", "0.3"
        ).stderr
    )


def test_score_has_a_row_for_each_structure_in_order(folder: Path) -> None:
    result = score(folder)
    assert result.exit_code == 3
    table = rows(result)
    assert [row["id"] for row in table] == ["1", "2", "3", "4", "5", "6"]
    assert [row["ood"] for row in table] == [
        "True", "False", "", "True", "True", "False",
    ]  # fmt: skip
    assert float(table[0]["ood_p_value"]) == pytest.approx(1 / 31)
    assert table[0]["unseen_pairs"] == "Si s2 – Si s2, Si s2 – Si p2, Si p2 – Si p2"
    assert (table[1]["nearest"], table[1]["reason"]) == ("salt-10", "")
    assert 0 < float(table[1]["distance"]) < 1e-3
    assert table[2]["status"] == "unsupported_pbc"
    assert table[3]["reason"] == "elements never seen: K"
    assert [row["low_dimensional"] for row in table[3:]] == ["False", "True", "False"]
    assert "the OFM depends on the vacuum" in table[4]["reason"]
    assert "6 structures: 3 out of distribution, 1 failed" in result.stderr


def test_molecules_are_listed_with_their_whole_formula(
    folder: Path, tmp_path: Path
) -> None:
    write(tmp_path / "gas.extxyz", [molecule("C6H6"), molecule("C2H2")])
    result = ood("score", tmp_path / "gas.extxyz", "-r", folder / "reference.npz")
    assert [row["formula"] for row in rows(result)] == ["C6H6", "C2H2"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_table_that_is_not_taken(
    folder: Path,
    unread: TextIO,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = ["ood", "score", str(folder / "salts.extxyz"), "-q"]
    line += ["-r", str(folder / "reference.npz")]
    with Path("/dev/full").open("w") as full:
        for stream, code in ((unread, 0), (full, 1)):
            monkeypatch.setattr("sys.stdout", stream)
            with pytest.raises(SystemExit) as ended:
                main(line)
            assert ended.value.code == code
            summary, *error = capfd.readouterr().err.splitlines()
            assert summary.startswith("30 structures: 0 out of distribution")
            assert len(error) == code
    assert error[0].startswith("Error: standard output: cannot be written: No space")


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.db", "none.db: no such file"), ("empty.extxyz", "holds no structure")],
)
def test_no_header_without_a_row(
    folder: Path, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "empty.extxyz").touch()
    result = ood("score", tmp_path / name, "-r", folder / "reference.npz", "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_policies(folder: Path) -> None:
    demoted = score(folder, "--ood", "demote")
    assert [row["id"] for row in rows(demoted)] == ["2", "6", "1", "4", "5", "3"]
    kept = score(folder, "--ood", "exclude")
    assert [row["id"] for row in rows(kept)] == ["2", "3", "6"]
    assert "3 out of distribution (left out)" in kept.stderr
    strict = score(folder, "--alpha", "0.01", "--ood", "exclude")
    assert [row["id"] for row in rows(strict)] == ["2", "3", "5", "6"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "db"])
def test_score_files(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores.{suffix}"
    result = score(folder, "-o", path, "-j", "2")
    assert result.exit_code == 3
    assert result.stdout == ""
    if suffix == "csv":
        assert path.read_text(encoding="utf-8") == score(folder).stdout
    elif suffix == "jsonl":
        table = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["ood"] for row in table] == [True, False, None, True, True, False]
    else:
        assert connect(path).count() == 6
        assert connect(path).count("ood=True") == 3
        assert connect(path).get(candidate="id:2").nearest == "id:salt-10"
        assert connect(path).get(candidate="id:1").toatoms() == bulk("Si")


def test_model_instead_of_a_reference_set(folder: Path, tiny_model: Path) -> None:
    table = rows(ood("score", folder / "candidates.db", "--model", tiny_model))
    assert table[0]["reason"].startswith("elements never seen: Si")
    assert table[1]["nearest"].isdecimal()
    shipped = rows(ood("score", folder / "candidates.db", "-p", "dielectric"))
    assert shipped[1]["nearest"].startswith("mb-dielectric-")
    assert shipped[0]["ood"] == "False"


def test_explain(folder: Path) -> None:
    reference = folder / "reference.npz"
    result = ood("explain", folder / "candidates.db", "--id", 2, "-r", reference)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["id            2", "formula       NaCl, 2 atoms in the cell"]
    assert "verdict       not flagged (alpha 0.05)" in lines
    assert "salt-10  NaCl" in result.stdout
    failed = ood("explain", folder / "candidates.db", "--id", 3, "-r", reference)
    assert failed.exit_code == 3
    assert "no OFM" in failed.stdout
    missing = ood("explain", folder / "candidates.db", "--id", 7, "-r", reference)
    assert missing.exit_code == 1
    assert "no structure has the id '7'; the last one has '6'" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["fit", "salts.extxyz", "-o", "a.csv"], "a.csv: a reference set is", 1),
        (["fit", "missing.db", "-o", "a.npz"], "missing.db: no such file", 1),
        (["fit", "water.extxyz", "-o", "a.npz"], "at least 3 distinct structures", 1),
        (
            ["fit", "two.extxyz", "-o", "a.npz"],
            "found 2, 0 equal to one of them, and 0 without",
            1,
        ),
        (["score", "candidates.db", "-r", "salts.extxyz"], "not a complete OFM", 1),
        (["score", "candidates.db", "-r", "no.npz"], "no.npz cannot be read", 1),
        (["score", "candidates.db", "-r", "a", "-m", "b"], "choose one of", 2),
        (["score", "candidates.db", "-m", "bare.mft"], "predicts no property", 1),
        (["score", "candidates.db"], "choose --property from: dielectric", 1),
        (["score", "candidates.db", "-p", "gap"], "mftscreen ood fit", 1),
        (["score", "candidates.db", "-p", "colour"], "does not predict colour", 1),
        (["score", "candidates.db", "-r", "a", "-p", "gap"], "choose one of", 2),
        (["score", "candidates.db", "-o", "a.txt"], "unknown output format", 1),
        (["score", "candidates.db", "-j", "0"], "-1", 2),
        (["score", "candidates.db", "--alpha", "nan"], "not a finite number", 2),
        (["map", "reference.npz", "-o", "a.png", "--seed", "-1"], "--seed", 2),
        (["map", "reference.npz", "-o", "a.png", "--perplexity", "nan"], "finite", 2),
        (["map", "same.extxyz", "-o", "a.png"], "at least 3 distinct", 1),
        (["map", "reference.npz", "-o", "a.pdf"], "expected .html or .png", 1),
        (
            ["map", "reference.npz", "-o", "a.png", "--table", "paper"],
            "was made with --table current",
            1,
        ),
    ],
)
def test_errors_are_short_and_have_exit_codes(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    text: str,
    code: int,
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    write("water.extxyz", [molecule("H2O"), Atoms("Cu")])
    write("same.extxyz", [bulk("Cu")] * 5)
    write("two.extxyz", [bulk("Cu"), bulk("Ag")])
    write_bundle(Path("bare.mft"), ModelCard(name="bare", strategy="ft"), b"")
    result = ood(*arguments)
    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="MFTSCREEN_DATA is not set")
def test_random_rows_of_matbench_are_flagged_as_often_as_alpha(tmp_path: Path) -> None:
    source = Path(DATA or "") / "matbench/matbench_dielectric.json.gz"
    assert ood("fit", source, "-o", tmp_path / "all.npz", "-q").exit_code == 0
    reference = read_reference(tmp_path / "all.npz")
    assert len(reference.ids) == 4764
    assert reference.ids[-1] == "mb-dielectric-4764"
    assert reference.detector is not None
    vectors = reference.detector.reference_
    order = np.random.default_rng(0).permutation(4764)
    known, new = vectors[np.sort(order[:3800])], vectors[np.sort(order[3800:])]
    p_values = type(reference.detector)().fit(known).p_value(new)
    assert np.mean(p_values <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_score_does_not_overwrite_what_it_reads(folder: Path) -> None:
    database = folder / "candidates.db"
    before = database.read_bytes()
    result = ood("score", database, "-o", database)
    assert result.exit_code == 1
    assert "choose another output" in result.output
    assert database.read_bytes() == before
