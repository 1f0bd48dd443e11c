from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read, write
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.cli.split import _LEAVE_ONE_OUT, _OFM_METHODS, _TARGET_METHODS
from mftscreen.ood.splits import Split


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("split") / "labels.extxyz"
    draw = np.random.default_rng(2)
    crystals = []
    for symbol, kind, start in (
        ("MgO", "rocksalt", 4.0), ("CaO", "rocksalt", 4.6),
        ("GaAs", "zincblende", 5.4), ("Cu", "fcc", 3.5), ("Fe", "bcc", 2.8),
    ):  # fmt: skip
        for k in range(22):
            atoms = bulk(symbol, kind, a=start + 0.02 * k)
            atoms.info = {"id": f"{symbol}-{k}", "gap": draw.gamma(2.0)}
            crystals.append(atoms)
    write(path, crystals)
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["split", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


SMALL = {
    "loco": ["--clusters", "5"],
    "sparse_x_single": ["--clusters", "5", "--sparse", "30"],
    "sparse_y_single": ["--clusters", "5", "--sparse", "30", "--variant", "published"],
    "sparse_x_cluster": ["--clusters", "5", "--sparse", "30", "--neighbors", "4"],
    "sparse_y_cluster": ["--clusters", "5", "--sparse", "30", "--neighbors", "4"],
}


@pytest.mark.parametrize("method", [*_TARGET_METHODS, *_OFM_METHODS, *_LEAVE_ONE_OUT])
def test_every_method_and_its_report(method: str, labels: Path, tmp_path: Path) -> None:
    output = tmp_path / "split.json"
    code, table, errors = run(
        labels, "--column", "gap", "--method", method, "--seed", "5", "-q",
        "-o", output, "--report", *SMALL.get(method, []),
    )  # fmt: skip
    assert code == 0, errors
    split = Split.read(output)
    assert split.method == method
    assert split.seed == 5
    assert split.ids[0] == "MgO-0"
    header, *lines = table.splitlines()
    assert header.split()[:4] == ["fold", "train", "val", "test"]
    assert len(lines) == len(split.folds)
    for line, fold in zip(lines, split.folds, strict=True):
        assert line.lstrip().startswith(fold.name)
        train, val, test, id_test, low, high, p_value = line.split()[-7:]
        sizes = [len(part) for part in (fold.train, fold.val, fold.test, fold.id_test)]
        assert [int(n) for n in (train, val, test, id_test)] == sizes
        assert 0.0 <= float(low) <= float(high)
        assert 0.0 < float(p_value) <= 1.0


def test_left_out_chemistry_is_far(labels: Path, tmp_path: Path) -> None:
    tables = {}
    for method in ("random", "chemsys"):
        code, table, _ = run(
            labels, "--column", "gap", "--method", method, "-q", "--report",
            "-o", tmp_path / f"{method}.json",
        )  # fmt: skip
        assert code == 0
        tables[method] = [float(row.split()[-1]) for row in table.splitlines()[1:]]
    assert max(tables["chemsys"]) < 0.05 < min(tables["random"])


def test_split_on_standard_output(labels: Path) -> None:
    code, text, errors = run(labels, "--column", "gap", "--method", "random", "-q")
    assert code == 0
    assert errors == ""
    assert len(Split.from_json(text).folds) == 5


def test_report_without_a_file(labels: Path) -> None:
    code, table, errors = run(
        labels, "--column", "gap", "--method", "random", "-q", "--report"
    )
    assert code == 0, errors
    header, *lines = table.splitlines()
    assert header.split()[:4] == ["fold", "train", "val", "test"]
    assert len(lines) == 5


def test_published_folds(labels: Path, tmp_path: Path) -> None:
    folds = tmp_path / "folds.json"
    fold = {"cluster": "3", "test": [0, 1], "val": [109]}
    folds.write_text(json.dumps({"labels.extxyz": {"LOCO": [fold]}}))
    code, text, _ = run(
        labels, "--column", "gap", "--method", "loco", "--omee", folds, "-q"
    )
    assert code == 0
    split = Split.from_json(text)
    assert split.folds[0].test == ("MgO-0", "MgO-1")
    assert split.parameters == {"published": "LOCO", "task": "labels.extxyz"}


def test_molecules_have_no_p_value(tmp_path: Path) -> None:
    path = tmp_path / "molecules.extxyz"
    frames = [molecule("H2O") for _ in range(30)]
    for k, atoms in enumerate(frames):
        atoms.info["gap"] = float(k)
    write(path, frames)
    code, table, errors = run(
        path, "--column", "gap", "--method", "kde_tails", "-q", "--report",
        "--id-share", "0", "-o", tmp_path / "split.json",
    )  # fmt: skip
    assert code == 0
    assert "No p-values: 30 of 30 rows have no orbital field matrix" in errors
    assert table.splitlines()[1].split()[:4] == ["kde_tails", "22", "6", "2"]
    code, _, errors = run(path, "--column", "gap", "--method", "loco", "-q")
    assert code == 1
    assert "30 of 30 rows have no orbital field matrix" in errors


def test_rows_with_labels_of_yes_and_no(labels: Path, tmp_path: Path) -> None:
    frames = read(labels, ":")
    for atoms in frames:
        atoms.info["metal"] = "Cu" in atoms.symbols
    path = tmp_path / "metals.extxyz"
    write(path, frames)
    options = ["--column", "metal", "-q", "--method"]
    assert run(path, *options, "loco", "--clusters", "5")[0] == 1
    code, found, _ = run(path, *options, "loco", "--clusters", "5", "--kind", "class")
    assert code == 0
    assert len(json.loads(found)["ids"]) == len(frames)
    code, _, errors = run(path, *options, "kde_tails", "--kind", "class")
    assert code == 1
    assert "method kde_tails is of labels that are numbers" in errors


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--method", "random", "--clusters", "3"],
            2,
            "method random has no --clusters",
        ),
        (["--method", "random", "--omee", "f.json"], 2, "--omee has folds of loco"),
        (["--method", "loco", "--omee", "f", "--seed", "1"], 2, "have no --seed"),
        (["--method", "loco", "--omee", "no.json"], 1, "no.json: cannot be read"),
        (["--method", "loco", "--clusters", "500"], 1, "500 clusters of 110 rows"),
        (["--method", "random", "-o", "missing/a.json"], 1, "missing is not a folder"),
        (["--method", "random", "-o", "a.txt"], 1, "written to a .json file"),
        (["--method", "random", "-j", "0"], 2, "0 is neither"),
        (["--method", "random", "--seed", "-1"], 2, "--seed"),
        (["--method", "loco", "--clusters", "1"], 2, "--clusters"),
        (["--method", "sparse_x_single", "--sparse", "0"], 2, "--sparse"),
        (["--method", "sparse_x_cluster", "--neighbors", "0"], 2, "--neighbors"),
        (["--method", "sparse_x_single", "--perplexity", "inf"], 2, "not a finite"),
        (["--method", "kde_tails", "--ood-share", "nan"], 2, "not a finite"),
        (["--method", "random", "--val-share", "2"], 2, "0<=x<1"),
    ],
)
def test_wrong_usage(
    arguments: list[str], code: int, message: str, labels: Path
) -> None:
    found, _, errors = run(labels, "--column", "gap", "-q", *arguments)
    assert found == code
    assert message in " ".join(errors.split())
