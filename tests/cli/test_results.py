from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ase.build import bulk
from ase.db import connect
from click.testing import CliRunner, Result

from mftscreen.cli import main
from mftscreen.screen.journal import Journal


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished screening of four oxides and an unknown element."""
    folder = tmp_path_factory.mktemp("results")
    with connect(folder / "pool.db") as database:
        for k in range(4):
            database.write(bulk("MgO", "rocksalt", a=4.1 + 0.1 * k))
        database.write(bulk("Pb"))
    arguments = [str(folder / "pool.db"), "-m", str(tiny_model), "-q"]
    done = CliRunner().invoke(main, ["rank", *arguments, "--run", str(folder / "run")])
    assert done.exit_code == 3, done.stderr
    return folder / "run"


def _results(command: str, run: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["results", command, str(run), *arguments])


def _ids(result: Result) -> list[str]:
    return [row["id"] for row in csv.DictReader(result.stdout.splitlines())]


def test_other_goals_give_another_order(run: Path) -> None:
    largest, smallest = _results("show", run), _results("show", run, "-g", "gap:min")
    assert largest.exit_code == smallest.exit_code == 3
    assert _ids(largest)[:4] == _ids(smallest)[3::-1]
    assert _ids(largest)[4] == _ids(smallest)[4] == "5"
    assert "not complete" not in largest.stderr
    assert len(_ids(_results("show", run, "-L", "2"))) == 2


def test_condition_and_output(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.db"
    result = _results("query", run, "rank <= 2", "-o", str(path))
    assert result.exit_code == 0
    assert sorted(row["rank"] for row in connect(path).select()) == [1, 2]
    assert all(row.natoms == 2 for row in connect(path).select())


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".db"])
def test_export_writes_every_row_and_prints_none(
    run: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"all{suffix}"
    result = _results("export", run, str(path), "-g", "gap:min")
    assert result.exit_code == 3, result.stderr
    assert result.stdout == ""
    if suffix == ".db":
        assert connect(path).count() == 5
    else:
        assert len(path.read_text().splitlines()) == 5 + (suffix == ".csv")


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["show", "-g", "colour:max"], "colour was not predicted; there is gap", 1),
        (["show", "-g", "gap:best"], "gap:best", 1),
        (["query", "gap >"], "condition 'gap >'", 1),
        (["query", "@__import__('os').system('x')"], "condition", 1),
        (["query", "gap > 1", "-o", "out.xlsx"], "unknown output format", 1),
        (["export", "out.xlsx"], "unknown output format", 1),
        (["show", "--alpha", "2"], "--alpha", 2),
    ],
)
def test_errors_are_short(
    run: Path, arguments: list[str], text: str, code: int
) -> None:
    result = _results(arguments[0], run, *arguments[1:])
    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_folder_without_a_screening(tmp_path: Path) -> None:
    result = _results("show", tmp_path)
    assert result.exit_code == 1
    assert "holds no screening" in result.stderr


def test_screening_that_is_not_complete_says_so(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({"models": "m", "model_sources": [], "units": {"gap": "eV"}})
    result = _results("show", tmp_path)
    assert "this screening is not complete" in result.stderr
