from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from click.testing import CliRunner, Result

from mftscreen.cli import main
from mftscreen.data.sources import read_force_field
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.config.recipes import find_recipes, recipes_folder
from mftscreen.finetune.strategies import TuneConfig
from mftscreen.finetune.task.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.checkpoint import model_parameters

RECIPES = find_recipes()
TRAININGS = {name: r for name, r in RECIPES.items() if not r.is_study}
"""The others are tested where studies are."""
STRATEGIES = ("mft", "ft", "lp", "scratch")
PAPER = ("dielectric", "log_gvrh", "perovskites", "qm9_gap")
README = "".join(
    (recipes_folder() / page).read_text(encoding="utf-8")
    for page in ("README.md", "paper/README.md")
)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["recipes", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def deepmd_input(config: TuneConfig) -> dict[str, Any]:
    """Return the training input as if all data were there."""
    plan = config.plan
    heads = [*plan.properties, *plan.force_fields]
    pretrained = None
    if plan.pretrained is not None:
        kept = list(plan.properties) if plan.transfers_properties else []
        # a recipe whose pretrained model is still to be made gets one of other heads
        parameters = model_parameters(
            load_pretrained("mft-mini-crystals", "crystals", kept)[0]
        )
        head = parameters["crystals"]
        fitting = dict.fromkeys(heads, head["fitting_net"])
        fitting |= {name: parameters[name]["fitting_net"] for name in kept}
        pretrained = Pretrained(head["type_map"], head["descriptor"], fitting)
    data = {head: PreparedData(["train"], ["validation"]) for head in heads}
    return build_deepmd_input(config, data, ["H", "O"], (90, 30), pretrained)


@pytest.mark.parametrize("name", TRAININGS)
def test_every_recipe_is_valid_and_can_be_trained(name: str) -> None:
    recipe = RECIPES[name]
    config = load_config(recipe.path)
    if config.plan.training is not None:
        document = deepmd_input(config)
        assert document["training"]["numb_steps"] == config.plan.training.steps
    assert len(recipe.summary) > 20
    # whole: nothing is taken from elsewhere, and reading it gives the same
    assert "\nbase:" not in recipe.text
    assert yaml.safe_load(recipe.text)["strategy"] == config.strategy


def test_the_promised_recipes_are_there() -> None:
    promised = {f"{s}/{t}" for s in STRATEGIES for t in (*PAPER, "user_template")}
    promised |= {"smoke", "pretrain/crystals", "pretrain/molecules"}
    assert promised <= RECIPES.keys()
    for name, recipe in TRAININGS.items():
        strategy = load_config(recipe.path).strategy
        assert strategy == name.split("/")[0] or name.split("/")[0] not in STRATEGIES
    for name in RECIPES:
        assert name.split("/")[-1] in README


@pytest.mark.parametrize("task", PAPER)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_lengths_and_batches_of_table_8(strategy: str, task: str) -> None:
    config = load_config(RECIPES[f"{strategy}/{task}"].path)
    document = deepmd_input(config)
    training = document["training"]
    twice = strategy == "mft" and task != "qm9_gap"
    assert training["numb_steps"] == (200_000 if twice else 100_000)
    assert config.training.n_gpus == 1 + (strategy == "mft" and task == "qm9_gap")
    (name,) = config.properties
    batches = training["data_dict"][name]["training_data"]["batch_size"]
    assert batches == "auto:512"
    loss = document["loss_dict"][name]["loss_func"]
    assert loss == ("mse" if task == "qm9_gap" else "smooth_mae")
    assert document["learning_rate"]["start_lr"] == 1e-3
    assert document["learning_rate"]["stop_lr"] == 1e-5


def test_strategies_of_one_task_differ_in_the_strategy_only() -> None:
    for task in (*PAPER, "user_template"):
        documents = {s: yaml.safe_load(RECIPES[f"{s}/{task}"].text) for s in STRATEGIES}
        for document in documents.values():
            assert document["properties"] == documents["mft"]["properties"]
            assert document["data"] == documents["mft"]["data"]
        assert "auxiliary" not in documents["ft"]
        assert "pretrained" not in documents["scratch"]


@pytest.fixture
def label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return what labels ``parents.extxyz`` in this test's folder with a potential."""
    script = runpy.run_path(
        str(RECIPES["pretrain/crystals"].path.with_name("label_frames.py"))
    )
    monkeypatch.chdir(tmp_path)

    def label(*options: str) -> Result:
        command = ["parents.extxyz", "frames.extxyz"]
        command += ["--calculator", "ase.calculators.emt:EMT", *options]
        return CliRunner().invoke(script["main"], command)

    return label


def test_frames_are_labelled_once_and_keep_their_parents(
    tmp_path: Path, label: Callable[..., Result]
) -> None:
    metals = [bulk("Cu", a=3.5 + 0.01 * k) for k in range(24)]
    # EMT does not know silicon
    write(tmp_path / "parents.extxyz", [*metals, molecule("CO"), bulk("Si")])
    done = label("--rattle", "0.05", "--rattle", "0.1")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("3 frames dropped: the calculator failed") == 1
    frames = read(tmp_path / "frames.extxyz", ":")
    assert len(frames) == 75
    labelled = list(read_force_field(tmp_path / "frames.extxyz"))
    assert all({"energy", "force"} <= set(frame.labels) for frame in labelled)
    assert len({frame.info["parent"] for frame in frames}) == 25
    again = frames[0].copy()
    again.calc = EMT()
    np.testing.assert_allclose(
        frames[0].get_potential_energy(), again.get_potential_energy(), atol=1e-6
    )
    # parents first, then rattled and strained copies
    assert frames[0].get_volume() == pytest.approx(metals[0].get_volume())
    assert frames[20].get_volume() != pytest.approx(metals[0].get_volume(), rel=1e-4)
    parts = sorted((tmp_path / "frames.parts").glob("*.extxyz"))
    assert len(parts) == 2
    parts[1].unlink()
    first = parts[0].stat().st_mtime_ns
    text = (tmp_path / "frames.extxyz").read_text()
    assert label("--rattle", "0.05", "--rattle", "0.1").exit_code == 0
    assert parts[0].stat().st_mtime_ns == first
    assert (tmp_path / "frames.extxyz").read_text() == text
    other = label("--rattle", "0.2")
    assert other.exit_code == 2
    assert "write to another file" in " ".join(other.stderr.split())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--calculator", "ase.calculators.nope:EMT"], "No module named"),
        (["--calculator", "ase.calculators.emt.EMT"], "it is MODULE:FACTORY"),
        (["--calculator", "ase.calculators.emt:Emt"], "it is MODULE:FACTORY"),
        (["--argument", "asap_cutoff"], "not KEY=VALUE"),
    ],
)
def test_a_wrong_calculator_is_named_and_leaves_nothing(
    tmp_path: Path, label: Callable[..., Result], options: list[str], expected: str
) -> None:
    write(tmp_path / "parents.extxyz", bulk("Cu"))
    done = label(*options)
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["parents.extxyz"]


