from __future__ import annotations

from pathlib import Path
from typing import TextIO

import pytest
import yaml
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.finetune.config.recipes import find_recipe
from mftscreen.study.config import load_study
from mftscreen.study.run import plan_study


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["study", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the smoke study, its data beside it."""
    import runpy

    recipe = find_recipe("paper/smoke/table_4")
    copied = CliRunner().invoke(main, ["recipes", "copy", recipe.name, str(tmp_path)])
    assert copied.exit_code == 0
    monkeypatch.chdir(tmp_path)
    runpy.run_path("make_data.py")["main"]()
    return tmp_path / "table_4.yaml"


def test_jobs_are_listed_without_being_done(smoke: Path) -> None:
    code, listed, errors = run("run", smoke, "--dry-run")
    assert code == 0, errors
    lines = listed.splitlines()
    # kernels on 3 random folds and 4 clusters; 3 strategies on the largest of each
    assert len(lines) == 7 + 6
    assert lines[0].startswith("to do  density random fold_0 kernel seed1  jobs/")
    assert "13 jobs, 0 of them done" in errors
    halves = [run("run", smoke, "--dry-run", "--shard", f"{k}/2")[1] for k in (1, 2)]
    assert sorted("".join(halves).splitlines()) == sorted(lines)
    code, _, errors = run("run", smoke, "--shard", "3/2")
    assert code == 2
    assert "'3/2' is not I/N" in errors
    part = ["--only", "strategy=ft,mft", "--only", "split=loco"]
    code, listed, errors = run("run", smoke, "--dry-run", *part)
    assert [line.split()[5] for line in listed.splitlines()] == ["ft", "mft"]
    code, _, errors = run("run", smoke, "--only", "strategy=lp")
    assert code == 1
    assert "no job with strategy=lp" in errors
    assert not (smoke.parent / "table_4" / "study.json").exists()


def test_a_study_is_shown_before_anything_is_finished(smoke: Path) -> None:
    directory = smoke.parent / "table_4"
    assert run("show", directory)[0] == 1
    plan_study(load_study(smoke), directory)
    code, table, errors = run("show", directory)
    assert (code, table) == (0, "")
    assert "13 of 13 jobs are not finished" in errors


@pytest.mark.parametrize(
    ("study", "n_jobs"),
    [("table_2", 2), ("table_3", 4), ("figure_3a", 8 + 2), ("figure_3c-e", 1 + 4)],
)
def test_smoke_studies_have_the_forms_of_the_paper(
    smoke: Path, study: str, n_jobs: int
) -> None:
    code, listed, errors = run("run", smoke.with_name(f"{study}.yaml"), "--dry-run")
    assert code == 0, errors
    assert len(listed.splitlines()) == n_jobs


def test_wrong_input_is_named(smoke: Path, tmp_path: Path) -> None:
    assert run("show", tmp_path / "none")[0] == 1
    plan_study(load_study(smoke), smoke.parent / "table_4")
    code, _, errors = run("show", smoke.parent / "table_4", "--only", "model=x")
    assert code == 2
    assert "keys are task, split" in errors
    code, _, errors = run("show", smoke.parent / "table_4", "--only", "strategy=lp")
    assert code == 1
    assert "no job with strategy=lp" in errors
    for wrong in ("strategy=", "strategy=ft,,mft", "strategy=ft, "):
        code, _, errors = run("show", smoke.parent / "table_4", "--only", wrong)
        assert code == 2
        assert f"{wrong!r} is not KEY=VALUE" in errors
    code, _, errors = run("show", smoke.parent / "table_4", "--only", "strategy=ft,lp")
    assert code == 1
    assert "no job with strategy=lp" in errors
    code, _, errors = run(
        "show", smoke.parent / "table_4", "--only", "strategy=ft, mft"
    )
    assert code == 0
    code, _, errors = run("run", smoke.rename(tmp_path / "plain"))
    assert code == 2
    assert "has no ending to leave out: name another folder with -o" in errors


def test_a_study_is_not_replaced_by_what_is_shown(smoke: Path, tmp_path: Path) -> None:
    directory = tmp_path / "table_4"
    plan_study(load_study(smoke), directory)
    plan = directory / "study.json"
    before = plan.read_text()
    (link := tmp_path / "link.json").symlink_to(plan)
    for output in (
        ["--json", plan], ["--csv", link], ["--matbench", plan],
        ["--csv", directory / "splits" / "a.csv"], ["--plots", directory / "jobs"],
        ["--collapse", directory / "jobs" / "new"],
    ):  # fmt: skip
        code, table, errors = run("show", directory, *output)
        assert (code, table) == (1, "")
        assert f"belongs to the study in {directory}" in errors
    assert plan.read_text() == before
    assert not (directory / "jobs").exists()
    for option in ("--csv", "--json", "--matbench"):
        code, table, errors = run("show", directory, option, tmp_path / "none" / "a")
        assert (code, table) == (1, "")
        assert "none is not a folder" in errors


def test_files_are_written_though_nobody_reads_the_table(
    smoke: Path, unread: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, numbers = smoke.parent / "table_4", smoke.parent / "numbers.csv"
    plan_study(load_study(smoke), directory)
    monkeypatch.setattr("mftscreen.study.tables.to_text", lambda *_: "a table\n")
    monkeypatch.setattr("sys.stdout", unread)
    with pytest.raises(SystemExit) as ended:
        main(["study", "show", str(directory), "--csv", str(numbers)])
    assert ended.value.code == 0
    assert numbers.exists()


@pytest.mark.slow
def test_a_study_is_done_and_shown(smoke: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(smoke.read_text())
    document["grids"] = [
        {"strategies": ["kernel"], "splits": ["loco"]},
        {"strategies": ["ft"], "splits": ["loco"], "folds": ["none"]},
    ]
    smoke.write_text(yaml.safe_dump(document))
    code, _, errors = run("run", smoke)
    assert code == 1
    assert "no fold 'none'" in errors
    document["grids"].pop()
    smoke.write_text(yaml.safe_dump(document))
    code, printed, errors = run("run", smoke, "--threads", "1")
    assert code == 0, errors
    assert printed.strip() == str(smoke.parent / "table_4")
    lines = errors.splitlines()
    assert lines[-1].startswith("4/4  density loco 3 kernel seed1: number_density ood")
    again = run("run", smoke)
    assert "4 of 4 jobs are done already" in again[2]
    figures, numbers = tmp_path / "figures", tmp_path / "numbers.csv"
    code, table, errors = run(
        "show", smoke.parent / "table_4", "--plots", figures, "--csv", numbers,
        "--json", tmp_path / "numbers.json",
    )  # fmt: skip
    assert code == 0, errors
    assert f"wrote 4 rows to {numbers}\nwrote 1 mean of 4 results to " in errors
    assert f"wrote 1 figure to {figures}\n" in errors
    assert "kernel    4      4" in table
    assert len(numbers.read_text().splitlines()) == 5
    assert [path.name for path in figures.iterdir()] == [
        "folds-density-loco-number_density-ood.png"
    ]
    code, _, errors = run(
        "show", smoke.parent / "table_4", "--matbench", tmp_path / "r.json.gz"
    )
    assert code == 1
    assert "no finished job is of random folds" in errors
    code, _, errors = run("show", smoke.parent / "table_4", "--collapse", figures)
    assert code == 1
    assert "no job that has finished fine-tunes" in errors
