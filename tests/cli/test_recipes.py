from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.config.recipes import find_recipes

RECIPES = find_recipes()


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["recipes", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_list_and_show() -> None:
    code, listed, _ = run("list")
    assert code == 0
    assert [line.split()[0] for line in listed.splitlines()] == list(RECIPES)
    code, text, _ = run("show", "lp/log_gvrh")
    assert code == 0
    assert text.startswith("# MatBench log_gvrh")
    assert "least squares (Eq. 17)" in text
    code, _, errors = run("show", "mft/dielectrics")
    assert code == 1
    assert "no recipe 'mft/dielectrics'; did you mean 'mft/dielectric'?" in errors
    code, _, errors = run("show", "zzz")
    assert code == 1
    assert "no recipe 'zzz'; see 'mftscreen recipes list'" in errors


def test_a_copy_is_whole_and_valid(tmp_path: Path) -> None:
    code, printed, _ = run("copy", "scratch/qm9_gap", tmp_path / "my")
    path = tmp_path / "my" / "config.yaml"
    assert code == 0
    assert printed.splitlines() == [str(path)]
    code, printed, _ = run("validate", path)
    assert code == 0
    assert "a valid scratch configuration" in printed
    assert f"not there yet: {tmp_path}/my/data/qm9.extxyz.gz" in printed
    path.write_text(path.read_text() + "unknown: 1\n")
    code, _, errors = run("validate", path)
    assert code == 1
    assert "unknown: unknown key" in errors
    code, _, errors = run("copy", "scratch/qm9_gap", tmp_path / "my")
    assert code == 1
    assert "exists already" in errors


def test_all_configurations_are_validated(tmp_path: Path) -> None:
    good, study = RECIPES["smoke"].path, RECIPES["paper/crystals_mini/table_4"].path
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text() + "unknown: 1\n")
    code, printed, errors = run("validate", bad, tmp_path / "none.yaml", good, study)
    assert code == 1
    assert f"{good}: a valid mft configuration" in printed
    assert f"{study}: a valid study configuration" in printed
    assert f"{bad}: unknown: unknown key" in " ".join(errors.split())
    assert str(tmp_path / "none.yaml") in errors
    assert errors.count("Error: ") == 2


def test_labels_are_looked_for_in_the_files_that_are_there(tmp_path: Path) -> None:
    run("copy", "kernel/user_template", tmp_path)
    path = tmp_path / "config.yaml"
    config: Any = load_config(path)
    (name,) = config.properties
    rows = config.data.train[0]
    assert run("validate", path)[0] == 0  # there is no data
    rows.write_text(f"structure,{name}s\nmgo.cif,1.0\n")
    study = tmp_path / "study.yaml"
    study.write_text(
        "name: mine\ntasks: {one: config.yaml}\nsplits: {random: {method: random}}\n"
        "grids:\n- {strategies: [kernel]}\n"
    )
    for checked in (path, study):
        code, printed, errors = run("validate", checked)
        assert (code, printed) == (1, "")
        assert f"{path}: data.train: {rows}: no label {name!r}; there is" in errors
        assert f"did you mean '{name}s'?" in errors
    rows.write_text(f"structure,{name}\nmgo.cif,1.0\n")
    assert run("validate", path, study)[0] == 0


def test_names_of_models_are_looked_for(tmp_path: Path) -> None:
    run("copy", "kernel/user_template", tmp_path)
    path = tmp_path / "config.yaml"
    text = path.read_text()
    named = next(line for line in text.splitlines() if line.startswith("pretrained:"))
    for good in ("7net-0", "mft-mini", "runs/first/model.mft", "[DPA-3.1-3M, runs/x]"):
        path.write_text(text.replace(named, f"pretrained: {good}"))
        assert run("validate", path)[0] == 0
    for bad in ("7net-O", "[mft-mini, 7net-O]"):
        path.write_text(text.replace(named, f"pretrained: {bad}"))
        code, printed, errors = run("validate", path)
        assert (code, printed) == (1, "")
        assert "pretrained: no model named '7net-O'" in errors
        assert "did you mean '7net-0'?" in errors
    # relative to the configuration, wherever one is
    (tmp_path / "first").mkdir()
    path.write_text(text.replace(named, "pretrained: first"))
    assert run("validate", path)[0] == 0


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("backbones", ["7net-0", "7net-O"], "no model named '7net-O'"),
        ("variants", "7net-O", "no model named '7net-O'"),
        ("variants", ["7net-0", "mft-mini"], "the name of one model is needed"),
        ("variants", None, "the name of one model is needed"),
    ],
)
def test_names_of_models_are_looked_for_in_studies(
    key: str, value: object, problem: str, tmp_path: Path
) -> None:
    study, models = tmp_path / "study.yaml", {"mine": {"pretrained": value}}

    def write(models: object) -> None:
        study.write_text(
            "name: mine\ntasks: {one: tasks/one.yaml}\n"
            "splits: {random: {method: random}}\ngrids:\n- {strategies: [kernel]}\n"
            f"{key}: {json.dumps(models)}\n"
        )

    write(models)
    code, _, errors = run("validate", study)
    assert code == 1
    assert f"{key}: mine: {problem}" in errors
    # a path of a variant starts at the folder of the task
    (tmp_path / ("tasks" if key == "variants" else ".") / "first").mkdir(parents=True)
    write({"mine": {"pretrained": "first"}})
    assert run("validate", study)[0] == 0


@pytest.mark.parametrize(
    ("given", "name"),
    [("mft/dielectric", "mft/dielectric"), ("mft-mini", "mft-mini/crystals")],
)
def test_name_of_a_recipe_is_no_file(
    given: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = run("validate", given)
    assert code == 1
    assert errors.startswith(f"Error: {given}: No such file or directory; copy it")
    assert f"mftscreen recipes copy {name} DIR" in errors
    (tmp_path / given).mkdir(parents=True)
    assert "copy it first" not in run("validate", given)[2]


def test_what_stands_beside_a_recipe_is_copied_too(tmp_path: Path) -> None:
    code, printed, _ = run("copy", "pretrain/molecules", tmp_path)
    assert code == 0
    names = [Path(line).name for line in printed.splitlines()]
    assert names == ["molecules.yaml", "crystals.yaml", "label_frames.py"]
    assert load_config(tmp_path / "molecules.yaml").energy_head == "molecules"
    (tmp_path / "file").touch()
    code, _, errors = run("copy", "smoke", tmp_path / "file" / "below")
    assert code == 1
    assert "below" in errors


@pytest.mark.parametrize("name", RECIPES)
def test_commands_leave_nothing_to_the_shell_that_it_does_not_do(name: str) -> None:
    text = RECIPES[name].path.read_text()
    # a pattern behind NAME= is that of a folder called NAME=..., which matches nothing
    assert not re.findall(r"(?m)^#.* \w+=[^\s$()]*\*", text)