def test_frames_of_one_structure_stay_together_when_labelled(
    tmp_path: Path, label: Callable[..., Result]
) -> None:
    frames = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]
    frames[0].info["parent"] = frames[1].info["parent"] = 0
    write(tmp_path / "parents.extxyz", frames)
    done = label("--no-copies")
    assert done.exit_code == 0, done.stderr
    labelled = read(tmp_path / "frames.extxyz", ":")
    assert [a.get_volume() for a in labelled] == [a.get_volume() for a in frames]
    assert [a.info["parent"] for a in labelled[:2]] == [0, 0]
    assert labelled[2].info["parent"] != 0
    shutil.rmtree(tmp_path / "frames.parts")
    assert label("--rattle", "0.05").exit_code == 0
    copied = read(tmp_path / "frames.extxyz", ":")
    families = [a.info["parent"] for a in labelled]
    assert [a.info["parent"] for a in copied] == families * 2


def test_large_forces_are_dropped(tmp_path: Path, label: Callable[..., Result]) -> None:
    write(tmp_path / "parents.extxyz", [bulk("Cu", cubic=True), bulk("Cu") * (2, 1, 1)])
    done = label("--rattle", "0.3", "--max-force", "0.01", "--strain", "0")
    assert "2 frames dropped: a force above 0.01 eV/Å" in done.stderr
    assert len(read(tmp_path / "frames.extxyz", ":")) == 2


@pytest.mark.slow
def test_smoke(tmp_path: Path) -> None:
    folder = tmp_path / "smoke"
    assert run("copy", "smoke", folder)[0] == 0
    subprocess.run([sys.executable, "make_data.py"], cwd=folder, check=True)
    arguments = ["finetune", str(folder / "config.yaml"), "--threads", "1", "-q"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    card = read_bundle(folder / "config" / "model.mft").card
    assert card.strategy == "mft"
    assert card.energy_head == "crystals"
    assert card.properties["number_density"].metrics["ood"]["n"] == 10
