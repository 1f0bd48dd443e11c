from __future__ import annotations

import csv
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.build import bulk
from ase.db import connect
from click.testing import CliRunner, Result

from mftscreen.cli import main
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.work.journal import DATABASE, Journal


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


def test_equivalent_candidates_are_copies_if_asked_for(
    tiny_model: Path, tmp_path: Path
) -> None:
    with connect(tmp_path / "pool.db") as database:
        for cubic in (False, True):
            database.write(bulk("MgO", "rocksalt", a=4.2, cubic=cubic))
    pool, run = str(tmp_path / "pool.db"), tmp_path / "run"
    arguments = ["rank", pool, "-m", str(tiny_model), "-q", "--run", str(run)]

    def copies(done: Result) -> list[str | None]:
        assert done.exit_code == 0, done.stderr
        rows = csv.DictReader(done.stdout.splitlines())
        return sorted(row.get("duplicate_of") or "" for row in rows)

    assert copies(CliRunner().invoke(main, arguments)) == ["", ""]
    option = ["--duplicates", "equivalent"]
    assert copies(_results("show", run, *option)) == ["", "1"]
    assert copies(CliRunner().invoke(main, [*arguments, *option])) == ["", "1"]
    assert copies(_results("show", run)) == ["", "1"]  # as in the screening
    assert copies(_results("show", run, "--duplicates", "identical")) == ["", ""]


def test_condition_and_output(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.db"
    done = _results("query", run, "rank <= 2", "-o", str(path))
    assert done.exit_code == 0
    assert sorted(row["rank"] for row in connect(path).select()) == [1, 2]
    assert all(row.natoms == 2 for row in connect(path).select())


def test_what_was_screened_is_not_overwritten(run: Path) -> None:
    source = run.parent / "pool.db"
    before = source.read_bytes()
    for command in (["query", "rank > 0", "-o"], ["export"]):
        result = _results(command[0], run, *command[1:], str(source))
        assert result.exit_code == 1
        assert "which is read; choose another output" in result.stderr
    assert source.read_bytes() == before


def test_condition_that_holds_for_none_is_said(run: Path) -> None:
    result = _results("query", run, "rank > 99")
    assert result.exit_code == 0
    assert "no candidate matches 'rank > 99'" in result.stderr


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
        (["show", "-g", "gap:best"], "gap:best", 2),
        (["query", "gap >"], "condition 'gap >'", 1),
        (["query", "1"], "neither true nor false", 1),
        (["query", "id == 1"], "id holds texts", 1),
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
        options = RankOptions({"gap": Goal()}).to_json()
        journal.begin({"models": "m", "units": {"gap": "eV"}, "options": options})
        journal.write([], {})
    result = _results("show", tmp_path)
    assert "this screening is not complete" in result.stderr


def test_what_is_not_asked_for_is_as_in_the_screening(
    run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pool = str(run.parent / "pool.db")
    options = ["-g", "gap:min<=9", "--alpha", "0.97", "--ood", "exclude"]
    options += ["--exclude-elements", "Pb", "-m", str(tiny_model), "-q"]
    folder = tmp_path / "run"
    arguments = ["rank", pool, *options, "--run", str(folder)]
    first = CliRunner().invoke(main, arguments)
    again = _results("show", folder)
    assert first.exit_code == again.exit_code == 0
    assert first.stdout == again.stdout
    assert "1 filtered out" in again.stderr
    assert _results("show", folder, "--ood", "label").stdout != first.stdout
    with Journal(folder, read_only=True) as journal:
        assert journal.description["command"] == shlex.join(["mftscreen", *arguments])
    assert "[default: as in the screening]" in _results("show", folder, "-h").stdout


def test_a_start_that_fails_leaves_the_finished_screening(
    run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    arguments = [str(tmp_path / "missing.db"), "-m", str(tiny_model), "-q"]
    failed = CliRunner().invoke(main, ["rank", *arguments, "--run", str(folder)])
    assert failed.exit_code == 1
    shown = _results("show", folder)
    assert "not complete" not in shown.stderr
    assert _ids(shown) == _ids(_results("show", run))


def test_passwords_are_not_kept(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def candidates(source: str, query: str | None, **_: object) -> Iterator[Candidate]:
        assert ":secret@" in source
        yield Candidate("1", bulk("MgO", "rocksalt", a=4.2))

    # there is no such server
    monkeypatch.setattr("mftscreen.screen.rank.iter_candidates", candidates)
    monkeypatch.setattr("mftscreen.screen.rank.count_candidates", lambda *_: 1)
    source = "postgresql://ase:secret@host:5432/pool"
    arguments = [source, "-m", str(tiny_model), "-q", "--run", str(tmp_path / "run")]
    assert CliRunner().invoke(main, ["rank", *arguments]).exit_code == 0
    assert b"secret" not in (tmp_path / "run" / DATABASE).read_bytes()
    with Journal(tmp_path / "run", read_only=True) as journal:
        assert journal.description["source"] == source.replace("secret", "***")
        assert ":***@host" in journal.description["command"]
